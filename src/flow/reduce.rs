//! Fewer knots, as long as held-out points stay as likely.

use super::device::Evaluator;
use super::model::Flow;
use super::trainer::score;
use crate::Result;
use crate::gpu::Gpu;
use crate::spline::{Budget, SlopeBounds, Spline, input_histogram, reduce};

/// Root-mean-square changes that are tried in turn, of slopes relative to their values and of shears relative to 1: the normal
/// distribution that comes out has the deviation 1.
const BUDGETS: [f64; 9] = [0.2, 0.1, 0.05, 0.02, 0.01, 5e-3, 2e-3, 1e-3, 5e-4];

/// What became of the knots.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct FlowReductionReport {
    /// Knots before.
    pub before: usize,
    /// Knots after.
    pub after: usize,
    /// Root-mean-square change that was allowed; 0 if no knot went.
    pub budget: f64,
    /// Negative log-likelihood of the held-out points before.
    pub nll_before: f64,
    /// And after.
    pub nll_after: f64,
}

/// Removes knots from all splines of `flow`, as many as let the mean negative log-density of `points` (point, coordinate) rise
/// by at most `tolerance` nats. The remaining values are refitted under the inputs that occur ([`reduce`]) and stay inside
/// their bounds.
///
/// # Errors
/// As [`Evaluator::log_density`]; those of the spline functions.
pub fn reduce_flow(gpu: &Gpu, flow: &Flow, points: &[f64], tolerance: f64) -> Result<(Flow, FlowReductionReport)> {
    let count = points.len() / flow.dims();
    let evaluator = Evaluator::new(gpu, flow, count)?;
    let before = score(&evaluator, points, None)?.nll;
    let inputs = evaluator.inputs(points)?;
    drop(evaluator);
    let knots = |flow: &Flow| flow.splines().map(Spline::len).sum::<usize>();
    let mut report = FlowReductionReport {
        before: knots(flow),
        after: knots(flow),
        budget: 0.0,
        nll_before: before,
        nll_after: before,
    };
    if tolerance > 0.0 {
        for budget in BUDGETS {
            let candidate = reduced(flow, &inputs, budget)?;
            let nll = score(&Evaluator::new(gpu, &candidate, count)?, points, None)?.nll;
            if nll <= before + tolerance {
                report.after = knots(&candidate);
                report.budget = budget;
                report.nll_after = nll;
                return Ok((candidate, report));
            }
        }
    }
    Ok((flow.clone(), report))
}

fn reduced(flow: &Flow, inputs: &[Vec<f64>], budget: f64) -> Result<Flow> {
    let mut reduced = flow.clone();
    let bounds = flow.slope_bounds;
    for (spline, inputs) in reduced.slopes.iter_mut().zip(inputs) {
        // What counts is the change of the logarithm.
        *spline = fewer(spline, inputs, budget, &SlopeBounds::none(), |value| value.powi(-2))?;
        let clamped = spline.values().iter().map(|v| v.clamp(bounds.min(), bounds.max()));
        *spline = Spline::new(spline.knots().to_vec(), clamped.collect())?;
    }
    let shear = SlopeBounds::new(-flow.shear_bound, flow.shear_bound)?;
    for (spline, inputs) in reduced.shears.iter_mut().zip(&inputs[flow.slopes.len()..]) {
        *spline = fewer(spline, inputs, budget, &shear, |_| 1.0)?;
    }
    reduced.certified()
}

/// Between its outermost knots, beyond which the spline is constant, `spline` on fewer knots; values are f32.
fn fewer(
    spline: &Spline,
    inputs: &[f64],
    budget: f64,
    bounds: &SlopeBounds,
    weight: impl Fn(f64) -> f64,
) -> Result<Spline> {
    let (t, f) = (spline.knots(), spline.values());
    let last = t.len() - 1;
    let mut histogram = input_histogram(spline, inputs);
    let mut total = 0.0;
    for j in 0..last {
        let counted = histogram[j + 1];
        histogram[j + 1] = counted * weight(0.5 * (f[j] + f[j + 1]));
        total += counted;
    }
    (histogram[0], histogram[last + 1]) = (0.0, 0.0);
    if total == 0.0 || t.len() == 2 {
        return Ok(spline.clone());
    }
    // The reduction's error is a mean under the weights; the budget is one under the counts.
    let weights: f64 = histogram.iter().sum();
    let budget = Budget {
        max_error: budget * (total / weights).sqrt(),
        max_knots: t.len(),
    };
    let lighter = reduce(spline, bounds, Some(&histogram), budget)?.spline;
    let inner = lighter.knots().iter().copied().filter(|x| t[0] < *x && *x < t[last]);
    let knots: Vec<f64> = [t[0]].into_iter().chain(inner).chain([t[last]]).collect();
    if knots.len() >= t.len() {
        return Ok(spline.clone());
    }
    let values = knots.iter().map(|x| f64::from(lighter.value(*x) as f32)).collect();
    Spline::new(knots, values)
}
