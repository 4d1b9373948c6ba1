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
use crate::solver::{
    EnergyHistory, Given, Outcome, PlugAndPlay, Reconstructor, Regularizer, Settings, Stop, measurements_at_once,
};
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
    /// Makes the solution ready, for as many of `planes` planes at once as fit. `norm` spares the computation of `|H|^2` where it is known.
    ///
    /// # Errors
    /// [`Error::Usage`] for settings under which convergence is not guaranteed; model, operator and device errors.
    pub fn prepare<'p>(
        &'p self,
        gpu: &'p Gpu,
        chosen: &Chosen,
        solver: &SolverArgs,
        norm: Option<OperatorNorm>,
        planes: usize,
    ) -> Result<Prepared<'p>> {
        let limits = solver.limits.unwrap_or(self.limits);
        let options = RunOptions {
            sigma: chosen.sigma,
            style: None,
            tile: solver.tile.map(|t| t as usize),
        };
        let descent = |regularizer, first: Option<&Ridge>| -> Result<Engine<'p>> {
            let operator = self.operator.as_ref();
            let norm = norm.map_or_else(|| operator.norm_squared(gpu), Ok)?;
            let models = first.into_iter().chain(&chosen.model);
            let at_once = measurements_at_once(gpu, operator, models, options.tile)?.min(planes);
            let solve = |regularizer| {
                let settings = Settings {
                    // A weakly convex regularizer may fall for ever where nothing is measured: only a box bounds the energy.
                    limits: Some(limits),
                    tolerance: solver.tol.unwrap_or(chosen.tolerance),
                    ..solver.settings(chosen.lambda)
                };
                Reconstructor::with_norm(gpu, operator, norm, regularizer, settings, at_once).map(Box::new)
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

/// What was measured of one image.
pub struct Measured {
    /// Plane by plane.
    pub planes: Vec<Vec<f32>>,
    /// What messages about it begin with.
    pub label: String,
}

/// A solved plane.
struct Plane {
    image: Vec<f32>,
    energy: Option<f64>,
    iterations: usize,
    stop: Stop,
    residuals: Option<Vec<Residual>>,
    falls: Option<Vec<Fall>>,
    error_bound: Option<f64>,
}

impl Prepared<'_> {
    /// Planes that are solved for together.
    pub fn at_once(&self) -> usize {
        match &self.engine {
            Engine::Descent { last, .. } => last.at_once(),
            _ => 1,
        }
    }

    /// Solves for every one of `measured`, [`Self::at_once`] planes at a time. `progress` hears the iterations done with those at work and
    /// the largest relative change of the last.
    ///
    /// # Errors
    /// Solver and device errors.
    pub fn run(&self, measured: Vec<Measured>, mut progress: impl FnMut(usize, f64)) -> Result<Vec<Solution>> {
        let channels: Vec<usize> = measured.iter().map(|image| image.planes.len()).collect();
        let planes = measured.into_iter().flat_map(|Measured { planes, label }| {
            planes.into_iter().map(move |mut y| {
                self.problem.operator.clear_unmeasured(&mut y);
                (y, label.clone())
            })
        });
        let planes: Vec<_> = planes.collect();
        let mut done = Vec::with_capacity(planes.len());
        for group in planes.chunks(self.at_once()) {
            let starts = group.iter().map(|(y, _)| self.start(y)).collect::<Result<_>>()?;
            done.extend(self.solve(group, starts, &mut progress)?);
        }
        let mut done = done.into_iter();
        let constants = self.constants()?;
        let gather = |channels| self.gather(done.by_ref().take(channels), constants.clone());
        Ok(channels.into_iter().map(gather).collect())
    }

    /// Solves for the planes of one group, each from where it starts.
    fn solve(
        &self,
        group: &[(Vec<f32>, String)],
        mut starts: Vec<Vec<f32>>,
        progress: &mut impl FnMut(usize, f64),
    ) -> Result<Vec<Plane>> {
        match &self.engine {
            Engine::Direct => Ok(starts.into_iter().map(Plane::direct).collect()),
            Engine::Descent { first, last } => {
                let mut before = Vec::new();
                if let Some(first) = first {
                    before = first.run_many(&Self::given(group, &starts), &mut *progress)?;
                    starts = before.iter().map(|outcome| outcome.image.clone()).collect();
                }
                let begun = before.iter().map(|outcome| outcome.iterations).max().unwrap_or(0);
                let last = last.run_many(&Self::given(group, &starts), |done, change| {
                    progress(begun + done, change)
                })?;
                let mut before = before.into_iter();
                Ok(last.into_iter().map(|last| self.plane(before.next(), last)).collect())
            }
            Engine::Pnp(solver) => {
                let each = group.iter().zip(&starts);
                each.map(|((y, label), start)| {
                    let outcome = solver.run(y, start, &mut *progress).map_err(|error| match error {
                        Error::Diverged(what) => Error::Diverged(format!("{label}{what}")),
                        other => other,
                    })?;
                    Ok(Plane {
                        residuals: Some(Residual::of(&outcome)),
                        iterations: outcome.iterations,
                        stop: outcome.stop,
                        ..Plane::direct(outcome.image)
                    })
                })
                .collect()
            }
        }
    }

    fn given<'a>(group: &'a [(Vec<f32>, String)], starts: &'a [Vec<f32>]) -> Vec<Given<'a>> {
        let each = group.iter().zip(starts);
        each.map(|((measurement, label), start)| Given {
            measurement,
            start,
            label,
        })
        .collect()
    }

    /// A plane that `last` solved for, after `first` if there is one.
    fn plane(&self, first: Option<Outcome>, last: Outcome) -> Plane {
        let before = first.as_ref().map_or(0, |outcome| outcome.iterations);
        let histories = first.map(|outcome| (0, outcome.history));
        let histories = histories.into_iter().chain([(before, last.history)]);
        Plane {
            falls: Some(self.regularizers.iter().zip(histories).map(Fall::new).collect()),
            energy: Some(last.energy),
            iterations: before + last.iterations,
            stop: last.stop,
            error_bound: last.error_bound,
            ..Plane::direct(last.image)
        }
    }

    /// Puts the planes of an image together.
    fn gather(&self, planes: impl Iterator<Item = Plane>, constants: Option<serde_json::Value>) -> Solution {
        let mut solution = Solution {
            planes: Vec::new(),
            energy: None,
            iterations: 0,
            stop: Stop::Converged,
            residuals: None,
            energy_history: None,
            error_bound: None,
            no_error_bound: self.no_error_bound(),
            constants,
        };
        let mut bounds = Vec::new();
        for plane in planes {
            if solution.planes.is_empty() || plane.iterations > solution.iterations {
                (solution.residuals, solution.energy_history) = (plane.residuals, plane.falls);
            }
            solution.planes.extend(plane.image);
            if let Some(energy) = plane.energy {
                *solution.energy.get_or_insert(0.0) += energy;
            }
            solution.iterations = solution.iterations.max(plane.iterations);
            solution.stop = Stop::of_all([solution.stop, plane.stop]);
            bounds.push(plane.error_bound);
        }
        solution.error_bound = together(bounds).filter(|_| solution.no_error_bound.is_none());
        solution
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

impl Plane {
    /// The direct inversion.
    fn direct(image: Vec<f32>) -> Self {
        Self {
            image,
            energy: None,
            iterations: 0,
            stop: Stop::Converged,
            residuals: None,
            falls: None,
            error_bound: None,
        }
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
    fn new((regularizer, (before, history)): (&String, (usize, EnergyHistory))) -> Self {
        let (iterations, energies) = history.entries.iter().map(|(n, energy)| (before + n, energy)).unzip();
        Self {
            energy: "|H x - y|^2 / 2 + lambda R(x)",
            regularizer: regularizer.clone(),
            iterations,
            energies,
        }
    }
}
