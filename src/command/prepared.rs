//! A problem with everything its solution needs made ready on the device, for any number of measurements.

use serde::Serialize;

use super::engine::together;
use super::options::SolverArgs;
use super::pnp::Residual;
use super::problem::{Chosen, Method, Problem};
use crate::gpu::Gpu;
use crate::layered::LayeredRunner;
use crate::model::Ridge;
use crate::model::device::RunOptions;
use crate::operator::OperatorNorm;
use crate::solver::{EnergyHistory, PlugAndPlay, Reconstructor, Regularizer, Settings, Stop};
use crate::{Error, Result};

/// Makes kernels and buffers once, then solves for measurements one after the other.
pub struct Prepared<'p> {
    gpu: &'p Gpu,
    problem: &'p Problem,
    limits: (f32, f32),
    engine: Engine<'p>,
    /// Names of the regularizers that are minimised, in turn.
    regularizers: Vec<String>,
}

enum Engine<'p> {
    /// The direct inversion is all.
    Direct,
    Descent {
        /// Leads to where `last` starts.
        first: Option<Box<Reconstructor<'p>>>,
        last: Box<Reconstructor<'p>>,
    },
    Pnp(Box<PlugAndPlay<'p, LayeredRunner>>),
}

impl Problem {
    /// Makes the solution ready. `norm` spares the computation of `|H|^2` where it is known.
    ///
    /// # Errors
    /// [`Error::Usage`] for settings under which convergence is not guaranteed; model, operator and device errors.
    pub fn prepare<'p>(
        &'p self,
        gpu: &'p Gpu,
        chosen: &Chosen,
        solver: &SolverArgs,
        norm: Option<OperatorNorm>,
    ) -> Result<Prepared<'p>> {
        let limits = solver.limits.unwrap_or(self.limits);
        let options = RunOptions {
            sigma: chosen.sigma,
            style: None,
            tile: solver.tile.map(|t| t as usize),
        };
        let descent = |regularizer, first: Option<&Ridge>| -> Result<Engine<'p>> {
            let norm = norm.map_or_else(|| self.operator.norm_squared(gpu), Ok)?;
            let solve = |regularizer| {
                let settings = Settings {
                    // A weakly convex regularizer may fall for ever where nothing is measured: only a box bounds the energy.
                    limits: Some(limits),
                    tolerance: solver.tol.unwrap_or(chosen.tolerance),
                    ..solver.settings(chosen.lambda)
                };
                Reconstructor::with_norm(gpu, self.operator.as_ref(), norm, regularizer, settings).map(Box::new)
            };
            let first = first.map(|convex| solve(Regularizer::Ridge(convex, options)));
            Ok(Engine::Descent {
                first: first.transpose()?,
                last: solve(regularizer)?,
            })
        };
        let engine = match (&chosen.pnp, chosen.method, &chosen.model) {
            (Some(pnp), _, _) => Engine::Pnp(Box::new(pnp.prepare(
                gpu,
                self.operator.as_ref(),
                (solver, limits),
                norm,
            )?)),
            (None, Method::Model, Some(model)) => descent(Regularizer::Ridge(model, options), chosen.first())?,
            (None, Method::Tv, _) => descent(Regularizer::TotalVariation, None)?,
            _ => Engine::Direct,
        };
        let models = chosen.first().into_iter().chain(&chosen.model);
        Ok(Prepared {
            gpu,
            problem: self,
            limits,
            engine,
            regularizers: match chosen.method {
                Method::Tv => vec!["total variation".into()],
                _ => models.map(|model| model.name.clone()).collect(),
            },
        })
    }
}

impl Prepared<'_> {
    /// Solves for one measurement, all planes of it. `progress` hears the iterations done and the relative change of the last.
    ///
    /// # Errors
    /// Solver and device errors.
    pub fn run(&self, measured: &[Vec<f32>], mut progress: impl FnMut(usize, f64)) -> Result<Solution> {
        let mut solution = Solution {
            planes: Vec::new(),
            energy: None,
            iterations: 0,
            stop: Stop::Converged,
            residuals: None,
            energy_history: None,
            error_bound: None,
            no_error_bound: self.no_error_bound(),
            constants: self.constants()?,
        };
        let (mut stops, mut bounds) = (Vec::new(), Vec::new());
        for y in measured {
            let mut y = y.clone();
            self.problem.operator.clear_unmeasured(&mut y);
            let y = y.as_slice();
            let mut start = self.start(y)?;
            match &self.engine {
                Engine::Direct => solution.planes.extend(start),
                Engine::Descent { first, last } => {
                    let (mut before, mut histories) = (0, Vec::new());
                    if let Some(first) = first {
                        let outcome = first.run(y, &start, &mut progress)?;
                        (start, before) = (outcome.image, outcome.iterations);
                        histories.push((0, outcome.history));
                    }
                    let outcome = last.run(y, &start, |done, change| progress(before + done, change))?;
                    histories.push((before, outcome.history));
                    *solution.energy.get_or_insert(0.0) += outcome.energy;
                    let iterations = before + outcome.iterations;
                    if solution.energy_history.is_none() || iterations > solution.iterations {
                        let named = self.regularizers.iter().zip(&histories);
                        solution.energy_history = Some(named.map(|(name, of)| Fall::new(name, of)).collect());
                    }
                    solution.iterations = solution.iterations.max(iterations);
                    stops.push(outcome.stop);
                    bounds.push(outcome.error_bound);
                    solution.planes.extend(outcome.image);
                }
                Engine::Pnp(solver) => {
                    let outcome = solver.run(y, &start, &mut progress)?;
                    if solution.residuals.is_none() || outcome.iterations >= solution.iterations {
                        solution.residuals = Some(Residual::of(&outcome));
                    }
                    solution.iterations = solution.iterations.max(outcome.iterations);
                    stops.push(outcome.stop);
                    solution.planes.extend(outcome.image);
                }
            }
        }
        solution.stop = Stop::of_all(stops);
        solution.error_bound = together(bounds).filter(|_| solution.no_error_bound.is_none());
        Ok(solution)
    }

    /// Where solvers start: the direct inversion within the box.
    fn start(&self, y: &[f32]) -> Result<Vec<f32>> {
        let image = (self.problem.direct)(self.gpu, y)?;
        Ok(image
            .into_iter()
            .map(|v| v.clamp(self.limits.0, self.limits.1))
            .collect())
    }

    /// Why solutions come without a bound of the distance to the minimiser, if so.
    pub fn no_error_bound(&self) -> Option<&'static str> {
        match &self.engine {
            Engine::Descent { last, .. } => last.no_error_bound(),
            _ => Some("no energy is minimised"),
        }
    }

    /// What the steps rest on, where there are any.
    ///
    /// # Errors
    /// [`Error::Internal`] for constants that cannot be told.
    pub fn constants(&self) -> Result<Option<serde_json::Value>> {
        match &self.engine {
            Engine::Direct => None,
            Engine::Descent { last, .. } => Some(serde_json::to_value(last.constants())),
            Engine::Pnp(solver) => Some(serde_json::to_value(solver.constants())),
        }
        .transpose()
        .map_err(|error| Error::Internal(error.to_string()))
    }
}

/// A reconstructed image and how it came about.
#[derive(Debug)]
pub struct Solution {
    /// Pixels by plane, row and column.
    pub planes: Vec<f32>,
    /// Energy at the end, where there is one.
    pub energy: Option<f64>,
    /// Iterations with all regularizers, of the plane that took most.
    pub iterations: usize,
    /// Why it ended.
    pub stop: Stop,
    /// Fixed-point residuals of plug-and-play on the way, of the plane that took most iterations.
    pub residuals: Option<Vec<Residual>>,
    /// Energies on the way with each of the regularizers, of the plane that took most iterations.
    pub energy_history: Option<Vec<Fall>>,
    /// A bound of the distance to the minimiser, of all planes together, where one is known.
    pub error_bound: Option<f64>,
    /// Why there is none.
    pub no_error_bound: Option<&'static str>,
    /// What the steps rest on: [`crate::solver::Constants`] or [`crate::solver::PnpConstants`].
    pub constants: Option<serde_json::Value>,
}

/// How the energy fell with one regularizer, as records tell it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Fall {
    /// What the energies are.
    pub energy: &'static str,
    /// The name of `R`.
    pub regularizer: String,
    /// Iterations done, with the regularizers before it, too.
    pub iterations: Vec<usize>,
    /// Energies after them.
    pub energies: Vec<f64>,
}

impl Fall {
    fn new(regularizer: &str, (before, history): &(usize, EnergyHistory)) -> Self {
        let (iterations, energies) = history.entries.iter().map(|(n, energy)| (before + n, energy)).unzip();
        Self {
            energy: "|H x - y|^2 / 2 + lambda R(x)",
            regularizer: regularizer.into(),
            iterations,
            energies,
        }
    }
}
