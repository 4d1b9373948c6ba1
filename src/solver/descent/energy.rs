//! Energies `|H x - y|^2 / 2 + lambda R(x)` of the iterates of a reconstruction, and how they fell on the way.

use crate::Result;
use crate::gpu::{Buffer, Gpu, Readback, Recorder};

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

/// Sums per image of each of the two parts of an energy.
const SUMS: usize = 4;

/// The sums of which energies consist, of several iterates of several images between two looks at the device.
pub(super) struct Energies {
    images: usize,
    sums: Buffer,
    out: Readback,
    lambda: f64,
}

impl Energies {
    /// For so many images and so many `iterations` between two looks at most.
    pub fn new(gpu: &Gpu, images: usize, lambda: f64, iterations: usize) -> Result<Self> {
        // The start may come on top.
        let count = (iterations.div_ceil(EVERY) + 1) * 2 * SUMS * images;
        Ok(Self {
            images,
            sums: gpu.buffer("energies", count)?,
            out: gpu.readback(count)?,
            lambda,
        })
    }

    /// Records what belongs to `place`: sums by image, of which the second is `|H x - y|^2`, and sums by slot, of which the first is `R(x)`.
    pub fn record(&self, recorder: &mut Recorder<'_>, [distances, regularizer]: [&Buffer; 2], place: usize) {
        let part = SUMS * self.images;
        for (sums, at) in [(distances, 2 * place), (regularizer, 2 * place + 1)] {
            recorder.copy(sums.slice(0, part), self.sums.slice(at * part, part));
        }
    }

    /// Records the copies for [`Self::fetch`].
    pub fn record_out(&self, recorder: &mut Recorder<'_>) {
        recorder.copy_out(self.sums.all(), &self.out);
    }

    /// Energies by place and slot, where the slots had the images `active`.
    pub fn fetch(&self, gpu: &Gpu, active: &[u32]) -> Result<Vec<Vec<f64>>> {
        let sums: Vec<f32> = gpu.fetch(&self.out)?;
        let at_place = |sums: &[f32]| {
            let (distances, regularizer) = sums.split_at(SUMS * self.images);
            let energy = |(slot, image): (usize, &u32)| {
                let distance = f64::from(distances[SUMS * *image as usize + 1]);
                0.5 * distance + self.lambda * f64::from(regularizer[SUMS * slot])
            };
            active.iter().enumerate().map(energy).collect()
        };
        Ok(sums.chunks_exact(2 * SUMS * self.images).map(at_place).collect())
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
