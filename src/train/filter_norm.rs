//! Filters of norm 1 by construction, and the derivative of that.

use crate::filters::norm::{GRID, grid_factor};
use crate::filters::{Correlation, FilterBank, FilterNormParams, LayerShape, waves};
use crate::gpu::{Bound, Buffer, Gpu, Recorder};
use crate::{Error, Result, shader_struct};

shader_struct! {
    /// Where the symbol of a layer is largest (`shaders/lib/filter_norm.wgsl`).
    pub struct FilterPeak {
        /// Its maximum over the grid.
        pub largest: f32,
        /// What the filters are multiplied by.
        pub scale: f32,
        /// Row of the grid.
        pub row: u32,
        /// Column of the grid.
        pub col: u32,
    }
}

/// Sides that fit the kernels' workgroup memory and one tap per invocation.
const LARGEST_SIDE: usize = 15;

/// Whether the kernels that train filters take those of side `size`.
///
/// # Errors
/// [`Error::Usage`] if they are too large.
pub(super) fn check_side(size: usize) -> Result<()> {
    if size > LARGEST_SIDE {
        return Err(Error::Usage(format!(
            "filters of side {size} are too large to train, at most {LARGEST_SIDE}"
        )));
    }
    Ok(())
}

/// `w = v / sqrt(B(v))` for the filters `v` of a bank of one layer, `B` the rigorous bound of their squared norm that
/// [`crate::filters::norm::upper_bound`] certifies: the maximum of `sum_f |v^_f(omega)|^2` over the same grid, enlarged by the
/// same factor. So the certificate of a trained model finds 1, up to f32 rounding. And the vector-Jacobian product of that map,
/// with `dB/dv` taken at the first frequency that attains the maximum.
#[derive(Debug)]
pub(crate) struct FilterNorm {
    correlation: Correlation,
    spectrum: Bound,
    peak: Bound,
    scale: Bound,
    waves: Buffer,
    state: Buffer,
    sums: Buffer,
    params: crate::gpu::ParamTable<FilterNormParams>,
    shape: LayerShape,
}

/// The product with the transposed Jacobian, in place.
#[derive(Debug)]
pub(crate) struct FilterPull {
    sums: Bound,
    pull: Bound,
    groups: [[u32; 3]; 2],
}

impl FilterNorm {
    /// Prepares the normalisation of `weights`, (filter, row, column), in place.
    ///
    /// # Errors
    /// [`Error::Usage`] for several layers, whose zero padding in between admits no tight bound, or too large filters;
    /// device errors.
    pub fn new(gpu: &Gpu, bank: &FilterBank, weights: &Buffer) -> Result<Self> {
        let [layer] = bank.layers() else {
            return Err(Error::Usage(format!(
                "filters of {} layers cannot be trained at a certified norm: use one layer",
                bank.layers().len()
            )));
        };
        let shape = layer.shape();
        check_side(shape.size)?;
        let params = gpu.params(&[FilterNormParams {
            filters: shape.outputs as u32,
            size: shape.size as u32,
            grid: GRID as u32,
            factor: grid_factor(shape.size - 1, GRID) as f32,
        }])?;
        let waves = gpu.upload("waves", &waves(GRID))?;
        let correlation = Correlation::new(gpu, &params, shape, weights)?;
        let maxima = gpu.buffer("maxima of the symbol", 2 * (GRID / 2 + 1))?;
        let state = gpu.buffer("peak of the symbol", size_of::<FilterPeak>() / 4)?;
        let bind = |name: &str, memory: &[(&str, &Buffer)]| {
            let all = memory.iter().map(|&(name, buffer)| (name, buffer.into()));
            let all: Vec<_> = [("params", params.binding())].into_iter().chain(all).collect();
            gpu.kernel(name, &[])?.bind(gpu, &all)
        };
        Ok(Self {
            spectrum: bind(
                "filter_spectrum",
                &[
                    ("correlation", correlation.sums()),
                    ("waves", &waves),
                    ("maxima", &maxima),
                ],
            )?,
            peak: bind("filter_peak", &[("maxima", &maxima), ("peak", &state)])?,
            scale: bind("filter_scale", &[("peak", &state), ("weights", weights)])?,
            sums: gpu.buffer("filter sums", 4 * shape.outputs)?,
            correlation,
            waves,
            state,
            params,
            shape,
        })
    }

    /// Records the normalisation.
    pub fn record(&self, recorder: &mut Recorder<'_>) {
        self.correlation.record(recorder);
        recorder.dispatch(&self.spectrum, [GRID as u32 / 2 + 1, 1, 1], 0);
        recorder.dispatch(&self.peak, [1, 1, 1], 0);
        recorder.dispatch(&self.scale, self.scale.groups([self.shape.weights() as u32, 1, 1]), 0);
    }

    /// Prepares the product for `gradient`, at the normalised `weights`.
    ///
    /// # Errors
    /// Device errors.
    pub fn pull(&self, gpu: &Gpu, weights: &Buffer, gradient: &Buffer) -> Result<FilterPull> {
        let common = [
            ("params", self.params.binding()),
            ("peak", (&self.state).into()),
            ("waves", (&self.waves).into()),
            ("gradient", gradient.into()),
            ("sums", (&self.sums).into()),
        ];
        let with_weights = [&common[..], &[("weights", weights.into())]].concat();
        let pull = gpu.kernel("filter_pull", &[])?.bind(gpu, &common)?;
        Ok(FilterPull {
            sums: gpu.kernel("filter_pull_sums", &[])?.bind(gpu, &with_weights)?,
            groups: [
                [self.shape.outputs as u32, 1, 1],
                pull.groups([self.shape.weights() as u32, 1, 1]),
            ],
            pull,
        })
    }
}

impl FilterPull {
    /// Records the product.
    pub fn record(&self, recorder: &mut Recorder<'_>) {
        recorder.dispatch(&self.sums, self.groups[0], 0);
        recorder.dispatch(&self.pull, self.groups[1], 0);
    }
}
