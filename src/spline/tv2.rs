//! The exact minimiser of a data term plus `lambda * TV2` under slope bounds, in one variable, with a certified gap.
//!
//! Problem (method.md 1.1): over all functions of bounded second-order total variation,
//! `min sum_n loss(f(x_n) - y_n; w_n) + lambda TV2(f)` subject to `s_min <= f' <= s_max`. Joining the values that a
//! solution takes at the x_n by lines changes neither the data term nor the bounds and cannot increase TV2, so an optimal
//! spline has its knots among the x_n, and the problem has M unknowns.
//!
//! Method: a primal-dual interior-point method whose Newton systems are solved in O(M) by a Riccati recursion without
//! subtractions (10 to 40 iterations in practice, independent of M); for the squared loss then the exact solution of
//! the active set it has identified, again O(M), with the exact multipliers. lambda = 0 is the exact projection of
//! [`super::project()`], and lambda >= [`lambda_max`] the affine fit in closed form. Every result carries the gap between
//! its objective and that of a dual feasible point, so nothing rests on trust in the method.

mod active_set;
mod certificate;
mod examine;
mod interior_point;
mod loss;
mod riccati;
mod units;

pub use examine::{Examination, examine};
pub use loss::Loss;
pub use units::Units;

use certificate::{Certificate, Dual, Primal, Problem};

use super::bounds::SlopeBounds;
use super::function::Spline;
use super::project::project_chain;
use super::samples::Samples;
use crate::{Error, Result};

/// Gaps are relative to the objective, or to this part of the loss of the constant mean where the objective is smaller:
/// a solution that passes through all data has objective 0.
const FLOOR: f64 = 1e-10;
/// The relative gap at which an exact active-set solution replaces the interior-point one even if that is smaller.
const POLISHED_ENOUGH: f64 = 1e-10;
/// The relative gap at which no other guess of the active set is tried.
const POLISHED: f64 = 1e-14;
/// How readily nearly degenerate slope changes and bounds count as inactive, in the order in which this is tried.
const POLISH_BIASES: [f64; 5] = [1.0, 1e-3, 1e3, 1e-5, 1e5];

/// An optimal spline with its certificate.
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    /// The spline with a knot at every distinct x of the samples. Most slope changes are 0; [`Fit::sparsest`] removes them.
    pub spline: Spline,
    /// Its slopes, inside the bounds exactly, and where `exact` also equal to the last bit where there is no slope
    /// change. (Slopes recomputed from the values carry the rounding `~ 1e-16 |f| / h`.)
    pub slopes: Vec<f64>,
    /// `sum loss + lambda TV2`, without [`Samples::merge_cost`].
    pub objective: f64,
    /// An upper bound of `objective - minimum`, from a dual feasible point.
    pub gap: f64,
    /// `gap / max(objective, 1e-10 * loss of the constant mean)`.
    pub relative_gap: f64,
    /// Interior-point iterations; 0 when a closed form applied.
    pub iterations: usize,
    /// Whether the result is the exact solution of its active set (or a closed form) rather than an iterate.
    pub exact: bool,
}

/// Fits a spline to samples: the exact minimiser of `sum loss + lambda TV2` under the slope bounds. O(M) per iteration.
///
/// # Errors
/// [`Error::Data`] when lambda is negative or not finite, Huber's threshold is not positive, `s_min == s_max` with
/// another loss than the squared one, or the result leaves the range of f32; [`Error::Diverged`] when the data are scaled
/// so badly that no finite gap was reached.
pub fn fit_tv2(samples: &Samples, loss: Loss, lambda: f64, bounds: &SlopeBounds) -> Result<Fit> {
    if !(lambda >= 0.0 && lambda.is_finite()) {
        return Err(Error::Data(format!(
            "lambda must be finite and not negative, not {lambda}"
        )));
    }
    if let Loss::Huber(delta) = loss
        && !(delta > 0.0 && delta.is_finite())
    {
        return Err(Error::Data(format!(
            "the threshold of Huber's loss must be finite and positive, not {delta}"
        )));
    }
    let scaled = Scaled::new(samples, loss, lambda, bounds);
    let problem = &scaled.problem;
    let floor = FLOOR * problem.constant_loss();
    if loss != Loss::Squared {
        if bounds.min() == bounds.max() {
            return Err(Error::Data(
                "equal slope bounds are supported for the squared loss only".into(),
            ));
        }
        let solution = interior_point::solve(problem, active_set::affine(problem).0.slopes[0], floor);
        let result = Candidate {
            primal: solution.primal,
            certificate: solution.certificate,
            iterations: solution.iterations,
            exact: false,
        };
        return scaled.fit(samples, bounds, result, floor);
    }
    let (affine, affine_dual) = active_set::affine(problem);
    if problem.lambda >= active_set::lambda_max(problem, &affine) {
        let result = Candidate::exact(problem, affine, &affine_dual, 0);
        return scaled.fit(samples, bounds, result, floor);
    }
    if lambda == 0.0 {
        let (primal, dual) = projection(problem);
        let result = Candidate::exact(problem, primal, &dual, 0);
        return scaled.fit(samples, bounds, result, floor);
    }
    let solution = interior_point::solve(problem, affine.slopes[0], floor);
    let iterate = Candidate {
        certificate: solution.certificate,
        primal: solution.primal.clone(),
        iterations: solution.iterations,
        exact: false,
    };
    let mut polished: Option<Candidate> = None;
    for bias in POLISH_BIASES {
        if polished
            .as_ref()
            .is_some_and(|best| best.certificate.relative(floor) <= POLISHED)
        {
            break;
        }
        if let Some((primal, dual)) = active_set::polish(problem, &solution.primal, &solution.dual, bias) {
            let candidate = Candidate::exact(problem, primal, &dual, solution.iterations);
            if polished
                .as_ref()
                .is_none_or(|best| candidate.certificate.gap < best.certificate.gap)
            {
                polished = Some(candidate);
            }
        }
    }
    let polished = polished.filter(|best| {
        best.certificate.relative(floor) <= POLISHED_ENOUGH || best.certificate.gap <= iterate.certificate.gap
    });
    scaled.fit(samples, bounds, polished.unwrap_or(iterate), floor)
}

/// The smallest lambda at which the fit with the squared loss is affine (method.md 2.5 gives the case without bounds):
/// with r the residuals of the affine fit with its slope clipped to the bounds and
/// `c_j = sum_{i <= j} h_i sum_{m <= i} w_m r_m`, it is `max |c_j|` when the slope is free. When the slope lies on a
/// bound the multiplier of that bound may absorb monotone parts of c, and half the largest fall (rise) of c remains. O(M).
pub fn lambda_max(samples: &Samples, bounds: &SlopeBounds) -> f64 {
    let scaled = Scaled::new(samples, Loss::Squared, 0.0, bounds);
    active_set::lambda_max(&scaled.problem, &active_set::affine(&scaled.problem).0) * scaled.units.lambda(Loss::Squared)
}

/// A primal point with its certificate.
struct Candidate {
    primal: Primal,
    certificate: Certificate,
    iterations: usize,
    exact: bool,
}

impl Candidate {
    fn exact(problem: &Problem, primal: Primal, dual: &Dual, iterations: usize) -> Self {
        Self {
            certificate: problem.certify(&primal, dual),
            primal,
            iterations,
            exact: true,
        }
    }
}

/// The case lambda = 0: nodal values projected onto the bounds; their multipliers are the cumulative residuals.
fn projection(problem: &Problem) -> (Primal, Dual) {
    let limits: Vec<(f64, f64)> = problem
        .spacings
        .iter()
        .map(|h| (problem.min * h, problem.max * h))
        .collect();
    let values = project_chain(&problem.y, &problem.weights, &limits);
    let slopes: Vec<f64> = values
        .windows(2)
        .zip(&problem.spacings)
        .map(|(f, h)| ((f[1] - f[0]) / h).clamp(problem.min, problem.max))
        .collect();
    let mut force = 0.0;
    let multipliers: Vec<f64> = problem
        .spacings
        .iter()
        .enumerate()
        .map(|(j, h)| {
            force += problem.weights[j] * (values[j] - problem.y[j]);
            h * force
        })
        .collect();
    let dual = Dual {
        changes: vec![0.0; slopes.len() - 1],
        low: multipliers.iter().map(|nu| (-nu).max(0.0)).collect(),
        high: multipliers.iter().map(|nu| nu.max(0.0)).collect(),
    };
    let changes = slopes.windows(2).map(|s| s[1] - s[0]).collect();
    (
        Primal {
            first: values[0],
            slopes,
            changes,
        },
        dual,
    )
}

/// The problem in units of its own size, and the units.
struct Scaled {
    problem: Problem,
    units: Units,
    loss: Loss,
}

impl Scaled {
    fn new(samples: &Samples, loss: Loss, lambda: f64, bounds: &SlopeBounds) -> Self {
        let units = Units::new(samples, bounds);
        let (x, y, weights) = (samples.x(), samples.y(), samples.weights());
        let problem = Problem {
            spacings: x.windows(2).map(|x| (x[1] - x[0]) / units.x).collect(),
            y: y.iter().map(|y| (y - units.y_origin) / units.y).collect(),
            weights: weights.iter().map(|w| w / units.weight).collect(),
            loss: loss.in_units(units.y),
            lambda: lambda / units.lambda(loss),
            min: bounds.min() / units.slope(),
            max: bounds.max() / units.slope(),
        };
        Self { problem, units, loss }
    }

    /// The result in the samples' units.
    fn fit(&self, samples: &Samples, bounds: &SlopeBounds, result: Candidate, floor: f64) -> Result<Fit> {
        let Candidate {
            primal,
            certificate,
            iterations,
            exact,
        } = result;
        if !(certificate.gap.is_finite() && certificate.objective.is_finite()) {
            return Err(Error::Diverged(
                "the fit reached no finite duality gap; are the samples of sane scale?".into(),
            ));
        }
        let slope_unit = self.units.slope();
        let slopes = primal.slopes.iter().map(|&s| {
            // A slope on a bound must be that bound, not its image under two roundings.
            if s <= self.problem.min {
                bounds.min()
            } else if s >= self.problem.max {
                bounds.max()
            } else {
                bounds.clip(s * slope_unit)
            }
        });
        let values = primal.values(&self.problem.spacings);
        let values = values.iter().map(|f| self.units.y_origin + self.units.y * f).collect();
        Ok(Fit {
            spline: Spline::new(samples.x().to_vec(), values)?,
            slopes: slopes.collect(),
            objective: certificate.objective * self.units.objective(self.loss),
            gap: certificate.gap * self.units.objective(self.loss),
            relative_gap: certificate.relative(floor),
            iterations,
            exact,
        })
    }
}

impl Problem {
    /// The loss of the constant mean, the scale of objectives that are nearly 0.
    fn constant_loss(&self) -> f64 {
        self.weights
            .iter()
            .zip(&self.y)
            .map(|(&w, &y)| self.loss.value(w, y))
            .sum()
    }
}
