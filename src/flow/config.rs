//! What a training of a flow is asked to do: the TOML file of `train flow`.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::model::{MAX_KNOTS, MAX_LAYERS};
use crate::io::toml_file;
use crate::spline::SlopeBounds;
use crate::train::AdamSettings;
use crate::{Error, Result};

/// All settings of a training. Every key has a default, unknown ones are refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FlowConfig {
    /// Name of the model.
    pub name: String,
    /// Where the points come from: `moons`, `ring`, `hills`, or a file of points.
    pub data: String,
    /// Seed of everything that is random.
    pub seed: u64,
    /// Points per step.
    pub batch: usize,
    /// The flow.
    pub model: FlowModelSettings,
    /// The steps.
    pub optimiser: FlowOptimiser,
    /// How many steps, and how they change.
    pub schedule: FlowSchedule,
    /// How progress is measured.
    pub validation: FlowValidation,
    /// What happens to knots at the end.
    pub reduction: FlowReduction,
}

/// The flow before training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FlowModelSettings {
    /// Layers.
    pub layers: usize,
    /// Knots of every spline, placed halfway between quantiles of the data and an even grid.
    pub knots: usize,
    /// Least slope of `M` and `N`.
    pub slope_min: f64,
    /// Largest slope of `M` and `N`.
    pub slope_max: f64,
    /// Largest `|T'|`.
    pub shear: f64,
}

/// Learning rates of Adam.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FlowOptimiser {
    /// Of the nodal values of slopes.
    pub slopes: f64,
    /// Of the nodal values of shears.
    pub shears: f64,
    /// Of angles (the tangents of their halves) and shifts.
    pub frames: f64,
    /// Adam's decays of the first and second moments.
    pub decays: [f64; 2],
}

/// Learning rates over time: full for a part of the steps, then linearly down to 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FlowSchedule {
    /// Steps of the training.
    pub steps: u64,
    /// Part of the steps at the full learning rates.
    pub hold: f64,
    /// Checkpoints are written every so many steps.
    pub checkpoint: u64,
}

/// How progress is measured: by the negative log-likelihood of points that training does not see.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FlowValidation {
    /// Steps between measurements.
    pub every: u64,
    /// Points of a known distribution; of a file, one point in ten is held out, at most this many.
    pub points: usize,
}

/// Removal of knots from the best model when all steps are done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FlowReduction {
    /// Nats by which the negative log-likelihood of the held-out points may rise; 0 removes no knots.
    pub tolerance: f64,
}

impl Default for FlowConfig {
    fn default() -> Self {
        Self {
            name: "flow".into(),
            data: "moons".into(),
            seed: 1,
            batch: 1024,
            model: FlowModelSettings::default(),
            optimiser: FlowOptimiser::default(),
            schedule: FlowSchedule::default(),
            validation: FlowValidation::default(),
            reduction: FlowReduction::default(),
        }
    }
}

impl Default for FlowModelSettings {
    fn default() -> Self {
        Self {
            layers: 6,
            knots: 20,
            slope_min: 0.1,
            slope_max: 20.0,
            shear: 4.0,
        }
    }
}

impl Default for FlowOptimiser {
    fn default() -> Self {
        Self {
            slopes: 1e-2,
            shears: 1e-2,
            frames: 1e-2,
            decays: [0.9, 0.999],
        }
    }
}

impl Default for FlowSchedule {
    fn default() -> Self {
        Self {
            steps: 4000,
            hold: 0.5,
            checkpoint: 1000,
        }
    }
}

impl Default for FlowValidation {
    fn default() -> Self {
        Self {
            every: 500,
            points: 20_000,
        }
    }
}

impl Default for FlowReduction {
    fn default() -> Self {
        Self { tolerance: 1e-3 }
    }
}

impl FlowConfig {
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
        let (model, optimiser) = (&self.model, &self.optimiser);
        let rate = |r: f64| r >= 0.0 && (r as f32).is_finite();
        let rules = [
            (!self.name.is_empty(), "name must not be empty"),
            (!self.data.is_empty(), "data must name a distribution or a file"),
            ((1..=1 << 16).contains(&self.batch), "batch must be 1 to 65536"),
            (
                (1..=MAX_LAYERS).contains(&model.layers),
                "[model] layers must be 1 to 64",
            ),
            ((4..=MAX_KNOTS).contains(&model.knots), "[model] knots must be 4 to 33"),
            (
                model.slope_min >= 1e-3 && model.slope_min < 1.0,
                "[model] slope_min must be at least 0.001 and below 1",
            ),
            (
                model.slope_max > 1.0 && model.slope_max <= 1e3,
                "[model] slope_max must be above 1 and at most 1000",
            ),
            ((0.0..=1e3).contains(&model.shear), "[model] shear must be 0 to 1000"),
            (
                rate(optimiser.slopes) && rate(optimiser.shears) && rate(optimiser.frames),
                "[optimiser] learning rates must be 0 or more",
            ),
            (
                optimiser.decays.iter().all(|d| (0.0..1.0).contains(d)),
                "[optimiser] decays must lie in [0, 1)",
            ),
            (
                (1..=1 << 30).contains(&self.schedule.steps),
                "[schedule] steps must be 1 to 1073741824",
            ),
            (
                (0.0..=1.0).contains(&self.schedule.hold),
                "[schedule] hold must be 0 to 1",
            ),
            (self.schedule.checkpoint > 0, "[schedule] checkpoint must be at least 1"),
            (
                self.validation.every > 0 && (10..=10_000_000).contains(&self.validation.points),
                "[validation] every must be at least 1 and points 10 to 10000000",
            ),
            (
                (0.0..=1.0).contains(&self.reduction.tolerance),
                "[reduction] tolerance must be 0 to 1",
            ),
        ];
        match rules.iter().find(|(kept, _)| !kept) {
            None => Ok(()),
            Some((_, rule)) => Err(Error::Usage((*rule).into())),
        }
    }

    /// The slope bounds of `M` and `N`, rounded inwards to f32, which clamps on the device.
    ///
    /// # Errors
    /// None for settings that were checked.
    pub fn slope_bounds(&self) -> Result<SlopeBounds> {
        SlopeBounds::invertible(
            f64::from(crate::spline::device::inwards(self.model.slope_min, f32::next_up)),
            f64::from(crate::spline::device::inwards(self.model.slope_max, f32::next_down)),
        )
    }

    pub(super) fn adam(&self) -> AdamSettings {
        AdamSettings {
            beta1: self.optimiser.decays[0] as f32,
            beta2: self.optimiser.decays[1] as f32,
            epsilon: 1e-8,
            hold: (self.schedule.hold * self.schedule.steps as f64) as u32,
            steps: self.schedule.steps as u32,
        }
    }
}
