//! The parameters of a network on the device and what the passes read of them.

use super::model::Layered;
use super::unit_norm::UnitNorm;
use crate::filters::{ConvLayer, LayerShape, PackedBank, Packer};
use crate::gpu::{Bound, Buffer, Gpu, KernelStyle, Recorder};
use crate::spline::Spline;
use crate::spline::device::TrainableBank;
use crate::train::ScalingParams;
use crate::{Error, Result};

/// Elements to which the shifts and scalings of a set of activations are padded: what a binding may start at.
const ALIGNMENT: usize = 64;

/// The parameters of a [`Layered`] on the device:
///
/// * [`Self::raw`]: the filters of all layers, (layer; output, input, row, column), before their norm is divided out, if it is;
/// * [`Self::shifts`] and [`Self::logs`]: `b` and `log alpha`, (set, channel), every set padded ([`Self::range`]);
/// * [`Self::banks`]: one bank of splines per set of activations.
///
/// Passes read what [`Self::record_refresh`] derives: it must follow every change.
#[derive(Debug)]
pub struct Parts {
    layers: Vec<ConvLayer>,
    style: KernelStyle,
    raw: Buffer,
    effective: Buffer,
    packed: PackedBank,
    pack: Packer,
    norm: Option<UnitNorm>,
    shifts: Buffer,
    logs: Buffer,
    banks: Vec<TrainableBank>,
    records: Vec<Bound>,
}

impl Parts {
    /// Uploads `model`. With `unit_norm` its filters are those before their norm is divided out.
    ///
    /// # Errors
    /// Device errors.
    pub fn new(gpu: &Gpu, model: &Layered, unit_norm: bool) -> Result<Self> {
        let style = gpu.style();
        let layers = model.filters.clone();
        let packed = PackedBank::new(gpu, &layers, style)?;
        let weights: Vec<f32> = layers.iter().flat_map(|l| l.weights.iter().copied()).collect();
        let raw = gpu.upload("filter weights", &weights)?;
        let effective = gpu.upload("effective weights", &weights)?;
        let pack = packed.packer(gpu, &effective)?;
        let shapes: Vec<LayerShape> = layers.iter().map(ConvLayer::shape).collect();
        let norm = unit_norm
            .then(|| UnitNorm::new(gpu, &shapes, &raw, &effective))
            .transpose()?;
        let padded = |sets: Vec<Vec<f32>>| -> Vec<f32> {
            sets.into_iter()
                .flat_map(|mut set| {
                    set.resize(set.len().next_multiple_of(ALIGNMENT), 0.0);
                    set
                })
                .collect()
        };
        let shifts = gpu.upload("shifts", &padded(model.shifts.clone()))?;
        let logs = |set: &Vec<f32>| set.iter().map(|a| a.ln()).collect();
        let logs = gpu.upload("log scalings", &padded(model.scalings.iter().map(logs).collect()))?;
        let zeros = gpu.buffer("zeros", logs.len())?;
        let banks = model
            .activations
            .iter()
            .zip(&model.scalings)
            .map(|(splines, alphas)| TrainableBank::new(gpu, splines, alphas))
            .collect::<Result<Vec<_>>>()?;
        let mut this = Self {
            layers,
            style,
            raw,
            effective,
            packed,
            pack,
            norm,
            shifts,
            logs,
            banks,
            records: Vec::new(),
        };
        // alpha = exp(log alpha) / (0 + 1): the kernel that serves noise levels too.
        for (set, bank) in this.banks.iter().enumerate() {
            let params = gpu.params(&[this.scaling_params(set)])?;
            let (first, count) = this.range(set);
            this.records.push(gpu.kernel("scaling_records", &[])?.bind(
                gpu,
                &[
                    ("params", params.binding()),
                    ("sigmas", zeros.slice(first, count).into()),
                    ("logs", this.logs.slice(first, count).into()),
                    ("records", bank.records().into()),
                ],
            )?);
        }
        let mut recorder = gpu.record();
        this.record_refresh(&mut recorder);
        recorder.submit();
        drop(recorder);
        Ok(this)
    }

    /// Records the renewal of all that is derived from the parameters.
    pub fn record_refresh(&self, recorder: &mut Recorder<'_>) {
        match &self.norm {
            Some(norm) => norm.record(recorder),
            None => recorder.copy(self.raw.all(), self.effective.all()),
        }
        self.pack.record(recorder);
        for (bank, records) in self.banks.iter().zip(&self.records) {
            bank.record_refresh(recorder);
            recorder.dispatch(records, records.groups([bank.channels() as u32, 1, 1]), 0);
        }
    }

    /// The filters that training changes.
    pub fn raw(&self) -> &Buffer {
        &self.raw
    }

    /// The shifts of all sets.
    pub fn shifts(&self) -> &Buffer {
        &self.shifts
    }

    /// The logarithms of the scalings of all sets.
    pub fn logs(&self) -> &Buffer {
        &self.logs
    }

    /// The activations, set by set.
    pub fn banks(&self) -> &[TrainableBank] {
        &self.banks
    }

    /// First element and number of a set's shifts and scalings, and of gradients with respect to them.
    pub fn range(&self, set: usize) -> (usize, usize) {
        let before = self.banks[..set]
            .iter()
            .map(|b| b.channels().next_multiple_of(ALIGNMENT));
        (before.sum(), self.banks[set].channels())
    }

    /// Parameters of the kernels that turn scalings into records and back for set `set`.
    pub(super) fn scaling_params(&self, set: usize) -> ScalingParams {
        ScalingParams {
            count: self.banks[set].channels() as u32,
            epsilon: 1.0,
            ..Default::default()
        }
    }

    pub(super) fn layers(&self) -> &[ConvLayer] {
        &self.layers
    }

    pub(super) fn packed(&self) -> &PackedBank {
        &self.packed
    }

    pub(super) fn style(&self) -> KernelStyle {
        self.style
    }

    pub(super) fn norm(&self) -> Option<&UnitNorm> {
        self.norm.as_ref()
    }

    /// Index of the first weight of layer `layer`.
    pub(super) fn first_weight(&self, layer: usize) -> usize {
        self.layers[..layer].iter().map(|l| l.weights.len()).sum()
    }

    /// Pixels by which the widest layer looks beyond its output.
    pub(super) fn radius(&self) -> usize {
        self.layers.iter().map(ConvLayer::radius).max().unwrap_or(0)
    }

    /// Reads the parameters back into `model`, waiting for the device: filters as they are used (`effective`) or as they are
    /// trained; splines as they are.
    ///
    /// # Errors
    /// [`Error::Data`] if a parameter is not finite; device errors.
    pub fn read(&self, gpu: &Gpu, model: &Layered, effective: bool) -> Result<Layered> {
        let weights: Vec<f32> = gpu.read(if effective { &self.effective } else { &self.raw })?;
        let (shifts, logs): (Vec<f32>, Vec<f32>) = (gpu.read(&self.shifts)?, gpu.read(&self.logs)?);
        let mut read = model.clone();
        for (index, layer) in self.layers.iter().enumerate() {
            let first = self.first_weight(index);
            let own = weights[first..first + layer.weights.len()].to_vec();
            read.filters[index] = ConvLayer::new(layer.inputs, layer.outputs, layer.size, own)?;
        }
        for (set, bank) in self.banks.iter().enumerate() {
            let (first, count) = self.range(set);
            read.shifts[set] = shifts[first..first + count].to_vec();
            read.scalings[set] = logs[first..first + count].iter().map(|l| l.exp()).collect();
            read.activations[set] = bank.splines(gpu)?;
            let finite = |v: &[f32]| v.iter().all(|v| v.is_finite());
            if !finite(&read.shifts[set]) || !finite(&read.scalings[set]) {
                return Err(Error::Data(format!(
                    "a shift or scaling of layer {set} is not finite; lower the learning rates"
                )));
            }
        }
        Ok(read)
    }

    /// The splines of all sets.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn splines(&self, gpu: &Gpu) -> Result<Vec<Spline>> {
        let sets = self.banks.iter().map(|b| b.splines(gpu)).collect::<Result<Vec<_>>>()?;
        Ok(sets.concat())
    }
}
