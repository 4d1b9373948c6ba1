//! Mean-preserving clipping of slopes, and its derivative, for all splines of a bank.

use super::TrainableBank;
use crate::gpu::{Bound, Buffer, Gpu, Recorder};
use crate::spline::SlopeBounds;
use crate::{Result, shader_struct};

shader_struct! {
    /// Parameters of `spline_clip.wgsl` and `spline_clip_vjp.wgsl`.
    pub struct ClipParams {
        /// Smallest slope.
        pub low: f32,
        /// Largest slope.
        pub high: f32,
        /// Padding.
        pub pad0: u32,
        /// Padding.
        pub pad1: u32,
    }
}

/// Clips the slopes of a bank, `values <- D^+ clip(D raw) + mean(raw)` spline by spline as [`crate::spline::clip_slopes`],
/// so that any `raw` can be trained, and takes gradients back as [`crate::spline::clip_slopes_vjp`].
#[derive(Debug)]
pub struct SlopeClip {
    clip: Bound,
    vjp: Bound,
    splines: u32,
}

impl SlopeClip {
    /// Prepares the clipping of `raw` (entry) into the bank's values, and the product that takes a `gradient` with respect
    /// to those to `result`, the one with respect to `raw`. The bounds are rounded inwards to f32; the stored values keep
    /// them up to the rounding of a value divided by its spacing.
    ///
    /// # Errors
    /// Device errors.
    pub fn new(
        gpu: &Gpu,
        bank: &TrainableBank,
        bounds: &SlopeBounds,
        raw: &Buffer,
        gradient: &Buffer,
        result: &Buffer,
    ) -> Result<Self> {
        let params = gpu.params(&[ClipParams {
            low: inwards(bounds.min(), f32::next_up),
            high: inwards(bounds.max(), f32::next_down),
            ..Default::default()
        }])?;
        let common = [
            ("params", params.binding()),
            ("positions", bank.positions().into()),
            ("ranges", bank.range_table().into()),
            ("raw", raw.into()),
        ];
        let clip = [&common[..], &[("values", bank.values().into())]].concat();
        let vjp = [&common[..], &[("gradient", gradient.into()), ("result", result.into())]].concat();
        Ok(Self {
            clip: gpu.kernel("spline_clip", &[])?.bind(gpu, &clip)?,
            vjp: gpu.kernel("spline_clip_vjp", &[])?.bind(gpu, &vjp)?,
            splines: bank.ranges().len() as u32,
        })
    }

    /// Records the clipping; [`TrainableBank::record_refresh`] must follow.
    pub fn record(&self, recorder: &mut Recorder<'_>) {
        recorder.dispatch(&self.clip, self.clip.groups([self.splines, 1, 1]), 0);
    }

    /// Records the vector-Jacobian product at the present `raw`.
    pub fn record_vjp(&self, recorder: &mut Recorder<'_>) {
        recorder.dispatch(&self.vjp, self.vjp.groups([self.splines, 1, 1]), 0);
    }

    /// For [`Gpu::warm_up`].
    pub fn bound(&self) -> [&Bound; 2] {
        [&self.clip, &self.vjp]
    }
}

/// The f32 at or next to `bound` on the inner side, which `next` finds; WGSL has no infinity.
pub(crate) fn inwards(bound: f64, next: fn(f32) -> f32) -> f32 {
    let nearest = (bound as f32).clamp(f32::MIN, f32::MAX);
    let stepped = next(nearest);
    let crossed = (f64::from(nearest) - bound) * f64::from(stepped - nearest) < 0.0;
    if bound.is_finite() && crossed { stepped } else { nearest }
}
