//! `--method pnp`: plug-and-play with a denoiser from a file.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};

use super::options::{SolverArgs, parse_positive};
use super::problem::Strength;
use crate::gpu::{Buffer, Gpu, Recorder};
use crate::layered::{Architecture, Layered, LayeredRunner};
use crate::operator::{LinearOperator, OperatorNorm};
use crate::solver::{Algorithm, Nonexpansive, PlugAndPlay, PnpOutcome, PnpSettings, Point, TOLERANCE};
use crate::{Error, Result};

/// Options of `--method pnp`.
#[derive(Args, Clone, Debug, Default)]
pub struct PnpArgs {
    /// Denoiser of --method pnp, which this implies: a model of `train denoiser` or of `train unrolled` with tied steps, whose proximal
    /// operator then denoises, or the shipped denoiser-25 or deblur-8
    #[arg(long, value_name = "FILE")]
    pub denoiser: Option<PathBuf>,
    /// Iteration of --method pnp [default: fbs]
    #[arg(long, value_enum)]
    pub algorithm: Option<Algorithm>,
    /// Step of --method pnp in units of 1/|H|^2, for fbs below 2: the longer, the more the measurement counts [default: 1.9, for admm 10]
    #[arg(long, value_name = "G", value_parser = parse_positive, allow_hyphen_values = true)]
    pub step: Option<f64>,
    /// Averaging A of the denoiser (1 - A) x + A N(x), below 1, for admm at most 0.5 [default: that of the model, or 0.5
    /// where the iteration does not allow it]
    #[arg(long, value_name = "A", value_parser = parse_positive, allow_hyphen_values = true)]
    pub averaging: Option<f64>,
    /// Strength S of the denoiser S N(x / S) [default: from the noise of the measurement, the step and the level that it was trained for]
    #[arg(long, value_name = "S", value_parser = parse_positive, allow_hyphen_values = true)]
    pub strength: Option<f64>,
}

impl PnpArgs {
    /// The first option that was given.
    pub(super) fn first(&self) -> Option<&'static str> {
        let given = [
            ("--denoiser", self.denoiser.is_some()),
            ("--algorithm", self.algorithm.is_some()),
            ("--step", self.step.is_some()),
            ("--averaging", self.averaging.is_some()),
            ("--strength", self.strength.is_some()),
        ];
        given.into_iter().find(|(_, given)| *given).map(|(name, _)| name)
    }
}

/// Plug-and-play with nothing left open.
#[derive(Clone, Debug)]
pub struct ChosenPnp {
    /// The denoiser.
    pub denoiser: Arc<Layered>,
    /// The iteration.
    pub algorithm: Algorithm,
    /// `gamma |H|^2`.
    pub step: f64,
    /// `a`.
    pub averaging: f64,
    /// `s`.
    pub strength: f64,
    /// `|H|^2`.
    pub norm: OperatorNorm,
}

impl Nonexpansive for LayeredRunner {
    fn record(&self, recorder: &mut Recorder<'_>) {
        self.record(recorder);
    }

    fn input(&self) -> &Buffer {
        self.input()
    }

    fn output(&self) -> &Buffer {
        self.output()
    }

    fn lipschitz(&self) -> f64 {
        self.lipschitz()
    }
}

impl ChosenPnp {
    /// Fills in what `strength` leaves open. If `D` at its level ([`Layered::plugged_level`]) is the proximal operator of that variance
    /// times minus the logarithm of the images' density, the most probable image under noise of standard deviation `n` is a fixed
    /// point for a denoiser of the level `sqrt(gamma) n`: by default `s = sqrt(gamma) n / level`. `noise` is asked for `n` if it counts.
    ///
    /// # Errors
    /// [`Error::Usage`] without a denoiser, [`Error::Input`] for a file that holds none; what `noise` returns; device errors.
    pub(super) fn new(
        gpu: &Gpu,
        operator: &dyn LinearOperator,
        strength: &Strength,
        noise: impl FnOnce() -> Result<f64>,
    ) -> Result<Self> {
        let Some(path) = &strength.denoiser else {
            return Err(Error::Usage(
                "--method pnp wants a denoiser: name a model of `train denoiser` with --denoiser".into(),
            ));
        };
        let denoiser = Layered::shipped_or_file(path)?;
        if let Err(why) = denoiser.plugged_lipschitz() {
            return Err(Error::input(path, why.to_string()));
        }
        let averaging = match denoiser.architecture {
            Architecture::Denoiser { averaging } => averaging,
            // (Id + N) / 2 is the proximal operator.
            Architecture::Unrolled { .. } => 0.5,
        };
        let algorithm = strength.algorithm.unwrap_or_default();
        let allowed = match algorithm {
            Algorithm::Fbs => averaging < 1.0,
            Algorithm::Admm => averaging <= 0.5,
        };
        let step = strength.step.unwrap_or(match algorithm {
            Algorithm::Fbs => 1.9,
            Algorithm::Admm => 10.0,
        });
        let norm = operator.norm_squared(gpu)?;
        let matched = |noise: f64| (step / norm.squared).sqrt() * noise / denoiser.plugged_level();
        Ok(Self {
            algorithm,
            step,
            averaging: strength.averaging.unwrap_or(if allowed { averaging } else { 0.5 }),
            strength: strength.strength.map_or_else(|| noise().map(matched), Ok)?,
            norm,
            denoiser: Arc::new(denoiser),
        })
    }

    /// What a search varies: see [`Strength::searched`].
    pub(super) fn point(&self) -> Point {
        match self.algorithm {
            Algorithm::Fbs => [self.averaging, self.strength],
            Algorithm::Admm => [self.step, self.strength],
        }
    }

    /// Within what: where the iteration converges, and inner iterations of ADMM stay few.
    pub(super) fn ranges(&self) -> [(f64, f64); 2] {
        let first = match self.algorithm {
            Algorithm::Fbs => (1e-3, 0.99),
            Algorithm::Admm => (1e-2, 100.0),
        };
        [first, (1e-3, 1e3)]
    }

    /// Goes to another point.
    pub(super) fn move_to(&mut self, [first, second]: Point) {
        match self.algorithm {
            Algorithm::Fbs => self.averaging = first,
            Algorithm::Admm => self.step = first,
        }
        self.strength = second;
    }

    fn settings(&self, solver: &SolverArgs, limits: (f32, f32)) -> PnpSettings {
        PnpSettings {
            algorithm: self.algorithm,
            step: self.step,
            averaging: self.averaging,
            strength: self.strength,
            tolerance: solver.tol.unwrap_or(TOLERANCE),
            max_iterations: solver.max_iter(),
            limits: Some(limits),
        }
    }

    /// Makes ready what solves for measurements of `operator`.
    ///
    /// # Errors
    /// [`Error::Usage`] before the network is made ready where convergence does not follow from the constants; device errors.
    pub(super) fn prepare<'g>(
        &self,
        gpu: &'g Gpu,
        operator: &dyn LinearOperator,
        (solver, limits): (&SolverArgs, (f32, f32)),
        norm: Option<OperatorNorm>,
    ) -> Result<PlugAndPlay<'g, LayeredRunner>> {
        let norm = norm.unwrap_or(self.norm);
        let settings = self.settings(solver, limits);
        settings.constants(norm, self.denoiser.plugged_lipschitz()?)?;
        let network = LayeredRunner::plugged(gpu, &self.denoiser, 1, operator.domain())?;
        PlugAndPlay::new(gpu, operator, norm, network, settings)
    }

    /// What a record says about it.
    pub(super) fn told(&self) -> Value {
        json!({
            "algorithm": self.algorithm,
            "step": self.step,
            "averaging": self.averaging,
            "strength": self.strength,
            "denoiser": self.denoiser.name,
            "residual": match self.algorithm {
                Algorithm::Fbs => "|T x - x| / |x|",
                Algorithm::Admm => "|w - x| / |x|, w the denoiser's image, x that of the data's proximal operator",
            },
        })
    }
}

/// Fixed-point residuals ([`PnpSettings::tolerance`]) of some iterations, counted from 1: all of the first eight, then ever fewer, and the last.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Residual {
    /// The iteration.
    pub iteration: usize,
    /// Its residual.
    pub residual: f64,
}

/// Ratio of neighbouring iterations of which residuals are told.
const SPACING: f64 = 1.15;

impl Residual {
    /// Those of a run that are told.
    pub(super) fn of(outcome: &PnpOutcome) -> Vec<Self> {
        let last = outcome.history.len();
        let mut told: Vec<Self> = Vec::new();
        for (n, [moved, size]) in outcome.history.iter().enumerate() {
            let iteration = n + 1;
            let due = told
                .last()
                .map_or(1.0, |r| (r.iteration as f64 * SPACING).max(r.iteration as f64 + 1.0));
            if iteration as f64 >= due || iteration == last {
                // As on the device, where an image may be all zero.
                let residual = f64::from(*moved) / f64::from(*size).max(1e-15);
                told.push(Self { iteration, residual });
            }
        }
        told
    }
}
