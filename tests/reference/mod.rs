//! The mathematics in f64, written from the formulas; beside every value a bound of what an f32 evaluation may lose.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test should panic")]

pub mod device;
pub mod flow;
pub mod layered;
pub mod models;
pub mod network;
pub mod operators;
pub mod parameters;
pub mod pnp;
pub mod pointwise;
pub mod problem;
pub mod responses;

use knotwork::filters::ConvLayer;
use knotwork::model::Ridge;
use knotwork::spline::Spline;

use crate::common::EPS;

/// Values, and how far an f32 evaluation of the same formula may be from each.
#[derive(Clone, Debug)]
pub struct Bounded {
    pub value: Vec<f64>,
    pub error: Vec<f64>,
}

impl Bounded {
    /// Values that f32 holds exactly.
    pub fn exact(values: &[f64]) -> Self {
        Self {
            value: values.to_vec(),
            error: vec![0.0; values.len()],
        }
    }

    /// Adds `weight * (value, error)` with the rounding of a sum of `terms` terms.
    fn add(&mut self, at: usize, weight: f64, value: f64, error: f64, terms: usize) {
        self.value[at] += weight * value;
        let rounding = 2.0 * EPS * terms as f64 * weight.abs() * (value.abs() + error);
        self.error[at] += weight.abs() * error + rounding;
    }
}

pub fn widen(values: &[f32]) -> Vec<f64> {
    values.iter().copied().map(f64::from).collect()
}

pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(p, q)| p * q).sum()
}

pub fn norm(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}

/// Pairs (response position, pixel that filter tap (ky, kx) of a filter of radius `radius` meets there).
fn meetings([h, w]: [usize; 2], radius: usize, [ky, kx]: [usize; 2]) -> impl Iterator<Item = (usize, usize)> {
    (0..h)
        .flat_map(move |r| (0..w).map(move |q| (r, q)))
        .filter_map(move |(r, q)| {
            let (y, x) = ((r + ky).checked_sub(radius)?, (q + kx).checked_sub(radius)?);
            (y < h && x < w).then_some((r * w + q, y * w + x))
        })
}

fn taps(layer: &ConvLayer) -> impl Iterator<Item = (usize, usize, [usize; 2], f64)> + '_ {
    let k = layer.size;
    (0..layer.outputs * layer.inputs * k * k).map(move |t| {
        let (o, i, ky, kx) = (t / (layer.inputs * k * k), t / (k * k) % layer.inputs, t / k % k, t % k);
        (o, i, [ky, kx], f64::from(layer.weights[t]))
    })
}

/// `y[o](p) = sum_i sum_k w[o][i][k] x[i](p + k - radius)`, zero outside the image.
pub fn correlate(layer: &ConvLayer, x: &Bounded, size: [usize; 2]) -> Bounded {
    let pixels = size[0] * size[1];
    let mut y = Bounded::exact(&vec![0.0; layer.outputs * pixels]);
    for (o, i, tap, weight) in taps(layer) {
        for (at, from) in meetings(size, layer.size / 2, tap) {
            let from = i * pixels + from;
            let terms = layer.inputs * layer.size.pow(2);
            y.add(o * pixels + at, weight, x.value[from], x.error[from], terms);
        }
    }
    y
}

/// The transpose of [`correlate`], as the scatter that it is.
pub fn scatter(layer: &ConvLayer, y: &Bounded, size: [usize; 2]) -> Bounded {
    let pixels = size[0] * size[1];
    let mut x = Bounded::exact(&vec![0.0; layer.inputs * pixels]);
    for (o, i, tap, weight) in taps(layer) {
        for (from, at) in meetings(size, layer.size / 2, tap) {
            let from = o * pixels + from;
            let terms = layer.outputs * layer.size.pow(2);
            x.add(i * pixels + at, weight, y.value[from], y.error[from], terms);
        }
    }
    x
}

/// A spline as `f(x) = f_1 + s_1 (x - t_1) + sum_n a_n max(x - t_n, 0)`: no search, no segment.
pub struct Hinges {
    t: Vec<f64>,
    f: Vec<f64>,
    s: Vec<f64>,
}

impl Hinges {
    pub fn new(spline: &Spline) -> Self {
        let (t, f) = (spline.knots().to_vec(), spline.values().to_vec());
        let s = (1..t.len()).map(|n| (f[n] - f[n - 1]) / (t[n] - t[n - 1])).collect();
        Self { t, f, s }
    }

    /// Interior knots and slope changes.
    fn changes(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        (1..self.s.len()).map(|n| (self.t[n], self.s[n] - self.s[n - 1]))
    }

    pub fn value(&self, x: f64) -> f64 {
        let bends: f64 = self.changes().map(|(t, a)| a * (x - t).max(0.0)).sum();
        self.f[0] + self.s[0] * (x - self.t[0]) + bends
    }

    /// Right-continuous: a knot belongs to the segment that it starts.
    pub fn slope(&self, x: f64) -> f64 {
        self.s[0] + self.changes().filter(|(t, _)| x >= *t).map(|(_, a)| a).sum::<f64>()
    }

    /// `int_0^x f`.
    pub fn potential(&self, x: f64) -> f64 {
        let from_first = |x: f64| {
            let d = x - self.t[0];
            let bends: f64 = self.changes().map(|(t, a)| 0.5 * a * (x - t).max(0.0).powi(2)).sum();
            self.f[0] * d + 0.5 * self.s[0] * d * d + bends
        };
        from_first(x) - from_first(0.0)
    }

    /// Total slope change at knots within `window` of `x`, knots carrying the rounding of f32.
    pub fn jump(&self, x: f64, window: f64) -> f64 {
        let near = |t: f64| (x - t).abs() <= window + 2.0 * EPS * t.abs();
        self.changes().filter(|(t, _)| near(*t)).map(|(_, a)| a.abs()).sum()
    }

    fn steepest(&self) -> f64 {
        self.s.iter().fold(0.0, |m, s| m.max(s.abs()))
    }

    /// Largest |t|, |f| and |s| that evaluation near `x` meets, `x` itself among the |t|.
    fn scale(&self, x: f64) -> (f64, f64, f64) {
        let j = self
            .t
            .iter()
            .filter(|t| **t <= x)
            .count()
            .saturating_sub(1)
            .min(self.s.len() - 1);
        let around = |v: &[f64], range: std::ops::RangeInclusive<usize>| {
            range.filter_map(|n| v.get(n)).fold(0.0_f64, |m, v| m.max(v.abs()))
        };
        (
            around(&self.t, j..=j + 1).max(x.abs()),
            around(&self.f, j..=j + 1),
            around(&self.s, j.saturating_sub(1)..=j + 1),
        )
    }

    fn largest(&self) -> f64 {
        self.f.iter().fold(0.0, |m, f| m.max(f.abs()))
    }

    /// Bound of the error of an f32 `f_j + s_j (x - t_j)` at an argument that is off by `error`.
    pub fn value_error(&self, x: f64, error: f64) -> f64 {
        let (t, f, s) = self.scale(x);
        self.steepest() * error + 8.0 * EPS * (f + s * t) + 2.0 * EPS * self.largest()
    }

    /// The same for `p_j + f_j d + s_j d^2 / 2`.
    pub fn potential_error(&self, x: f64, error: f64) -> f64 {
        let (t, f, s) = self.scale(x);
        let at_knots = self
            .t
            .iter()
            .filter(|k| k.abs() <= t)
            .fold(0.0_f64, |m, k| m.max(self.potential(*k).abs()));
        (self.value(x).abs() + self.steepest() * error) * error
            + 8.0 * EPS * (at_knots + t * (f + s * t))
            + 4.0 * EPS * self.largest() * t
    }
}

/// `R(x) = sum_c alpha_c^-2 <1, psi_c(alpha_c W_c x)>` and its derivatives.
pub struct RidgeReference<'a> {
    model: &'a Ridge,
    size: [usize; 2],
    splines: Vec<Hinges>,
    alphas: Vec<f64>,
    /// Relative error of the device's alphas beyond one rounding.
    pub alpha_error: f64,
}

impl<'a> RidgeReference<'a> {
    pub fn new(model: &'a Ridge, sigma: f64, size: [usize; 2]) -> Self {
        let channels = model.bank.channels();
        let of = |list: &'a [Spline], c: usize| Hinges::new(if list.len() == 1 { &list[0] } else { &list[c] });
        Self {
            model,
            size,
            splines: (0..channels).map(|c| of(&model.activations, c)).collect(),
            alphas: (0..channels)
                .map(|c| of(&model.scaling.log, c).value(sigma).exp() / (sigma + model.scaling.epsilon))
                .collect(),
            alpha_error: 0.0,
        }
    }

    pub fn responses(&self, x: &[f64]) -> Bounded {
        let layers = self.model.bank.layers().iter();
        layers.fold(Bounded::exact(x), |planes, layer| correlate(layer, &planes, self.size))
    }

    pub fn adjoint(&self, u: Bounded) -> Bounded {
        let layers = self.model.bank.layers().iter().rev();
        layers.fold(u, |planes, layer| scatter(layer, &planes, self.size))
    }

    /// Channel of response `at`, and `alpha u` with its error.
    fn argument(&self, u: &Bounded, at: usize) -> (usize, f64, f64) {
        let c = at / (self.size[0] * self.size[1]);
        let v = self.alphas[c] * u.value[at];
        (
            c,
            v,
            self.alphas[c] * u.error[at] + (3.0 * EPS + self.alpha_error) * v.abs(),
        )
    }

    pub fn gradient(&self, x: &[f64]) -> Bounded {
        let mut u = self.responses(x);
        for at in 0..u.value.len() {
            let (c, v, error) = self.argument(&u, at);
            let value = self.splines[c].value(v);
            let rounding = (3.0 * EPS + self.alpha_error) * value.abs();
            u.error[at] = (self.splines[c].value_error(v, error) + rounding) / self.alphas[c];
            u.value[at] = value / self.alphas[c];
        }
        self.adjoint(u)
    }

    /// `R(x)` and its error bound. The depth of the sum is a line, the rows, a tree and the second pass.
    pub fn energy(&self, x: &[f64]) -> (f64, f64) {
        let u = self.responses(x);
        let depth = self.size[1].div_ceil(256) + self.size[0] + 16 + u.value.len().div_ceil(256);
        let (mut sum, mut bound) = (0.0, 0.0);
        for at in 0..u.value.len() {
            let (c, v, error) = self.argument(&u, at);
            let weight = self.alphas[c].powi(-2);
            let value = weight * self.splines[c].potential(v);
            sum += value;
            bound += weight * self.splines[c].potential_error(v, error) + EPS * (depth + 4) as f64 * value.abs();
        }
        (sum, bound)
    }

    /// The Hessian at `x` applied to `direction`; knots within `window` of an argument count as undecided.
    pub fn hessian(&self, x: &[f64], direction: &[f64], window: f64) -> Bounded {
        let (u, mut v) = (self.responses(x), self.responses(direction));
        for at in 0..u.value.len() {
            let (c, argument, error) = self.argument(&u, at);
            let slope = self.splines[c].slope(argument);
            let jump = self.splines[c].jump(argument, error + window * self.alphas[c] * v.value[at].abs());
            let size = v.value[at].abs() + v.error[at];
            v.error[at] = slope.abs() * v.error[at] + (4.0 * EPS * self.splines[c].steepest() + jump) * size;
            v.value[at] *= slope;
        }
        self.adjoint(v)
    }

    /// `grad h = x - y + lambda grad R(x)`.
    pub fn objective_gradient(&self, x: &[f64], y: &[f64], lambda: f64) -> Vec<f64> {
        let gradient = self.gradient(x).value;
        (0..x.len()).map(|i| x[i] - y[i] + lambda * gradient[i]).collect()
    }
}
