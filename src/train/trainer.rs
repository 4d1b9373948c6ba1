//! A training in progress: the device's side of the state, and what a step does.

use super::data::Batch;
use super::state::{Moments, Progress, TrainingState};
use super::{Hypergradient, Optimiser, RidgeConfig, StepResult, TrainableRidge};
use crate::gpu::{Buffer, Gpu};
use crate::model::Ridge;
use crate::spline::{SlopeBounds, Spline};
use crate::{Error, Result};

/// Refused steps in a row after which training gives up.
const MOST_REFUSED: u64 = 10;

/// What a step was like.
#[derive(Clone, Debug, PartialEq)]
pub struct StepReport {
    /// Number of the step, from 1.
    pub step: u64,
    /// The loss: mean over patches and pixels, weighted by noise level.
    pub loss: f64,
    /// PSNR of the mean squared error of the whole batch.
    pub psnr: f64,
    /// Iterations of the denoiser, mean over the patches.
    pub iterations: f64,
    /// Iterations of the adjoint solver, mean over the patches.
    pub adjoint_iterations: f64,
    /// Patches whose solvers used up their iterations.
    pub unfinished: usize,
    /// Factor of the learning rates.
    pub rate: f64,
    /// What the optimiser did; `None` if the step was refused because something was not finite.
    pub taken: Option<StepResult>,
}

/// A training on the device.
pub struct Trainer<'g> {
    gpu: &'g Gpu,
    config: RidgeConfig,
    data: String,
    ridge: TrainableRidge,
    hypergradient: Hypergradient,
    optimiser: Optimiser,
    progress: Progress,
}

impl<'g> Trainer<'g> {
    /// Uploads `state`.
    ///
    /// # Errors
    /// [`Error::Data`] for a state that does not fit its configuration; device errors.
    pub fn new(gpu: &'g Gpu, state: &TrainingState) -> Result<Self> {
        let config = state.config.clone();
        let batch = super::BatchShape {
            patches: config.batch,
            height: config.data.patch,
            width: config.data.patch,
            zero_mean: true,
            unit_norm: true,
            style: None,
        };
        // Values in f32 may leave the slope bounds by their rounding, which a model is not allowed to.
        let bounds = SlopeBounds::new(-config.model.rho, config.model.mu)?;
        let clip = |s: &Spline| crate::spline::clip_slopes(s, &bounds);
        let mut model = state.raw_model()?;
        model.activations = model.activations.iter().map(clip).collect::<Result<_>>()?;
        let ridge = TrainableRidge::new(gpu, &model, batch)?;
        gpu.write(ridge.activations().values(), &entries(&state.activations))?;
        let lipschitz = config.model.mu.max(config.model.rho);
        let hypergradient = Hypergradient::new(gpu, &ridge, lipschitz, &config.hypergradient())?;
        let mut optimiser = Optimiser::new(gpu, &ridge, hypergradient.gradient(), &bounds, true, &config.optimiser)?;
        for (buffer, moments) in optimiser.moments().into_iter().zip(&state.moments) {
            gpu.write(buffer, moments)?;
        }
        optimiser.set_clock(state.progress.clock());
        Ok(Self {
            gpu,
            config,
            data: state.data.clone(),
            ridge,
            hypergradient,
            optimiser,
            progress: state.progress,
        })
    }

    /// Takes one step.
    ///
    /// # Errors
    /// [`Error::Diverged`] after too many refused steps in a row; [`Error::Data`] for patches of the wrong shape; device
    /// errors.
    pub fn step(&mut self, patches: &Batch) -> Result<StepReport> {
        let start = std::time::Instant::now();
        let sorted = self.sorted(patches)?;
        let weights = self.weights(&sorted.sigmas);
        self.ridge.set_sigmas(self.gpu, &sorted.sigmas)?;
        let mut recorder = self.gpu.record();
        self.ridge.record_refresh(&mut recorder);
        recorder.submit();
        drop(recorder);
        let result = self
            .hypergradient
            .run(self.gpu, &sorted.noisy, &sorted.clean, &sorted.sigmas, &weights)?;
        let rate = self.config.schedule.rate(self.progress.step);
        let taken = if result.finite {
            self.optimiser.step(self.gpu, rate)?
        } else {
            None
        };
        self.progress.step += 1;
        if taken.is_some() {
            self.progress.refused_in_a_row = 0;
        } else {
            self.progress.refused += 1;
            self.progress.refused_in_a_row += 1;
        }
        if self.progress.refused_in_a_row >= MOST_REFUSED {
            return Err(Error::Diverged(format!(
                "{MOST_REFUSED} steps in a row were not finite, up to step {}; lower the learning rates and resume from the last checkpoint",
                self.progress.step
            )));
        }
        self.progress.seconds += start.elapsed().as_secs_f64();
        let squared = result.squared_errors.iter().sum::<f64>() / result.squared_errors.len() as f64;
        Ok(StepReport {
            step: self.progress.step,
            loss: result.loss,
            psnr: -10.0 * squared.log10(),
            iterations: result.iterations,
            adjoint_iterations: result.adjoint_iterations,
            unfinished: result.unfinished,
            rate,
            taken,
        })
    }

    /// Reads the whole state back.
    ///
    /// # Errors
    /// [`Error::Data`] if a parameter is not finite; device errors.
    pub fn state(&self) -> Result<TrainingState> {
        let read = |buffer: &Buffer| self.gpu.read::<[f32; 2]>(buffer);
        let [filters, values, scalings] = self.optimiser.moments();
        let moments: [Moments; 3] = [read(filters)?, read(values)?, read(scalings)?];
        let clock = self.optimiser.clock();
        Ok(TrainingState {
            config: self.config.clone(),
            data: self.data.clone(),
            weights: self.gpu.read(self.ridge.weights())?,
            activations: self.ridge.activations().splines(self.gpu)?,
            scalings: self.ridge.scalings().splines(self.gpu)?,
            moments,
            progress: Progress {
                moves: clock.step,
                decay1: clock.decay1,
                decay2: clock.decay2,
                ..self.progress
            },
        })
    }

    /// The regularizer as it is now, certified.
    ///
    /// # Errors
    /// As [`TrainableRidge::to_ridge`].
    pub fn model(&self) -> Result<Ridge> {
        let mut recorder = self.gpu.record();
        self.ridge.record_refresh(&mut recorder);
        recorder.submit();
        drop(recorder);
        let mut model = self.ridge.to_ridge(self.gpu)?;
        model.provenance = serde_json::json!({
            "made_by": concat!("train ridge, knotwork ", env!("CARGO_PKG_VERSION")),
            "trained": true,
            "steps": self.progress.step,
            "seconds": self.progress.seconds,
            "adapter": self.gpu.adapter().name,
            "data": self.data,
            "config": self.config,
        });
        Ok(model)
    }

    /// The activations as they are now.
    ///
    /// # Errors
    /// [`Error::Data`] if a value is not finite; device errors.
    pub fn activations(&self) -> Result<Vec<Spline>> {
        self.ridge.activations().splines(self.gpu)
    }

    /// The configuration.
    pub fn config(&self) -> &RidgeConfig {
        &self.config
    }

    /// The counters.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Remembers `psnr` of the present step if it is the best so far; whether it is.
    pub fn note_validation(&mut self, psnr: f64) -> bool {
        let better = self.progress.best.is_none_or(|(best, _)| psnr > best);
        if better {
            self.progress.best = Some((psnr, self.progress.step));
        }
        better
    }

    pub(super) fn gpu(&self) -> &'g Gpu {
        self.gpu
    }

    pub(super) fn ridge(&self) -> &TrainableRidge {
        &self.ridge
    }

    pub(super) fn hypergradient(&self) -> &Hypergradient {
        &self.hypergradient
    }

    /// The patches with large noise first: they take longest, and the solvers leave out those at the end that are done.
    fn sorted(&self, patches: &Batch) -> Result<Batch> {
        let (count, pixels) = (self.config.batch, self.config.data.patch.pow(2));
        let fits = |v: &[f32]| v.len() == count * pixels;
        if patches.sigmas.len() != count || !fits(&patches.clean) || !fits(&patches.noisy) {
            return Err(Error::Data(format!("a step wants {count} patches of {pixels} pixels")));
        }
        let mut order: Vec<usize> = (0..count).collect();
        order.sort_by(|&a, &b| patches.sigmas[b].total_cmp(&patches.sigmas[a]));
        let planes = |v: &[f32]| {
            order
                .iter()
                .flat_map(|&s| v[s * pixels..(s + 1) * pixels].iter().copied())
                .collect()
        };
        Ok(Batch {
            first_sample: patches.first_sample,
            clean: planes(&patches.clean),
            noisy: planes(&patches.noisy),
            sigmas: order.iter().map(|&s| patches.sigmas[s]).collect(),
        })
    }

    /// `1 / (patches pixels) (sigma_max / sigma)^exponent`.
    fn weights(&self, sigmas: &[f32]) -> Vec<f32> {
        let values = (self.config.batch * self.config.data.patch.pow(2)) as f64;
        let (largest, exponent) = (self.config.data.sigma.1, self.config.objective.noise_exponent);
        let weight = |sigma: &f32| (largest / f64::from(*sigma)).powf(exponent) / values;
        sigmas.iter().map(|s| weight(s) as f32).collect()
    }
}

/// Nodal values of all splines behind each other.
fn entries(splines: &[Spline]) -> Vec<f32> {
    splines.iter().flat_map(Spline::values).map(|v| *v as f32).collect()
}
