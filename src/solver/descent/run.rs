//! The iterations of a [`Reconstructor`].

use std::time::Instant;

use super::energy::EnergyHistory;
use super::kernels::DescentState;
use super::{Buffers, LOOK_EVERY, Prior, Reconstructor};
use crate::gpu::Recorder;
use crate::gpu::reduce::VALUES_PER_GROUP;
use crate::solver::agd::SECONDS_PER_CHECK;
use crate::solver::{NOT_FINITE, Outcome, RUNNING, Stop, mirror};
use crate::{Error, Result};

/// A measurement to reconstruct from.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    /// The measured values (row, column).
    pub measurement: &'a [f32],
    /// The image (row, column) to start at.
    pub start: &'a [f32],
    /// What messages about it begin with.
    pub label: &'a str,
}

impl Reconstructor<'_> {
    /// Reconstructs the image (row, column) from `measurement`, starting at `start`. `progress` hears the iterations done
    /// and the relative change of the last.
    ///
    /// # Errors
    /// [`Error::Data`] for wrong shapes, [`Error::Diverged`] for values that are not finite, device errors.
    pub fn run(&self, measurement: &[f32], start: &[f32], progress: impl FnMut(usize, f64)) -> Result<Outcome> {
        let label = "";
        let given = Given {
            measurement,
            start,
            label,
        };
        let mut outcomes = self.run_many(&[given], progress)?;
        outcomes
            .pop()
            .ok_or_else(|| Error::Internal("a reconstruction without a result".into()))
    }

    /// The same for several measurements, [`Self::at_once`] at a time; `progress` hears the largest relative change.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_many(&self, given: &[Given<'_>], mut progress: impl FnMut(usize, f64)) -> Result<Vec<Outcome>> {
        let mut outcomes = Vec::with_capacity(given.len());
        for batch in given.chunks(self.slots) {
            outcomes.extend(self.run_batch(batch, &mut progress)?);
        }
        Ok(outcomes)
    }

    fn run_batch(&self, batch: &[Given<'_>], progress: &mut impl FnMut(usize, f64)) -> Result<Vec<Outcome>> {
        self.load(batch)?;
        let count = batch.len();
        let mut states = vec![
            DescentState {
                t: 1.0,
                ..Default::default()
            };
            count
        ];
        self.gpu.write(&self.buffers.states, &states)?;
        let mut histories = vec![EnergyHistory::default(); count];
        let (mut done, mut trips) = (0, 1);
        loop {
            let running = |image: &u32| states[*image as usize].status == RUNNING;
            let active: Vec<u32> = (0..count as u32).filter(running).collect();
            let Some(first) = active.first().filter(|_| done < self.settings.max_iterations) else {
                break;
            };
            self.gpu.write(&self.buffers.active, &active)?;
            let clock = Instant::now();
            trips = trips.min(self.settings.max_iterations - done);
            let mut recorder = self.gpu.record();
            let mut due = Vec::new();
            for iterations in done..=done + trips {
                if iterations > done {
                    self.record_iteration(&mut recorder, &active);
                }
                // What was done when the device was looked at last has been taken then, but for the start. Whatever goes on has as many
                // entries as the others.
                if histories[*first as usize].is_due(iterations) && (iterations > done || done == 0) {
                    self.record_energy(&mut recorder, &active, due.len());
                    due.push(iterations);
                }
            }
            recorder.copy_out(self.buffers.states.all(), &self.readback);
            self.energies.record_out(&mut recorder);
            recorder.submit();
            states = self.gpu.fetch(&self.readback)?;
            states.truncate(count);
            done += trips;
            if let Some((state, given)) = states.iter().zip(batch).find(|(state, _)| state.status == NOT_FINITE) {
                return Err(Error::Diverged(format!(
                    "{}the image became non-finite at iteration {}; check the measurement's values and the geometry",
                    given.label, state.iterations
                )));
            }
            for (iterations, energies) in due.into_iter().zip(self.energies.fetch(self.gpu, &active)?) {
                for (image, energy) in active.iter().zip(energies) {
                    histories[*image as usize].take(iterations, energy);
                }
            }
            let changes = active.iter().map(|image| f64::from(states[*image as usize].change));
            progress(done, changes.fold(0.0, f64::max));
            let look = SECONDS_PER_CHECK * trips as f64 / clock.elapsed().as_secs_f64();
            trips = (look as usize).clamp(1, LOOK_EVERY);
        }
        self.outcomes(&states, histories, batch)
    }

    /// Puts measurements and starts where the device works on them.
    fn load(&self, batch: &[Given<'_>]) -> Result<()> {
        for given in batch {
            for (what, values, [rows, cols]) in [
                ("measurement", given.measurement.len(), self.range),
                ("start", given.start.len(), self.size),
            ] {
                if values != rows * cols {
                    return Err(Error::Data(format!(
                        "the {what} has {values} values, the operator wants {rows} x {cols}"
                    )));
                }
            }
        }
        let (low, high) = self.settings.limits.unwrap_or((-f32::MAX, f32::MAX));
        let measured: Vec<f32> = batch.iter().flat_map(|given| given.measurement).copied().collect();
        // Descent is counted from the start, so it must lie in the box. NaN stays NaN and is reported below.
        let extended = |given: &Given<'_>| mirror::extended(given.start, self.size, self.extension);
        let start: Vec<f32> = batch.iter().flat_map(extended).map(|v| v.clamp(low, high)).collect();
        self.gpu.write(self.data.measurements(), &measured)?;
        self.gpu.write(&self.buffers.x, &start)?;
        self.gpu.write(&self.buffers.z, &start)?;
        match &self.prior {
            Prior::TotalVariation(tv) => tv.prox.reset(self.gpu),
            Prior::Ridge(_) => Ok(()),
        }
    }

    fn record_iteration(&self, recorder: &mut Recorder<'_>, active: &[u32]) {
        let slots = active.len() as u32;
        let pixels = self.domain[0] * self.domain[1];
        let groups = [pixels.div_ceil(VALUES_PER_GROUP) as u32, slots, 1];
        self.record_gradient(recorder, active);
        recorder.dispatch(&self.step, groups, 0);
        if let Prior::TotalVariation(tv) = &self.prior {
            tv.prox.record(recorder);
            recorder.dispatch(&tv.sums, groups, 0);
        }
        recorder.dispatch(&self.control, [slots, 1, 1], 0);
        recorder.dispatch(&self.advance, groups, 0);
    }

    /// Records both parts of `grad f(z)` of the active images.
    fn record_gradient(&self, recorder: &mut Recorder<'_>, active: &[u32]) {
        self.data.record_gradient(recorder, &self.buffers.z, active);
        if let Prior::Ridge(model) = &self.prior {
            model.record_gradient(recorder, active.len() as u32);
        }
    }

    /// Records the energies of the active `x`. The operator and the regularizer see `z`, so `x` is put in its place meanwhile.
    fn record_energy(&self, recorder: &mut Recorder<'_>, active: &[u32], place: usize) {
        let Buffers { x, z, candidate, .. } = &self.buffers;
        recorder.copy(z.all(), candidate.all());
        recorder.copy(x.all(), z.all());
        self.data.record_distance(recorder, z, active);
        let regularizer = match &self.prior {
            Prior::Ridge(model) => {
                model.record_energy(recorder, active.len() as u32);
                model.energies()
            }
            Prior::TotalVariation(tv) => {
                tv.value.record(recorder);
                tv.value.totals()
            }
        };
        self.energies
            .record(recorder, [self.data.distances(), regularizer], place);
        recorder.copy(candidate.all(), z.all());
    }

    /// The final images with their energies, and how far the minimisers may be. `z` is free by now and takes the images.
    fn outcomes(
        &self,
        states: &[DescentState],
        histories: Vec<EnergyHistory>,
        batch: &[Given<'_>],
    ) -> Result<Vec<Outcome>> {
        let everyone: Vec<u32> = (0..batch.len() as u32).collect();
        self.gpu.write(&self.buffers.active, &everyone)?;
        let mut recorder = self.gpu.record();
        self.record_energy(&mut recorder, &everyone, 0);
        self.energies.record_out(&mut recorder);
        if let Ok(error_bound) = &self.error_bound {
            recorder.copy(self.buffers.x.all(), self.buffers.z.all());
            self.record_gradient(&mut recorder, &everyone);
            error_bound.record(&mut recorder, everyone.len() as u32);
        }
        recorder.submit();
        let norm = |given: &Given<'_>| {
            given
                .measurement
                .iter()
                .map(|v| f64::from(*v).powi(2))
                .sum::<f64>()
                .sqrt()
        };
        let bounds = match &self.error_bound {
            Ok(error_bound) => Some(error_bound.read(self.gpu, &batch.iter().map(norm).collect::<Vec<_>>())?),
            Err(_) => None,
        };
        let energies = self.energies.fetch(self.gpu, &everyone)?.swap_remove(0);
        let pixels = self.domain[0] * self.domain[1];
        let images: Vec<f32> = self.gpu.read(self.buffers.x.slice(0, batch.len() * pixels))?;
        let outcome = |(n, ((state, mut history), energy)): (usize, ((&DescentState, EnergyHistory), f64))| {
            let iterations = state.iterations as usize;
            history.end(iterations, energy);
            Outcome {
                image: mirror::inner(&images[n * pixels..][..pixels], self.size, self.extension),
                energy,
                history,
                iterations,
                restarts: state.restarts as usize,
                change: f64::from(state.change),
                stop: Stop::of_status(state.status),
                error_bound: bounds.as_ref().map(|bounds| bounds[n]),
            }
        };
        let each = states.iter().zip(histories).zip(energies);
        Ok(each.enumerate().map(outcome).collect())
    }
}
