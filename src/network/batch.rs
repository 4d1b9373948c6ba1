//! The forward pass and the loss of an ensemble on one set of samples.

use super::architecture::Layout;
use super::derived::Derived;
use super::params::{LayerParams, LossParams};
use crate::gpu::{Bound, Buffer, Gpu, ParamTable, Recorder};
use crate::{Error, Result};

/// Samples, responses and kernels of the forward pass.
#[derive(Debug)]
pub(super) struct Batch {
    /// Samples per member.
    pub samples: usize,
    /// u, (member, unit, sample), the input included.
    pub pre: Buffer,
    /// a, (member, unit, sample), filled for the hidden units.
    pub post: Buffer,
    /// d loss / d u, (member, unit, sample), not filled for the input.
    pub delta: Buffer,
    /// Mean squared error per member.
    pub losses: Buffer,
    /// One entry per layer.
    pub layers: ParamTable<LayerParams>,
    forward: Vec<Bound>,
    loss: Bound,
    members: u32,
}

/// The constants of `shaders/lib/spline.wgsl` for splines of at most `slots` knots: all segments in registers up to 32, else
/// 16 of them and halving.
pub(super) fn search(slots: usize) -> [(&'static str, u32); 2] {
    let segments = slots - 1;
    if segments <= 32 {
        return [("PIVOTS", segments as u32), ("HALVINGS", 0)];
    }
    [
        ("PIVOTS", 16),
        ("HALVINGS", segments.div_ceil(16).next_power_of_two().trailing_zeros()),
    ]
}

impl Batch {
    /// Uploads samples `x`, (member, input, sample), with targets `y`, (member, sample).
    ///
    /// # Errors
    /// [`Error::Data`] for lengths that do not match or values that are not finite; device errors.
    pub fn new(gpu: &Gpu, layout: &Layout, derived: &Derived, x: &[f32], y: &[f32]) -> Result<Self> {
        let architecture = &layout.architecture;
        let widths = architecture.widths();
        let samples = y.len() / layout.members;
        if samples == 0 || y.len() != samples * layout.members || x.len() != y.len() * widths[0] {
            return Err(Error::Data(format!(
                "{} networks with {} inputs need as many samples each, but got {} inputs and {} targets",
                layout.members,
                widths[0],
                x.len(),
                y.len()
            )));
        }
        if let Some(n) = x.iter().chain(y).position(|v| !v.is_finite()) {
            return Err(Error::Data(format!("sample value {n} is not finite")));
        }
        let units = architecture.units();
        let len = layout.members * units * samples;
        let mut responses = vec![0.0_f32; len];
        for (member, inputs) in responses
            .chunks_exact_mut(units * samples)
            .zip(x.chunks_exact(widths[0] * samples))
        {
            member[..inputs.len()].copy_from_slice(inputs);
        }
        let pre = gpu.upload("responses", &responses)?;
        let post = gpu.buffer("activations", len)?;
        let delta = gpu.buffer("response gradients", len)?;
        let losses = gpu.buffer("losses", layout.members)?;
        let layers = gpu.params(&layer_params(layout, samples))?;
        let mut forward = Vec::new();
        for layer in 0..architecture.layers() {
            let (rows, columns) = architecture.matrix(layer);
            let [pivots, halvings] = search(layout.slots);
            let constants = [
                ("IN", columns as u32),
                ("OUT", rows as u32),
                ("ACTIVATED", u32::from(layer > 0)),
                pivots,
                halvings,
            ];
            let memory = [
                ("params", layers.binding()),
                ("parameters", (&derived.parameters).into()),
                ("matrices", (&derived.matrices).into()),
                ("knots", (&derived.table).into()),
                ("counts", (&derived.counts).into()),
                ("pre", (&pre).into()),
                ("post", (&post).into()),
            ];
            forward.push(gpu.kernel("network_forward", &constants)?.bind(gpu, &memory)?);
        }
        let params = gpu.params(&[LossParams {
            samples: samples as u32,
            units: units as u32,
            ..Default::default()
        }])?;
        let targets = gpu.upload("targets", y)?;
        let memory = [
            ("params", params.binding()),
            ("pre", (&pre).into()),
            ("targets", (&targets).into()),
            ("delta", (&delta).into()),
            ("losses", (&losses).into()),
        ];
        let loss = gpu.kernel("network_loss", &[])?.bind(gpu, &memory)?;
        Ok(Self {
            samples,
            pre,
            post,
            delta,
            losses,
            layers,
            forward,
            loss,
            members: layout.members as u32,
        })
    }

    /// Records the forward pass and the loss.
    pub fn record(&self, recorder: &mut Recorder<'_>) {
        for (layer, bound) in self.forward.iter().enumerate() {
            let groups = [quads(self.samples), self.members, 1];
            recorder.dispatch(bound, groups, layer);
        }
        recorder.dispatch(&self.loss, [self.members, 1, 1], 0);
    }
}

/// Workgroups that cover `samples` samples.
pub(super) fn quads(samples: usize) -> u32 {
    samples.div_ceil(256) as u32
}

fn layer_params(layout: &Layout, samples: usize) -> Vec<LayerParams> {
    let architecture = &layout.architecture;
    let entry = |layer: usize| LayerParams {
        samples: samples as u32,
        units: architecture.units() as u32,
        dense: architecture.dense() as u32,
        splines: architecture.splines() as u32,
        slots: layout.slots as u32,
        alphas: layout.alpha(0) as u32,
        from_unit: architecture.unit(layer) as u32,
        to_unit: architecture.unit(layer + 1) as u32,
        // The input has no splines: of layer 0 this is never read.
        from_spline: architecture.unit(layer).saturating_sub(architecture.widths()[0]) as u32,
        weights: architecture.weights(layer) as u32,
        biases: architecture.biases(layer) as u32,
        pad0: 0,
    };
    (0..architecture.layers()).map(entry).collect()
}
