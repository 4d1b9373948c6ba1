//! The settings of a training of a network, a TOML file.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::model::{MOST_CHANNELS, MOST_WEIGHTS};
use crate::io::toml_file;
use crate::spline::SlopeBounds;
use crate::train::data::DataSettings;
use crate::train::{ImageLoss, KnotAdaptation, Schedule, StepRule};
use crate::{Error, Result};

/// All settings of a training. Every key has a default, unknown ones are refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LayeredConfig {
    /// Name of the model.
    pub name: String,
    /// Patches per step.
    pub batch: usize,
    /// The loss per pixel.
    pub loss: ImageLoss,
    /// The network.
    pub network: LayeredSettings,
    /// The patches; both noise levels are those that the network is meant for.
    pub data: DataSettings,
    /// The steps.
    pub rates: Rates,
    /// How the steps change.
    pub schedule: Schedule,
    /// How knots come and go; for splines only.
    pub adaptation: KnotAdaptation,
    /// How progress is measured.
    pub validation: Held,
}

/// What a network is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A 1-Lipschitz denoiser.
    Denoiser,
    /// An unrolled proximal gradient network.
    Unrolled,
}

/// The activations of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ActivationKind {
    /// Splines with adaptive knots, inside the slope bounds.
    Spline,
    /// `max(u, 0)`, for comparison.
    Relu,
    /// One slope left of 0 and one right of it, both trained inside the slope bounds, for comparison.
    Prelu,
    /// `|u|`, for comparison.
    Abs,
}

/// The network before training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LayeredSettings {
    /// What it is for.
    pub kind: Kind,
    /// Channels of every hidden layer, at least `size` squared.
    pub channels: usize,
    /// Side of all filters, odd.
    pub size: usize,
    /// Layers of a denoiser, steps of an unrolled network.
    pub depth: usize,
    /// The activations.
    pub activation: ActivationKind,
    /// Denoiser: `a` in `D = (1 - a) Id + a N`, which is trained to denoise; 0.5 and less make it firmly non-expansive.
    pub averaging: f64,
    /// Unrolled: the step of the data term.
    pub step: f64,
    /// Unrolled: whether all steps share their parameters.
    pub tied: bool,
    /// Unrolled: standard deviation in pixels of the Gaussian blur that is to be undone; 0 for denoising.
    pub blur: f64,
    /// Knots of a spline at the start, odd.
    pub start_knots: usize,
    /// The outermost ones, in units of the image range.
    pub range: f64,
}

/// Learning rates, with what else moves parameters as in `[optimiser]` of a ridge regularizer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rates {
    /// Of the filters.
    pub filters: f64,
    /// Of the shifts.
    pub shifts: f64,
    /// Of the logarithms of the scalings.
    pub scalings: f64,
    /// Of the nodal values.
    pub values: f64,
    /// Adam's decays.
    pub decays: [f64; 2],
    /// Weight of `sum TV2`.
    pub tv2: f64,
    /// Gradients longer than this many times their usual length are shortened; 0 never.
    pub clip: f64,
}

/// How progress is measured: PSNR on images that training does not see, at the noise level of the network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Held {
    /// Steps between measurements.
    pub every: u64,
    /// Images held out.
    pub images: usize,
}

impl Default for LayeredConfig {
    fn default() -> Self {
        Self {
            name: "denoiser".into(),
            batch: 8,
            loss: ImageLoss::L2,
            network: LayeredSettings::default(),
            data: DataSettings {
                sigma: (25.0 / 255.0, 25.0 / 255.0),
                ..DataSettings::default()
            },
            rates: Rates::default(),
            schedule: Schedule {
                steps: 1500,
                ..Schedule::default()
            },
            adaptation: KnotAdaptation {
                every: 100,
                max_knots: 16,
                max_error: 1e-4,
                ..KnotAdaptation::default()
            },
            validation: Held::default(),
        }
    }
}

impl Default for LayeredSettings {
    fn default() -> Self {
        Self {
            kind: Kind::Denoiser,
            channels: 16,
            size: 3,
            depth: 5,
            activation: ActivationKind::Spline,
            averaging: 1.0,
            step: 0.5,
            tied: false,
            blur: 0.0,
            start_knots: 11,
            range: 0.5,
        }
    }
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            filters: 2e-3,
            shifts: 1e-3,
            scalings: 2e-3,
            values: 1e-3,
            decays: [0.9, 0.99],
            tv2: 1e-8,
            clip: 3.0,
        }
    }
}

impl Default for Held {
    fn default() -> Self {
        Self { every: 250, images: 4 }
    }
}

/// Correlations of the filters of a layer that fit one launch.
const MOST_LAGS: usize = 65535 * 64;

/// Slopes of trained activations stay this far inside their bounds, so that those of the values as f32 holds them keep them too.
pub(super) const INSET: f64 = 2e-5;

impl LayeredSettings {
    /// The slope bounds of the kind.
    pub fn slope_bounds(&self) -> (f64, f64) {
        match self.kind {
            Kind::Denoiser => (-1.0, 1.0),
            Kind::Unrolled => (0.0, 1.0),
        }
    }

    /// The bounds that training keeps.
    pub(super) fn trained_bounds(&self) -> Result<SlopeBounds> {
        let (low, high) = self.slope_bounds();
        SlopeBounds::new((low + INSET).min(0.0), high - INSET)
    }

    /// Whether nodal values are trained.
    pub(super) fn trains_values(&self) -> bool {
        matches!(self.activation, ActivationKind::Spline | ActivationKind::Prelu)
    }
}

impl Rates {
    pub(super) fn rule(&self) -> StepRule {
        StepRule {
            decays: self.decays,
            tv2: self.tv2,
            clip: self.clip,
        }
    }
}

impl LayeredConfig {
    /// Reads and checks a file for networks of this kind.
    ///
    /// # Errors
    /// [`Error::Input`] naming the key that is unknown, of the wrong type or out of range.
    pub fn read(path: &Path, kind: Kind) -> Result<Self> {
        let config: Self = toml_file::read(path)?;
        config.check().map_err(|e| Error::input(path, e.to_string()))?;
        if config.network.kind != kind {
            return Err(Error::input(
                path,
                "[network] kind is another one; use the command of that name",
            ));
        }
        Ok(config)
    }

    /// The defaults of a kind.
    pub fn of_kind(kind: Kind) -> Self {
        let mut config = Self::default();
        config.network.kind = kind;
        if kind == Kind::Unrolled {
            config.name = "unrolled".into();
        }
        config
    }

    /// The noise level, in units of the image range.
    pub fn sigma(&self) -> f64 {
        self.data.sigma.1
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the setting.
    pub fn check(&self) -> Result<()> {
        self.data.check()?;
        let (net, rates, adaptation) = (&self.network, &self.rates, &self.adaptation);
        let positive = |v: f64| v > 0.0 && v.is_finite();
        let rate = |v: f64| v >= 0.0 && v.is_finite();
        let odd = |n: usize| !n.is_multiple_of(2);
        let unrolled = net.kind == Kind::Unrolled;
        // Sizes are multiplied only once each is known to be in its range: others could overflow.
        let fits = || {
            let pairs = net.channels * net.channels;
            pairs * net.size * net.size * net.depth <= MOST_WEIGHTS && pairs * (2 * net.size - 1).pow(2) <= MOST_LAGS
        };
        let sizes: [(bool, &str); 3] = [
            (
                (3..=15).contains(&net.size) && odd(net.size),
                "[network] size must be odd, 3 to 15",
            ),
            (
                net.channels <= MOST_CHANNELS && net.channels.isqrt() >= net.size,
                "[network] channels must be at least size squared, so that no image is lost, and at most 256",
            ),
            (
                (if unrolled { 1 } else { 2 }..=64).contains(&net.depth),
                "[network] depth must be 2 to 64, from 1 on for unrolled networks",
            ),
        ];
        keep(&sizes)?;
        let rules: [(bool, &str); 19] = [
            (!self.name.is_empty(), "name must not be empty"),
            (self.batch > 0, "batch must be at least 1"),
            (
                self.data.sigma.0 == self.data.sigma.1,
                "[data] sigma must be one level, twice: the network is trained for it and scaled for others",
            ),
            (
                unrolled || fits(),
                "[network] channels, size and depth together make too many weights for one launch",
            ),
            (
                net.averaging > 0.0 && net.averaging <= 1.0,
                "[network] averaging must be above 0 and at most 1",
            ),
            (
                net.step > 0.0 && net.step < 2.0,
                "[network] step must lie in (0, 2): 2 / |H|^2 with a blur of norm 1",
            ),
            (
                (0.0..=4.0).contains(&net.blur) && (unrolled || net.blur == 0.0),
                "[network] blur must be 0 to 4 pixels, and 0 for denoisers",
            ),
            (
                !unrolled || net.activation == ActivationKind::Spline,
                "[network] activation must be \"spline\" in unrolled networks: slopes in [0, 1] make proximal operators",
            ),
            (
                odd(net.start_knots) && net.start_knots >= 3,
                "[network] start_knots must be odd and at least 3",
            ),
            (positive(net.range), "[network] range must be above 0"),
            (
                [rates.filters, rates.shifts, rates.scalings, rates.tv2, rates.clip]
                    .into_iter()
                    .all(rate),
                "[rates] must be 0 or more",
            ),
            (positive(rates.values), "[rates] values must be above 0"),
            (
                rates.decays.iter().all(|d| (0.0..1.0).contains(d)),
                "[rates] decays must lie in [0, 1)",
            ),
            (self.schedule.steps > 0, "[schedule] steps must be at least 1"),
            (
                self.schedule.last > 0.0 && self.schedule.last <= 1.0,
                "[schedule] last must be above 0 and at most 1",
            ),
            (self.schedule.checkpoint > 0, "[schedule] checkpoint must be at least 1"),
            (
                net.start_knots <= adaptation.max_knots && adaptation.max_knots <= 256,
                "[adaptation] max_knots must be at least [network] start_knots and at most 256",
            ),
            (
                adaptation.insert + 4 <= adaptation.max_knots
                    && adaptation.max_error >= 0.0
                    && (0.0..=1.0).contains(&adaptation.until),
                "[adaptation] insert must be at most max_knots - 4, max_error 0 or more, until 0 to 1",
            ),
            (
                self.validation.every > 0 && self.validation.images > 0,
                "[validation] every and images must be at least 1",
            ),
        ];
        keep(&rules)
    }
}

/// The first rule that is not kept as an error.
fn keep(rules: &[(bool, &str)]) -> Result<()> {
    match rules.iter().find(|(kept, _)| !kept) {
        Some((_, rule)) => Err(Error::Usage((*rule).into())),
        None => Ok(()),
    }
}
