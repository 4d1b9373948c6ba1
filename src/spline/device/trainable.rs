//! The bank: knots, trained values, and what the kernels derive from them.

use super::Activations;
use crate::gpu::{Bound, Buffer, Gpu, Recorder};
use crate::spline::Spline;
use crate::{Error, Result};

/// Activations `phi_c(alpha_c u) / alpha_c` whose nodal values change on the device, at fixed knots.
///
/// The entries of all splines lie one behind the other in [`Self::values`]: spline `i` has the entries
/// `first .. first + count` of [`Self::ranges`]. Counts may differ; no knot is left out, however straight the spline is
/// there, because its value may move. A bank holds one spline per channel, or one that all channels share.
///
/// Evaluation reads the table of [`Self::table`], not the values: after every change of the values
/// [`Self::record_refresh`] must come before the next evaluation.
#[derive(Debug)]
pub struct TrainableBank {
    knots: Vec<f32>,
    ranges: Vec<(u32, u32)>,
    channels: usize,
    slots: Option<usize>,
    positions: Buffer,
    range_table: Buffer,
    values: Buffer,
    table: Buffer,
    records: Buffer,
    refresh: Bound,
}

impl TrainableBank {
    /// Uploads `splines`, knots and values rounded to f32, for one channel per entry of `alphas`: a spline for each or one
    /// for all.
    ///
    /// # Errors
    /// [`Error::Data`] if there are neither one nor as many splines as channels, or an `alpha` is not positive and finite
    /// together with its reciprocal; device errors.
    pub fn new(gpu: &Gpu, splines: &[Spline], alphas: &[f32]) -> Result<Self> {
        Self::build(gpu, splines, alphas.len(), None, alphas)
    }

    /// The same with an `alpha` of its own for every channel of every slot, (slot, channel): images of different noise
    /// levels in one batch.
    ///
    /// # Errors
    /// As [`Self::new`]; also if `alphas` are not whole rows of `channels`.
    pub fn with_slots(gpu: &Gpu, splines: &[Spline], channels: usize, alphas: &[f32]) -> Result<Self> {
        if channels == 0 || !alphas.len().is_multiple_of(channels) {
            return Err(Error::Data(format!(
                "{} scalings are no whole number of slots of {channels} channels",
                alphas.len()
            )));
        }
        Self::build(gpu, splines, channels, Some(alphas.len() / channels), alphas)
    }

    fn build(gpu: &Gpu, splines: &[Spline], channels: usize, slots: Option<usize>, alphas: &[f32]) -> Result<Self> {
        if splines.is_empty() || (splines.len() != 1 && splines.len() != channels) {
            return Err(Error::Data(format!(
                "a bank of {channels} channels needs one spline or {channels}, but got {}",
                splines.len()
            )));
        }
        let (mut knots, mut values, mut ranges) = (Vec::new(), Vec::new(), Vec::new());
        for spline in splines {
            ranges.push((knots.len() as u32, spline.len() as u32));
            knots.extend(spline.knots().iter().map(|t| *t as f32));
            values.extend(spline.values().iter().map(|f| *f as f32));
        }
        let records = records(&ranges, channels, alphas)?;
        let positions = gpu.upload("knot positions", &knots)?;
        let values = gpu.upload("spline values", &values)?;
        let table = gpu.buffer("knots", 4 * knots.len())?;
        let pairs: Vec<[u32; 2]> = ranges.iter().map(|&(first, count)| [first, count]).collect();
        let range_table = gpu.upload("spline ranges", &pairs)?;
        let refresh = gpu.kernel("spline_table", &[])?.bind(
            gpu,
            &[
                ("positions", (&positions).into()),
                ("values", (&values).into()),
                ("ranges", (&range_table).into()),
                ("knots", (&table).into()),
            ],
        )?;
        let bank = Self {
            knots,
            ranges,
            channels,
            slots,
            positions,
            range_table,
            values,
            table,
            records: gpu.upload("channels", &records)?,
            refresh,
        };
        let mut recorder = gpu.record();
        bank.record_refresh(&mut recorder);
        recorder.submit();
        Ok(bank)
    }

    /// Number of channels.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Number of slots with scalings of their own; `None` if all slots share them.
    pub fn slots(&self) -> Option<usize> {
        self.slots
    }

    /// `(first entry, count)` per spline.
    pub fn ranges(&self) -> &[(u32, u32)] {
        &self.ranges
    }

    /// Whether all channels share one spline.
    pub fn shared(&self) -> bool {
        self.ranges.len() == 1
    }

    /// Entries of all splines together: the length of [`Self::values`] and of every gradient with respect to them.
    pub fn entries(&self) -> usize {
        self.knots.len()
    }

    /// The knots `t`, (entry): constant.
    pub fn positions(&self) -> &Buffer {
        &self.positions
    }

    /// The nodal values `f`, (entry): what training changes.
    pub fn values(&self) -> &Buffer {
        &self.values
    }

    /// `(t, f, s, p)` per entry as `shaders/lib/spline.wgsl` wants it.
    pub fn table(&self) -> &Buffer {
        &self.table
    }

    /// `{first, count, alpha, 1 / alpha}` per channel, or per (slot, channel), as `shaders/lib/spline.wgsl` wants it.
    pub fn records(&self) -> &Buffer {
        &self.records
    }

    /// [`Self::ranges`] on the device.
    pub(super) fn range_table(&self) -> &Buffer {
        &self.range_table
    }

    /// What the spline kernels read.
    pub fn activations(&self) -> Activations<'_> {
        Activations {
            table: &self.table,
            records: &self.records,
            channels: self.channels,
            slots: self.slots,
            longest: self.ranges.iter().map(|r| r.1).max().unwrap_or(2) as usize,
        }
    }

    /// Replaces the scalings, in the shape they had at the start.
    ///
    /// # Errors
    /// [`Error::Data`] if their number changed or one is not positive and finite together with its reciprocal; as
    /// [`Gpu::write`].
    pub fn set_alphas(&self, gpu: &Gpu, alphas: &[f32]) -> Result<()> {
        let expected = self.channels * self.slots.unwrap_or(1);
        if alphas.len() != expected {
            return Err(Error::Data(format!(
                "the bank has {expected} scalings, but got {}",
                alphas.len()
            )));
        }
        gpu.write(&self.records, &records(&self.ranges, self.channels, alphas)?)
    }

    /// Records the table's renewal from the present values.
    pub fn record_refresh(&self, recorder: &mut Recorder<'_>) {
        let groups = self.refresh.groups([self.ranges.len() as u32, 1, 1]);
        recorder.dispatch(&self.refresh, groups, 0);
    }

    /// For [`Gpu::warm_up`].
    pub fn bound(&self) -> &Bound {
        &self.refresh
    }

    /// Reads the splines back, waiting for the device.
    ///
    /// # Errors
    /// [`Error::Data`] naming the spline if a value is not finite, which means that training diverged; device errors.
    pub fn splines(&self, gpu: &Gpu) -> Result<Vec<Spline>> {
        let values: Vec<f32> = gpu.read(&self.values)?;
        let of = |all: &[f32], (first, count): (u32, u32)| -> Vec<f64> {
            let entries = &all[first as usize..(first + count) as usize];
            entries.iter().map(|v| f64::from(*v)).collect()
        };
        self.ranges
            .iter()
            .enumerate()
            .map(|(i, &range)| {
                Spline::new(of(&self.knots, range), of(&values, range))
                    .map_err(|e| Error::Data(format!("trained spline {i}: {e}; lower the learning rate")))
            })
            .collect()
    }
}

/// The records of all channels of all slots. Slot by slot, channel by channel.
fn records(ranges: &[(u32, u32)], channels: usize, alphas: &[f32]) -> Result<Vec<[u32; 4]>> {
    let usable = |a: f32| a > 0.0 && a.is_finite() && a.recip().is_normal();
    if let Some(i) = alphas.iter().position(|a| !usable(*a)) {
        return Err(Error::Data(format!(
            "scaling {i} is {}, but must be positive, and finite together with its reciprocal",
            alphas[i]
        )));
    }
    let record = |(i, alpha): (usize, &f32)| {
        let (first, count) = ranges[(i % channels).min(ranges.len() - 1)];
        [first, count, alpha.to_bits(), alpha.recip().to_bits()]
    };
    Ok(alphas.iter().enumerate().map(record).collect())
}
