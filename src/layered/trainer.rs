//! A training of a network in progress: the device's side of the state, and what a step does.

use std::path::Path;
use std::time::Instant;

use super::config::{Kind, LayeredConfig};
use super::denoise::LayeredDenoiser;
use super::model::Layered;
use super::parts::Parts;
use super::state::LayeredState;
use super::training::LossGradient;
use crate::filters::norm;
use crate::gpu::{Buffer, Gpu};
use crate::io::noise;
use crate::report::layered_report;
use crate::report::metrics::psnr;
use crate::spline::{SlopeBounds, Spline, rounded_inside};
use crate::train::data::{Batch, Corpus};
use crate::train::{
    Group, ImageLoss, KnotEvent, LevelScore, Moments, Moves, Optimiser, Plan, Progress, StepReport, Training,
};
use crate::{Error, Result};

/// Attempts at bringing a layer's norm to 1 at most.
const ROUNDS: usize = 8;
/// Seed of the validation noise: the same in every training, so that their scores compare.
const VALIDATION_SEED: u64 = 0x4c41_5945;

/// A training of a [`Layered`] on the device.
pub struct LayeredTrainer<'g> {
    gpu: &'g Gpu,
    config: LayeredConfig,
    data: String,
    template: Layered,
    parts: Parts,
    pub(super) gradient: LossGradient,
    optimiser: Optimiser,
    progress: Progress,
}

impl<'g> LayeredTrainer<'g> {
    /// Uploads `state`.
    ///
    /// # Errors
    /// [`Error::Data`] for a state that does not fit its configuration; device errors.
    pub fn new(gpu: &'g Gpu, state: &LayeredState) -> Result<Self> {
        let config = state.config.clone();
        let parts = Parts::new(gpu, &state.raw, true)?;
        for (set, logs) in state.logs.iter().enumerate() {
            let mut all: Vec<f32> = gpu.read(parts.logs())?;
            let (first, count) = parts.range(set);
            all[first..first + count].copy_from_slice(logs);
            gpu.write(parts.logs(), &all)?;
        }
        let patch = config.data.patch;
        let gradient = LossGradient::new(gpu, &parts, &state.raw, config.loss, config.batch, [patch; 2])?;
        let bounds = config.network.trained_bounds()?;
        let rates = &config.rates;
        let free = |name, rate, gradient, parameters| Group {
            name,
            rate,
            gradient,
            moves: Moves::Free(parameters),
        };
        let mut groups = vec![
            free("filters", rates.filters, gradient.weights(), parts.raw()),
            free("shifts", rates.shifts, gradient.shifts(), parts.shifts()),
            free("scalings", rates.scalings, gradient.scalings(), parts.logs()),
        ];
        if config.network.trains_values() {
            for (set, bank) in parts.banks().iter().enumerate() {
                groups.push(Group {
                    name: "values",
                    rate: rates.values,
                    gradient: gradient.values(set)?,
                    moves: Moves::Slopes {
                        bank,
                        bounds: &bounds,
                        odd: false,
                    },
                });
            }
        }
        let mut optimiser = Optimiser::new(gpu, &groups, &rates.rule())?;
        if !state.moments.is_empty() {
            let buffers = optimiser.moments();
            let fits = buffers.len() == state.moments.len()
                && buffers.iter().zip(&state.moments).all(|(b, m)| b.len() == 2 * m.len());
            if !fits {
                return Err(Error::Data("the moments do not fit the parameters".into()));
            }
            for (buffer, moments) in buffers.into_iter().zip(&state.moments) {
                gpu.write(buffer, moments)?;
            }
        }
        optimiser.set_clock(state.progress.clock());
        Ok(Self {
            gpu,
            data: state.data.clone(),
            template: state.raw.clone(),
            progress: state.progress,
            config,
            parts,
            gradient,
            optimiser,
        })
    }

    /// Takes one step.
    ///
    /// # Errors
    /// [`Error::Diverged`] after too many refused steps in a row; [`Error::Data`] for patches of the wrong shape; device
    /// errors.
    pub fn step(&mut self, patches: &Batch) -> Result<StepReport> {
        let start = Instant::now();
        let averaging = self.averaging();
        let loss = self.loss(patches, false)?;
        let rate = self.config.schedule.rate(self.progress.step);
        let taken = match loss {
            Some(_) => self.optimiser.step(self.gpu, rate)?,
            None => None,
        };
        self.progress.count(taken.is_some())?;
        self.progress.seconds += start.elapsed().as_secs_f64();
        let (loss, squared) = loss.unwrap_or((f64::NAN, f64::NAN));
        Ok(StepReport {
            step: self.progress.step,
            loss,
            psnr: -10.0 * (squared * averaging * averaging).log10(),
            solver: None,
            rate,
            taken,
        })
    }

    /// The loss of `D`, the mean over pixels, and the mean squared error of `N` as it is, with the gradients of the loss on the device.
    pub(super) fn loss(&self, patches: &Batch, keep: bool) -> Result<Option<(f64, f64)>> {
        let averaging = self.averaging();
        let patch = self.config.data.patch;
        let measured = self.template.measured(&patches.clean, &patches.noisy, [patch, patch])?;
        // D = (1 - a) y + a N(y) is at c where N(y) is at this.
        let target = |(c, y): (&f32, &f32)| {
            let target = (f64::from(*c) - (1.0 - averaging) * f64::from(*y)) / averaging;
            target as f32
        };
        let targets: Vec<f32> = patches.clean.iter().zip(&measured).map(target).collect();
        // D(y) - c = a (N(y) - target): the loss of D, up to this, and its gradient.
        let scale = match self.config.loss {
            ImageLoss::L2 => averaging * averaging,
            ImageLoss::L1 => averaging,
        };
        let weight = (scale / (self.config.batch * patch * patch) as f64) as f32;
        let mut recorder = self.gpu.record();
        self.parts.record_refresh(&mut recorder);
        recorder.submit();
        drop(recorder);
        let weights = vec![weight; self.config.batch];
        self.gradient.run(self.gpu, &measured, &targets, &weights, keep)
    }

    fn averaging(&self) -> f64 {
        match self.config.network.kind {
            Kind::Denoiser => self.config.network.averaging,
            Kind::Unrolled => 1.0,
        }
    }

    /// Reads the whole state back.
    ///
    /// # Errors
    /// [`Error::Data`] if a parameter is not finite; device errors.
    pub fn state(&self) -> Result<LayeredState> {
        let raw = self.parts.read(self.gpu, &self.template, false)?;
        let logs: Vec<f32> = self.gpu.read(self.parts.logs())?;
        let own = |set: usize| {
            let (first, count) = self.parts.range(set);
            logs[first..first + count].to_vec()
        };
        let moments = self.optimiser.moments().into_iter();
        let read = |buffer: &Buffer| self.gpu.read::<[f32; 2]>(buffer);
        let clock = self.optimiser.clock();
        Ok(LayeredState {
            config: self.config.clone(),
            data: self.data.clone(),
            logs: (0..raw.shifts.len()).map(own).collect(),
            raw,
            moments: moments.map(read).collect::<Result<Vec<Moments>>>()?,
            progress: Progress {
                moves: clock.step,
                decay1: clock.decay1,
                decay2: clock.decay2,
                ..self.progress
            },
        })
    }

    /// The network as it is now, with filters and slopes inside their bounds.
    ///
    /// # Errors
    /// [`Error::Data`] if a parameter is not finite or a bound does not hold; device errors.
    pub fn model(&self) -> Result<Layered> {
        let mut recorder = self.gpu.record();
        self.parts.record_refresh(&mut recorder);
        recorder.submit();
        drop(recorder);
        let mut model = self.parts.read(self.gpu, &self.template, true)?;
        // The device's sums in f32 may leave a norm a few millionths above 1, and rounding the quotients again, by less each time.
        for layer in &mut model.filters {
            for _ in 0..ROUNDS {
                let bound = norm::row_sum_bound(layer).sqrt();
                if bound <= 1.0 {
                    break;
                }
                let divisor = bound * (1.0 + f64::from(f32::EPSILON));
                for w in &mut layer.weights {
                    *w = (f64::from(*w) / divisor) as f32;
                }
            }
        }
        let bounds = SlopeBounds::new(model.slope_bounds.0, model.slope_bounds.1)?;
        for spline in model.activations.iter_mut().flatten() {
            *spline = rounded_inside(spline, &bounds)?;
        }
        model.provenance = serde_json::json!({
            "made_by": concat!("train, knotwork ", env!("CARGO_PKG_VERSION")),
            "trained": true,
            "steps": self.progress.step,
            "seconds": self.progress.seconds,
            "adapter": self.gpu.adapter().name,
            "data": self.data,
            "config": self.config,
        });
        model.check()?;
        Ok(model)
    }

    pub(super) fn gpu(&self) -> &'g Gpu {
        self.gpu
    }

    pub(super) fn batch(&self) -> usize {
        self.config.batch
    }

    pub(super) fn parts(&self) -> &Parts {
        &self.parts
    }
}

impl<'g> Training<'g> for LayeredTrainer<'g> {
    type Config = LayeredConfig;
    type Source = Corpus;

    fn start(gpu: &'g Gpu, config: &LayeredConfig, data: &Corpus) -> Result<Self> {
        Self::new(gpu, &LayeredState::start(config, data.hash())?)
    }

    fn load(gpu: &'g Gpu, checkpoint: &Path) -> Result<Self> {
        Self::new(gpu, &LayeredState::read(checkpoint)?)
    }

    fn config(&self) -> &LayeredConfig {
        &self.config
    }

    fn data(&self) -> &str {
        &self.data
    }

    fn plan(&self) -> Plan {
        let LayeredConfig {
            schedule, adaptation, ..
        } = &self.config;
        Plan {
            batch: self.config.batch,
            steps: schedule.steps,
            checkpoint: schedule.checkpoint,
            validate: self.config.validation.every,
            adapt: match self.config.network.activation {
                super::ActivationKind::Spline => adaptation.every,
                _ => 0,
            },
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
        Ok(self.parts.read(self.gpu, &self.template, false)?.parameters())
    }

    fn splines(&self) -> Result<Vec<Spline>> {
        self.parts.splines(self.gpu)
    }

    fn step(&mut self, batch: &Batch) -> Result<StepReport> {
        LayeredTrainer::step(self, batch)
    }

    fn adapt(&mut self, batch: &Batch) -> Result<KnotEvent> {
        LayeredTrainer::adapt(self, batch)
    }

    fn validate(&self, data: &Corpus) -> Result<Vec<LevelScore>> {
        let (model, sigma) = (self.model()?, self.config.sigma());
        let mut total = 0.0;
        for (index, (_, plane)) in data.validation().iter().enumerate() {
            let size = [plane.height, plane.width];
            let noise = noise::gaussian(VALIDATION_SEED, index as u64, plane.values.len());
            let noisy: Vec<f32> = plane
                .values
                .iter()
                .zip(noise)
                .map(|(c, n)| c + sigma as f32 * n)
                .collect();
            let measured = model.measured(&plane.values, &noisy, size)?;
            let out = LayeredDenoiser::new(self.gpu, &model, size)?.run(self.gpu, &measured, sigma)?;
            total += psnr(&out, &plane.values)?;
        }
        Ok(vec![LevelScore {
            sigma,
            psnr: total / data.validation().len() as f64,
            iterations: model.iterations() as f64,
        }])
    }

    fn write_state(&self, path: &Path) -> Result<()> {
        self.state()?.write(path)
    }

    fn write_model(&self, path: &Path) -> Result<()> {
        self.model()?.write(path)
    }

    fn report(&self, model: Option<&Path>, records: &[serde_json::Value]) -> Result<String> {
        let settings = serde_json::to_value(&self.config).map_err(|e| Error::Internal(e.to_string()))?;
        let model = model.map_or_else(|| self.model(), Layered::read)?;
        layered_report(&model, records, &settings)
    }
}
