//! A linear inverse problem as a command found it in its files, and its solution by any of the methods.

use std::path::PathBuf;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::options::{SolverArgs, load_model};
use super::pnp::ChosenPnp;
use super::prepared::{Measured, Solution};
use crate::gpu::Gpu;
use crate::io::image::Format;
use crate::io::noise;
use crate::model::{Border, Ridge, Shipped};
use crate::operator::{LinearOperator, OperatorNorm};
use crate::solver::{Algorithm, Point, TOLERANCE};
use crate::{Error, Result};

/// How an image is reconstructed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// A learned ridge regularizer
    Model,
    /// Plug-and-play with a learned 1-Lipschitz denoiser
    Pnp,
    /// Total variation, a baseline
    Tv,
    /// Filtered back projection, a baseline of ct
    Fbp,
    /// The adjoint, with zeros for what was not measured, a baseline of mri
    ZeroFilled,
    /// The root of the sum of squares of the coils' images, a baseline of mri that wants no coil maps
    RootSumOfSquares,
}

impl Method {
    /// Whether it inverts directly, so that no strength counts.
    pub(super) fn is_direct(self) -> bool {
        matches!(self, Self::Fbp | Self::ZeroFilled | Self::RootSumOfSquares)
    }
}

/// What `reconstruct` solves: everything but the strength of the regularizer and the solver's settings.
pub struct Problem {
    /// The command.
    pub name: &'static str,
    /// `H`.
    pub operator: Box<dyn LinearOperator>,
    /// Measurements, one for each plane of the image.
    pub measured: Vec<Vec<f32>>,
    /// A direct inversion, where solvers start.
    pub direct: Box<Direct>,
    /// The name of the direct inversion, where it is a method of its own.
    pub direct_method: Option<Method>,
    /// Noise of the direct inversion per unit of noise in the measurement.
    pub gain: Gain,
    /// Standard deviation of the noise, as it was estimated.
    pub noise: Option<f64>,
    /// How it is estimated, where it can be.
    pub estimate: Option<Box<Estimate>>,
    /// What lies beyond the borders of images for models that care: photographs go on, bodies end in air.
    pub border: Border,
    /// Pixels are kept within, unless the user says otherwise.
    pub limits: (f32, f32),
    /// Format of the result, unless its name says otherwise.
    pub format: Format,
    /// The model, unless one is named.
    pub model: &'static Shipped,
    /// The convex regularizer from whose minimiser a weakly convex one starts, where the direct inversion is so far from the image
    /// that it would end in a bad minimum.
    pub convex: Option<&'static Shipped>,
    /// What was read besides the measurement, and what for.
    pub files: Vec<(&'static str, PathBuf)>,
    /// Parameters of the operator, for the record.
    pub parameters: serde_json::Value,
}

/// From a measured plane to the standard deviation of its noise; `None` where too little was measured to tell.
pub type Estimate = dyn Fn(&[f32]) -> Option<f64>;

/// From a measured plane to an image.
pub type Direct = dyn Fn(&Gpu, &[f32]) -> Result<Vec<f32>>;

/// Noise of the direct inversion per unit of noise in the measurement.
#[derive(Clone, Copy, Debug)]
pub enum Gain {
    /// Measurements are pixels.
    Pixels {
        /// By this factor undoing the operator amplifies their noise.
        factor: f64,
        /// The least noise level for which the model runs, unless one is given: what was not measured counts as noise, too.
        least_level: f64,
    },
    /// Found by inverting white noise, times this factor.
    OfDirect(f64),
    /// Of no account beside what was not measured.
    Missing {
        /// Noise level for which the model runs.
        level: f64,
        /// The least `(noise / sigma)^2` that weights are computed from.
        least: f64,
    },
}

/// Strength and kind of the regularizer; what is absent has a default that depends on the problem.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Strength {
    /// Method; `model` if absent.
    pub method: Option<Method>,
    /// A model file or the name of a shipped model.
    pub model: Option<PathBuf>,
    /// Weight of the regularizer.
    pub lambda: Option<f64>,
    /// Noise level for which the model runs, in units of the image range.
    pub sigma: Option<f64>,
    /// Standard deviation of the noise of the measurement, in its units.
    pub noise: Option<f64>,
    /// A model file of `train denoiser`, for [`Method::Pnp`].
    pub denoiser: Option<PathBuf>,
    /// Its iteration.
    pub algorithm: Option<Algorithm>,
    /// Its step in units of `1 / |H|^2`.
    pub step: Option<f64>,
    /// The averaging of its denoiser.
    pub averaging: Option<f64>,
    /// The strength of its denoiser.
    pub strength: Option<f64>,
}

impl Strength {
    /// The names of the two numbers that a search varies. Of forward-backward these are the denoiser's: how much the data count
    /// beside it is the ratio of averaging and step, and the step is limited. ADMM takes any step.
    pub fn searched(&self) -> [&'static str; 2] {
        match (self.method, self.algorithm.unwrap_or_default()) {
            (Some(Method::Pnp), Algorithm::Fbs) => ["averaging", "strength"],
            (Some(Method::Pnp), Algorithm::Admm) => ["step", "strength"],
            _ => ["lambda", "sigma"],
        }
    }
}

/// A [`Strength`] with nothing left open.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// Method.
    pub method: Method,
    /// The regularizer, for [`Method::Model`].
    pub model: Option<Ridge>,
    /// See [`Problem::convex`]; only beside a weakly convex model.
    pub convex: Option<Ridge>,
    /// Weight of the regularizer.
    pub lambda: f64,
    /// Noise level for which the model runs.
    pub sigma: f64,
    /// Noise of the measurement.
    pub noise: f64,
    /// The relative change at which the solver stops, unless it is told so.
    pub tolerance: f64,
    /// Denoiser and iteration, for [`Method::Pnp`].
    pub pnp: Option<ChosenPnp>,
}

/// Where pixels are measured, reconstructions stop at relative changes of at most this many times their noise: steps are short where
/// there is little, and from another minimiser, and would pass for the last.
const TOLERANCE_PER_NOISE: f64 = 0.03;

/// But not at less: what rounding changes would keep them going.
const LEAST_TOLERANCE: f64 = 1e-6;

/// The model of a problem is its default one down to this part of the default noise level; below, the convex one is.
const LEAST_LEVEL: f64 = 0.5;

impl Chosen {
    /// The convex regularizer that is minimised first, at the same weight and level, if it is made for that level.
    pub fn first(&self) -> Option<&Ridge> {
        self.convex.as_ref().filter(|convex| convex.alphas(self.sigma).is_ok())
    }

    /// What a search varies: see [`Strength::searched`].
    pub fn point(&self) -> Point {
        match &self.pnp {
            Some(pnp) => pnp.point(),
            None => [self.lambda, self.sigma],
        }
    }

    /// Which of the two may vary, and within what.
    pub fn ranges(&self) -> [Option<(f64, f64)>; 2] {
        match (&self.pnp, &self.model) {
            (Some(pnp), _) => pnp.ranges().map(Some),
            (None, Some(model)) => [
                Some((0.0, f64::MAX)),
                Some((model.sigma_range.0.max(1e-4), model.sigma_range.1)),
            ],
            (None, None) => [Some((0.0, f64::MAX)), None],
        }
    }

    /// The same at another point.
    #[must_use]
    pub fn at(&self, [first, second]: Point) -> Self {
        let mut there = self.clone();
        match &mut there.pnp {
            Some(pnp) => pnp.move_to([first, second]),
            None => (there.lambda, there.sigma) = (first, second),
        }
        there
    }
}

/// The weight of total variation in plain denoising, in units of the noise level.
const TV_SCALE: f64 = 0.8;

impl Problem {
    /// Fills in what `strength` leaves open. With noise of standard deviation `noise` in the measurement and a model whose
    /// `R(x; sigma) / sigma^2` stands for minus the logarithm of the images' density, the most probable image minimises
    /// `|H x - y|^2 / (2 noise^2) + R(x; sigma) / sigma^2`, so that `lambda = (noise / sigma)^2`. `sigma` is by default the
    /// noise of the direct inversion (times the factor of [`Gain::OfDirect`]), at most what the default model was trained for.
    /// Under [`Gain::Missing`] `sigma` and the least `(noise / sigma)^2` are set.
    /// Total variation gets `0.8 noise^2 / sigma`: 0.8 sigma for plain denoising.
    ///
    /// # Errors
    /// [`Error::Usage`] where the noise is unknown or the method does not exist here; model and device errors.
    pub fn choose(&self, gpu: &Gpu, strength: &Strength) -> Result<Chosen> {
        let method = strength.method.unwrap_or(Method::Model);
        self.check_method(method)?;
        let given = self.noise(strength);
        if method == Method::Pnp {
            return self.choose_pnp(gpu, strength, given);
        }
        let known = strength.lambda.is_some() && strength.sigma.is_some();
        let noise = given.or(known.then_some(0.0)).ok_or_else(unknown_noise)?;
        let named = strength.model.as_deref();
        let sigma = match strength.sigma {
            Some(sigma) => sigma,
            None => {
                let range = match named {
                    Some(path) => Shipped::or_file(path)?.sigma_range,
                    None => self.model.model()?.sigma_range,
                };
                self.level(gpu, noise)?.clamp(range.0.max(1e-4), range.1)
            }
        };
        let least = match self.gain {
            Gain::Missing { least, .. } => least,
            _ => 0.0,
        };
        let ratio = (noise / sigma).powi(2).max(least);
        let (model, lambda) = match method {
            Method::Model => {
                let mut model = load_model(named, || self.default_model(gpu, noise, sigma), sigma)?;
                if self.border == Border::Zero {
                    model.border = Border::Zero;
                }
                model.alphas(sigma)?;
                (Some(model), ratio)
            }
            _ => (None, TV_SCALE * sigma * ratio),
        };
        let convex = match &model {
            Some(model) if model.weak_convexity() > 0.0 => self.convex.map(Shipped::model).transpose()?,
            _ => None,
        };
        Ok(Chosen {
            method,
            model,
            convex,
            lambda: strength.lambda.unwrap_or(lambda),
            sigma,
            noise,
            tolerance: match self.gain {
                Gain::Pixels { .. } if noise > 0.0 => (TOLERANCE_PER_NOISE * noise).clamp(LEAST_TOLERANCE, TOLERANCE),
                _ => TOLERANCE,
            },
            pnp: None,
        })
    }

    fn choose_pnp(&self, gpu: &Gpu, strength: &Strength, given: Option<f64>) -> Result<Chosen> {
        if strength.sigma.is_some() && !matches!(self.gain, Gain::Pixels { .. }) {
            return Err(Error::Usage(
                "--sigma has no part in --method pnp; use --noise, or --step and --strength".into(),
            ));
        }
        // Where most is missing, what is missing counts as noise.
        let (level, least) = match self.gain {
            Gain::Missing { level, least } => (level, least),
            _ => (1.0, 0.0),
        };
        let noise = || {
            let noise = given.ok_or_else(unknown_noise)?;
            Ok(noise.max(level * least.sqrt()))
        };
        Ok(Chosen {
            method: Method::Pnp,
            model: None,
            convex: None,
            lambda: 0.0,
            sigma: 0.0,
            noise: given.unwrap_or(0.0),
            tolerance: TOLERANCE,
            pnp: Some(ChosenPnp::new(gpu, self.operator.as_ref(), strength, noise)?),
        })
    }

    /// The noise of the measurement as it was given, or estimated.
    fn noise(&self, strength: &Strength) -> Option<f64> {
        // Of pixels a level alone is that of their noise; beside a weight it is the model's.
        let level = match self.gain {
            Gain::Pixels { .. } if strength.lambda.is_none() => strength.sigma,
            _ => None,
        };
        strength.noise.or(level).or(self.noise)
    }

    fn check_method(&self, method: Method) -> Result<()> {
        if method.is_direct() && self.direct_method != Some(method) {
            let others = match self.direct_method {
                Some(Method::Fbp) => "model, pnp, tv or fbp",
                Some(_) => "model, pnp, tv, zero-filled or root-sum-of-squares",
                None => "model, pnp or tv",
            };
            return Err(Error::Usage(format!(
                "{} knows no such --method; use {others}",
                self.name
            )));
        }
        Ok(())
    }

    /// The model that is used where none is named. At levels that are low for the noise a weakly convex one takes artefacts of what was
    /// not measured for edges.
    fn default_model(&self, gpu: &Gpu, noise: f64, sigma: f64) -> Result<&'static Shipped> {
        match self.convex {
            Some(convex) => {
                let usual = self.level(gpu, noise)?.min(self.model.model()?.sigma_range.1);
                Ok(if sigma < LEAST_LEVEL * usual {
                    convex
                } else {
                    self.model
                })
            }
            None => Ok(self.model),
        }
    }

    /// The noise level for which a model runs by default.
    fn level(&self, gpu: &Gpu, noise: f64) -> Result<f64> {
        match self.gain {
            Gain::Pixels { factor, least_level } => Ok((factor * noise).max(least_level)),
            Gain::Missing { level, .. } => Ok(level),
            Gain::OfDirect(factor) => {
                let [rows, cols] = self.operator.range();
                let image = (self.direct)(gpu, &noise::gaussian(0, 0, rows * cols))?;
                let sum: f64 = image.iter().map(|v| f64::from(*v).powi(2)).sum();
                Ok(factor * (sum / image.len() as f64).sqrt() * noise)
            }
        }
    }

    /// Solves the problem for all planes. `norm` spares the computation of `|H|^2` where it is known; `progress` hears the
    /// iterations done and the relative change of the last.
    ///
    /// # Errors
    /// Solver and device errors.
    pub fn solve(
        &self,
        gpu: &Gpu,
        chosen: &Chosen,
        solver: &SolverArgs,
        norm: Option<OperatorNorm>,
        progress: impl FnMut(usize, f64),
    ) -> Result<Solution> {
        let measured = Measured {
            planes: self.measured.clone(),
            label: String::new(),
        };
        let prepared = self.prepare(gpu, chosen, solver, norm, self.measured.len())?;
        let mut solutions = prepared.run(vec![measured], progress)?;
        solutions
            .pop()
            .ok_or_else(|| Error::Internal("a measurement without a solution".into()))
    }
}

fn unknown_noise() -> Error {
    Error::Usage(
        "too little was measured to tell the noise; give it: --sigma 0.02 or 5/255, or --noise in the measurement's units".into(),
    )
}
