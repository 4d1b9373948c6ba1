//! A training in progress: the device's side of the state, and what a step does.

use std::path::Path;

use super::data::{Batch, Corpus};
use super::run::{Plan, Training};
use super::state::{Moments, Progress, TrainingState};
use super::{
    Hypergradient, KnotEvent, LevelScore, Optimiser, RidgeConfig, StepResult, TrainableRidge, start_model, validate,
};
use crate::gpu::{Buffer, Gpu};
use crate::model::Ridge;
use crate::report::training_report;
use crate::spline::{SlopeBounds, Spline};
use crate::{Error, Result};

/// What a step was like.
#[derive(Clone, Debug, PartialEq)]
pub struct StepReport {
    /// Number of the step, from 1.
    pub step: u64,
    /// The loss: mean over patches and pixels, weighted by noise level.
    pub loss: f64,
    /// PSNR of the mean squared error of the whole batch.
    pub psnr: f64,
    /// What the solvers did, if the step has any.
    pub solver: Option<SolverReport>,
    /// Factor of the learning rates.
    pub rate: f64,
    /// What the optimiser did; `None` if the step was refused because something was not finite.
    pub taken: Option<StepResult>,
}

/// What the solvers inside a step did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SolverReport {
    /// Iterations of the denoiser, mean over the patches.
    pub iterations: f64,
    /// Iterations of the adjoint solver, mean over the patches.
    pub adjoint_iterations: f64,
    /// Patches whose solvers used up their iterations.
    pub unfinished: usize,
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
            composed: true,
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
        let mut optimiser =
            Optimiser::for_ridge(gpu, &ridge, hypergradient.gradient(), &bounds, true, &config.optimiser)?;
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
        self.progress.count(taken.is_some())?;
        self.progress.seconds += start.elapsed().as_secs_f64();
        let squared = result.squared_errors.iter().sum::<f64>() / result.squared_errors.len() as f64;
        Ok(StepReport {
            step: self.progress.step,
            loss: result.loss,
            psnr: -10.0 * squared.log10(),
            solver: Some(SolverReport {
                iterations: result.iterations,
                adjoint_iterations: result.adjoint_iterations,
                unfinished: result.unfinished,
            }),
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
        let moments: Vec<Moments> = self.optimiser.moments().into_iter().map(read).collect::<Result<_>>()?;
        let clock = self.optimiser.clock();
        Ok(TrainingState {
            config: self.config.clone(),
            data: self.data.clone(),
            weights: self.gpu.read(self.ridge.weights())?,
            activations: self.ridge.activations().splines(self.gpu)?,
            scalings: self.ridge.scalings().splines(self.gpu)?,
            moments: moments.try_into().map_err(|_| Error::Internal("three groups".into()))?,
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

    /// The model as it is judged and shipped.
    fn exported(&self) -> Result<Ridge> {
        self.model()?.bounded_below()
    }

    /// The activations as they are now.
    ///
    /// # Errors
    /// [`Error::Data`] if a value is not finite; device errors.
    pub fn activations(&self) -> Result<Vec<Spline>> {
        self.ridge.activations().splines(self.gpu)
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

    /// `1 / (patches pixels) (sigma_max / sigma)^exponent`, of the pixels that count.
    fn weights(&self, sigmas: &[f32]) -> Vec<f32> {
        let side = self.config.data.patch - 2 * self.config.objective.margin;
        let values = (self.config.batch * side.pow(2)) as f64;
        let (largest, exponent) = (self.config.data.sigma.1, self.config.objective.noise_exponent);
        let weight = |sigma: &f32| (largest / f64::from(*sigma)).powf(exponent) / values;
        sigmas.iter().map(|s| weight(s) as f32).collect()
    }
}

impl<'g> Training<'g> for Trainer<'g> {
    type Config = RidgeConfig;
    type Source = Corpus;

    fn start(gpu: &'g Gpu, config: &RidgeConfig, data: &Corpus) -> Result<Self> {
        Self::new(gpu, &TrainingState::start(config, data.hash(), &start_model(config)?))
    }

    fn load(gpu: &'g Gpu, checkpoint: &Path) -> Result<Self> {
        Self::new(gpu, &TrainingState::read(checkpoint)?)
    }

    fn config(&self) -> &RidgeConfig {
        &self.config
    }

    fn data(&self) -> &str {
        &self.data
    }

    fn plan(&self) -> Plan {
        let RidgeConfig {
            schedule, adaptation, ..
        } = &self.config;
        Plan {
            batch: self.config.batch,
            steps: schedule.steps,
            checkpoint: schedule.checkpoint,
            validate: self.config.validation.every,
            adapt: adaptation.every,
            adapt_until: adaptation.until,
        }
    }

    fn progress(&self) -> &Progress {
        &self.progress
    }

    fn progress_mut(&mut self) -> &mut Progress {
        &mut self.progress
    }

    fn parameters(&self) -> Result<usize> {
        Ok(parameters(&self.state()?))
    }

    fn splines(&self) -> Result<Vec<Spline>> {
        self.activations()
    }

    fn step(&mut self, batch: &Batch) -> Result<StepReport> {
        Trainer::step(self, batch)
    }

    fn adapt(&mut self, _: &Batch) -> Result<KnotEvent> {
        Trainer::adapt(self)
    }

    fn validate(&self, data: &Corpus) -> Result<Vec<LevelScore>> {
        validate(self.gpu, &self.exported()?, data.validation(), &self.config.validation)
    }

    fn write_state(&self, path: &Path) -> Result<()> {
        self.state()?.write(path)
    }

    fn write_model(&self, path: &Path) -> Result<()> {
        self.exported()?.write(path)
    }

    fn report(&self, model: Option<&Path>, records: &[serde_json::Value]) -> Result<String> {
        let settings = serde_json::to_value(&self.config).map_err(|e| Error::Internal(e.to_string()))?;
        let model = model.map_or_else(|| self.exported(), Ridge::read)?;
        training_report(&model, records, &settings)
    }
}

/// Numbers that are trained, counted as the published models are: both halves of antisymmetric activations.
pub fn parameters(state: &TrainingState) -> usize {
    let entries = |splines: &[crate::spline::Spline]| splines.iter().map(crate::spline::Spline::len).sum::<usize>();
    state.weights.len() + entries(&state.activations) + entries(&state.scalings)
}

/// Nodal values of all splines behind each other.
fn entries(splines: &[Spline]) -> Vec<f32> {
    splines.iter().flat_map(Spline::values).map(|v| *v as f32).collect()
}
