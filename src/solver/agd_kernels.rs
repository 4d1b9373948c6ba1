//! The kernels of the accelerated projected gradient, for whatever computes the gradient of the regularizer.

use crate::gpu::{Bound, Buffer, Gpu, Recorder, Work};
use crate::{Result, shader_struct};

shader_struct! {
    /// Parameters of the `agd_*` kernels (`shaders/lib/agd.wgsl`).
    pub struct AgdParams {
        /// Pixels per image.
        pub pixels: u32,
        /// Workgroups per image in pixel-wise kernels.
        pub groups: u32,
        /// Weight of the regularizer.
        pub lambda: f32,
        /// Gradient step.
        pub step: f32,
        /// Lower end of the box.
        pub low: f32,
        /// Upper end of the box.
        pub high: f32,
        /// Stop at this relative change.
        pub tolerance: f32,
        /// 0 for the plain proximal gradient.
        pub accelerate: u32,
    }
}

shader_struct! {
    /// State of one image (`shaders/lib/agd.wgsl`).
    pub struct AgdState {
        /// Momentum sequence.
        pub t: f32,
        /// Weight of the next extrapolation.
        pub beta: f32,
        /// Last relative change.
        pub change: f32,
        /// Iterations done.
        pub iterations: u32,
        /// 0 running, 1 converged, 2 not finite.
        pub status: u32,
        /// Restarts done.
        pub restarts: u32,
        /// What changes are measured by; 0 for `|x|`.
        pub scale: f32,
        /// Padding.
        pub pad1: u32,
    }
}

/// [`AgdState::status`], and that of every solver's state, of an image that is worked on.
pub(crate) const RUNNING: u32 = 0;
/// The same after a sum was not finite.
pub(crate) const NOT_FINITE: u32 = 2;

impl AgdState {
    /// The same with its momentum set back.
    pub fn restarted(self) -> Self {
        Self { t: 1.0, ..self }
    }

    /// The state before the first iteration.
    pub fn start() -> Self {
        Self {
            t: 1.0,
            ..Self::default()
        }
    }
}

/// What the kernels work on; images are (image, pixel), the gradient is (slot, pixel).
pub(crate) struct Iterates<'b> {
    /// The iterate.
    pub x: &'b Buffer,
    /// The noisy images.
    pub y: &'b Buffer,
    /// The extrapolated iterate, at which the gradient is wanted.
    pub z: &'b Buffer,
    /// `grad R(z)`.
    pub gradient: &'b Buffer,
    /// Which image is in which slot.
    pub active: &'b Buffer,
    /// [`AgdState`] per image.
    pub states: &'b Buffer,
}

/// The three parts of an iteration behind the gradient of the regularizer.
#[derive(Debug)]
pub(crate) struct AgdKernels {
    step: Bound,
    control: Bound,
    extrapolate: Bound,
    groups: u32,
}

impl AgdKernels {
    /// Prepares iterations of up to `slots` images at once.
    pub fn new(gpu: &Gpu, params: &AgdParams, slots: usize, on: &Iterates<'_>) -> Result<Self> {
        let pixels = u64::from(params.pixels);
        let groups = params.groups;
        let x_old = gpu.buffer("x_old", on.x.len())?;
        let partials = gpu.buffer("step partials", slots * groups as usize * 4)?;
        let params = gpu.params(&[*params])?;
        // Per image, besides the few sums: the arrays named, and `multiply_adds` per pixel.
        let bind = |name: &str, multiply_adds: u64, arrays: &[&str], memory: &[(&str, &Buffer)]| -> Result<Bound> {
            let mut all = vec![
                ("params", params.binding()),
                ("active_images", on.active.into()),
                ("states", on.states.into()),
            ];
            all.extend(memory.iter().map(|&(n, b)| (n, b.into())));
            let kernel = gpu.kernel(name, &[])?;
            let work = Work {
                bytes: kernel.element_bytes(arrays) * pixels,
                multiply_adds: multiply_adds * pixels,
            };
            Ok(kernel.bind(gpu, &all)?.with_work(Some(1), [work]))
        };
        let step = bind(
            "agd_step",
            6,
            &["y", "z", "gradient", "x", "x_old"],
            &[
                ("y", on.y),
                ("z", on.z),
                ("gradient", on.gradient),
                ("x", on.x),
                ("x_old", &x_old),
                ("partials", &partials),
            ],
        )?;
        let control = bind("agd_control", 0, &[], &[("partials", &partials)])?.with_work(
            Some(0),
            [Work {
                bytes: 16 * u64::from(groups),
                multiply_adds: 0,
            }],
        );
        let extrapolate = bind(
            "agd_extrapolate",
            1,
            &["x", "x_old", "z"],
            &[("x", on.x), ("x_old", &x_old), ("z", on.z)],
        )?;
        Ok(Self {
            step,
            control,
            extrapolate,
            groups,
        })
    }

    /// Records the rest of an iteration of the first `slots` slots.
    pub fn record(&self, recorder: &mut Recorder<'_>, slots: u32) {
        recorder.dispatch(&self.step, [self.groups, slots, 1], 0);
        recorder.dispatch(&self.control, [slots, 1, 1], 0);
        recorder.dispatch(&self.extrapolate, [self.groups, slots, 1], 0);
    }

    /// For [`Gpu::warm_up`].
    pub fn bound(&self) -> [&Bound; 3] {
        [&self.step, &self.control, &self.extrapolate]
    }
}
