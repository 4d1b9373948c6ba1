//! Energies `|H x - y|^2 / 2 + lambda R(x)` of the iterates of a reconstruction, and how they fell on the way.

use crate::Result;
use crate::gpu::reduce::InnerProduct;
use crate::gpu::{Bound, Buffer, Gpu, Readback, Recorder};

/// Energies are evaluated at the start, after every so many iterations, and at the end: an evaluation costs nearly half an iteration,
/// since neither `H` nor the filters have been applied to the iterate itself, but to the point ahead of it.
const EVERY: usize = 10;
/// Energies on the way that are kept, at most: with more, every other one goes, and half as many come from then on.
const MOST: usize = 1000;

/// Energies of iterates.
#[derive(Clone, Debug, PartialEq)]
pub struct EnergyHistory {
    /// Iterations done and the energy of the iterate after them: the first after 0, which is the start, the last that of the result.
    pub entries: Vec<(usize, f64)>,
    /// What the iterations of all entries but the last are multiples of.
    stride: usize,
}

impl Default for EnergyHistory {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            stride: EVERY,
        }
    }
}

impl EnergyHistory {
    /// Whether the energy after so many iterations belongs to it.
    pub(super) fn is_due(&self, iterations: usize) -> bool {
        iterations.is_multiple_of(self.stride)
    }

    /// Takes the energy after more iterations than the last, unless it has become too many meanwhile.
    pub(super) fn take(&mut self, iterations: usize, energy: f64) {
        if self.entries.len() == MOST {
            self.stride *= 2;
            let stride = self.stride;
            self.entries.retain(|(iterations, _)| iterations.is_multiple_of(stride));
        }
        if self.is_due(iterations) {
            self.entries.push((iterations, energy));
        }
    }

    /// Ends with the energy of the result, whatever was recorded behind the last iteration.
    pub(super) fn end(&mut self, iterations: usize, energy: f64) {
        self.entries.retain(|entry| entry.0 < iterations);
        self.entries.push((iterations, energy));
    }
}

/// Sums kept per energy: four of the data term and four of the regularizer.
const SUMS: usize = 8;

/// The sums of which energies consist, of several iterates between two looks at the device.
pub(super) struct Energies {
    distance: InnerProduct,
    sums: Buffer,
    out: Readback,
    lambda: f64,
}

impl Energies {
    /// For `H x` in `product` and the measurement `y`, both of `measured` values, and so many `iterations` between two looks at most.
    pub fn new(gpu: &Gpu, [product, y]: [&Buffer; 2], measured: usize, lambda: f64, iterations: usize) -> Result<Self> {
        // The start may come on top.
        let places = iterations.div_ceil(EVERY) + 1;
        Ok(Self {
            distance: InnerProduct::new(gpu, product, y, 1, measured)?,
            sums: gpu.buffer("energies", SUMS * places)?,
            out: gpu.readback(SUMS * places)?,
            lambda,
        })
    }

    /// Records the energy at `place`, once `H x` is there, and `R(x)` first in the sums of the regularizer.
    pub fn record(&self, recorder: &mut Recorder<'_>, regularizer: &Buffer, place: usize) {
        self.distance.record(recorder, 1);
        let parts = [self.distance.totals(), regularizer];
        for (sums, at) in parts.into_iter().zip([SUMS * place, SUMS * place + SUMS / 2]) {
            recorder.copy(sums.slice(0, SUMS / 2), self.sums.slice(at, SUMS / 2));
        }
    }

    /// Records the copies for [`Self::fetch`].
    pub fn record_out(&self, recorder: &mut Recorder<'_>) {
        recorder.copy_out(self.sums.all(), &self.out);
    }

    /// The energies at all places.
    pub fn fetch(&self, gpu: &Gpu) -> Result<Vec<f64>> {
        let sums: Vec<f32> = gpu.fetch(&self.out)?;
        let energy = |sums: &[f32]| 0.5 * f64::from(sums[1]) + self.lambda * f64::from(sums[SUMS / 2]);
        Ok(sums.chunks_exact(SUMS).map(energy).collect())
    }

    /// For [`Gpu::warm_up`].
    pub fn kernels(&self) -> [&Bound; 2] {
        self.distance.kernels()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The history of a run that is looked at after every `look` iterations.
    fn history(iterations: usize, look: usize) -> EnergyHistory {
        let mut history = EnergyHistory::default();
        history.take(0, 0.0);
        let mut done = 0;
        while done < iterations {
            let until = (done + look).min(iterations);
            // What is due is asked before the device begins, and taken when it is done.
            let due: Vec<usize> = (done + 1..=until).filter(|n| history.is_due(*n)).collect();
            due.into_iter().for_each(|n| history.take(n, -(n as f64)));
            done = until;
        }
        history.end(iterations, -(iterations as f64));
        history
    }

    #[test]
    fn long_histories_are_thinned_out_evenly_and_keep_both_ends() {
        for (iterations, stride) in [
            (1, 10),
            (10, 10),
            (37, 10),
            (9_999, 10),
            (10_000, 20),
            (20_033, 40),
            (100_000, 160),
        ] {
            for look in [1, 32] {
                let entries = history(iterations, look).entries;
                let mut want: Vec<usize> = (0..iterations).step_by(stride).collect();
                want.push(iterations);
                let got: Vec<usize> = entries.iter().map(|entry| entry.0).collect();
                assert_eq!(got, want, "{iterations} iterations, {look} at once");
                assert!(got.len() <= MOST + 1);
                assert!(entries.iter().all(|(n, energy)| *energy == -(*n as f64)));
            }
        }
    }
}
