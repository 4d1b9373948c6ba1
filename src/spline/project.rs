//! Two ways to bring a spline inside slope bounds: mean-preserving clipping of the slopes, which is what published code
//! does, and the Euclidean projection of the nodal values, which is the nearest admissible function.

use super::bounds::SlopeBounds;
use super::function::Spline;
use crate::{Error, Result};

/// Clips the slopes to `bounds` and keeps the mean of the nodal values (method.md 1.3):
/// `s = clip(D f)`, `g = [0, cumsum(s h)]`, result `g + mean(f - g)`. O(N).
///
/// This is the projection in slope space (idempotent, identity on admissible splines), not the nearest nodal values;
/// those are [`project`].
///
/// # Errors
/// [`Error::Data`] when a resulting value leaves the range of f32.
pub fn clip_slopes(spline: &Spline, bounds: &SlopeBounds) -> Result<Spline> {
    let slopes: Vec<f64> = spline.slopes().iter().map(|&s| bounds.clip(s)).collect();
    if slopes == spline.slopes() {
        // Rebuilding from the slopes would only add rounding.
        return Ok(spline.clone());
    }
    let rebuilt = Spline::from_slopes(spline.knots().to_vec(), 0.0, &slopes)?;
    let shift = spline
        .values()
        .iter()
        .zip(rebuilt.values())
        .map(|(f, g)| f - g)
        .sum::<f64>()
        / spline.len() as f64;
    rebuilt.with_affine_output(1.0, shift)
}

/// The vector-Jacobian product of [`clip_slopes`]: given the gradient of a loss with respect to the clipped values, the
/// gradient with respect to the values of `spline` (method.md 1.3). O(N), one suffix sum.
///
/// With `gbar = mean(g)`, `q_j = h_j sum_{m > j} (g_m - gbar)` and `r = q` on the segments whose slope lies in
/// `[s_min, s_max]`, else 0, the result is `gbar + D^T r`. A slope exactly on a bound counts as inside: both choices are
/// generalised derivatives there, and a spline initialised on its bound (the identity under `[-1, 1]`) must be able to
/// move off it.
///
/// # Errors
/// [`Error::Data`] when `gradient` does not have one entry per knot.
pub fn clip_slopes_vjp(spline: &Spline, bounds: &SlopeBounds, gradient: &[f64]) -> Result<Vec<f64>> {
    let count = spline.len();
    check_count(count, gradient.len(), "gradient entries")?;
    let mean = gradient.iter().sum::<f64>() / count as f64;
    let mut result = vec![mean; count];
    let mut suffix = 0.0;
    for (j, slope) in spline.slopes().into_iter().enumerate().rev() {
        suffix += gradient[j + 1] - mean;
        if bounds.clip(slope) == slope {
            // D^T divides by h_j what q multiplied by h_j.
            result[j] -= suffix;
            result[j + 1] += suffix;
        }
    }
    Ok(result)
}

/// The exact weighted Euclidean projection of the nodal values onto the slope bounds:
/// `min 1/2 sum_n w_n (v_n - f_n)^2` subject to `s_min h_j <= v_{j+1} - v_j <= s_max h_j`.
///
/// Method: dynamic programming along the chain. The cost of the best prefix that ends in `v_n = v` is convex with a
/// nondecreasing piecewise-linear derivative; allowing one more increment from `[s_min h, s_max h]` moves the part of the
/// derivative left of its root by `s_min h` and the part right of it by `s_max h`. The pieces are kept in two stacks
/// around the root, with lazy shifts, so a step costs the number of pieces the root passes. Then one backward pass clips
/// each root to what its successor allows, and nodes joined by active bounds are recomputed from their closed form
/// (a weighted mean), which removes the rounding of the forward pass. O(N) memory; time O(N) plus the passed pieces: a
/// few per node on data, N per node at worst.
///
/// Nodes of weight 0 have no pull of their own; among the minimisers they stay near `f_n`. At least one weight must be
/// positive.
///
/// # Errors
/// [`Error::Data`] when `weights` has the wrong length, an entry that is negative or not finite, or no positive entry,
/// or when a resulting value leaves the range of f32.
pub fn project(spline: &Spline, weights: &[f64], bounds: &SlopeBounds) -> Result<Spline> {
    check_weights(spline.len(), weights)?;
    let inside = spline.slopes().iter().all(|&s| bounds.clip(s) == s);
    if inside {
        return Ok(spline.clone());
    }
    let limits: Vec<(f64, f64)> = spline
        .knots()
        .windows(2)
        .map(|t| (bounds.min() * (t[1] - t[0]), bounds.max() * (t[1] - t[0])))
        .collect();
    Spline::new(
        spline.knots().to_vec(),
        project_chain(spline.values(), weights, &limits),
    )
}

/// The largest relative violation of the optimality conditions of [`project`] by `candidate`, 0 at the exact solution.
///
/// The multiplier of increment j is the cumulative sum `nu_j = sum_{m <= j} w_m (v_m - f_m)`. Optimal are: every
/// increment inside its limits; `nu_j > 0` only on the upper and `nu_j < 0` only on the lower limit (measured as the
/// smaller of multiplier and distance to the limit); total 0. Multipliers are relative to `sum w (|v| + |f|)`, distances
/// to `max(|v|) + max(|f|)`.
///
/// # Errors
/// As [`project`]; also when `candidate` has other knots than `spline`.
pub fn projection_residual(spline: &Spline, weights: &[f64], bounds: &SlopeBounds, candidate: &Spline) -> Result<f64> {
    check_weights(spline.len(), weights)?;
    if candidate.knots() != spline.knots() {
        return Err(Error::Data(
            "a projection keeps the knots, but the candidate has others".into(),
        ));
    }
    let (f, v, t) = (spline.values(), candidate.values(), spline.knots());
    let largest = |values: &[f64]| values.iter().fold(0.0_f64, |m, x| m.max(x.abs()));
    let length = (largest(f) + largest(v)).max(f64::MIN_POSITIVE);
    let force: f64 = weights
        .iter()
        .zip(f.iter().zip(v))
        .map(|(w, (f, v))| w * (f.abs() + v.abs()))
        .sum();
    let force = force.max(f64::MIN_POSITIVE);
    let mut residual = 0.0_f64;
    let mut multiplier = 0.0;
    for j in 0..t.len() - 1 {
        multiplier += weights[j] * (v[j] - f[j]) / force;
        let h = t[j + 1] - t[j];
        let below_max = (bounds.max() * h - (v[j + 1] - v[j])) / length;
        let above_min = ((v[j + 1] - v[j]) - bounds.min() * h) / length;
        residual = residual.max(-below_max).max(-above_min);
        residual = residual
            .max(multiplier.min(below_max))
            .max((-multiplier).min(above_min));
    }
    multiplier += weights[t.len() - 1] * (v[t.len() - 1] - f[t.len() - 1]) / force;
    Ok(residual.max(multiplier.abs()))
}

/// One linear piece of the derivative of the cost-to-go, from the root (or the piece before it in the stack) outwards.
struct Piece {
    /// The slope of the derivative, less the total weight added so far: adding a data term is O(1).
    slope: f64,
    /// Where the piece ends, less the total shift of its side so far; infinite for the outermost piece.
    end: f64,
}

/// The nondecreasing piecewise-linear derivative of the cost-to-go, zero at `root`.
struct CostDerivative {
    root: f64,
    left: Vec<Piece>,
    right: Vec<Piece>,
    left_shift: f64,
    right_shift: f64,
    total_weight: f64,
}

impl CostDerivative {
    fn zero(root: f64) -> Self {
        Self {
            root,
            left: vec![Piece {
                slope: 0.0,
                end: f64::NEG_INFINITY,
            }],
            right: vec![Piece {
                slope: 0.0,
                end: f64::INFINITY,
            }],
            left_shift: 0.0,
            right_shift: 0.0,
            total_weight: 0.0,
        }
    }

    /// Allows one increment from `[low, high]`, and puts the root as near to `target` as the flat piece admits.
    fn allow_increment(&mut self, low: f64, high: f64, target: f64) {
        if low == f64::NEG_INFINITY {
            self.left.clear();
        } else {
            self.left_shift += low;
        }
        if high == f64::INFINITY {
            self.right.clear();
        } else {
            self.right_shift += high;
        }
        let (start, end) = (self.root + low, self.root + high);
        self.root = target.clamp(start, end);
        let slope = -self.total_weight;
        if self.root > start {
            self.left.push(Piece {
                slope,
                end: start - self.left_shift,
            });
        }
        if self.root < end {
            self.right.push(Piece {
                slope,
                end: end - self.right_shift,
            });
        }
    }

    /// Adds the derivative `weight (v - target)` and moves the root to the new zero.
    fn add_data(&mut self, weight: f64, target: f64) {
        self.total_weight += weight;
        let mut excess = weight * (self.root - target);
        while excess != 0.0 {
            let to_left = excess > 0.0;
            let (from, into, from_shift, into_shift) = if to_left {
                (&mut self.left, &mut self.right, self.left_shift, self.right_shift)
            } else {
                (&mut self.right, &mut self.left, self.right_shift, self.left_shift)
            };
            let Some(piece) = from.last() else { return };
            let slope = piece.slope + self.total_weight;
            let end = piece.end + from_shift;
            let zero = self.root - excess / slope;
            into.push(Piece {
                slope: piece.slope,
                end: self.root - into_shift,
            });
            let inside = if to_left { zero >= end } else { zero <= end };
            if inside || !end.is_finite() {
                self.root = zero;
                return;
            }
            let remaining = excess - slope * (self.root - end);
            self.root = end;
            from.pop();
            // Rounding must not turn the search around.
            excess = if to_left {
                remaining.max(0.0)
            } else {
                remaining.min(0.0)
            };
        }
    }
}

/// [`project`] on plain slices; `limits[j]` are the lower and upper limit of `v_{j+1} - v_j`.
pub(crate) fn project_chain(targets: &[f64], weights: &[f64], limits: &[(f64, f64)]) -> Vec<f64> {
    let count = targets.len();
    let mut roots = Vec::with_capacity(count);
    let mut cost = CostDerivative::zero(targets[0]);
    cost.add_data(weights[0], targets[0]);
    roots.push(cost.root);
    for n in 1..count {
        let (low, high) = limits[n - 1];
        cost.allow_increment(low, high, targets[n]);
        cost.add_data(weights[n], targets[n]);
        roots.push(cost.root);
    }
    let mut values = roots;
    // The increment that an active bound dictates, per segment; None where the segment is strictly inside.
    let mut dictated = vec![None; count - 1];
    for n in (0..count - 1).rev() {
        let (low, high) = limits[n];
        let (least, most) = (values[n + 1] - high, values[n + 1] - low);
        if low == high || values[n] >= most {
            values[n] = most;
            dictated[n] = Some(low);
        } else if values[n] <= least {
            values[n] = least;
            dictated[n] = Some(high);
        }
    }
    recompute_blocks(&mut values, targets, weights, &dictated);
    // Moving the blocks may have pushed an increment between two of them out of its limits by rounding.
    for n in 0..count - 1 {
        let (low, high) = limits[n];
        values[n + 1] = match dictated[n] {
            Some(increment) => values[n] + increment,
            None => values[n + 1].clamp(values[n] + low, values[n] + high),
        };
    }
    values
}

/// Nodes joined by dictated increments move together: each such block is put at the weighted mean of what its nodes
/// ask for.
fn recompute_blocks(values: &mut [f64], targets: &[f64], weights: &[f64], dictated: &[Option<f64>]) {
    let mut start = 0;
    while start < values.len() {
        let mut offsets = vec![0.0];
        let mut end = start;
        while let Some(Some(increment)) = dictated.get(end) {
            offsets.push(offsets[end - start] + increment);
            end += 1;
        }
        let total: f64 = weights[start..=end].iter().sum();
        let base = if total > 0.0 {
            (start..=end)
                .map(|n| weights[n] / total * (targets[n] - offsets[n - start]))
                .sum()
        } else {
            values[start]
        };
        for (value, offset) in values[start..=end].iter_mut().zip(&offsets) {
            *value = base + offset;
        }
        start = end + 1;
    }
}

fn check_count(expected: usize, given: usize, what: &str) -> Result<()> {
    if expected == given {
        return Ok(());
    }
    Err(Error::Data(format!(
        "a spline with {expected} knots needs {expected} {what}, but got {given}"
    )))
}

/// Checks that there is one finite non-negative weight per node and that one is positive.
pub(crate) fn check_weights(count: usize, weights: &[f64]) -> Result<()> {
    check_count(count, weights.len(), "weights")?;
    if let Some(n) = weights.iter().position(|w| !(*w >= 0.0 && w.is_finite())) {
        return Err(Error::Data(format!(
            "weight {n} is {}, weights must be finite and not negative",
            weights[n]
        )));
    }
    if weights.iter().all(|&w| w == 0.0) {
        return Err(Error::Data("all weights are zero".into()));
    }
    Ok(())
}
