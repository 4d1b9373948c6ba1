//! `S = sum over patches of <q, grad R(x; theta)>` and its derivatives with respect to all parameters, from the formulas.

use knotwork::filters::ConvLayer;
use knotwork::model::Ridge;
use knotwork::spline::Spline;

use super::responses::hats;
use super::{Bounded, Hinges, RidgeReference, correlate, dot, meetings, scatter, taps};
use crate::common::EPS;

/// A batch of patches, and directions for them.
pub struct Patches {
    pub size: [usize; 2],
    pub sigmas: Vec<f64>,
    pub x: Vec<Vec<f64>>,
    pub q: Vec<Vec<f64>>,
}

/// The derivative of `S` with respect to every group of parameters.
pub struct Derivatives {
    /// Layer by layer, (output, input, row, column).
    pub weights: Bounded,
    /// Spline by spline.
    pub activations: Bounded,
    /// Spline by spline.
    pub scalings: Bounded,
}

/// Relative error of an alpha that the device derives from `s`: that of s, that which WGSL grants `exp` (3 + 2 |s| units in
/// the last place) and quotients.
pub fn alpha_error(model: &Ridge, sigma: f64) -> f64 {
    let of = |s: &Spline| {
        let (h, value) = (Hinges::new(s), s.value(sigma));
        h.value_error(sigma, EPS * sigma) + (3.0 + 2.0 * value.abs() + 6.0) * 2.0 * EPS
    };
    model.scaling.log.iter().map(of).fold(0.0, f64::max)
}

impl Patches {
    /// The reference model for patch `p`.
    pub fn reference<'m>(&self, model: &'m Ridge, p: usize) -> RidgeReference<'m> {
        let mut truth = RidgeReference::new(model, self.sigmas[p], self.size);
        truth.alpha_error = alpha_error(model, self.sigmas[p]);
        truth
    }

    /// `S`, as it is defined.
    pub fn value(&self, model: &Ridge) -> f64 {
        let of = |p: usize| dot(&self.q[p], &self.reference(model, p).gradient(&self.x[p]).value);
        (0..self.x.len()).map(of).sum()
    }

    /// How far knots between `below` and `above`, a parameter's steps down and up, may move a central difference of `S`:
    /// at an argument that crosses a knot, `phi` turns by its change of slope.
    pub fn crossed(&self, below: &Ridge, above: &Ridge) -> f64 {
        let of = |p: usize| -> f64 {
            let (low, high) = (self.reference(below, p), self.reference(above, p));
            let (u, w) = (low.responses(&self.x[p]), high.responses(&self.x[p]));
            let v = high.responses(&self.q[p]);
            let one = |at: usize| {
                let (c, a, _) = low.argument(&u, at);
                let (_, b, _) = high.argument(&w, at);
                let window = (a - b).abs();
                low.splines[c].jump(0.5 * (a + b), window) * window * v.value[at].abs() / low.alphas[c]
            };
            (0..u.value.len()).map(one).sum()
        };
        (0..self.x.len()).map(of).sum()
    }

    /// The derivative of `S` with respect to all parameters; with `zero_mean`, to first filters from which `model` took the
    /// mean away.
    pub fn derivatives(&self, model: &Ridge, zero_mean: bool) -> Derivatives {
        let zeros = |count: usize| Bounded::exact(&vec![0.0; count]);
        let layers = model.bank.layers();
        let lengths = |s: &[Spline]| s.iter().map(Spline::len).sum::<usize>();
        let mut weights: Vec<_> = layers.iter().map(|l| zeros(l.weights.len())).collect();
        let mut activations = zeros(lengths(&model.activations));
        let mut scalings = zeros(lengths(&model.scaling.log));
        for p in 0..self.x.len() {
            let truth = self.reference(model, p);
            let forward = |image: &[f64]| {
                let mut planes = vec![Bounded::exact(image)];
                layers
                    .iter()
                    .for_each(|l| planes.push(correlate(l, planes.last().unwrap(), self.size)));
                planes
            };
            let (x, q) = (forward(&self.x[p]), forward(&self.q[p]));
            let (u, v) = (x.last().unwrap(), q.last().unwrap());
            let alphas = self.activations(&truth, [u, v], &mut activations);
            self.scalings(&truth, p, &alphas, &mut scalings);
            let (mut a, mut b) = truth.both(u, v);
            for (l, layer) in layers.iter().enumerate().rev() {
                self.filters(layer, &a, &q[l], &mut weights[l]);
                self.filters(layer, &b, &x[l], &mut weights[l]);
                (a, b) = (scatter(layer, &a, self.size), scatter(layer, &b, self.size));
            }
        }
        if zero_mean {
            centre(&mut weights[0], layers[0].size.pow(2));
        }
        Derivatives {
            weights: Bounded {
                value: weights.iter().flat_map(|w| w.value.clone()).collect(),
                error: weights.iter().flat_map(|w| w.error.clone()).collect(),
            },
            activations,
            scalings,
        }
    }

    /// Additions that a term passes through on the device: within an invocation, a workgroup, over chunks.
    fn rounding(&self) -> f64 {
        EPS * (5 * self.size[0] + 200 + self.x.len()) as f64
    }

    /// Adds `sum over p of g[o](p) x[i](p + k)` to the gradient of every weight.
    fn filters(&self, layer: &ConvLayer, g: &Bounded, x: &Bounded, sum: &mut Bounded) {
        let pixels = self.size[0] * self.size[1];
        for (n, (o, i, tap, _)) in taps(layer).enumerate() {
            for (at, from) in meetings(self.size, layer.size / 2, tap) {
                let (at, from) = (o * pixels + at, i * pixels + from);
                let (g, dg, x, dx) = (g.value[at], g.error[at], x.value[from], x.error[from]);
                sum.value[n] += g * x;
                sum.error[n] += g.abs() * dx + x.abs() * dg + dg * dx + self.rounding() * (g * x).abs();
            }
        }
    }

    /// Adds `sum of hat_n(alpha u) v / alpha` to the gradient of every nodal value; returns the gradients of the alphas, from
    /// `d/dalpha [phi(alpha u) / alpha] = (phi'(alpha u) alpha u - phi(alpha u)) / alpha^2`.
    fn activations(&self, truth: &RidgeReference<'_>, [u, v]: [&Bounded; 2], sum: &mut Bounded) -> Bounded {
        let splines = &truth.model.activations;
        let hats: Vec<_> = splines.iter().map(hats).collect();
        let firsts = firsts(splines);
        let mut alphas = Bounded::exact(&vec![0.0; truth.alphas.len()]);
        for at in 0..u.value.len() {
            let (c, argument, error) = truth.argument(u, at);
            let (alpha, phi, which) = (truth.alphas[c], &truth.splines[c], c.min(splines.len() - 1));
            let (w, dw) = (v.value[at].abs() / alpha, v.error[at] / alpha);
            let t = splines[which].knots();
            let j = t.partition_point(|t| *t <= argument).saturating_sub(1).min(t.len() - 2);
            let reach = 1.0 + (argument - t[j]).abs() / (t[j + 1] - t[j]);
            let rounding = self.rounding() * reach + truth.alpha_error;
            for (n, hat) in hats[which].iter().enumerate().take(j + 3).skip(j.saturating_sub(1)) {
                let size = hat.value(argument).abs();
                let moved = hat.value_error(argument, error) + rounding;
                sum.value[firsts[which] + n] += hat.value(argument) * v.value[at] / alpha;
                sum.error[firsts[which] + n] += dw * (size + moved) + w * moved;
            }
            let turn = phi.slope(argument) * argument - phi.value(argument);
            let (t, f, s) = phi.scale(argument);
            let moved = phi.jump(argument, error) * argument.abs() + (f + s * t) * (rounding + truth.alpha_error);
            alphas.value[c] += v.value[at] / alpha / alpha * turn;
            alphas.error[c] += (dw * (turn.abs() + moved) + w * (moved + truth.alpha_error * turn.abs())) / alpha;
        }
        alphas
    }

    /// Adds `hat_k(sigma) alpha_c dS/dalpha_c` to the gradient of every nodal value of a log scaling.
    fn scalings(&self, truth: &RidgeReference<'_>, p: usize, alphas: &Bounded, sum: &mut Bounded) {
        let (splines, sigma) = (&truth.model.scaling.log, self.sigmas[p]);
        let firsts = firsts(splines);
        for (c, alpha) in truth.alphas.iter().enumerate() {
            let which = c.min(splines.len() - 1);
            let value = alpha * alphas.value[c];
            let error = alpha * alphas.error[c] + (truth.alpha_error + 2.0 * EPS) * value.abs();
            for (n, hat) in hats(&splines[which]).iter().enumerate() {
                let weight = hat.value(sigma);
                let moved = hat.value_error(sigma, EPS * sigma) + self.rounding() * (2.0 + weight.abs());
                sum.value[firsts[which] + n] += weight * value;
                sum.error[firsts[which] + n] += weight.abs() * error + moved * (value.abs() + error);
            }
        }
    }
}

impl RidgeReference<'_> {
    /// `a = phi(alpha u) / alpha` and `b = phi'(alpha u) v`.
    fn both(&self, u: &Bounded, v: &Bounded) -> (Bounded, Bounded) {
        let (mut a, mut b) = (u.clone(), v.clone());
        for at in 0..u.value.len() {
            let (c, argument, error) = self.argument(u, at);
            let (phi, alpha) = (&self.splines[c], self.alphas[c]);
            let (value, slope) = (phi.value(argument), phi.slope(argument));
            a.value[at] = value / alpha;
            a.error[at] = (phi.value_error(argument, error) + (3.0 * EPS + self.alpha_error) * value.abs()) / alpha;
            b.value[at] = slope * v.value[at];
            let unsure = 4.0 * EPS * phi.steepest() + phi.jump(argument, error);
            b.error[at] = slope.abs() * v.error[at] + unsure * (v.value[at].abs() + v.error[at]);
        }
        (a, b)
    }
}

/// Index of every spline's first knot.
fn firsts(splines: &[Spline]) -> Vec<usize> {
    let ends = splines.iter().scan(0, |sum, s| {
        *sum += s.len();
        Some(*sum - s.len())
    });
    ends.collect()
}

/// Takes the mean away from groups of `count`.
fn centre(all: &mut Bounded, count: usize) {
    for first in (0..all.value.len()).step_by(count) {
        let group = first..first + count;
        let mean = all.value[group.clone()].iter().sum::<f64>() / count as f64;
        let sizes = all.value[group.clone()].iter().map(|v| v.abs()).sum::<f64>();
        let errors = all.error[group.clone()].iter().sum::<f64>() / count as f64;
        for n in group {
            all.value[n] -= mean;
            all.error[n] += errors + 2.0 * EPS * sizes;
        }
    }
}
