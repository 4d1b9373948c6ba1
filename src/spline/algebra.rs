//! Exact operations on splines: ReLU form, sums, affine changes of variable, composition, inverse, antisymmetric part,
//! and the proximal operator of a potential; [`super::penalty`] is the way back.
//!
//! "Exact" means that the result is the mathematical function on the union of all knots, with f64 rounding in its
//! values. Two knots closer than one f32 ulp cannot both be stored on the device; they become one, which moves the
//! function by at most |slope change| times that distance.

use super::function::{Spline, check_knots};
use crate::{Error, Result};

/// The truncated-power form `f(x) = b1 + b2 x + sum_k a_k max(x - tau_k, 0)` (method.md 1.1).
#[derive(Debug, Clone, PartialEq)]
pub struct ReluForm {
    /// The constant `b1`: the value at 0 of the first segment's line.
    pub b1: f64,
    /// The slope `b2` of the first segment.
    pub b2: f64,
    /// The knots `tau_k` of the ramps: the interior knots of the spline.
    pub knots: Vec<f64>,
    /// The slope changes `a_k`, one per knot.
    pub slope_changes: Vec<f64>,
}

impl Spline {
    /// The truncated-power form, with every interior knot kept, also those with slope change 0. Its evaluation costs
    /// O(K) and loses digits where ramps cancel; it is a form for statements and checks, not for computing.
    pub fn relu_form(&self) -> ReluForm {
        let b2 = self.segment_slope(0);
        ReluForm {
            b1: self.values()[0] - b2 * self.knots()[0],
            b2,
            knots: self.knots()[1..self.len() - 1].to_vec(),
            slope_changes: self.slope_changes(),
        }
    }

    /// The spline of a truncated-power form. Ramps need no end knots, a spline does: `x_min` and `x_max` become the
    /// first and the last knot.
    ///
    /// # Errors
    /// [`Error::Data`] when knots and slope changes differ in number, or the knots with `x_min` before and `x_max`
    /// after them are not valid spline knots.
    pub fn from_relu_form(form: &ReluForm, x_min: f64, x_max: f64) -> Result<Self> {
        if form.knots.len() != form.slope_changes.len() {
            return Err(Error::Data(format!(
                "the ReLU form has {} knots but {} slope changes",
                form.knots.len(),
                form.slope_changes.len()
            )));
        }
        let mut knots = Vec::with_capacity(form.knots.len() + 2);
        knots.push(x_min);
        knots.extend_from_slice(&form.knots);
        knots.push(x_max);
        let mut slope = form.b2;
        let mut slopes = vec![slope];
        for change in &form.slope_changes {
            slope += change;
            slopes.push(slope);
        }
        Self::from_slopes(knots, form.b1 + form.b2 * x_min, &slopes)
    }

    /// `x -> f(a x + b)`, with knots `(t_n - b) / a`.
    ///
    /// # Errors
    /// [`Error::Data`] when `a` is 0 or not finite, or the new knots cannot be told apart in f32.
    pub fn with_affine_input(&self, a: f64, b: f64) -> Result<Self> {
        if a == 0.0 || !a.is_finite() {
            return Err(Error::Data(format!(
                "cannot substitute a x + b with a = {a} into a spline"
            )));
        }
        let mut knots: Vec<f64> = self.knots().iter().map(|t| (t - b) / a).collect();
        let mut values = self.values().to_vec();
        if a < 0.0 {
            knots.reverse();
            values.reverse();
        }
        Self::new(knots, values)
    }

    /// `x -> c f(x) + d`.
    ///
    /// # Errors
    /// [`Error::Data`] when a value leaves the range of f32.
    pub fn with_affine_output(&self, c: f64, d: f64) -> Result<Self> {
        Self::new(self.knots().to_vec(), self.values().iter().map(|f| c * f + d).collect())
    }

    /// `f + g` on the union of the knots.
    ///
    /// # Errors
    /// [`Error::Data`] when a value leaves the range of f32.
    pub fn add(&self, other: &Self) -> Result<Self> {
        on_union([self.knots(), other.knots()].concat(), |x| {
            self.value(x) + other.value(x)
        })
    }

    /// The antisymmetric part `(f(x) - f(-x)) / 2` on the union of the knots and their mirror images; the result is
    /// antisymmetric bit for bit.
    ///
    /// # Errors
    /// [`Error::Data`] when the united knots leave the range of f32.
    pub fn antisymmetrise(&self) -> Result<Self> {
        let smallest = f64::from(f32::MIN_POSITIVE);
        let has_origin = self.knots().iter().any(|t| t.abs() < smallest);
        let odd = |x: f64| 0.5 * (self.value(x) - self.value(-x));
        // Only the half line is united, then mirrored: uniting knots on the whole line could break the symmetry.
        let mut half = united(self.knots().iter().map(|t| t.abs()).collect());
        half.retain(|&x| x >= smallest);
        let (mut knots, mut values) = (Vec::new(), Vec::new());
        for &x in half.iter().rev() {
            knots.push(-x);
            values.push(-odd(x));
        }
        if has_origin {
            knots.push(0.0);
            values.push(0.0);
        }
        for &x in &half {
            knots.push(x);
            values.push(odd(x));
        }
        Self::new(knots, values)
    }

    /// `f o g`: this spline after `inner`. The knots are those of `inner` and all preimages under `inner` of the knots
    /// of f, at most N_f (N_g - 1) + N_g of them. Slope bounds multiply.
    ///
    /// # Errors
    /// [`Error::Data`] when a knot or a value leaves the range of f32.
    pub fn compose(&self, inner: &Self) -> Result<Self> {
        let (s, u) = (inner.knots(), inner.values());
        let mut candidates = s.to_vec();
        for j in 0..s.len() - 1 {
            let slope = inner.segment_slope(j);
            if slope == 0.0 {
                continue;
            }
            // The first and the last segment reach to infinity.
            let left = if j == 0 { f64::NEG_INFINITY } else { s[j] };
            let right = if j + 2 == s.len() { f64::INFINITY } else { s[j + 1] };
            for &t in self.knots() {
                let reach = (t - u[j]) / slope;
                let x = s[j] + reach;
                // Where the sum cancels to almost 0, a preimage that is an end of the segment up to rounding may be far from it in units
                // of its own last place: the end stands for it.
                let rounding = 4.0 * f64::EPSILON * (s[j].abs() + reach.abs());
                if x - left > rounding && right - x > rounding {
                    candidates.push(x);
                }
            }
        }
        on_union(candidates, |x| self.value(inner.value(x)))
    }

    /// The inverse function of a strictly increasing spline, in closed form: knots and values change places, slopes
    /// become `1 / s_j`.
    ///
    /// # Errors
    /// [`Error::Data`] when a slope is not positive (the message names the segment) or the values cannot be told apart
    /// in f32.
    pub fn inverse(&self) -> Result<Self> {
        if let Some(j) = self.values().windows(2).position(|v| v[1] <= v[0]) {
            return Err(Error::Data(format!(
                "a spline with slope {:e} in segment {j} has no increasing inverse",
                self.segment_slope(j)
            )));
        }
        Self::new(self.values().to_vec(), self.knots().to_vec())
            .map_err(|error| Error::Data(format!("the spline is too flat to be inverted: {error}")))
    }
}

/// The proximal operator of `tau psi` from `phi = psi'`: `(Id + tau phi)^{-1}`, in closed form with knots
/// `t_n + tau phi(t_n)` and values `t_n`. It exists as a single-valued function when `1 + tau s_j > 0` for every slope,
/// which also covers weakly convex potentials with `tau rho < 1`.
///
/// # Errors
/// [`Error::Data`] when `tau` is not finite and non-negative, or `1 + tau s_j <= 0` in some segment.
pub fn prox_of_potential_derivative(phi: &Spline, tau: f64) -> Result<Spline> {
    if !(tau >= 0.0 && tau.is_finite()) {
        return Err(Error::Data(format!(
            "the step tau of a proximal operator must be finite and >= 0, not {tau}"
        )));
    }
    let forward: Vec<f64> = phi.knots().iter().zip(phi.values()).map(|(t, f)| t + tau * f).collect();
    if let Some(j) = forward.windows(2).position(|pair| pair[1] <= pair[0]) {
        return Err(Error::Data(format!(
            "the proximal operator does not exist: 1 + tau * slope is {:e} in segment {j}, it must be positive",
            1.0 + tau * phi.segment_slope(j)
        )));
    }
    Spline::new(forward, phi.knots().to_vec())
        .map_err(|error| Error::Data(format!("the proximal operator is too steep for f32 knots: {error}")))
}

/// Whether f32 can tell `a < b` apart as knots: more than one f32 ulp, so that the gap survives rounding, and more than
/// the device may flush to zero.
pub(crate) fn separate(a: f64, b: f64) -> bool {
    b - a > (f64::from(f32::EPSILON) * a.abs().max(b.abs())).max(2.0 * f64::from(f32::MIN_POSITIVE))
}

/// The sorted union of the candidates with the first of every group that f32 cannot tell apart.
///
/// An end knot that absorbed others may have absorbed a slope change, and would then extrapolate the wrong segment: one
/// more knot is put well outside, on the outer line.
fn united(mut candidates: Vec<f64>) -> Vec<f64> {
    candidates.sort_by(f64::total_cmp);
    let (low, high) = (candidates[0], candidates[candidates.len() - 1]);
    let absorbed_low = candidates.iter().any(|&x| x > low && !separate(low, x));
    let reach = (high - low).max(high.abs()).max(low.abs());
    let mut knots: Vec<f64> = Vec::with_capacity(candidates.len() + 2);
    if absorbed_low {
        knots.push(low - reach);
    }
    for x in candidates {
        if knots.last().is_none_or(|&last| separate(last, x)) {
            knots.push(x);
        }
    }
    if knots.last().is_some_and(|&last| last < high) {
        knots.push(high + reach);
    }
    knots
}

/// The spline that equals `function`, which must be continuous and piecewise linear with all its slope changes among
/// the candidates.
fn on_union(candidates: Vec<f64>, function: impl Fn(f64) -> f64) -> Result<Spline> {
    let knots = united(candidates);
    check_knots(&knots)?;
    let values = knots.iter().map(|&x| function(x)).collect();
    Spline::new(knots, values)
}
