//! The autocorrelation of filters on the device, from which their power spectrum follows.

use super::LayerShape;
use crate::gpu::{Bound, Buffer, Gpu, ParamTable, Recorder};
use crate::{Result, shader_struct};

shader_struct! {
    /// Parameters of the `filter_*` kernels (`shaders/lib/filter_norm.wgsl`).
    pub struct FilterNormParams {
        /// Filters of the layer.
        pub filters: u32,
        /// Their side.
        pub size: u32,
        /// Points of the frequency grid per axis.
        pub grid: u32,
        /// What the maximum over the grid is divided by to bound the supremum.
        pub factor: f32,
    }
}

/// `c[l] = sum_f sum_k w[f, k] w[f, k + l]` of one layer of filters of one plane (`shaders/filter_correlation.wgsl`).
#[derive(Debug)]
pub(crate) struct Correlation {
    bound: Bound,
    sums: Buffer,
}

impl Correlation {
    /// Prepares the sums over `weights`, (filter, row, column).
    ///
    /// # Errors
    /// Device errors.
    pub fn new(gpu: &Gpu, params: &ParamTable<FilterNormParams>, shape: LayerShape, weights: &Buffer) -> Result<Self> {
        let sums = gpu.buffer("filter correlation", lags(shape.size))?;
        let memory = [
            ("params", params.binding()),
            ("weights", weights.into()),
            ("correlation", (&sums).into()),
        ];
        let bound = gpu.kernel("filter_correlation", &[])?.bind(gpu, &memory)?;
        Ok(Self { bound, sums })
    }

    /// The sums, (ly + size - 1, lx).
    pub fn sums(&self) -> &Buffer {
        &self.sums
    }

    /// Records the sums.
    pub fn record(&self, recorder: &mut Recorder<'_>) {
        recorder.dispatch(&self.bound, [self.sums.len() as u32, 1, 1], 0);
    }
}

/// Lags `(ly, lx)` with `|ly| < size` and `0 <= lx < size`.
fn lags(size: usize) -> usize {
    (2 * size - 1) * size
}

/// `(cos, sin)` of `2 pi n / count`, `n < count`, rounded from f64: the sine of a GPU is good to 2^-11 only.
pub(crate) fn waves(count: usize) -> Vec<[f32; 2]> {
    let wave = |n: usize| {
        let (sin, cos) = (std::f64::consts::TAU * n as f64 / count as f64).sin_cos();
        [cos as f32, sin as f32]
    };
    (0..count).map(wave).collect()
}
