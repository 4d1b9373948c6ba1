//! Filters that are made of several layers and used as one, and the derivative of that.

use super::filter_norm::check_side;
use crate::filters::FilterBank;
use crate::gpu::{Bound, Buffer, Gpu, ParamTable, Recorder, Slice};
use crate::{Result, shader_struct};

shader_struct! {
    /// Parameters of the `filter_compose*` kernels (`shaders/lib/compose.wgsl`).
    pub struct ComposeParams {
        /// Planes that the layer writes.
        pub outputs: u32,
        /// Planes that it reads.
        pub inputs: u32,
        /// Side of its filters.
        pub size: u32,
        /// Side of the filters before it.
        pub before: u32,
        /// Where its weights begin.
        pub first: u32,
        /// Padding.
        pub pad0: u32,
        /// Padding.
        pub pad1: u32,
        /// Padding.
        pub pad2: u32,
    }
}

impl ComposeParams {
    /// Elements of the filters up to this layer.
    fn composed(&self) -> u32 {
        self.outputs * (self.before + self.size - 1).pow(2)
    }

    /// Elements of the filters before it.
    fn elements_before(&self) -> u32 {
        self.inputs * self.before.pow(2)
    }

    /// Its weights.
    fn weights(&self) -> u32 {
        self.outputs * self.inputs * self.size.pow(2)
    }
}

/// The filters of a bank of several layers as those of one layer, [`FilterBank::collapsed`], on the device. Used like that, they see only
/// the image padded with zeros, so that their norm has the tight bound of one layer ([`crate::filters::norm`]).
#[derive(Debug)]
pub(super) struct Composition {
    /// All weights, (layer, output, input, row, column).
    weights: Buffer,
    layers: Vec<ComposeParams>,
    table: ParamTable<ComposeParams>,
    /// Filters up to layer `l + 1`, but for the last layer.
    partial: Vec<Buffer>,
    /// By layer, from the second.
    steps: Vec<Bound>,
}

/// The product with the transposed Jacobian.
#[derive(Debug)]
pub(super) struct CompositionPull {
    layers: Vec<ComposeParams>,
    /// By layer, from the second: with respect to its weights, and to what comes before.
    steps: Vec<[Bound; 2]>,
    weights: Buffer,
}

impl Composition {
    /// Prepares the filters of `bank`, of at least two layers, into `composed`, (output, row, column).
    ///
    /// # Errors
    /// [`crate::Error::Usage`] for filters too large to train; device errors.
    pub fn new(gpu: &Gpu, bank: &FilterBank, composed: &Buffer) -> Result<Self> {
        check_side(2 * bank.radius() + 1)?;
        let (mut layers, mut first, mut before) = (Vec::new(), 0, 1);
        for layer in bank.layers() {
            layers.push(ComposeParams {
                outputs: layer.outputs as u32,
                inputs: layer.inputs as u32,
                size: layer.size as u32,
                before,
                first,
                ..Default::default()
            });
            first += layer.weights.len() as u32;
            before += layer.size as u32 - 1;
        }
        let between = layers[1..layers.len() - 1].iter();
        let partial = between.map(|layer| gpu.buffer("filters of the first layers", layer.composed() as usize));
        let mut this = Self {
            weights: gpu.buffer("weights of all layers", first as usize)?,
            partial: partial.collect::<Result<_>>()?,
            steps: Vec::new(),
            table: gpu.params(&layers)?,
            layers,
        };
        for index in 1..this.layers.len() {
            let into = this.partial.get(index - 1).unwrap_or(composed);
            let memory = [
                ("params", this.table.binding()),
                ("weights", (&this.weights).into()),
                ("before", this.before(index, &this.weights, &this.partial).into()),
                ("composed", into.into()),
            ];
            this.steps.push(gpu.kernel("filter_compose", &[])?.bind(gpu, &memory)?);
        }
        Ok(this)
    }

    /// Of arrays that begin with the first layer and of those of the layers behind it, what lies before layer `index`.
    fn before<'b>(&self, index: usize, first: &'b Buffer, partial: &'b [Buffer]) -> Slice<'b> {
        match index {
            1 => first.slice(0, self.layers[0].weights() as usize),
            _ => partial[index - 2].all(),
        }
    }

    /// The weights that are composed, of all layers.
    pub fn weights(&self) -> &Buffer {
        &self.weights
    }

    /// Records the composition.
    pub fn record(&self, recorder: &mut Recorder<'_>) {
        for (index, (step, layer)) in self.steps.iter().zip(&self.layers[1..]).enumerate() {
            recorder.dispatch(step, step.groups([layer.composed(), 1, 1]), index + 1);
        }
    }

    /// Prepares the product for `gradient` at the composed filters.
    ///
    /// # Errors
    /// Device errors.
    pub fn pull(&self, gpu: &Gpu, gradient: &Buffer) -> Result<CompositionPull> {
        let weights = gpu.buffer("gradient of all layers", self.weights.len())?;
        let like = |buffer: &Buffer| gpu.buffer("gradient of the first layers", buffer.len());
        let partial = self.partial.iter().map(like).collect::<Result<Vec<_>>>()?;
        let step = |index: usize| {
            let common = [
                ("params", self.table.binding()),
                ("gradient", partial.get(index - 1).unwrap_or(gradient).into()),
            ];
            let bind = |kernel: &str, memory: [(&str, Slice<'_>); 2]| {
                let memory = memory.map(|(name, slice)| (name, slice.into()));
                gpu.kernel(kernel, &[])?.bind(gpu, &[common, memory].concat())
            };
            let before = self.before(index, &self.weights, &self.partial);
            let of_before = self.before(index, &weights, &partial);
            Ok([
                bind(
                    "filter_compose_vjp_weights",
                    [("before", before), ("of_weights", weights.all())],
                )?,
                bind(
                    "filter_compose_vjp_before",
                    [("weights", self.weights.all()), ("of_before", of_before)],
                )?,
            ])
        };
        Ok(CompositionPull {
            steps: (1..self.layers.len()).map(step).collect::<Result<_>>()?,
            layers: self.layers.clone(),
            weights,
        })
    }
}

impl CompositionPull {
    /// With respect to the weights of all layers.
    pub fn weights(&self) -> &Buffer {
        &self.weights
    }

    /// Records the product.
    pub fn record(&self, recorder: &mut Recorder<'_>) {
        for (index, [of_weights, of_before]) in self.steps.iter().enumerate().rev() {
            let layer = &self.layers[index + 1];
            recorder.dispatch(of_weights, of_weights.groups([layer.weights(), 1, 1]), index + 1);
            recorder.dispatch(of_before, of_before.groups([layer.elements_before(), 1, 1]), index + 1);
        }
    }
}
