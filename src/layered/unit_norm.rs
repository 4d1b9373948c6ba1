//! Layers of norm at most 1 on the device, and the derivative of that.

use crate::filters::LayerShape;
use crate::gpu::{Bound, Buffer, Gpu, Recorder};
use crate::{Result, shader_struct};

shader_struct! {
    /// Parameters of the `gram_*` kernels (`shaders/lib/gram.wgsl`).
    pub struct GramParams {
        /// Index of the layer's first weight.
        pub first: u32,
        /// Channels that are summed over.
        pub others: u32,
        /// Channels of the Gram operator.
        pub channels: u32,
        /// Side of the filters.
        pub size: u32,
        /// 1 if the Gram operator is that of the outputs.
        pub outputs: u32,
        /// Index of the layer's first correlation.
        pub first_lag: u32,
        /// Index of the layer's first channel.
        pub first_channel: u32,
        /// A little less than 1, so that the bound survives rounding.
        pub margin: f32,
    }
}

/// Covers rounding to f32 of sums of some thousand products.
const MARGIN: f32 = 1.0 - 5e-6;

/// `w = margin v / sqrt(d(v))` for every layer, `d` the row sums of its Gram operator on the side with fewer channels
/// (`shaders/lib/gram.wgsl`): `|w| <= 1` on images of every size with zero padding. [`crate::filters::norm::row_sum_bound`] certifies it.
#[derive(Debug)]
pub struct UnitNorm {
    correlate: Bound,
    scale: Bound,
    params: crate::gpu::ParamTable<GramParams>,
    layers: Vec<GramParams>,
    weights: Vec<usize>,
    correlations: Buffer,
    row_sums: Buffer,
}

/// The product with the transposed Jacobian of [`UnitNorm`], in place.
#[derive(Debug)]
pub struct UnitNormPull {
    sums: Bound,
    pull: Bound,
    layers: Vec<GramParams>,
    weights: Vec<usize>,
}

impl UnitNorm {
    /// Prepares `effective <- unit norm of raw`, layer by layer; both hold the weights of all layers of these `shapes` behind
    /// each other, (output, input, row, column).
    ///
    /// # Errors
    /// Device errors.
    pub fn new(gpu: &Gpu, shapes: &[LayerShape], raw: &Buffer, effective: &Buffer) -> Result<Self> {
        let (mut first, mut first_lag, mut first_channel) = (0, 0, 0);
        let mut layers = Vec::new();
        for shape in shapes {
            let by_outputs = shape.outputs < shape.inputs;
            let channels = shape.outputs.min(shape.inputs);
            layers.push(GramParams {
                first: first as u32,
                others: shape.outputs.max(shape.inputs) as u32,
                channels: channels as u32,
                size: shape.size as u32,
                outputs: u32::from(by_outputs),
                first_lag: first_lag as u32,
                first_channel: first_channel as u32,
                margin: MARGIN,
            });
            first += shape.weights();
            first_lag += channels * channels * (2 * shape.size - 1).pow(2);
            first_channel += channels;
        }
        let params = gpu.params(&layers)?;
        let correlations = gpu.buffer("filter correlations", first_lag)?;
        let row_sums = gpu.buffer("row sums", first_channel)?;
        let correlate = gpu.kernel("gram_correlate", &[])?.bind(
            gpu,
            &[
                ("params", params.binding()),
                ("weights", raw.into()),
                ("correlations", (&correlations).into()),
            ],
        )?;
        let scale = gpu.kernel("gram_scale", &[])?.bind(
            gpu,
            &[
                ("params", params.binding()),
                ("weights", raw.into()),
                ("correlations", (&correlations).into()),
                ("row_sums", (&row_sums).into()),
                ("effective", effective.into()),
            ],
        )?;
        Ok(Self {
            correlate,
            scale,
            params,
            layers,
            weights: shapes.iter().map(LayerShape::weights).collect(),
            correlations,
            row_sums,
        })
    }

    /// Records the normalisation of all layers.
    pub fn record(&self, recorder: &mut Recorder<'_>) {
        for (entry, layer) in self.layers.iter().enumerate() {
            let pairs = layer.channels * layer.channels * (2 * layer.size - 1).pow(2);
            recorder.dispatch(&self.correlate, self.correlate.groups([pairs, 1, 1]), entry);
        }
        for (entry, layer) in self.layers.iter().enumerate() {
            recorder.dispatch(&self.scale, [layer.channels, 1, 1], entry);
        }
    }

    /// Prepares how `gradient` with respect to the effective weights becomes, in place, one with respect to `raw`; it belongs
    /// to the weights of the last [`Self::record`].
    ///
    /// # Errors
    /// Device errors.
    pub fn pull(&self, gpu: &Gpu, raw: &Buffer, gradient: &Buffer) -> Result<UnitNormPull> {
        let pulls = gpu.buffer("pulls of row sums", self.row_sums.len())?;
        let sums = gpu.kernel("gram_pull_sums", &[])?.bind(
            gpu,
            &[
                ("params", self.params.binding()),
                ("weights", raw.into()),
                ("gradient", gradient.into()),
                ("row_sums", (&self.row_sums).into()),
                ("pulls", (&pulls).into()),
            ],
        )?;
        let pull = gpu.kernel("gram_pull", &[])?.bind(
            gpu,
            &[
                ("params", self.params.binding()),
                ("weights", raw.into()),
                ("correlations", (&self.correlations).into()),
                ("row_sums", (&self.row_sums).into()),
                ("pulls", (&pulls).into()),
                ("gradient", gradient.into()),
            ],
        )?;
        Ok(UnitNormPull {
            sums,
            pull,
            layers: self.layers.clone(),
            weights: self.weights.clone(),
        })
    }
}

impl UnitNormPull {
    /// Records the product for all layers.
    pub fn record(&self, recorder: &mut Recorder<'_>) {
        for (entry, layer) in self.layers.iter().enumerate() {
            recorder.dispatch(&self.sums, [layer.channels, 1, 1], entry);
        }
        for (entry, weights) in self.weights.iter().enumerate() {
            recorder.dispatch(&self.pull, self.pull.groups([*weights as u32, 1, 1]), entry);
        }
    }
}
