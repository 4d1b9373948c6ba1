//! More knots where the data ask for them. Inserting a knot never changes the function; it gives the next fit or
//! training step a degree of freedom.

use super::algebra::separate;
use super::function::Spline;
use crate::{Error, Result};

/// The same function with the additional knots `new_knots`, in any order. Knots that f32 cannot tell apart from an
/// existing one are left out, so the result may have fewer knots than asked for.
///
/// # Errors
/// [`Error::Data`] when a new knot is not finite or a value leaves the range of f32.
pub fn insert_knots(spline: &Spline, new_knots: &[f64]) -> Result<Spline> {
    if let Some(n) = new_knots.iter().position(|t| !t.is_finite()) {
        return Err(Error::Data(format!(
            "new knot {n} is {}, which is not finite",
            new_knots[n]
        )));
    }
    let mut knots = spline.knots().to_vec();
    for &t in new_knots {
        let place = knots.partition_point(|&knot| knot <= t);
        let after_left = place == 0 || separate(knots[place - 1], t);
        let before_right = place == knots.len() || separate(t, knots[place]);
        if after_left && before_right {
            knots.insert(place, t);
        }
    }
    spline.resampled(&knots)
}

/// Up to `count` new knots where samples ask most for them: given the residuals `y - f(x)` and the weights of samples at
/// `x`, the knots with the largest decrease `(sum w r hat)^2 / (2 sum w hat^2)` of the squared loss by a hat function
/// peaked there on the segment that contains it. Candidates are the midpoint of every segment and the weighted median of
/// its samples by `w r^2`; at most one per segment is proposed. Sorted by decreasing gain. O((N + M) log M).
///
/// # Errors
/// [`Error::Data`] when the lengths differ or an entry is not finite.
pub fn propose_knots(spline: &Spline, x: &[f64], residuals: &[f64], weights: &[f64], count: usize) -> Result<Vec<f64>> {
    if x.len() != residuals.len() || x.len() != weights.len() {
        return Err(Error::Data(format!(
            "knot insertion needs as many residuals and weights as x, but there are {} x, {} residuals and {} weights",
            x.len(),
            residuals.len(),
            weights.len()
        )));
    }
    if let Some(n) = (0..x.len()).find(|&n| !(x[n].is_finite() && residuals[n].is_finite() && weights[n].is_finite())) {
        return Err(Error::Data(format!("sample {n} for knot insertion is not finite")));
    }
    let mut samples: Vec<(f64, f64, f64)> = (0..x.len()).map(|n| (x[n], residuals[n], weights[n])).collect();
    samples.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut gains: Vec<(f64, f64)> = Vec::new();
    for ends in spline.knots().windows(2) {
        let first = samples.partition_point(|s| s.0 < ends[0]);
        let inside = &samples[first..first + samples[first..].partition_point(|s| s.0 < ends[1])];
        let candidates = [0.5 * (ends[0] + ends[1]), weighted_median(inside).unwrap_or(ends[0])];
        let best = candidates
            .into_iter()
            .filter(|&t| separate(ends[0], t) && separate(t, ends[1]))
            .map(|t| (gain(inside, ends[0], t, ends[1]), t))
            .max_by(|a, b| a.0.total_cmp(&b.0));
        gains.extend(best.filter(|best| best.0 > 0.0));
    }
    gains.sort_by(|a, b| b.0.total_cmp(&a.0));
    Ok(gains.into_iter().take(count).map(|(_, t)| t).collect())
}

/// Up to `count` new knots that divide the segments with the largest demand, given per segment in any unit (for a trained
/// activation the gradient density, the share of the inputs, or both multiplied). A segment of demand d in k parts asks
/// with `d / k^2`, the rate at which the error of a piecewise-linear function falls, so one segment may be divided more
/// than once. O((N + count) log N) up to the search for the largest.
///
/// # Errors
/// [`Error::Data`] when there is not one demand per segment, or one is negative or not finite.
pub fn divide_segments(spline: &Spline, demand: &[f64], count: usize) -> Result<Vec<f64>> {
    let t = spline.knots();
    if demand.len() + 1 != t.len() {
        return Err(Error::Data(format!(
            "{} segments need as many demands, but got {}",
            t.len() - 1,
            demand.len()
        )));
    }
    if let Some(j) = demand.iter().position(|d| !(*d >= 0.0 && d.is_finite())) {
        return Err(Error::Data(format!(
            "the demand of segment {j} is {}, it must be finite and not negative",
            demand[j]
        )));
    }
    let mut parts = vec![1_u32; demand.len()];
    let part = |j: usize, index: u32, parts: u32| t[j] + (t[j + 1] - t[j]) * f64::from(index) / f64::from(parts);
    for _ in 0..count {
        let urgency = |j: usize| demand[j] / f64::from(parts[j]).powi(2);
        let divisible = |j: usize| {
            let shortest = part(j, 1, parts[j] + 1) - t[j];
            separate(t[j + 1] - 0.5 * shortest, t[j + 1]) && separate(t[j], t[j] + 0.5 * shortest)
        };
        let most = (0..parts.len())
            .filter(|&j| demand[j] > 0.0 && divisible(j))
            .max_by(|&a, &b| urgency(a).total_cmp(&urgency(b)));
        match most {
            Some(j) => parts[j] += 1,
            None => break,
        }
    }
    let inside = |(j, &parts): (usize, &u32)| (1..parts).map(|index| part(j, index, parts)).collect::<Vec<f64>>();
    Ok(parts.iter().enumerate().flat_map(inside).collect())
}

/// The decrease of `1/2 sum w r^2` by the best multiple of the hat with its peak at `t`.
fn gain(samples: &[(f64, f64, f64)], left: f64, t: f64, right: f64) -> f64 {
    let (mut correlation, mut energy) = (0.0, 0.0);
    for &(x, r, w) in samples {
        let hat = if x < t {
            (x - left) / (t - left)
        } else {
            (right - x) / (right - t)
        };
        correlation += w * r * hat;
        energy += w * hat * hat;
    }
    if energy > 0.0 {
        0.5 * correlation * correlation / energy
    } else {
        0.0
    }
}

/// The x at which half of `sum w r^2` is reached; `None` without residuals.
fn weighted_median(samples: &[(f64, f64, f64)]) -> Option<f64> {
    let half = 0.5 * samples.iter().map(|(_, r, w)| w * r * r).sum::<f64>();
    let mut sum = 0.0;
    samples.iter().find_map(|(x, r, w)| {
        sum += w * r * r;
        (sum > 0.0 && sum >= half).then_some(*x)
    })
}
