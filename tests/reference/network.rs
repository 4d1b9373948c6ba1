//! A network in f64, from the formulas of method.md 1.3 and 2.2: parameters in, loss per sample out.

use knotwork::network::{Architecture, Layout, Member};
use nalgebra::DMatrix;

/// How the free parameters are used.
#[derive(Clone, Copy)]
pub struct Use {
    pub iterations: u32,
    pub normalise: bool,
    pub bounds: (f64, f64),
    pub lambda: f64,
}

/// Free parameters in f64: weights and biases, (knots, values) per activation, scalings.
#[derive(Clone)]
pub struct Parameters {
    pub architecture: Architecture,
    pub dense: Vec<f64>,
    pub knots: Vec<Vec<f64>>,
    pub values: Vec<Vec<f64>>,
    pub alphas: Vec<f64>,
}

impl Parameters {
    /// What the device holds: everything rounded to f32.
    pub fn new(architecture: &Architecture, member: &Member) -> Self {
        let round = |v: &[f64]| v.iter().map(|v| f64::from(*v as f32)).collect::<Vec<_>>();
        Self {
            architecture: architecture.clone(),
            dense: member.dense.iter().map(|v| f64::from(*v)).collect(),
            knots: member.activations.iter().map(|s| round(s.knots())).collect(),
            values: member.activations.iter().map(|s| round(s.values())).collect(),
            alphas: member.alphas.iter().map(|v| f64::from(*v)).collect(),
        }
    }

    /// `W_l` after orthonormalisation.
    pub fn matrix(&self, layer: usize, how: Use) -> DMatrix<f64> {
        let (rows, columns) = self.architecture.matrix(layer);
        let first = self.architecture.weights(layer);
        let v = DMatrix::from_row_slice(rows, columns, &self.dense[first..first + rows * columns]);
        let mut w = if how.normalise { &v / v.norm() } else { v };
        for _ in 0..how.iterations {
            w = &w * 1.5 - &w * w.transpose() * &w * 0.5;
        }
        w
    }

    /// Values after clipping.
    pub fn clipped(&self, spline: usize, how: Use) -> Vec<f64> {
        let (t, c) = (&self.knots[spline], &self.values[spline]);
        let mut g = vec![0.0];
        for n in 0..t.len() - 1 {
            let h = t[n + 1] - t[n];
            g.push(g[n] + h * ((c[n + 1] - c[n]) / h).clamp(how.bounds.0, how.bounds.1));
        }
        let shift = c.iter().zip(&g).map(|(c, g)| c - g).sum::<f64>() / c.len() as f64;
        g.iter().map(|g| g + shift).collect()
    }

    /// `u` of the output for the inputs `x` of one sample, given what is derived.
    fn output(&self, matrices: &[DMatrix<f64>], splines: &[Vec<f64>], x: &[f64]) -> f64 {
        let mut a = x.to_vec();
        let mut next_spline = 0;
        let layers = self.architecture.layers();
        for (layer, w) in matrices.iter().enumerate() {
            let bias = self.architecture.biases(layer);
            let mut u: Vec<f64> = (0..w.nrows())
                .map(|o| self.dense[bias + o] + a.iter().enumerate().map(|(i, a)| w[(o, i)] * a).sum::<f64>())
                .collect();
            if layer + 1 < layers {
                for u in &mut u {
                    let alpha = self.alphas[next_spline];
                    *u = interpolate(&self.knots[next_spline], &splines[next_spline], alpha * *u) / alpha;
                    next_spline += 1;
                }
            }
            a = u;
        }
        a[0]
    }

    /// `((u(x_s) - y_s)^2 / S` per sample, then `lambda TV2` per activation; their sum is the objective. x: (input, sample).
    pub fn terms(&self, x: &[f32], y: &[f32], how: Use) -> Vec<f64> {
        let matrices: Vec<_> = (0..self.architecture.layers()).map(|l| self.matrix(l, how)).collect();
        let splines: Vec<_> = (0..self.values.len()).map(|s| self.clipped(s, how)).collect();
        let samples = y.len();
        let mut terms: Vec<f64> = (0..samples)
            .map(|s| {
                let inputs: Vec<f64> = x.chunks(samples).map(|unit| f64::from(unit[s])).collect();
                let r = self.output(&matrices, &splines, &inputs) - f64::from(y[s]);
                r * r / samples as f64
            })
            .collect();
        terms.extend(splines.iter().zip(&self.knots).map(|(f, t)| {
            let slopes: Vec<f64> = (1..t.len()).map(|n| (f[n] - f[n - 1]) / (t[n] - t[n - 1])).collect();
            how.lambda * slopes.windows(2).map(|s| (s[1] - s[0]).abs()).sum::<f64>()
        }));
        terms
    }

    /// Where each free parameter of member `member` lies on the device: dense, nodal values, scalings.
    pub fn places(&self, layout: &Layout, member: usize) -> Vec<usize> {
        let dense = self.dense.len();
        let first = member * self.values.len();
        let mut places: Vec<usize> = (0..dense).map(|n| member * dense + n).collect();
        for (s, values) in self.values.iter().enumerate() {
            places.extend((0..values.len()).map(|n| layout.values(first + s) + n));
        }
        places.extend((0..self.alphas.len()).map(|s| layout.alpha(first + s)));
        places
    }

    /// The free parameter `n` in the order of [`Self::places`].
    pub fn free(&mut self, n: usize) -> &mut f64 {
        let dense = self.dense.iter_mut();
        let values = self.values.iter_mut().flatten();
        dense.chain(values).chain(&mut self.alphas).nth(n).unwrap()
    }
}

/// The piecewise-linear interpolant, end pieces extended.
pub fn interpolate(t: &[f64], f: &[f64], x: f64) -> f64 {
    let mut j = 0;
    while j + 2 < t.len() && x >= t[j + 1] {
        j += 1;
    }
    let u = (x - t[j]) / (t[j + 1] - t[j]);
    (1.0 - u) * f[j] + u * f[j + 1]
}
