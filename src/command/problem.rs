//! A linear inverse problem as a command found it in its files, and its solution by any of the methods.

use std::path::PathBuf;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::options::{SolverArgs, load_model};
use crate::gpu::Gpu;
use crate::io::image::Format;
use crate::io::noise;
use crate::model::device::RunOptions;
use crate::model::{Ridge, Shipped};
use crate::operator::{LinearOperator, OperatorNorm};
use crate::solver::{Constants, Reconstructor, Regularizer, Settings, Stop};
use crate::{Error, Result};

/// How an image is reconstructed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// A learned ridge regularizer
    Model,
    /// Total variation, a baseline
    Tv,
    /// Filtered back projection, a baseline of ct
    Fbp,
    /// The adjoint, with zeros for what was not measured, a baseline of mri
    ZeroFilled,
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
    /// Standard deviation of the noise, estimated from the measurement itself.
    pub noise: Option<f64>,
    /// Pixels are kept within, unless the user says otherwise.
    pub limits: (f32, f32),
    /// Format of the result, unless its name says otherwise.
    pub format: Format,
    /// The model, unless one is named.
    pub model: &'static Shipped,
    /// What was read besides the measurement, and what for.
    pub files: Vec<(&'static str, PathBuf)>,
    /// Parameters of the operator, for the record.
    pub parameters: serde_json::Value,
}

/// From a measured plane to an image.
pub type Direct = dyn Fn(&Gpu, &[f32]) -> Result<Vec<f32>>;

/// Noise of the direct inversion per unit of noise in the measurement.
#[derive(Clone, Copy, Debug)]
pub enum Gain {
    /// Measurements are pixels.
    Unit,
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
}

/// A [`Strength`] with nothing left open.
pub struct Chosen {
    /// Method.
    pub method: Method,
    /// The regularizer, for [`Method::Model`].
    pub model: Option<Ridge>,
    /// Weight of the regularizer.
    pub lambda: f64,
    /// Noise level for which the model runs.
    pub sigma: f64,
    /// Noise of the measurement.
    pub noise: f64,
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
        let given = strength.noise.or(match self.gain {
            Gain::Unit => strength.sigma,
            Gain::OfDirect(_) | Gain::Missing { .. } => self.noise,
        });
        let known = strength.lambda.is_some() && strength.sigma.is_some();
        let Some(noise) = given.or(known.then_some(0.0)) else {
            return Err(Error::Usage(
                "give the noise of the measurement: --sigma 0.02 or 5/255, or --noise in the measurement's units"
                    .into(),
            ));
        };
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
                let model = load_model(named, self.model, sigma)?;
                model.alphas(sigma)?;
                (Some(model), ratio)
            }
            _ => (None, TV_SCALE * sigma * ratio),
        };
        Ok(Chosen {
            method,
            model,
            lambda: strength.lambda.unwrap_or(lambda),
            sigma,
            noise,
        })
    }

    fn check_method(&self, method: Method) -> Result<()> {
        let direct = matches!(method, Method::Fbp | Method::ZeroFilled);
        if direct && self.direct_method != Some(method) {
            let others = match self.direct_method {
                Some(Method::Fbp) => "model, tv or fbp",
                Some(_) => "model, tv or zero-filled",
                None => "model or tv",
            };
            return Err(Error::Usage(format!(
                "{} knows no such --method; use {others}",
                self.name
            )));
        }
        Ok(())
    }

    /// The noise level for which a model runs by default.
    fn level(&self, gpu: &Gpu, noise: f64) -> Result<f64> {
        match self.gain {
            Gain::Unit => Ok(noise),
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
        mut progress: impl FnMut(usize, f64),
    ) -> Result<Solution> {
        let limits = solver.limits.unwrap_or(self.limits);
        let start = |y: &Vec<f32>| -> Result<Vec<f32>> {
            let image = (self.direct)(gpu, y)?;
            Ok(image.into_iter().map(|v| v.clamp(limits.0, limits.1)).collect())
        };
        let regularizer = match (chosen.method, &chosen.model) {
            (Method::Model, Some(model)) => Regularizer::Ridge(
                model,
                RunOptions {
                    sigma: chosen.sigma,
                    style: None,
                    tile: solver.tile.map(|t| t as usize),
                },
            ),
            (Method::Tv, _) => Regularizer::TotalVariation,
            _ => {
                let planes: Result<Vec<Vec<f32>>> = self.measured.iter().map(start).collect();
                return Ok(Solution::direct(planes?.concat()));
            }
        };
        let settings = Settings {
            lambda: chosen.lambda,
            tolerance: solver.tol,
            max_iterations: solver.max_iter,
            // A weakly convex regularizer may fall for ever where nothing is measured: only a box bounds the energy.
            limits: Some(limits),
            accelerate: !solver.plain,
        };
        let norm = norm.map_or_else(|| self.operator.norm_squared(gpu), Ok)?;
        let reconstructor = Reconstructor::with_norm(gpu, self.operator.as_ref(), norm, regularizer, settings)?;
        let mut outcomes = Vec::new();
        for y in &self.measured {
            outcomes.push(reconstructor.run(y, &start(y)?, &mut progress)?);
        }
        let converged = outcomes.iter().all(|o| o.stop == Stop::Converged);
        Ok(Solution {
            energy: Some(outcomes.iter().map(|o| o.energy).sum()),
            iterations: outcomes.iter().map(|o| o.iterations).max().unwrap_or(0),
            stop: if converged {
                Stop::Converged
            } else {
                Stop::MaxIterations
            },
            constants: Some(reconstructor.constants()),
            planes: outcomes.into_iter().flat_map(|o| o.image).collect(),
        })
    }
}

/// A reconstructed image and how it came about.
#[derive(Debug)]
pub struct Solution {
    /// Pixels by plane, row and column.
    pub planes: Vec<f32>,
    /// Energy at the end, where there is one.
    pub energy: Option<f64>,
    /// Iterations, of the plane that took most.
    pub iterations: usize,
    /// Why it ended.
    pub stop: Stop,
    /// What the steps rest on.
    pub constants: Option<Constants>,
}

impl Solution {
    fn direct(planes: Vec<f32>) -> Self {
        Self {
            planes,
            energy: None,
            iterations: 0,
            stop: Stop::Converged,
            constants: None,
        }
    }
}
