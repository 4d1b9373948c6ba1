//! The gradient with respect to a layer's filters: how its sums are cut into launches, and the launches.

use super::plan::COLS;
use super::{LayerShape, Region};
use crate::gpu::{Blocks, Bound, Buffer, Gpu, KernelStyle, Recorder};
use crate::{Error, Result, shader_struct};

shader_struct! {
    /// Parameters of `conv_weight_gradient.wgsl`.
    pub struct WeightGradientParams {
        /// Rows of the image.
        pub rows: u32,
        /// Columns of the image.
        pub cols: u32,
        /// Strips side by side.
        pub across: u32,
        /// Strips one below the other.
        pub bands: u32,
        /// Rows of a strip.
        pub band_rows: u32,
        /// Strips in all images.
        pub strips: u32,
        /// Strips per invocation.
        pub trips: u32,
        /// Where the chunks of this launch go in the partial sums.
        pub first_chunk: u32,
        /// Index of the value of `g` at pixel (0, 0) of plane 0, image 0.
        pub g_first: u32,
        /// Elements from row to row of `g`.
        pub g_row_stride: u32,
        /// Elements from plane to plane of `g`.
        pub g_plane_stride: u32,
        /// Elements from image to image of `g`.
        pub g_image_stride: u32,
        /// The same for `x`.
        pub x_first: u32,
        /// See `x_first`.
        pub x_row_stride: u32,
        /// See `x_first`.
        pub x_plane_stride: u32,
        /// See `x_first`.
        pub x_image_stride: u32,
    }
}

shader_struct! {
    /// Parameters of `conv_weight_totals.wgsl`.
    pub struct WeightTotalsParams {
        /// Weights of the layer.
        pub weights: u32,
        /// Partial sums per weight.
        pub chunks: u32,
        /// Index of the layer's first weight in the gradient.
        pub first: u32,
        /// 1 to add to the gradient.
        pub accumulate: u32,
    }
}

/// Which part of a layer's filter gradient one invocation of `conv_weight_gradient.wgsl` sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeightGradientPlan {
    /// Planes of `g`; divides the layer's outputs.
    pub co: usize,
    /// Planes of `x`; divides the layer's inputs.
    pub ci: usize,
    /// Filter rows; divides the filter's size.
    pub taps: usize,
    /// Invocations per workgroup, at least 32.
    pub lanes: usize,
    /// Workgroups that keep the device busy: beyond them, invocations take more strips instead.
    pub busy: usize,
}

/// Sums that one invocation holds: what registers take on a GPU, what the nearest cache takes on a software driver.
const HARDWARE_SUMS: usize = 104;
const SOFTWARE_SUMS: usize = 400;

/// Relative costs, per step of a strip, of a storage access, of four multiply-adds for one sum, and of carrying a sum or a
/// value of the window to the next row: estimates that rank blocks. Access and multiply-add on a software driver are those
/// of [`super::ConvPlan`]; a GPU holds everything in registers and loads far more cheaply.
const SOFTWARE_COSTS: [f64; 3] = [18.0, 1.8, 0.5];
const HARDWARE_COSTS: [f64; 3] = [4.0, 4.0, 0.0];

/// Strips that one invocation takes at most: enough to hide the final addition over the workgroup.
const MOST_TRIPS: usize = 8;
/// Rows of the shortest strip that is cut: each begins by loading the rows above it.
const LEAST_ROWS: usize = 16;
/// Sums that a workgroup adds up at a time.
const CHUNK: usize = 32;

fn divisors(n: usize) -> impl Iterator<Item = usize> {
    (1..=n).filter(move |d| n.is_multiple_of(*d))
}

impl WeightGradientPlan {
    /// The plan for a layer of `outputs` x `inputs` filters of side `size`.
    pub fn new(style: KernelStyle, inputs: usize, outputs: usize, size: usize) -> Self {
        let (sums, costs, lanes, busy) = match style.blocks {
            Blocks::Large => (SOFTWARE_SUMS, SOFTWARE_COSTS, 32, 64),
            Blocks::Small => (HARDWARE_SUMS, HARDWARE_COSTS, 64, 2048),
        };
        let cost = |p: &Self| {
            let window = p.ci * (COLS + size - 1);
            let held = p.co * p.ci * p.taps * size;
            let [access, multiply_adds, carry] = costs;
            let step = access * (p.co * COLS + window) as f64
                + multiply_adds * held as f64
                + carry * (held + window * p.taps) as f64;
            step / held as f64
        };
        let whole = Self {
            co: 1,
            ci: 1,
            taps: 1,
            lanes,
            busy,
        };
        let plans = divisors(outputs).flat_map(|co| {
            divisors(inputs).flat_map(move |ci| divisors(size).map(move |taps| Self { co, ci, taps, ..whole }))
        });
        plans
            .filter(|p| p.co * p.ci * p.taps * size <= sums)
            .min_by(|a, b| cost(a).total_cmp(&cost(b)))
            .unwrap_or(whole)
    }

    fn constants(&self, inputs: usize, outputs: usize, size: usize) -> [(&'static str, u32); 8] {
        [
            ("K", size as u32),
            ("INPUTS", inputs as u32),
            ("OUTPUTS", outputs as u32),
            ("CO", self.co as u32),
            ("CI", self.ci as u32),
            ("TAPS", self.taps as u32),
            ("CHUNKS", (self.co * self.ci * self.taps * size).div_ceil(CHUNK) as u32),
            ("LANES", self.lanes as u32),
        ]
    }

    fn blocks(&self, inputs: usize, outputs: usize, size: usize) -> usize {
        (outputs / self.co) * (inputs / self.ci) * (size / self.taps)
    }
}

/// A gradient with respect to a layer's outputs and the inputs that it meets: planes and where the image lies in them.
#[derive(Clone, Copy, Debug)]
pub struct GradientPair<'b> {
    /// `g`, (image, output plane, row, column).
    pub g: &'b Buffer,
    /// The image in `g`.
    pub g_region: Region,
    /// `x`, (image, input plane, row, column), zero within the filter's radius around the image. Invocations may read some
    /// values behind the last row, as those of [`super::ConvStage`] do; they must be finite.
    pub x: &'b Buffer,
    /// The image in `x`.
    pub x_region: Region,
}

/// `dL/dw[o, i, ky, kx] = sum over pairs, images, r, q of g[o](r, q) x[i](r + ky - size/2, q + kx - size/2)`, for one layer,
/// in two passes with a fixed order of additions: the same bits on every run of one device.
#[derive(Debug)]
pub struct WeightGradient {
    sums: Vec<Bound>,
    totals: Bound,
    groups: [u32; 3],
    total_groups: [u32; 3],
}

impl WeightGradient {
    /// Prepares the gradient of a layer over `images` images into elements `first ..` of `gradient`, (o, i, ky, kx). The
    /// images of all pairs have one size, that of the inside of their regions.
    ///
    /// # Errors
    /// [`Error::Data`] if there is no pair or their sizes differ; device errors.
    pub fn new(
        gpu: &Gpu,
        plan: &WeightGradientPlan,
        shape: LayerShape,
        images: usize,
        pairs: &[GradientPair<'_>],
        gradient: &Buffer,
        first: usize,
    ) -> Result<Self> {
        let LayerShape { inputs, outputs, size } = shape;
        let extent = |r: &Region| [r.inside_rows as usize, r.inside_cols as usize];
        let regions = || pairs.iter().flat_map(|p| [&p.g_region, &p.x_region]);
        let [rows, cols] = regions().next().map_or([0, 0], extent);
        if rows * cols * images == 0 || regions().any(|r| extent(r) != [rows, cols]) {
            return Err(Error::Data(format!(
                "a filter gradient needs pairs of planes of one size that is not zero, but got {:?}",
                regions().map(extent).collect::<Vec<_>>()
            )));
        }
        let cut = Cut::new(plan, plan.blocks(inputs, outputs, size), images, [rows, cols]);
        let weights = shape.weights();
        let partials = gpu.buffer("filter gradient partials", pairs.len() * cut.chunks * weights)?;
        let kernel = gpu.kernel("conv_weight_gradient", &plan.constants(inputs, outputs, size))?;
        let sums = pairs.iter().enumerate().map(|(index, pair)| {
            let params = gpu.params(&[cut.params(pair, index)])?;
            let memory = [
                ("params", params.binding()),
                ("g", pair.g.into()),
                ("x", pair.x.into()),
                ("partials", (&partials).into()),
            ];
            kernel.bind(gpu, &memory)
        });
        let sums = sums.collect::<Result<Vec<_>>>()?;
        let params = gpu.params(&[0, 1].map(|accumulate| WeightTotalsParams {
            weights: weights as u32,
            chunks: (pairs.len() * cut.chunks) as u32,
            first: first as u32,
            accumulate,
        }))?;
        let memory = [
            ("params", params.binding()),
            ("partials", (&partials).into()),
            ("gradient", gradient.into()),
        ];
        let totals = gpu.kernel("conv_weight_totals", &[])?.bind(gpu, &memory)?;
        Ok(Self {
            sums,
            total_groups: totals.groups([weights as u32, 1, 1]),
            totals,
            groups: [cut.chunks as u32, plan.blocks(inputs, outputs, size) as u32, 1],
        })
    }

    /// Records the gradient, which replaces what was there or, with `accumulate`, is added to it.
    pub fn record(&self, recorder: &mut Recorder<'_>, accumulate: bool) {
        for sums in &self.sums {
            recorder.dispatch(sums, self.groups, 0);
        }
        recorder.dispatch(&self.totals, self.total_groups, usize::from(accumulate));
    }

    /// For [`Gpu::warm_up`].
    pub fn bound(&self) -> impl Iterator<Item = &Bound> {
        self.sums.iter().take(1).chain([&self.totals])
    }
}

/// How the pixels of all images are shared out.
struct Cut {
    rows: usize,
    cols: usize,
    across: usize,
    bands: usize,
    band_rows: usize,
    strips: usize,
    trips: usize,
    chunks: usize,
}

impl Cut {
    fn new(plan: &WeightGradientPlan, blocks: usize, images: usize, [rows, cols]: [usize; 2]) -> Self {
        let across = cols.div_ceil(COLS);
        let wanted = (plan.busy * plan.lanes).div_ceil(blocks * images * across);
        let band_rows = rows.div_ceil(wanted).max(LEAST_ROWS).min(rows);
        let bands = rows.div_ceil(band_rows);
        let strips = images * across * bands;
        let trips = (strips * blocks / (plan.busy * plan.lanes)).clamp(1, MOST_TRIPS);
        Self {
            rows,
            cols,
            across,
            bands,
            band_rows,
            strips,
            trips,
            chunks: strips.div_ceil(plan.lanes * trips),
        }
    }

    fn params(&self, pair: &GradientPair<'_>, index: usize) -> WeightGradientParams {
        let origin = |r: &Region| r.first + r.inside_top * r.row_stride + r.inside_left;
        let (g, x) = (&pair.g_region, &pair.x_region);
        WeightGradientParams {
            rows: self.rows as u32,
            cols: self.cols as u32,
            across: self.across as u32,
            bands: self.bands as u32,
            band_rows: self.band_rows as u32,
            strips: self.strips as u32,
            trips: self.trips as u32,
            first_chunk: (index * self.chunks) as u32,
            g_first: origin(g),
            g_row_stride: g.row_stride,
            g_plane_stride: g.plane_stride,
            g_image_stride: g.image_stride,
            x_first: origin(x),
            x_row_stride: x.row_stride,
            x_plane_stride: x.plane_stride,
            x_image_stride: x.image_stride,
        }
    }
}
