//! How good an admissible function is, whoever found it: its objective, a certified gap, and where it lacks knots.

use super::active_set::{Piece, multipliers};
use super::certificate::Primal;
use super::{FLOOR, Loss, Samples, Scaled, SlopeBounds};
use crate::{Error, Result};

/// What is known of a function that was proposed as a fit.
#[derive(Clone, Debug, PartialEq)]
pub struct Examination {
    /// `sum loss + lambda TV2`, without [`Samples::merge_cost`].
    pub objective: f64,
    /// An upper bound of `objective - minimum`, from a dual feasible point.
    pub gap: f64,
    /// `gap / max(objective, 1e-10 * loss of the constant mean)`.
    pub relative_gap: f64,
    /// `|u_n| / lambda` at the interior samples: the multiplier of the slope change there. At an optimum it is 1 at the
    /// knots and at most 1 elsewhere; where it is larger, a knot would lower the objective.
    pub demand: Vec<f64>,
}

/// Examines the function with `f(x_1) = first` and the given slopes between the samples, which must be admissible.
///
/// Runs of equal slopes count as one piece. The multipliers are those that stationarity of every piece asks for; any
/// rounding of the function appears in the gap. O(M). `smoothing`, in units of y, is the residual below which the absolute
/// loss is taken as quadratic to find multipliers (its derivative at 0 is not unique).
///
/// # Errors
/// [`Error::Data`] when there is not one slope per segment, or a slope is outside the bounds.
pub fn examine(
    samples: &Samples,
    loss: Loss,
    lambda: f64,
    bounds: &SlopeBounds,
    (first, slopes): (f64, &[f64]),
    smoothing: f64,
) -> Result<Examination> {
    if slopes.len() + 1 != samples.len() {
        return Err(Error::Data(format!(
            "{} samples bound {} segments, but {} slopes were given",
            samples.len(),
            samples.len() - 1,
            slopes.len()
        )));
    }
    if let Some(s) = slopes.iter().find(|&&s| bounds.clip(s) != s) {
        return Err(Error::Data(format!("slope {s} is outside the bounds {bounds}")));
    }
    let scaled = Scaled::new(samples, loss, lambda, bounds);
    let (problem, units) = (&scaled.problem, &scaled.units);
    // Where both bounds coincide one of them will do.
    let side = |s: f64| {
        if s == bounds.max() {
            1
        } else {
            -i8::from(s == bounds.min())
        }
    };
    let in_units: Vec<f64> = slopes
        .iter()
        .map(|&s| match side(s) {
            -1 => problem.min,
            1 => problem.max,
            _ => s / units.slope(),
        })
        .collect();
    let mut pieces: Vec<Piece> = Vec::new();
    for run in slopes.chunk_by(|a, b| a == b) {
        let start = pieces.last().map_or(0, |last| last.segments.end);
        let before = if start == 0 { run[0] } else { slopes[start - 1] };
        pieces.push(Piece {
            segments: start..start + run.len(),
            side: side(run[0]),
            sign: if start == 0 { 0.0 } else { (run[0] - before).signum() },
        });
    }
    let primal = Primal {
        first: (first - units.y_origin) / units.y,
        changes: in_units.windows(2).map(|s| s[1] - s[0]).collect(),
        slopes: in_units,
    };
    let forces = problem.smoothed_forces(&primal, smoothing / units.y);
    let dual = multipliers(problem, &pieces, &forces);
    let by_changes = problem.certify(&primal, &dual);
    let by_data = problem.certify_from_data(&primal, &forces, &dual);
    let certificate = by_data.filter(|other| other.gap < by_changes.gap).unwrap_or(by_changes);
    Ok(Examination {
        objective: certificate.objective * units.objective(loss),
        gap: certificate.gap * units.objective(loss),
        relative_gap: certificate.relative(FLOOR * problem.constant_loss()),
        demand: dual.changes.iter().map(|u| u.abs() / problem.lambda).collect(),
    })
}
