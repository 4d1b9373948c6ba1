//! The loss of a batch of patches and its gradient with respect to every parameter, by backpropagation through the layers.

use std::sync::Arc;

use super::backward::{Back, Builder};
use super::model::{Architecture, Layered};
use super::parts::Parts;
use super::tape::Tape;
use super::unit_norm::UnitNormPull;
use crate::filters::Region;
use crate::gpu::{Bound, Buffer, Gpu, Readback, Recorder};
use crate::model::Tiling;
use crate::train::{ImageLoss, TrainingParams};
use crate::{Error, Result};

/// `L = sum over patches of weight l(out - target)`, `l(d) = d^2 / 2` or `|d|`, `out` the network of the noisy patches, and
/// `dL/d` every parameter of [`Parts`]; made for batches of one shape.
#[derive(Debug)]
pub struct LossGradient {
    input: Buffer,
    target: Buffer,
    patch_weights: Buffer,
    forward: Tape,
    loss: Bound,
    backward: Vec<Back>,
    logs: Vec<(Bound, u32)>,
    pull: Option<UnitNormPull>,
    weights: Buffer,
    shifts: Buffer,
    scalings: Buffer,
    kept: Vec<Vec<[Arc<Buffer>; 2]>>,
    regions: Vec<Region>,
    sums: Buffer,
    sums_out: Readback,
    slots: usize,
    pixels: usize,
}

impl LossGradient {
    /// Prepares batches of `slots` patches of `size` rows and columns for `parts`, which were uploaded from `model`.
    ///
    /// # Errors
    /// [`Error::Data`] for more planes than a launch covers; device errors.
    pub fn new(
        gpu: &Gpu,
        parts: &Parts,
        model: &Layered,
        loss: ImageLoss,
        slots: usize,
        size: [usize; 2],
    ) -> Result<Self> {
        let [height, width] = size;
        let pixels = height * width;
        let blur = model.blur()?;
        let halo = parts.radius().max(blur.as_ref().map_or(0, |b| b.radius()));
        let tiling = Tiling::framed(halo, height, width);
        let single = |label: &str| gpu.buffer(label, slots * pixels);
        let (input, target) = (single("noisy patches")?, single("targets")?);
        let (output, slope) = (single("outputs")?, single("loss gradient")?);
        let mut build = Builder::new(gpu, parts, &tiling, slots)?;
        match &model.architecture {
            Architecture::Denoiser { .. } => build.chain(&input, &output, &slope)?,
            Architecture::Unrolled { steps, step, .. } => {
                build.unrolled(
                    [*steps, parts.layers().len()],
                    *step,
                    blur.as_ref(),
                    [&input, &output, &slope],
                )?;
            }
        }
        let Builder {
            forward,
            backward,
            weights,
            shifts,
            kept,
            ..
        } = build;
        let patch_weights = gpu.buffer("weights of patches", slots)?;
        let sums = gpu.buffer("loss sums", 4 * slots)?;
        let params = gpu.params(&[TrainingParams {
            pixels: pixels as u32,
            tolerance: 0.0,
            // The kernel writes the gradient times minus this.
            step: -1.0,
            loss: u32::from(loss == ImageLoss::L1),
            width: pixels as u32,
            ..Default::default()
        }])?;
        let loss = gpu.kernel("training_loss", &[])?.bind(
            gpu,
            &[
                ("params", params.binding()),
                ("x", (&output).into()),
                ("clean", (&target).into()),
                ("weights", (&patch_weights).into()),
                ("descent", (&slope).into()),
                ("sums", (&sums).into()),
            ],
        )?;
        let mut this = Self {
            input,
            target,
            patch_weights,
            forward,
            loss,
            backward,
            logs: Vec::new(),
            pull: parts.norm().map(|n| n.pull(gpu, parts.raw(), &weights)).transpose()?,
            weights,
            shifts,
            scalings: gpu.buffer("scaling gradient", parts.logs().len())?,
            kept,
            regions: parts
                .banks()
                .iter()
                .map(|b| tiling.region(0, 0, b.channels()))
                .collect(),
            sums_out: gpu.readback(sums.len())?,
            sums,
            slots,
            pixels,
        };
        for (set, bank) in parts.banks().iter().enumerate() {
            let params = gpu.params(&[parts.scaling_params(set)])?;
            let (first, count) = parts.range(set);
            let bound = gpu.kernel("scaling_gradient", &[])?.bind(
                gpu,
                &[
                    ("params", params.binding()),
                    ("records", bank.records().into()),
                    ("of_alphas", this.bank(set)?.alphas().into()),
                    ("of_logs", this.scalings.slice(first, count).into()),
                ],
            )?;
            this.logs.push((bound, count as u32));
        }
        Ok(this)
    }

    /// The loss and the mean squared error of `noisy` patches whose outputs should be `targets`, (patch, row, column), counting
    /// patch by patch with `weights`; the gradients are on the device then. `None` if the loss is not finite. With `keep`,
    /// the responses can be read afterwards.
    ///
    /// # Errors
    /// [`Error::Data`] for other numbers of values; device errors.
    pub fn run(
        &self,
        gpu: &Gpu,
        noisy: &[f32],
        targets: &[f32],
        weights: &[f32],
        keep: bool,
    ) -> Result<Option<(f64, f64)>> {
        let count = self.slots * self.pixels;
        if noisy.len() != count || targets.len() != count || weights.len() != self.slots {
            return Err(Error::Data(format!(
                "a step wants {} patches of {} pixels",
                self.slots, self.pixels
            )));
        }
        gpu.write(&self.input, noisy)?;
        gpu.write(&self.target, targets)?;
        gpu.write(&self.patch_weights, weights)?;
        let mut recorder = gpu.record();
        self.record(&mut recorder, keep);
        recorder.copy_out(self.sums.all(), &self.sums_out);
        recorder.submit();
        drop(recorder);
        let sums: Vec<f32> = gpu.fetch(&self.sums_out)?;
        let total = |k: usize| sums.iter().skip(k).step_by(4).map(|v| f64::from(*v)).sum::<f64>();
        let (loss, squared) = (total(0), total(1) / count as f64);
        Ok(loss.is_finite().then_some((loss, squared)))
    }

    fn record(&self, recorder: &mut Recorder<'_>, keep: bool) {
        let slots = self.slots as u32;
        self.forward.record(recorder, slots);
        recorder.dispatch(&self.loss, [slots, 1, 1], 0);
        self.backward.iter().for_each(|b| b.record(recorder, slots, keep));
        for (bound, count) in &self.logs {
            recorder.dispatch(bound, bound.groups([*count, 1, 1]), 0);
        }
        if let Some(pull) = &self.pull {
            pull.record(recorder);
        }
    }

    /// With respect to [`Parts::raw`].
    pub fn weights(&self) -> &Buffer {
        &self.weights
    }

    /// With respect to [`Parts::shifts`].
    pub fn shifts(&self) -> &Buffer {
        &self.shifts
    }

    /// With respect to [`Parts::logs`].
    pub fn scalings(&self) -> &Buffer {
        &self.scalings
    }

    /// With respect to the nodal values of set `set`.
    ///
    /// # Errors
    /// [`Error::Internal`] for a set that does not exist.
    pub fn values(&self, set: usize) -> Result<&Buffer> {
        Ok(self.bank(set)?.values())
    }

    fn bank(&self, set: usize) -> Result<&crate::spline::device::BankGradient> {
        let own = |back: &Back| matches!(back, Back::Bank { set: s, .. } if *s == set);
        match self.backward.iter().find(|b| own(b)) {
            Some(Back::Bank { gradient, .. }) => Ok(gradient),
            _ => Err(Error::Internal(format!("set {set} has no gradient"))),
        }
    }

    /// Where the planes of set `set` lie, and for every use of the set its responses `u` with the gradient of the loss with respect
    /// to the activations' values there, as the last run that kept them left them.
    pub(super) fn responses(&self, set: usize) -> (&Region, &[[Arc<Buffer>; 2]]) {
        (&self.regions[set], &self.kept[set])
    }
}
