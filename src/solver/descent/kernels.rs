//! What the kernels of the accelerated descent share: their parameters and their state; the subtraction before them.

use crate::gpu::reduce::VALUES_PER_GROUP;
use crate::gpu::{Bound, Buffer, Gpu, Work};
use crate::{Result, shader_struct};

shader_struct! {
    /// Parameters of the `descent_*` kernels (`shaders/lib/descent.wgsl`).
    pub struct DescentParams {
        /// Pixels of the image.
        pub pixels: u32,
        /// Weight of the regularizer.
        pub lambda: f32,
        /// `L`.
        pub lipschitz: f32,
        /// `lambda rho`.
        pub weak: f32,
        /// Lower end of the box.
        pub low: f32,
        /// Upper end of the box.
        pub high: f32,
        /// Stop where relative change and residual are at most this.
        pub tolerance: f32,
        /// 0 safeguard, 1 restart, 2 plain.
        pub rule: u32,
        /// `L / |H|^2`.
        pub scale: f32,
        /// Workgroups per image.
        pub groups: u32,
        /// Padding.
        pub pad0: u32,
        /// Padding.
        pub pad1: u32,
    }
}

shader_struct! {
    /// State of a descent (`shaders/lib/descent.wgsl`).
    pub struct DescentState {
        /// Momentum sequence.
        pub t: f32,
        /// Weight of the next extrapolation.
        pub beta: f32,
        /// Relative change of the last step taken.
        pub change: f32,
        /// Iterations done.
        pub iterations: u32,
        /// 0 running, 1 converged, 2 not finite.
        pub status: u32,
        /// Restarts done.
        pub restarts: u32,
        /// 1: the last step was taken.
        pub accepted: u32,
        /// `L |x' - z| / (|H|^2 |x'|)` of the last step taken.
        pub residual: f32,
    }
}

shader_struct! {
    /// Parameters of `subtract.wgsl`.
    pub struct SubtractParams {
        /// Values.
        pub count: u32,
        /// Workgroups per row of workgroups.
        pub row: u32,
        /// The first value of `b`.
        pub first: u32,
        /// Padding.
        pub pad0: u32,
    }
}

/// [`DescentParams::rule`]: steps are taken that provably descend.
pub(super) const SAFEGUARD: u32 = 0;
/// [`DescentParams::rule`]: all steps are taken, without momentum after one that points back.
pub(super) const RESTART: u32 = 1;
/// [`DescentParams::rule`]: all steps are taken, never with momentum.
pub(super) const PLAIN: u32 = 2;

/// `a <- a - b[n]` of `count` values, `b` so many `arrays`, and its workgroups; entry `n` of its parameter table takes the `n`-th.
pub(in crate::solver) fn subtract(
    gpu: &Gpu,
    a: &Buffer,
    b: &Buffer,
    count: usize,
    arrays: usize,
) -> Result<(Bound, [u32; 3])> {
    let groups = count.div_ceil(VALUES_PER_GROUP) as u32;
    let row = groups.min(gpu.limits().max_compute_workgroups_per_dimension);
    let entry = |array: usize| SubtractParams {
        count: count as u32,
        row,
        first: (array * count) as u32,
        ..Default::default()
    };
    let params = gpu.params(&(0..arrays).map(entry).collect::<Vec<_>>())?;
    let memory = [("params", params.binding()), ("a", a.into()), ("b", b.into())];
    let work = Work {
        bytes: 12 * count as u64,
        multiply_adds: 0,
    };
    let bound = gpu
        .kernel("subtract", &[])?
        .bind(gpu, &memory)?
        .with_work(None, vec![work; arrays]);
    Ok((bound, [row, groups.div_ceil(row), 1]))
}
