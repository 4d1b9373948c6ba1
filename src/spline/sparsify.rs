//! Fewer knots: the sparsest spline with the same data fit and TV2, and removal of knots within an error budget.

use super::bounds::SlopeBounds;
use super::function::Spline;
use super::project::{check_weights, project};
use super::tv2::Fit;
use crate::{Error, Result};

/// The part of the largest slope change below which a slope change of an inexact fit counts as 0.
const ITERATE_TOLERANCE: f64 = 1e-9;

impl Fit {
    /// The sparsest spline with the same values at the samples, the same TV2 and the same slope bounds (see
    /// [`sparsest`]); an optimal spline of the fit with the fewest knots, at most M.
    ///
    /// # Errors
    /// [`Error::Data`] when a value leaves the range of f32.
    pub fn sparsest(&self) -> Result<Spline> {
        let largest = self.slopes.windows(2).map(|s| (s[1] - s[0]).abs()).fold(0.0, f64::max);
        let tolerance = if self.exact { 0.0 } else { ITERATE_TOLERANCE * largest };
        let (knots, values, _) = merge_runs(self.spline.knots(), self.spline.values(), &self.slopes, tolerance);
        Spline::new(knots, values)
    }
}

/// The sparsest spline that takes the values of `spline` at its knots and has the same TV2 (method.md 2.5, after Debarre,
/// Denoyelle, Unser, Fageot 2022). O(N).
///
/// Knots whose slope change is at most `tolerance` in absolute value are dropped. In each run of n neighbouring knots
/// whose slope changes have the same sign, pairs are replaced by the one point where the lines before and after them
/// meet, `(a_i t_i + a_{i+1} t_{i+1}) / (a_i + a_{i+1})`, which leaves ceil(n / 2) knots. A pair's inner slope lies
/// between its outer ones, so slope bounds and TV2 stay. Between the knots of a pair the function changes; use this where
/// only the values at the knots count, that is, for fits to samples.
///
/// # Errors
/// [`Error::Data`] when `tolerance` is negative or NaN, or a value leaves the range of f32.
pub fn sparsest(spline: &Spline, tolerance: f64) -> Result<Spline> {
    if tolerance.is_nan() || tolerance < 0.0 {
        return Err(Error::Data(format!(
            "the tolerance of slope changes must not be negative, but is {tolerance}"
        )));
    }
    let (knots, values, _) = merge_runs(spline.knots(), spline.values(), &spline.slopes(), tolerance);
    Spline::new(knots, values)
}

/// [`sparsest`] of the function with knots t, values f and slopes, as knots, values and slopes. The slopes of the result
/// are some of those given, bit for bit.
pub(crate) fn merge_runs(t: &[f64], f: &[f64], slopes: &[f64], tolerance: f64) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let last = t.len() - 1;
    let change = |n: usize| {
        let a = slopes[n] - slopes[n - 1];
        if a.abs() > tolerance { a } else { 0.0 }
    };
    let (mut knots, mut values, mut kept) = (vec![t[0]], vec![f[0]], vec![slopes[0]]);
    let mut n = 1;
    while n < last {
        let a = change(n);
        let partner = if n + 1 < last { change(n + 1) } else { 0.0 };
        if a * partner > 0.0 {
            let distance = (t[n + 1] - t[n]) * (partner / (a + partner));
            knots.push(t[n] + distance);
            values.push(f[n] + slopes[n - 1] * distance);
            kept.push(slopes[n + 1]);
            n += 2;
            continue;
        }
        if a != 0.0 {
            knots.push(t[n]);
            values.push(f[n]);
            kept.push(slopes[n]);
        }
        n += 1;
    }
    knots.push(t[last]);
    values.push(f[last]);
    (knots, values, kept)
}

/// How far [`reduce`] may go.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Budget {
    /// Knots are removed while the root-mean-square error stays at or below this, in units of the values.
    pub max_error: f64,
    /// If more knots than this are left, removal goes on whatever the error. At least 2.
    pub max_knots: usize,
}

/// A spline with fewer knots and how far it is from the original.
#[derive(Debug, Clone, PartialEq)]
pub struct Reduction {
    /// The reduced spline, inside the slope bounds.
    pub spline: Spline,
    /// The root-mean-square difference to the original under the input weights, integrated exactly.
    pub rms_error: f64,
    /// The largest absolute difference between the first and the last knot of the original.
    pub max_error: f64,
}

/// Removes knots from a trained activation and refits the others by weighted least squares under the slope bounds,
/// greedily, with exact accounting of the error.
///
/// `weights` is the histogram of the inputs: one mass for the inputs left of the first knot, one per segment, one for
/// those right of the last knot (N + 1 in all), each spread evenly over its segment, those of the tails over a quarter of
/// the range. Without it, all inputs of that wider range count alike. (method.md 2.4 describes the published removal,
/// which changes everything right of a removed knot.)
///
/// An antisymmetric spline under symmetric weights (both to 1e-9 of their size) stays so, bit for bit: its knots go in
/// mirrored pairs.
///
/// Each step tries the knots whose removal costs least before the refit, solves the refit (a tridiagonal system; if its
/// solution leaves the bounds, accelerated projected gradients in the metric of its diagonal, with the exact projection)
/// and keeps it if the exact error fits the budget. The result is inside the bounds and its error exact in every case;
/// only under active bounds is the refit's optimality that of an iteration. O(N) per refit, O(N^2) in all.
///
/// # Errors
/// [`Error::Data`] when the weights have the wrong length or are invalid, `max_error` is negative or NaN, `max_knots` is
/// below 2, or a value leaves the range of f32.
pub fn reduce(spline: &Spline, bounds: &SlopeBounds, weights: Option<&[f64]>, budget: Budget) -> Result<Reduction> {
    if budget.max_error.is_nan() || budget.max_error < 0.0 || budget.max_knots < 2 {
        return Err(Error::Data(format!(
            "a reduction needs an error >= 0 and at least 2 knots, but the budget is {budget:?}"
        )));
    }
    let odd = mirrored(spline.knots(), -1.0)
        && mirrored(spline.values(), -1.0)
        && weights.is_none_or(|weights| mirrored(weights, 1.0));
    let target = Target::new(spline, weights)?;
    let refit = |kept: &[usize]| match target.refit(kept, bounds) {
        Ok(refitted) if odd => antisymmetric(&refitted),
        other => other,
    };
    // All knots of the original but its ends: the slope does not change there, and the tails reach beyond.
    let count = target.spline.len();
    let mut kept: Vec<usize> = (0..count).filter(|&n| n != 1 && n != count - 2).collect();
    let mut current = refit(&kept)?;
    let mut error = target.rms(&current);
    loop {
        let mut order = removal_costs(&target, &kept, &current);
        let last = kept.len() - 1;
        if odd {
            // A pair costs twice what either does, the knot at the origin only once.
            order.retain(|&(position, _)| 2 * position <= last);
            order.iter_mut().filter(|o| 2 * o.0 < last).for_each(|o| o.1 *= 2.0);
        }
        order.sort_by(|a, b| a.1.total_cmp(&b.1));
        let over = kept.len() > budget.max_knots;
        let mut best: Option<(Vec<usize>, Spline, f64)> = None;
        for &(position, _) in order.iter().take(CANDIDATES) {
            let mut fewer = kept.clone();
            if odd && 2 * position < last {
                fewer.remove(last - position);
            }
            fewer.remove(position);
            let candidate = refit(&fewer)?;
            let candidate_error = target.rms(&candidate);
            if best.as_ref().is_none_or(|best| candidate_error < best.2) {
                best = Some((fewer, candidate, candidate_error));
            }
            if candidate_error <= budget.max_error {
                break;
            }
        }
        match best {
            Some((fewer, candidate, candidate_error)) if over || candidate_error <= budget.max_error => {
                (kept, current, error) = (fewer, candidate, candidate_error);
            }
            _ => break,
        }
    }
    let max_error = spline.knots().iter().zip(spline.values());
    let max_error = max_error
        .map(|(&t, f)| (current.value(t) - f).abs())
        .fold(0.0, f64::max);
    let pulled_in = pull_in_ends(&current, spline)?;
    Ok(Reduction {
        spline: if odd { antisymmetric(&pulled_in)? } else { pulled_in },
        rms_error: error,
        max_error,
    })
}

/// Inputs per segment of `spline`, those left of the first and right of the last knot at the ends: what [`reduce`] weighs
/// errors with.
pub fn input_histogram(spline: &Spline, inputs: &[f64]) -> Vec<f64> {
    let knots = spline.knots();
    let mut histogram = vec![0.0; knots.len() + 1];
    for x in inputs {
        histogram[knots.partition_point(|t| t <= x)] += 1.0;
    }
    histogram
}

/// Whether each number is `sign` times its mirror image, up to rounding.
fn mirrored(numbers: &[f64], sign: f64) -> bool {
    let largest = numbers.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    let mut pairs = numbers.iter().zip(numbers.iter().rev());
    pairs.all(|(a, b)| (a - sign * b).abs() <= SYMMETRY_TOLERANCE * largest)
}

/// The antisymmetric part of a spline whose knots come in mirrored pairs, without rounding differences between the halves.
/// Its slopes are means of mirrored ones, so bounds stay.
fn antisymmetric(spline: &Spline) -> Result<Spline> {
    let odd = |v: &[f64]| v.iter().zip(v.iter().rev()).map(|(a, b)| 0.5 * (a - b)).collect();
    Spline::new(odd(spline.knots()), odd(spline.values()))
}

/// Difference of mirror images, relative to the largest, up to which they count as equal.
const SYMMETRY_TOLERANCE: f64 = 1e-9;
/// Removals that are tried with a refit before the best of them is judged.
const CANDIDATES: usize = 4;
/// The tails reach over this part of the range on either side.
const TAIL: f64 = 0.25;
/// Every input counts at least this part of the mean density, so that the refit is unique.
const DENSITY_FLOOR: f64 = 1e-9;
/// Projected-gradient steps of a refit under active bounds.
const REFIT_STEPS: usize = 500;

/// What the reduced spline has to match: the original with its tails as segments, and the density of the inputs.
struct Target {
    spline: Spline,
    densities: Vec<f64>,
    total: f64,
}

impl Target {
    fn new(spline: &Spline, weights: Option<&[f64]>) -> Result<Self> {
        let t = spline.knots();
        let reach = TAIL * (t[t.len() - 1] - t[0]);
        let mut knots = vec![t[0] - reach];
        knots.extend_from_slice(t);
        knots.push(t[t.len() - 1] + reach);
        let lengths: Vec<f64> = knots.windows(2).map(|t| t[1] - t[0]).collect();
        let masses = weights.unwrap_or(&lengths);
        check_weights(lengths.len(), masses)
            .map_err(|error| Error::Data(format!("input histogram (two tails and every segment): {error}")))?;
        let mean_density = masses.iter().sum::<f64>() / lengths.iter().sum::<f64>();
        let densities: Vec<f64> = masses
            .iter()
            .zip(&lengths)
            .map(|(m, h)| m / h + DENSITY_FLOOR * mean_density)
            .collect();
        Ok(Self {
            total: densities.iter().zip(&lengths).map(|(d, h)| d * h).sum(),
            spline: spline.resampled(&knots)?,
            densities,
        })
    }

    /// The root-mean-square difference; exact, because the squared difference is quadratic on every original segment.
    fn rms(&self, other: &Spline) -> f64 {
        let difference: Vec<f64> = self
            .spline
            .knots()
            .iter()
            .zip(self.spline.values())
            .map(|(&t, f)| other.value(t) - f)
            .collect();
        let integral: f64 = self
            .spline
            .knots()
            .windows(2)
            .zip(difference.windows(2))
            .zip(&self.densities)
            .map(|((t, d), density)| density * (t[1] - t[0]) * (d[0] * d[0] + d[0] * d[1] + d[1] * d[1]) / 3.0)
            .sum();
        (integral / self.total).sqrt()
    }

    /// The weighted least-squares spline on the kept knots inside the bounds.
    fn refit(&self, kept: &[usize], bounds: &SlopeBounds) -> Result<Spline> {
        let gram = self.gram(kept);
        let knots: Vec<f64> = kept.iter().map(|&n| self.spline.knots()[n]).collect();
        // Solving for the correction of the interpolant keeps an exact representation exact.
        let interpolant: Vec<f64> = kept.iter().map(|&n| self.spline.values()[n]).collect();
        let start = Spline::new(knots.clone(), interpolant)?;
        let gradient = self.gradient(kept, &start);
        let step = gram.solve(&gradient);
        let free = start.values().iter().zip(step).map(|(v, s)| v - s).collect();
        let free = Spline::new(knots.clone(), free)?;
        if free.slopes().iter().all(|&s| bounds.clip(s) == s) {
            return Ok(free);
        }
        // The Gram matrix of hat functions is at most twice its diagonal: a step of 1/2 in that metric descends.
        let mut current = project(&free, &gram.diagonal, bounds)?;
        let mut ahead = current.clone();
        let mut momentum = 1.0_f64;
        for _ in 0..REFIT_STEPS {
            let gradient = self.gradient(kept, &ahead);
            let moved = ahead
                .values()
                .iter()
                .zip(&gradient)
                .zip(&gram.diagonal)
                .map(|((v, g), d)| v - 0.5 * g / d);
            let next = project(&Spline::new(knots.clone(), moved.collect())?, &gram.diagonal, bounds)?;
            let change = next.values().iter().zip(current.values()).map(|(a, b)| a - b);
            let against: f64 = change.clone().zip(&gradient).map(|(c, g)| c * g).sum();
            let next_momentum = 0.5 * (1.0 + (1.0 + 4.0 * momentum * momentum).sqrt());
            // Restart when the step goes uphill.
            let (factor, next_momentum) = if against > 0.0 {
                (0.0, 1.0)
            } else {
                ((momentum - 1.0) / next_momentum, next_momentum)
            };
            let extrapolated = next.values().iter().zip(change).map(|(v, c)| v + factor * c).collect();
            let still = next == current;
            ahead = Spline::new(knots.clone(), extrapolated)?;
            current = next;
            momentum = next_momentum;
            if still {
                break;
            }
        }
        // The interpolant is admissible when the original is: never do worse.
        let start_admissible = start.slopes().iter().all(|&s| bounds.clip(s) == s);
        if start_admissible && self.rms(&start) < self.rms(&current) {
            Ok(start)
        } else {
            Ok(current)
        }
    }

    /// Calls `visit(segment of the reduced spline, place of the segment's ends in it (0..1), length, original segment)`.
    fn for_each_segment(&self, kept: &[usize], mut visit: impl FnMut(usize, f64, f64, f64, usize)) {
        let t = self.spline.knots();
        for (k, ends) in kept.windows(2).enumerate() {
            let (start, length) = (t[ends[0]], t[ends[1]] - t[ends[0]]);
            for j in ends[0]..ends[1] {
                visit(
                    k,
                    (t[j] - start) / length,
                    (t[j + 1] - start) / length,
                    t[j + 1] - t[j],
                    j,
                );
            }
        }
    }

    /// The weighted Gram matrix of the hat functions on the kept knots.
    fn gram(&self, kept: &[usize]) -> Tridiagonal {
        let mut gram = Tridiagonal {
            diagonal: vec![0.0; kept.len()],
            beside: vec![0.0; kept.len() - 1],
        };
        self.for_each_segment(kept, |k, a, b, h, j| {
            // Integrals of products of the two hats, linear from 1 - a to 1 - b and from a to b.
            let product = |p: (f64, f64), q: (f64, f64)| (2.0 * (p.0 * q.0 + p.1 * q.1) + p.0 * q.1 + p.1 * q.0) / 6.0;
            let (down, up, mass) = ((1.0 - a, 1.0 - b), (a, b), self.densities[j] * h);
            gram.diagonal[k] += mass * product(down, down);
            gram.diagonal[k + 1] += mass * product(up, up);
            gram.beside[k] += mass * product(down, up);
        });
        gram
    }

    /// The gradient of half the integrated squared difference with respect to the values at the kept knots.
    fn gradient(&self, kept: &[usize], other: &Spline) -> Vec<f64> {
        let mut gradient = vec![0.0; kept.len()];
        let (v, f) = (other.values(), self.spline.values());
        self.for_each_segment(kept, |k, a, b, h, j| {
            let difference = |u: f64, n: usize| (1.0 - u) * v[k] + u * v[k + 1] - f[n];
            let (left, right) = (difference(a, j), difference(b, j + 1));
            let mass = self.densities[j] * h / 6.0;
            gradient[k] += mass * (left * (2.0 * (1.0 - a) + 1.0 - b) + right * (2.0 * (1.0 - b) + 1.0 - a));
            gradient[k + 1] += mass * (left * (2.0 * a + b) + right * (2.0 * b + a));
        });
        gradient
    }
}

/// A symmetric positive definite tridiagonal matrix.
struct Tridiagonal {
    diagonal: Vec<f64>,
    beside: Vec<f64>,
}

impl Tridiagonal {
    fn solve(&self, right: &[f64]) -> Vec<f64> {
        let mut pivots = self.diagonal.clone();
        let mut solution = right.to_vec();
        for n in 1..pivots.len() {
            let factor = self.beside[n - 1] / pivots[n - 1];
            pivots[n] -= factor * self.beside[n - 1];
            solution[n] -= factor * solution[n - 1];
        }
        for n in (0..pivots.len()).rev() {
            if n + 1 < pivots.len() {
                solution[n] -= self.beside[n] * solution[n + 1];
            }
            solution[n] /= pivots[n];
        }
        solution
    }
}

/// For every interior kept knot its position in `kept` and the integrated squared error of replacing the two segments
/// beside it by one line.
fn removal_costs(target: &Target, kept: &[usize], current: &Spline) -> Vec<(usize, f64)> {
    let (t, v) = (current.knots(), current.values());
    (1..kept.len() - 1)
        .map(|n| {
            let place = (t[n] - t[n - 1]) / (t[n + 1] - t[n - 1]);
            let height = v[n] - ((1.0 - place) * v[n - 1] + place * v[n + 1]);
            let mass: f64 = (kept[n - 1]..kept[n + 1])
                .map(|j| target.densities[j] * (target.spline.knots()[j + 1] - target.spline.knots()[j]))
                .sum();
            (n, height * height * mass)
        })
        .collect()
}

/// Moves the end knots, which stand at the ends of the tails, back to those of the original where the outer segments
/// reach that far: the function is the same.
fn pull_in_ends(reduced: &Spline, original: &Spline) -> Result<Spline> {
    let mut knots = reduced.knots().to_vec();
    let (first, last) = (original.knots()[0], original.knots()[original.len() - 1]);
    let end = knots.len() - 1;
    if first < knots[1] && first < last {
        knots[0] = first;
    }
    if last > knots[end - 1] {
        knots[end] = last;
    }
    reduced.resampled(&knots)
}
