//! The gradient of an ensemble's objective with respect to every parameter.

use super::architecture::Layout;
use super::batch::{Batch, quads, search};
use super::derived::{Derived, spline_params};
use super::ensemble::EnsembleSettings;
use crate::Result;
use crate::gpu::{Bound, Buffer, Gpu, Recorder};

/// Pairs of sums that fit the workgroup memory every adapter has.
const SHARED_PAIRS: u32 = 2048;

/// The backward pass and its results.
#[derive(Debug)]
pub(super) struct Gradient {
    /// As the parameters lie.
    pub gradients: Buffer,
    /// d loss / d a, (member, unit, sample), filled for the hidden units.
    pub post_gradient: Buffer,
    layers: Vec<Layer>,
    matrices: Bound,
    sums: Bound,
    values: Bound,
    groups: [[u32; 3]; 3],
}

#[derive(Debug)]
struct Layer {
    weights: Bound,
    weight_groups: [u32; 3],
    /// To the layer before; the input needs no gradient.
    inputs: Option<Bound>,
    input_groups: [u32; 3],
}

impl Gradient {
    pub fn new(
        gpu: &Gpu,
        layout: &Layout,
        settings: &EnsembleSettings,
        derived: &Derived,
        batch: &Batch,
        lambdas: &[f32],
    ) -> Result<Self> {
        let gradients = gpu.buffer("gradients", layout.len())?;
        let post_gradient = gpu.buffer("activation gradients", batch.post.len())?;
        let layers = (0..layout.architecture.layers())
            .map(|layer| Layer::new(gpu, layout, derived, batch, &gradients, &post_gradient, layer))
            .collect::<Result<_>>()?;
        let memory = [
            ("params", derived.params.binding()),
            ("layers", (&derived.records).into()),
            ("iterates", (&derived.iterates).into()),
            ("norms", (&derived.norms).into()),
            ("gradients", (&gradients).into()),
        ];
        let matrices = gpu
            .kernel("network_orthonormalise_vjp", &derived.constants)?
            .bind(gpu, &memory)?;
        let params = gpu.params(&[spline_params(layout, settings, batch.samples)])?;
        let segments = layout.slots as u32 - 1;
        let segment_sums = gpu.buffer("segment sums", 2 * layout.splines() * segments as usize)?;
        let rows = 1 << (SHARED_PAIRS / segments).ilog2().min(6);
        let [pivots, halvings] = search(layout.slots);
        let constants = [
            ("ROWS", rows),
            ("SEGMENTS", segments),
            ("SHARED", rows * segments),
            pivots,
            halvings,
        ];
        let memory = [
            ("params", params.binding()),
            ("parameters", (&derived.parameters).into()),
            ("knots", (&derived.table).into()),
            ("counts", (&derived.counts).into()),
            ("pre", (&batch.pre).into()),
            ("post_gradient", (&post_gradient).into()),
            ("sums", (&segment_sums).into()),
        ];
        let sums = gpu.kernel("network_spline_sums", &constants)?.bind(gpu, &memory)?;
        let lambdas = gpu.upload("lambdas", lambdas)?;
        let memory = [
            ("params", params.binding()),
            ("parameters", (&derived.parameters).into()),
            ("knots", (&derived.table).into()),
            ("counts", (&derived.counts).into()),
            ("lambdas", (&lambdas).into()),
            ("sums", (&segment_sums).into()),
            ("gradients", (&gradients).into()),
        ];
        let values = gpu
            .kernel("network_spline_gradient", &[("SEGMENTS", segments)])?
            .bind(gpu, &memory)?;
        let members = layout.members as u32;
        Ok(Self {
            groups: [
                [layout.architecture.layers() as u32, members, 1],
                [layout.architecture.splines() as u32, members, 1],
                values.groups([layout.splines() as u32, 1, 1]),
            ],
            gradients,
            post_gradient,
            layers,
            matrices,
            sums,
            values,
        })
    }

    /// Records the backward pass; the forward pass and the loss must have been recorded before.
    pub fn record(&self, recorder: &mut Recorder<'_>) {
        for (entry, layer) in self.layers.iter().enumerate().rev() {
            recorder.dispatch(&layer.weights, layer.weight_groups, entry);
            if let Some(inputs) = &layer.inputs {
                recorder.dispatch(inputs, layer.input_groups, entry);
            }
        }
        let kernels = [&self.matrices, &self.sums, &self.values];
        for (kernel, groups) in kernels.into_iter().zip(self.groups) {
            recorder.dispatch(kernel, groups, 0);
        }
    }
}

impl Layer {
    fn new(
        gpu: &Gpu,
        layout: &Layout,
        derived: &Derived,
        batch: &Batch,
        gradients: &Buffer,
        post_gradient: &Buffer,
        layer: usize,
    ) -> Result<Self> {
        let (rows, columns) = layout.architecture.matrix(layer);
        let (rows, columns) = (rows as u32, columns as u32);
        let memory = [
            ("params", batch.layers.binding()),
            ("source", if layer == 0 { &batch.pre } else { &batch.post }.into()),
            ("delta", (&batch.delta).into()),
            ("gradients", gradients.into()),
        ];
        let constants = [("IN", columns), ("SHARED", 64 * (columns + 1))];
        let weights = gpu.kernel("network_weight_gradient", &constants)?.bind(gpu, &memory)?;
        let members = layout.members as u32;
        let (mut inputs, mut input_groups) = (None, [0; 3]);
        if layer > 0 {
            let memory = [
                ("params", batch.layers.binding()),
                ("parameters", (&derived.parameters).into()),
                ("matrices", (&derived.matrices).into()),
                ("knots", (&derived.table).into()),
                ("counts", (&derived.counts).into()),
                ("pre", (&batch.pre).into()),
                ("delta", (&batch.delta).into()),
                ("post_gradient", post_gradient.into()),
            ];
            let [pivots, halvings] = search(layout.slots);
            let constants = [("IN", columns), ("OUT", rows), pivots, halvings];
            let bound = gpu.kernel("network_backward", &constants)?.bind(gpu, &memory)?;
            input_groups = [quads(batch.samples), members, 1];
            inputs = Some(bound);
        }
        Ok(Self {
            weights,
            weight_groups: [rows, members, 1],
            inputs,
            input_groups,
        })
    }
}
