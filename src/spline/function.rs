//! The continuous piecewise-linear spline: knots, nodal values, slopes, evaluation and exact integral.
//!
//! Notation (design.md, vocabulary): knots `t_1 < ... < t_N`, values `f_n = f(t_n)`, spacings `h_j = t_{j+1} - t_j`,
//! slopes `s_j = (f_{j+1} - f_j) / h_j` (N - 1 of them), slope changes `a_n = s_n - s_{n-1}` at the N - 2 interior
//! knots, `TV2(f) = sum |a_n|`. The first and last segments extend linearly, so `t_1` and `t_N` carry no slope change
//! and affine functions have TV2 = 0 (method.md 1.1, 1.2).

use crate::{Error, Result};

/// A continuous piecewise-linear function with linear extrapolation, stored as knots and nodal values.
///
/// Invariants, checked by every constructor: at least two knots; knots and values finite in f32; the knots are still
/// strictly increasing, and at least the smallest normal f32 apart, after rounding to f32, because the device stores
/// f32 and may flush subnormal numbers to zero.
#[derive(Debug, Clone, PartialEq)]
pub struct Spline {
    knots: Vec<f64>,
    values: Vec<f64>,
}

impl Spline {
    /// The spline through `(knots[n], values[n])`.
    ///
    /// # Errors
    /// [`Error::Data`] when the lengths differ, there are fewer than two knots, an entry is not finite in f32, or two
    /// neighbouring knots are not strictly increasing in f32; the message names the first offending index.
    pub fn new(knots: Vec<f64>, values: Vec<f64>) -> Result<Self> {
        check_knots(&knots)?;
        if values.len() != knots.len() {
            return Err(Error::Data(format!(
                "a spline needs one value per knot, but got {} knots and {} values",
                knots.len(),
                values.len()
            )));
        }
        if let Some(n) = values.iter().position(|&v| !finite_in_f32(v)) {
            return Err(Error::Data(format!(
                "spline value {n} is {}, which is not a finite f32",
                values[n]
            )));
        }
        Ok(Self { knots, values })
    }

    /// The spline with equally spaced knots from `x_min` to `x_max`, one per value.
    ///
    /// # Errors
    /// As [`Spline::new`]; also when `x_min >= x_max`.
    pub fn uniform(x_min: f64, x_max: f64, values: Vec<f64>) -> Result<Self> {
        if values.len() < 2 {
            return Err(too_few(values.len()));
        }
        let last = values.len() - 1;
        // The convex combination makes both ends exact and a grid symmetric about 0 symmetric bit for bit.
        let knots = (0..=last)
            .map(|n| (x_min * (last - n) as f64 + x_max * n as f64) / last as f64)
            .collect();
        Self::new(knots, values)
    }

    /// The spline with `f(t_1) = value_at_first` and the given slopes: `f_{j+1} = f_j + s_j h_j`.
    ///
    /// # Errors
    /// As [`Spline::new`]; also when there is not one slope per segment or a slope is not finite.
    pub fn from_slopes(knots: Vec<f64>, value_at_first: f64, slopes: &[f64]) -> Result<Self> {
        check_knots(&knots)?;
        if slopes.len() + 1 != knots.len() {
            return Err(Error::Data(format!(
                "{} knots bound {} segments, but {} slopes were given",
                knots.len(),
                knots.len() - 1,
                slopes.len()
            )));
        }
        if let Some(j) = slopes.iter().position(|s| !s.is_finite()) {
            return Err(Error::Data(format!(
                "spline slope {j} is {}, which is not finite",
                slopes[j]
            )));
        }
        let mut values = Vec::with_capacity(knots.len());
        let mut value = value_at_first;
        values.push(value);
        for (pair, slope) in knots.windows(2).zip(slopes) {
            value += slope * (pair[1] - pair[0]);
            values.push(value);
        }
        Self::new(knots, values)
    }

    /// The knots `t_n`, strictly increasing.
    pub fn knots(&self) -> &[f64] {
        &self.knots
    }

    /// The nodal values `f_n = f(t_n)`.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// The number N of knots, at least 2.
    #[allow(
        clippy::len_without_is_empty,
        reason = "a spline has at least two knots, so it is never empty"
    )]
    pub fn len(&self) -> usize {
        self.knots.len()
    }

    /// The N - 1 segment slopes `s_j = (f_{j+1} - f_j) / h_j`.
    pub fn slopes(&self) -> Vec<f64> {
        (0..self.len() - 1).map(|j| self.segment_slope(j)).collect()
    }

    /// The N - 2 slope changes `a_n = s_n - s_{n-1}` at the interior knots.
    pub fn slope_changes(&self) -> Vec<f64> {
        self.slopes().windows(2).map(|s| s[1] - s[0]).collect()
    }

    /// The second-order total variation `TV2(f) = sum |a_n|`: the total variation of the derivative (method.md 1.1).
    pub fn tv2(&self) -> f64 {
        self.slope_changes().iter().fold(0.0, |sum, a| sum + a.abs())
    }

    /// The smallest and the largest slope. The largest absolute value of the two is the Lipschitz constant.
    pub fn slope_range(&self) -> (f64, f64) {
        self.slopes()
            .iter()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &s| {
                (low.min(s), high.max(s))
            })
    }

    /// `f(x)`, extrapolated linearly outside the knots, in O(log N); at a knot the stored value, exactly. NaN for NaN.
    pub fn value(&self, x: f64) -> f64 {
        let n = self.anchor(x);
        self.values[n] + self.slope_right_of(n) * (x - self.knots[n])
    }

    /// `f'(x)`, right-continuous: `s_j` for `t_j <= x < t_{j+1}`, the first slope left of `t_2`, the last one from
    /// `t_{N-1}` on. Of NaN the first slope.
    pub fn slope(&self, x: f64) -> f64 {
        self.slope_right_of(self.anchor(x))
    }

    /// The potential at the knots: `psi(t_n) = int_0^{t_n} f`, exact for the piecewise-linear f (trapezoids), O(N).
    ///
    /// The sums start at the knot nearest to the left of 0, so that no cancellation against a distant origin occurs
    /// (method.md 2.8 integrates from `t_1` and subtracts `psi(0)` afterwards).
    pub fn integrals(&self) -> Vec<f64> {
        let mut integrals = vec![0.0; self.len()];
        let origin = self.anchor(0.0);
        integrals[origin] = -self.integral_from_knot(origin, 0.0);
        for n in origin + 1..self.len() {
            integrals[n] = integrals[n - 1] + self.trapezoid(n - 1);
        }
        for n in (0..origin).rev() {
            integrals[n] = integrals[n + 1] - self.trapezoid(n);
        }
        integrals
    }

    /// The potential `psi(x) = int_0^x f`, exactly piecewise quadratic with `psi(0) = 0`; outside the knots it
    /// continues as the integral of the linear extrapolation. O(N): for many points use [`Spline::integrals`] and
    /// `psi(x) = psi(t_j) + f_j d + s_j d^2 / 2`, `d = x - t_j`.
    pub fn integral(&self, x: f64) -> f64 {
        let origin = self.anchor(0.0);
        let end = self.anchor(x);
        let between: f64 = if origin <= end {
            (origin..end).map(|j| self.trapezoid(j)).sum()
        } else {
            -(end..origin).map(|j| self.trapezoid(j)).sum::<f64>()
        };
        if origin == end {
            // One quadratic on both sides: subtracting the two values would cancel when x is close to 0.
            let n = end;
            let mean_distance = 0.5 * x - self.knots[n];
            return x * (self.values[n] + self.slope_right_of(n) * mean_distance);
        }
        between + self.integral_from_knot(end, x) - self.integral_from_knot(origin, 0.0)
    }

    /// The same function on other knots: the values of f at `knots`. When `knots` contain every interior knot of f the
    /// function is unchanged (knot insertion); otherwise this interpolates f.
    ///
    /// # Errors
    /// As [`Spline::new`] for the new knots and the values there.
    pub fn resampled(&self, knots: &[f64]) -> Result<Self> {
        let values = knots.iter().map(|&t| self.value(t)).collect();
        Self::new(knots.to_vec(), values)
    }

    /// The slope of segment `j`, between knots `j` and `j + 1`.
    pub(crate) fn segment_slope(&self, j: usize) -> f64 {
        (self.values[j + 1] - self.values[j]) / (self.knots[j + 1] - self.knots[j])
    }

    /// The slope of the segment that starts at knot `n`; at the last knot that of the segment that ends there.
    fn slope_right_of(&self, n: usize) -> f64 {
        self.segment_slope(n.min(self.len() - 2))
    }

    /// The index of the last knot at or left of `x`; 0 when there is none. Anchoring the evaluation at a knot that the
    /// point has reached, the last knot included, makes the value at every knot the stored one.
    fn anchor(&self, x: f64) -> usize {
        self.knots.partition_point(|&t| t <= x).saturating_sub(1)
    }

    /// `int_{t_j}^{t_{j+1}} f`.
    fn trapezoid(&self, j: usize) -> f64 {
        0.5 * (self.values[j] + self.values[j + 1]) * (self.knots[j + 1] - self.knots[j])
    }

    /// `int_{t_n}^x f` for an `x` whose anchor is `n`.
    fn integral_from_knot(&self, n: usize, x: f64) -> f64 {
        let distance = x - self.knots[n];
        distance * (self.values[n] + 0.5 * self.slope_right_of(n) * distance)
    }
}

/// Whether `x` is a finite number after rounding to f32.
fn finite_in_f32(x: f64) -> bool {
    (x as f32).is_finite()
}

fn too_few(count: usize) -> Error {
    Error::Data(format!("a spline needs at least 2 knots, but got {count}"))
}

/// Checks that `knots` can be the knots of a spline (see [`Spline`]).
pub(crate) fn check_knots(knots: &[f64]) -> Result<()> {
    if knots.len() < 2 {
        return Err(too_few(knots.len()));
    }
    if let Some(n) = knots.iter().position(|&t| !finite_in_f32(t)) {
        return Err(Error::Data(format!(
            "knot {n} is {}, which is not a finite f32",
            knots[n]
        )));
    }
    for (n, pair) in knots.windows(2).enumerate() {
        let spacing = pair[1] as f32 - pair[0] as f32;
        if spacing < f32::MIN_POSITIVE {
            return Err(Error::Data(format!(
                "knots must be strictly increasing in f32, but knot {n} is {:e} and knot {} is {:e}",
                pair[0],
                n + 1,
                pair[1]
            )));
        }
        if !spacing.is_finite() {
            return Err(Error::Data(format!(
                "knots {n} and {} are further apart ({:e} and {:e}) than f32 can hold",
                n + 1,
                pair[0],
                pair[1]
            )));
        }
    }
    Ok(())
}
