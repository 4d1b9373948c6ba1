//! What a training is asked to do: the TOML file of `train ridge`.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::data::DataSettings;
use super::{HypergradientSettings, ImageLoss, Objective, OptimiserSettings};
use crate::io::toml_file;
use crate::{Error, Result};

/// All settings of a training. Every key has a default, unknown ones are refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RidgeConfig {
    /// Name of the model.
    pub name: String,
    /// Patches per step.
    pub batch: usize,
    /// The regularizer.
    pub model: ModelSettings,
    /// The patches.
    pub data: DataSettings,
    /// The loss and its derivative.
    pub objective: ObjectiveSettings,
    /// The steps.
    pub optimiser: OptimiserSettings,
    /// How the steps change.
    pub schedule: Schedule,
    /// How knots come and go.
    pub adaptation: KnotAdaptation,
    /// How progress is measured.
    pub validation: Validation,
}

/// The regularizer before training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelSettings {
    /// What to start from: `cosines`, or the file or the name of a model with no more filters, to be trained
    /// further. The settings of activations at the start are for filters that it does not have.
    pub start: String,
    /// Filters.
    pub filters: usize,
    /// Planes between the layers whose composition the filters are, `[4, 8]` for layers from 1 to 4, to 8 and to `filters` planes; none
    /// for filters of one layer, which can be any.
    pub hidden: Vec<usize>,
    /// Side of the filters, odd; of several layers that of each, so that `layers (size - 1) + 1` is that of the filters.
    pub size: usize,
    /// Activations have slopes in `[-rho, mu]`: 0 for a convex regularizer, at most 1 for a convex denoising problem.
    pub rho: f64,
    /// See `rho`; more is sharper and takes more iterations.
    pub mu: f64,
    /// One activation for all channels instead of one each.
    pub shared: bool,
    /// Knots of an activation at the start, even.
    pub start_knots: usize,
    /// The outermost knots at the start, in units of `response / sigma`.
    pub range: f64,
    /// What responses are pulled by at most before training, in units of sigma.
    pub threshold: f64,
    /// Norm of the filters that are added to those of another model, or to a complete square of cosines, in units of the root mean
    /// square of theirs: little, so that the regularizer is still theirs, but not 0, where a filter has no gradient.
    pub fresh: f64,
    /// Knots of the scalings as functions of sigma, from 0 to `sigma_max` in proportion to the squares of their numbers.
    pub scaling_knots: usize,
    /// The largest noise level that the model is meant for, in units of the image range.
    pub sigma_max: f64,
}

/// The loss and how it is differentiated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ObjectiveSettings {
    /// The denoiser that is trained.
    pub kind: Objective,
    /// The loss per pixel.
    pub loss: ImageLoss,
    /// Pixels along the border of patches whose errors do not count.
    pub margin: usize,
    /// Patches count with `sigma` to the power of minus this, so that small noise is not forgotten.
    pub noise_exponent: f64,
    /// Change of an iteration, relative to the norm of the noise, at which the denoiser stops.
    pub tolerance: f64,
    /// Iterations at most, or steps that are unrolled.
    pub iterations: usize,
    /// Relative residual at which the adjoint solver stops.
    pub adjoint_tolerance: f64,
    /// Its iterations at most.
    pub adjoint_iterations: usize,
}

/// Learning rates over time: linear warm-up, then half a cosine down to `last`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Schedule {
    /// Steps of the training.
    pub steps: u64,
    /// Steps until the full rates.
    pub warm_up: u64,
    /// What is left of the rates at the end.
    pub last: f64,
    /// Checkpoints are written every so many steps.
    pub checkpoint: u64,
}

/// How knots are moved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KnotAdaptation {
    /// Steps between events; 0 keeps the knots.
    pub every: u64,
    /// No event after this part of the training.
    pub until: f64,
    /// Most knots of an activation.
    pub max_knots: usize,
    /// Most new knots of an activation per event, even.
    pub insert: usize,
    /// Knots go while the root-mean-square change of `phi(alpha u)` stays below this part of its root mean square, however little a
    /// channel counts: filters grow.
    pub max_error: f64,
}

/// How progress is measured: PSNR on images that training does not see.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Validation {
    /// Steps between measurements.
    pub every: u64,
    /// Images held out.
    pub images: usize,
    /// Noise levels, in units of the image range.
    pub sigma: Vec<f64>,
    /// Relative change at which the denoiser stops.
    pub tolerance: f64,
}

impl Default for RidgeConfig {
    fn default() -> Self {
        Self {
            name: "ridge".into(),
            batch: 32,
            model: ModelSettings::default(),
            data: DataSettings::default(),
            objective: ObjectiveSettings::default(),
            optimiser: OptimiserSettings::default(),
            schedule: Schedule::default(),
            adaptation: KnotAdaptation::default(),
            validation: Validation::default(),
        }
    }
}

impl ModelSettings {
    /// Layers as (inputs, outputs), all of filters of side `size`.
    pub fn layers(&self) -> Vec<[usize; 2]> {
        let outputs = self.hidden.iter().chain([&self.filters]);
        let inputs = [1].iter().chain(&self.hidden);
        inputs
            .zip(outputs)
            .map(|(inputs, outputs)| [*inputs, *outputs])
            .collect()
    }

    /// Side of the filters, those of all layers together.
    pub fn side(&self) -> usize {
        (self.hidden.len() + 1) * self.size.saturating_sub(1) + 1
    }
}

impl Default for ModelSettings {
    fn default() -> Self {
        Self {
            start: super::start::COSINES.into(),
            filters: 24,
            hidden: Vec::new(),
            size: 7,
            rho: 1.0,
            mu: 48.0,
            shared: false,
            start_knots: 10,
            range: 2.0,
            threshold: 0.26,
            fresh: 0.1,
            scaling_knots: 9,
            sigma_max: 30.0 / 255.0,
        }
    }
}

impl Default for ObjectiveSettings {
    fn default() -> Self {
        Self {
            kind: Objective::Bilevel,
            loss: ImageLoss::L1,
            margin: 0,
            noise_exponent: 0.5,
            tolerance: 1e-3,
            iterations: 200,
            adjoint_tolerance: 1e-2,
            adjoint_iterations: 50,
        }
    }
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            steps: 3000,
            warm_up: 50,
            last: 0.02,
            checkpoint: 100,
        }
    }
}

impl Default for KnotAdaptation {
    fn default() -> Self {
        Self {
            every: 200,
            until: 0.7,
            max_knots: 12,
            insert: 2,
            max_error: 5e-4,
        }
    }
}

impl Default for Validation {
    fn default() -> Self {
        Self {
            every: 200,
            images: 6,
            sigma: vec![5.0 / 255.0, 15.0 / 255.0, 25.0 / 255.0],
            tolerance: 1e-4,
        }
    }
}

impl RidgeConfig {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`Error::Input`] naming the key that is unknown, of the wrong type or out of range.
    pub fn read(path: &Path) -> Result<Self> {
        let config: Self = toml_file::read(path)?;
        config.check().map_err(|e| Error::input(path, e.to_string()))?;
        Ok(config)
    }

    /// The same as TOML.
    ///
    /// # Errors
    /// [`Error::Internal`].
    pub fn to_toml(&self) -> Result<String> {
        toml_file::text(self)
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the setting.
    pub fn check(&self) -> Result<()> {
        let Self {
            model,
            schedule,
            adaptation,
            validation,
            ..
        } = self;
        self.data.check()?;
        self.optimiser.check()?;
        let positive = |v: f64| v > 0.0 && v.is_finite();
        let even = |n: usize| n.is_multiple_of(2);
        let part = |v: f64| (0.0..=1.0).contains(&v);
        let rules: [(bool, &str); 25] = [
            (!self.name.is_empty(), "name must not be empty"),
            (self.batch > 0, "batch must be at least 1"),
            ((1..=512).contains(&model.filters), "[model] filters must be 1 to 512"),
            (
                model.size >= 3 && !even(model.size) && model.side() <= 15,
                "[model] size must be odd, at least 3, and that of the filters, with all layers, at most 15",
            ),
            (
                model.hidden.iter().all(|planes| (1..=64).contains(planes)),
                "[model] hidden planes must be 1 to 64 in each layer",
            ),
            (
                *model.hidden.first().unwrap_or(&model.filters) < model.size * model.size,
                "[model] filters, or the first of the hidden planes, must be fewer than size squared: that many cosines without mean there are",
            ),
            (
                part(model.rho),
                "[model] rho must be 0 to 1: above, denoising is not convex",
            ),
            (positive(model.mu), "[model] mu must be above 0"),
            (
                even(model.start_knots) && model.start_knots >= 4,
                "[model] start_knots must be even and at least 4",
            ),
            (positive(model.threshold), "[model] threshold must be above 0"),
            (
                positive(model.range) && model.range > model.threshold / (0.5 * model.mu),
                "[model] range must lie beyond the knee, 2 threshold / mu",
            ),
            (
                model.fresh > 0.0 && model.fresh <= 1.0,
                "[model] fresh must be above 0, where filters have no gradient, and at most 1",
            ),
            (model.scaling_knots >= 2, "[model] scaling_knots must be at least 2"),
            (
                model.sigma_max >= self.data.sigma.1 && model.sigma_max.is_finite(),
                "[model] sigma_max must be at least the largest [data] sigma",
            ),
            (
                2 * self.objective.margin < self.data.patch,
                "[objective] margin must be less than half of [data] patch",
            ),
            (
                (0.0..=2.0).contains(&self.objective.noise_exponent),
                "[objective] noise_exponent must be 0 to 2",
            ),
            (schedule.steps > 0, "[schedule] steps must be at least 1"),
            (
                schedule.last > 0.0 && schedule.last <= 1.0,
                "[schedule] last must be above 0 and at most 1",
            ),
            (schedule.checkpoint > 0, "[schedule] checkpoint must be at least 1"),
            (part(adaptation.until), "[adaptation] until must be 0 to 1"),
            (
                even(adaptation.insert) && adaptation.insert + 4 <= adaptation.max_knots,
                "[adaptation] insert must be even and at most max_knots - 4",
            ),
            (
                model.start_knots <= adaptation.max_knots && adaptation.max_knots <= 256,
                "[adaptation] max_knots must be at least [model] start_knots and at most 256",
            ),
            (
                adaptation.max_error >= 0.0 && adaptation.max_error.is_finite(),
                "[adaptation] max_error must be 0 or more",
            ),
            (
                validation.every > 0 && positive(validation.tolerance),
                "[validation] every and tolerance must be above 0",
            ),
            (
                validation.images > 0 && !validation.sigma.is_empty(),
                "[validation] needs images and sigma",
            ),
        ];
        if let Some((_, rule)) = rules.iter().find(|(kept, _)| !kept) {
            return Err(Error::Usage((*rule).into()));
        }
        match validation.sigma.iter().find(|s| !(**s > 0.0 && **s <= model.sigma_max)) {
            None => Ok(()),
            Some(sigma) => Err(Error::Usage(format!(
                "[validation] sigma {sigma} must be above 0 and at most [model] sigma_max"
            ))),
        }
    }

    /// What the hypergradient wants to know.
    pub fn hypergradient(&self) -> HypergradientSettings {
        HypergradientSettings {
            objective: self.objective.kind,
            loss: self.objective.loss,
            margin: self.objective.margin,
            tolerance: self.objective.tolerance,
            iterations: self.objective.iterations,
            adjoint_tolerance: self.objective.adjoint_tolerance,
            adjoint_iterations: self.objective.adjoint_iterations,
        }
    }
}

impl Schedule {
    /// Factor of the learning rates in step `step`, counted from 0.
    pub fn rate(&self, step: u64) -> f64 {
        let warm = (step + 1) as f64 / self.warm_up.max(1) as f64;
        let span = self.steps.saturating_sub(self.warm_up).max(1) as f64;
        let part = (step.saturating_sub(self.warm_up) as f64 / span).min(1.0);
        let fallen = self.last + (1.0 - self.last) * 0.5 * (1.0 + (std::f64::consts::PI * part).cos());
        warm.min(1.0) * fallen
    }
}
