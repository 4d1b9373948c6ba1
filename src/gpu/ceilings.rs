//! What the device can do at best, measured: the ceilings that a profile sets its kernels against.

use std::time::Instant;

use super::work::Work;
use super::{Bound, Gpu};
use crate::{Result, shader_struct};

shader_struct! {
    /// Parameters of `measure_fma.wgsl`.
    pub struct FmaParams {
        /// Factor of every step.
        pub scale: f32,
        /// Summand of every step.
        pub shift: f32,
        /// Times 8 steps per chain.
        pub trips: u32,
        /// Padding.
        pub pad0: u32,
    }
}

/// Bytes of the array that is copied: beyond the caches of most devices, within every adapter's binding.
const COPY_BYTES: u64 = 64 << 20;
/// Bytes that a workgroup of `measure_copy.wgsl` copies.
const COPY_GROUP: u64 = 16 * 1024;

/// Workgroups of `measure_fma.wgsl` and the multiply-adds of one per trip: 256 invocations of 2 chains of vec4s, 8 steps.
const FMA_GROUPS: u64 = 2048;
const FMA_GROUP: u64 = 256 * 2 * 4 * 8;
const FMA_TRIPS: u32 = 64;

/// A measurement lasts at least this long, so that submitting and waiting do not count.
const SECONDS: f64 = 0.05;
/// The best of so many measurements counts.
const ROUNDS: usize = 3;

/// Highest rates seen on a device.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Ceilings {
    /// Bytes per second of a copy, loads and stores counted.
    pub bytes_per_second: f64,
    /// Multiply-adds per second in registers.
    pub multiply_adds_per_second: f64,
}

impl Ceilings {
    /// Measures both, by the host's clock around launches that last long enough. Takes about half a second and 128 MiB of
    /// device memory; the launches appear in no profile.
    ///
    /// # Errors
    /// Device errors.
    pub fn measure(gpu: &Gpu) -> Result<Self> {
        let (copy, fma) = (Self::copy(gpu)?, Self::fma(gpu)?);
        let copied = rate(gpu, &copy, (COPY_BYTES / COPY_GROUP) as u32)?;
        let multiplied = rate(gpu, &fma, FMA_GROUPS as u32)?;
        Ok(Self {
            bytes_per_second: copied.0,
            multiply_adds_per_second: multiplied.1,
        })
    }

    fn copy(gpu: &Gpu) -> Result<Bound> {
        let elements = COPY_BYTES as usize / 4;
        let (u, y) = (gpu.buffer("copied from", elements)?, gpu.buffer("copied to", elements)?);
        let work = Work {
            bytes: 2 * COPY_GROUP,
            multiply_adds: 0,
        };
        let memory = [("u", (&u).into()), ("y", (&y).into())];
        Ok(gpu
            .kernel("measure_copy", &[])?
            .bind(gpu, &memory)?
            .with_work(Some(0), [work]))
    }

    fn fma(gpu: &Gpu) -> Result<Bound> {
        let y = gpu.buffer("sums", 256 * FMA_GROUPS as usize)?;
        let params = gpu.params(&[FmaParams {
            scale: 0.5,
            shift: 0.25,
            trips: FMA_TRIPS,
            pad0: 0,
        }])?;
        let work = Work {
            bytes: 256 * 4,
            multiply_adds: FMA_GROUP * u64::from(FMA_TRIPS),
        };
        let memory = [("params", params.binding()), ("y", (&y).into())];
        Ok(gpu
            .kernel("measure_fma", &[])?
            .bind(gpu, &memory)?
            .with_work(Some(0), [work]))
    }
}

/// Bytes and multiply-adds per second of a kernel.
fn rate(gpu: &Gpu, bound: &Bound, groups: u32) -> Result<(f64, f64)> {
    let groups = [groups, 1, 1];
    let seconds = |launches: u32| -> Result<f64> {
        let start = Instant::now();
        let mut recorder = gpu.record_untimed();
        (0..launches).for_each(|_| recorder.dispatch(bound, groups, 0));
        recorder.submit();
        gpu.wait()?;
        Ok(start.elapsed().as_secs_f64())
    };
    // The first launch ends compilation and touches the memory.
    seconds(1)?;
    let mut launches = 1;
    let mut best = seconds(launches)?;
    while best < SECONDS && launches < 1 << 16 {
        launches *= 2;
        best = seconds(launches)?;
    }
    for _ in 1..ROUNDS {
        best = best.min(seconds(launches)?);
    }
    let work = bound.work(groups, 0).unwrap_or_default() * u64::from(launches);
    Ok((work.bytes as f64 / best, work.multiply_adds as f64 / best))
}
