//! Denoising by splitting: the iteration of `Denoiser` that needs fewer passes through the filters.
//!
//! `min_x |x - y|^2 / 2 + lambda R(x)` is written with `u = W x` of its own. The augmented Lagrangian with penalty `rho` is
//! minimised in turn for `u`, exactly, by a spline per channel (`shaders/lib/conv_block.wgsl`), and for `x`, by one step
//!
//! `x <- x - F^-1 (1 + rho S)^-1 F (x - y + rho W'(W x - u + d))`,   `S = sum_c |W_c|^2`,
//!
//! in planes larger than the image by the filters' reach, `F` the Fourier transform there. Far from the border this is the exact
//! minimiser; near it, `E' K^-1 E` stands for the inverse of `I + rho W'W`, where `K` is the circulant matrix and `E` puts the
//! image into its plane. `W'W <= E' C'C E` and Kantorovich's inequality bound how far the two can be apart by
//! `(2 + rho)^2 / (4 (1 + rho))`, 1.45 for the penalty in use.
//!
//! The dual variable `d <- W x + d - u` alone is stored: `W x - u = d - d_old`, so that the step needs `W'` of `d` only, now and one
//! iteration before.
//!
//! A fixed point has `x - y + rho W'd = 0` and `rho d = lambda phi(alpha W x) / alpha`, which is `grad h(x) = 0`: it is a
//! minimiser. That the iteration reaches it is proved for exact steps and convex `R`, not for the step above with a weakly
//! convex one; therefore [`super::Denoiser`] gives it a limited number of iterations and leaves the rest to the
//! accelerated gradient, whose convergence is certain.

use crate::filters::{Correlation, FilterNormParams, LayerShape, waves};
use crate::gpu::reduce::VALUES_PER_GROUP;
use crate::gpu::{Bound, Buffer, Gpu, Recorder, Work};
use crate::operator::{Direction, Fft, Pass, quick_length};
use crate::{Result, shader_struct};

use super::agd_kernels::{AgdParams, Iterates};

shader_struct! {
    /// Parameters of the `split_*` kernels (`shaders/lib/split.wgsl`).
    pub struct SplitParams {
        /// Rows of an image.
        pub rows: u32,
        /// Columns of an image.
        pub cols: u32,
        /// Rows of a plane of the Fourier transform.
        pub plane_rows: u32,
        /// Columns of a plane, an even number.
        pub plane_cols: u32,
        /// First row of the image in its plane.
        pub top: u32,
        /// First column.
        pub left: u32,
        /// `rho`.
        pub penalty: f32,
        /// Side of the filters.
        pub side: u32,
    }
}

/// The penalty `rho` over `lambda`: 2 to 3.5 take about equally many iterations with the published and the shipped models, below
/// 2 weakly convex ones get slow.
pub(crate) const PENALTY: f64 = 2.5;

/// Iterations after which the accelerated gradient takes over.
pub(crate) const MOST_ITERATIONS: usize = 60;

/// The largest side of filters whose spectrum is computed (`shaders/split_spectrum.wgsl`).
pub(crate) const LARGEST_SIDE: usize = 64;

/// Rows and columns of the planes for images of `size` and filters of side `side`: at least so much larger than the image that what filters
/// reach beyond its border does not come back on the other side, and an even number of columns (`shaders/lib/split.wgsl`).
pub fn split_planes([rows, cols]: [usize; 2], side: usize) -> [usize; 2] {
    let reach = side - 1;
    [quick_length(rows + reach), 2 * quick_length((cols + reach).div_ceil(2))]
}

/// Filters of one layer on the device, (filter, row, column), however they came about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Filters<'b> {
    /// Their shape, side at most [`LARGEST_SIDE`].
    pub shape: LayerShape,
    /// Their weights.
    pub weights: &'b Buffer,
}

/// What is minimised, and how far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SplitSettings {
    /// Iterations stop at this change, relative to what the states' `scale` says.
    pub tolerance: f64,
    /// Weight of the regularizer.
    pub lambda: f64,
}

/// The parts of an iteration behind the filters.
#[derive(Debug)]
pub(crate) struct Splitting {
    correlation: Correlation,
    spectrum: Bound,
    plane_rows: u32,
    residual: Bound,
    forward: Pass,
    filter: Bound,
    inverse: Pass,
    step: Bound,
    control: Bound,
    elements: u32,
    groups: u32,
}

impl Splitting {
    /// Prepares iterations for `slots` images of `size` at once. [`Self::record_refresh`] must follow every change of the filters.
    ///
    /// # Errors
    /// [`crate::Error::Data`] for images too large for the Fourier transform; device errors.
    pub fn new(
        gpu: &Gpu,
        filters: &Filters<'_>,
        settings: SplitSettings,
        size: [usize; 2],
        slots: usize,
        on: &Iterates<'_>,
    ) -> Result<Self> {
        let Filters { shape, weights } = *filters;
        let planes = split_planes(size, shape.size);
        let [top, left] = [0, 1].map(|axis| ((planes[axis] - size[axis]) / 2) as u32);
        let params = gpu.params(&[SplitParams {
            rows: size[0] as u32,
            cols: size[1] as u32,
            plane_rows: planes[0] as u32,
            plane_cols: planes[1] as u32,
            top,
            left,
            penalty: (PENALTY * settings.lambda) as f32,
            side: shape.size as u32,
        }])?;
        let fft = Fft::new(slots, [planes[0], planes[1] / 2])?;
        let old_back = gpu.buffer("adjoint of the dual variable", on.x.len())?;
        let space = gpu.buffer("planes", fft.elements())?;
        let frequency = gpu.buffer("spectra", fft.elements())?;
        let pixels = size[0] * size[1];
        let elements = fft.elements() / (2 * slots);
        let groups = pixels.div_ceil(VALUES_PER_GROUP) as u32;
        let partials = gpu.buffer("split partials", slots * groups as usize * 4)?;
        let inverse = gpu.buffer("inverse spectrum", planes[0] * planes[1])?;
        let correlation_params = gpu.params(&[FilterNormParams {
            filters: shape.outputs as u32,
            size: shape.size as u32,
            ..Default::default()
        }])?;
        let correlation = Correlation::new(gpu, &correlation_params, shape, weights)?;
        let [row_waves, col_waves] = [
            gpu.upload("waves", &waves(planes[0]))?,
            gpu.upload("waves", &waves(planes[1]))?,
        ];
        let control_params = gpu.params(&[AgdParams {
            groups,
            tolerance: settings.tolerance as f32,
            ..Default::default()
        }])?;

        // Work per slot: what moves, and what is multiplied.
        let bind = |name: &str, bytes: usize, multiply_adds: usize, memory: &[(&str, &Buffer)]| -> Result<Bound> {
            let all = memory.iter().map(|&(name, buffer)| (name, buffer.into()));
            let all: Vec<_> = [("params", params.binding())].into_iter().chain(all).collect();
            let work = Work {
                bytes: bytes as u64,
                multiply_adds: multiply_adds as u64,
            };
            Ok(gpu.kernel(name, &[])?.bind(gpu, &all)?.with_work(Some(1), [work]))
        };
        Ok(Self {
            spectrum: bind(
                "split_spectrum",
                8 * elements,
                8 * shape.size * elements,
                &[
                    ("correlation", correlation.sums()),
                    ("row_waves", &row_waves),
                    ("col_waves", &col_waves),
                    ("inverse", &inverse),
                ],
            )?,
            residual: bind(
                "split_residual",
                20 * pixels + 8 * elements,
                2 * pixels,
                &[
                    ("active_images", on.active),
                    ("y", on.y),
                    ("x", on.x),
                    ("states", on.states),
                    ("back", on.gradient),
                    ("old_back", &old_back),
                    ("planes", &space),
                ],
            )?,
            forward: fft.pass(gpu, Direction::Forward, &space, &frequency)?,
            filter: bind(
                "split_filter",
                40 * elements,
                20 * elements,
                &[
                    ("inverse", &inverse),
                    ("col_waves", &col_waves),
                    ("planes", &frequency),
                    ("filtered", &space),
                ],
            )?,
            inverse: fft.pass(gpu, Direction::Inverse, &space, &frequency)?,
            step: bind(
                "split_move",
                20 * pixels,
                2 * pixels,
                &[
                    ("active_images", on.active),
                    ("states", on.states),
                    ("planes", &frequency),
                    ("x", on.x),
                    ("z", on.z),
                    ("partials", &partials),
                ],
            )?,
            control: gpu
                .kernel("agd_control", &[])?
                .bind(
                    gpu,
                    &[
                        ("params", control_params.binding()),
                        ("active_images", on.active.into()),
                        ("partials", (&partials).into()),
                        ("states", on.states.into()),
                    ],
                )?
                .with_work(
                    Some(0),
                    [Work {
                        bytes: 16 * u64::from(groups),
                        multiply_adds: 0,
                    }],
                ),
            correlation,
            plane_rows: planes[0] as u32,
            elements: elements as u32,
            groups,
        })
    }

    /// Records what is derived from the filters.
    pub fn record_refresh(&self, recorder: &mut Recorder<'_>) {
        self.correlation.record(recorder);
        recorder.dispatch(&self.spectrum, [self.plane_rows, 1, 1], 0);
    }

    /// Records the rest of an iteration of the first `slots` slots, behind the proximal step on the responses and `W'`.
    pub fn record(&self, recorder: &mut Recorder<'_>, slots: u32) {
        let per_element = [self.elements.div_ceil(64), slots, 1];
        recorder.dispatch(&self.residual, per_element, 0);
        self.forward.record(recorder);
        recorder.dispatch(&self.filter, per_element, 0);
        self.inverse.record(recorder);
        recorder.dispatch(&self.step, [self.groups, slots, 1], 0);
        recorder.dispatch(&self.control, [slots, 1, 1], 0);
    }

    /// For [`Gpu::warm_up`].
    pub fn bound(&self) -> impl Iterator<Item = &Bound> {
        [&self.residual, &self.filter, &self.step, &self.control]
            .into_iter()
            .chain(self.forward.kernels())
            .chain(self.inverse.kernels())
    }
}
