//! Fits of one spline to samples: `min_f sum loss(f(x_n) - y_n; w_n) + lambda TV2(f)` subject to `s_min <= f' <= s_max`,
//! solved on the device, with knots that the solution chooses itself.
//!
//! With adaptive knots the candidates are the samples: the unrestricted optimum has its knots among them (see
//! [`crate::spline::tv2`]). Up to [`DENSE`] samples are all nodes of one device problem. Of more, an even selection is; after each
//! solve the multipliers at all samples are examined, and where one exceeds lambda a node is put, until none does: an
//! exchange method. The result is then replaced by the sparsest function with the same values at the samples and the same TV2.

mod device;
mod on_nodes;

pub use device::SampleParams;

use device::{FitOnDevice, LAST_SMOOTHING};
use on_nodes::OnNodes;

use crate::gpu::Gpu;
use crate::spline::device::tv2::{FREE, MAX_NODES};
use crate::spline::sparsify::merge_runs;
use crate::spline::tv2::examine;
use crate::spline::{Loss, Samples, SlopeBounds, Spline, lambda_max};
use crate::{Error, Result};

/// Up to this many samples are all nodes; of more, this many to begin with.
pub const DENSE: usize = 512;

/// Multipliers may exceed lambda by this part before a node is put there: what f32 slopes leave of stationarity.
const DEMAND: f64 = 1.0 + 1e-5;

/// Rounds of putting nodes, and the relative decrease of the objective below which they end.
const ROUNDS: usize = 40;
const STILL: f64 = 1e-10;

/// Halvings of the interval of log lambda in the search for a number of knots.
const SEARCH: usize = 24;

/// Where the knots may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knots {
    /// Anywhere; the solution chooses.
    Adaptive,
    /// On this many evenly spaced points over the range of the samples, at least 2.
    Uniform(usize),
}

/// What to fit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FitSettings {
    /// The loss.
    pub loss: Loss,
    /// Weight of TV2, not negative. 0 stands for one so small that f32 cannot tell the difference.
    pub lambda: f64,
    /// The slope bounds.
    pub bounds: SlopeBounds,
    /// Where the knots may be.
    pub knots: Knots,
    /// With more knots than this, lambda is raised to the smallest value (within 1 %) at which there are no more.
    pub max_knots: Option<usize>,
}

/// A fitted spline.
#[derive(Clone, Debug, PartialEq)]
pub struct Fitted {
    /// The spline; its first and last node carry no slope change. Knots are exactly f32.
    pub spline: Spline,
    /// Its slopes, exactly f32 and inside the bounds; those computed from the values carry f64 rounding.
    pub slopes: Vec<f64>,
    /// The lambda in force: that of the settings, or larger to keep the number of knots.
    pub lambda: f64,
    /// `sum loss + lambda TV2` of the spline, in f64, without [`Samples::merge_cost`].
    pub objective: f64,
    /// An upper bound of how far the objective is above the minimum over all functions, relative to it. None for uniform
    /// knots, which are not meant to reach it, for lambda = 0, and for the absolute loss, whose derivative at a residual of
    /// 0 f32 does not know.
    pub certified_gap: Option<f64>,
    /// Active-set steps on the device.
    pub steps: usize,
    /// Candidates for knots that the last problem had.
    pub nodes: usize,
}

impl Fitted {
    /// The number of knots: points where the slope changes.
    pub fn knots(&self) -> usize {
        self.slopes.windows(2).filter(|s| s[0] != s[1]).count()
    }

    /// `sum |slope changes|`.
    pub fn tv2(&self) -> f64 {
        self.slopes.windows(2).fold(0.0, |sum, s| sum + (s[1] - s[0]).abs())
    }
}

/// Fits a spline to samples on the device.
///
/// # Errors
/// [`Error::Usage`] for settings out of range, [`Error::Data`] when the result leaves the range of f32, [`Error::Diverged`]
/// when the active set does not settle; device errors.
pub fn fit(gpu: &Gpu, samples: &Samples, settings: &FitSettings) -> Result<Fitted> {
    fit_path(gpu, samples, settings, &[settings.lambda]).and_then(|mut path| {
        path.pop()
            .ok_or_else(|| Error::Internal("a path of one lambda has no fit".into()))
    })
}

/// [`fit`] for several lambdas, each started from the one before; `settings.lambda` is not used.
///
/// # Errors
/// As [`fit`].
pub fn fit_path(gpu: &Gpu, samples: &Samples, settings: &FitSettings, lambdas: &[f64]) -> Result<Vec<Fitted>> {
    check(settings, lambdas)?;
    let on_device = FitOnDevice::new(gpu, samples, settings.loss, settings.bounds)?;
    let nodes = on_device.distinct(&match settings.knots {
        Knots::Adaptive => every(samples.x(), DENSE),
        Knots::Uniform(count) => even_grid(samples.x(), count),
    });
    let mut start = OnNodes::line(nodes, &on_device.units, &settings.bounds);
    let mut path = Vec::new();
    for &lambda in lambdas {
        let (solution, fitted) = with_few_knots(&on_device, start, settings, lambda)?;
        path.push(fitted);
        start = solution;
    }
    Ok(path)
}

fn check(settings: &FitSettings, lambdas: &[f64]) -> Result<()> {
    let usage = |why: String| Err(Error::Usage(why));
    if let Some(lambda) = lambdas.iter().find(|l| !(**l >= 0.0 && l.is_finite())) {
        return usage(format!("lambda must be finite and not negative, but is {lambda}"));
    }
    if let Loss::Huber(delta) = settings.loss
        && !(delta > 0.0 && delta.is_finite())
    {
        return usage(format!("Huber's threshold must be above 0 and finite, not {delta}"));
    }
    if let Knots::Uniform(count) = settings.knots
        && !(2..=MAX_NODES).contains(&count)
    {
        return usage(format!("a uniform grid needs 2 to {MAX_NODES} points, not {count}"));
    }
    Ok(())
}

/// `count` of the sorted x, evenly by rank, or all of them.
fn every(x: &[f64], count: usize) -> Vec<f64> {
    let last = x.len() - 1;
    let count = count.min(x.len());
    (0..count).map(|k| x[k * last / (count - 1)]).collect()
}

fn even_grid(x: &[f64], count: usize) -> Vec<f64> {
    let (low, high) = (x[0], x[x.len() - 1]);
    let last = (count - 1) as f64;
    // f32 knots, as they are stored; the ends are samples and f32 already.
    let point = |k: usize| f64::from(((low * (last - k as f64) + high * k as f64) / last) as f32);
    (0..count).map(point).collect()
}

/// The fit at `lambda`, or at the smallest larger one that keeps to the number of knots.
fn with_few_knots(
    fit: &FitOnDevice<'_>,
    start: OnNodes,
    settings: &FitSettings,
    lambda: f64,
) -> Result<(OnNodes, Fitted)> {
    let asked = solve(fit, start, settings, lambda)?;
    let Some(most) = settings.max_knots.filter(|&most| asked.1.knots() > most) else {
        return Ok(asked);
    };
    // At lambda_max the squared loss has an affine fit; the others at some larger value.
    let mut high = lambda.max(lambda_max(fit.samples, &settings.bounds));
    let mut best = solve(fit, asked.0, settings, high)?;
    while best.1.knots() > most {
        high *= 4.0;
        best = solve(fit, best.0, settings, high)?;
    }
    // Geometric halving needs a positive start.
    let mut low = fit.effective(lambda);
    let mut steps = best.1.steps;
    for _ in 0..SEARCH {
        if high <= 1.01 * low {
            break;
        }
        let middle = (low * high).sqrt();
        let tried = solve(fit, best.0.clone(), settings, middle)?;
        steps += tried.1.steps;
        if tried.1.knots() > most {
            low = middle;
        } else {
            (high, best) = (middle, tried);
        }
    }
    best.1.steps = steps;
    Ok(best)
}

/// The fit at one lambda, nodes put where they are asked for.
fn solve(fit: &FitOnDevice<'_>, start: OnNodes, settings: &FitSettings, lambda: f64) -> Result<(OnNodes, Fitted)> {
    let samples = fit.samples;
    let smoothing = LAST_SMOOTHING * fit.units.y;
    let (mut solution, mut steps) = fit.solve(start, lambda)?;
    let (mut certified_gap, mut lowest) = (None, f64::INFINITY);
    if settings.knots == Knots::Adaptive {
        for round in 0..ROUNDS {
            let (first, slopes) = solution.between(samples.x());
            let examined = examine(
                samples,
                fit.loss,
                fit.effective(lambda),
                &fit.bounds,
                (first, &slopes),
                smoothing,
            )?;
            let telling = lambda > 0.0 && fit.loss != Loss::Absolute;
            certified_gap = telling.then_some(examined.relative_gap);
            log::debug!(
                "round {round}: {} nodes, gap {:.1e}",
                solution.nodes.len(),
                examined.relative_gap
            );
            let stands = examined.objective > lowest * (1.0 - STILL);
            lowest = examined.objective;
            let new = fit.apart(&wanted(samples.x(), &examined.demand), &solution.nodes);
            if new.is_empty() || stands || solution.nodes.len() + new.len() > MAX_NODES {
                break;
            }
            let refined = solution.with_nodes(&new);
            let (next, more) = fit.solve(refined, lambda)?;
            (solution, steps) = (next, steps + more);
        }
    }
    let fitted = finish(fit, &solution, lambda, certified_gap, steps, settings)?;
    Ok((solution, fitted))
}

/// The sample with the largest demand of every run of samples that ask for a knot.
fn wanted(x: &[f64], demand: &[f64]) -> Vec<f64> {
    let mut new = Vec::new();
    let mut worst: Option<usize> = None;
    for (j, &own) in demand.iter().enumerate() {
        if own > DEMAND {
            worst = Some(worst.filter(|&w| demand[w] >= own).unwrap_or(j));
        } else if let Some(w) = worst.take() {
            new.push(x[w + 1]);
        }
    }
    new.extend(worst.map(|w| x[w + 1]));
    new
}

/// The sparsest spline of the solution, rounded to what is stored.
fn finish(
    fit: &FitOnDevice<'_>,
    solution: &OnNodes,
    lambda: f64,
    certified_gap: Option<f64>,
    steps: usize,
    settings: &FitSettings,
) -> Result<Fitted> {
    let (nodes, slopes) = match settings.knots {
        Knots::Adaptive => {
            let x = fit.samples.x();
            let (first, slopes) = solution.between(x);
            let (knots, _, slopes) = merge_runs(x, &values(x, first, &slopes), &slopes, 0.0);
            // A knot between two samples becomes the nearest f32, which moves f by a slope change times that distance.
            (knots.iter().map(|&t| f64::from(t as f32)).collect(), slopes)
        }
        Knots::Uniform(_) => (solution.nodes.clone(), solution.slopes.clone()),
    };
    let stored = OnNodes {
        flags: vec![FREE; nodes.len()],
        nodes,
        first: solution.first,
        slopes,
    };
    Ok(Fitted {
        spline: Spline::from_slopes(stored.nodes.clone(), stored.first, &stored.slopes)?,
        objective: stored.objective(fit.samples, fit.loss, lambda),
        slopes: stored.slopes,
        lambda,
        certified_gap,
        steps,
        nodes: solution.nodes.len(),
    })
}

/// Nodal values from the first value and the slopes.
fn values(x: &[f64], first: f64, slopes: &[f64]) -> Vec<f64> {
    let mut value = first;
    let mut values = vec![value];
    for (x, s) in x.windows(2).zip(slopes) {
        value += s * (x[1] - x[0]);
        values.push(value);
    }
    values
}
