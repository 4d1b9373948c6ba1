//! The denoising problem and its solver in f64.

use knotwork::model::Ridge;
use knotwork::solver::Settings;

use super::{RidgeReference, norm, widen};
use crate::common::EPS;

/// `h(x) = |x - y|^2 / 2 + lambda R(x)` over a box in f64.
pub struct Problem<'a> {
    pub ridge: RidgeReference<'a>,
    pub y: Vec<f64>,
    pub lambda: f64,
    pub limits: (f64, f64),
    pub step: f64,
    pub modulus: f64,
}

impl<'a> Problem<'a> {
    pub fn new(model: &'a Ridge, sigma: f64, size: [usize; 2], noisy: &[f32], settings: &Settings) -> Self {
        let limits = settings.limits.map(|(a, b)| (f64::from(a), f64::from(b)));
        Self {
            ridge: RidgeReference::new(model, sigma, size),
            y: widen(noisy),
            lambda: settings.lambda,
            limits: limits.unwrap_or((f64::NEG_INFINITY, f64::INFINITY)),
            step: 1.0 / (1.0 + settings.lambda * model.gradient_lipschitz()),
            modulus: 1.0 - settings.lambda * model.weak_convexity(),
        }
    }

    /// `clamp(z - step grad h(z))`.
    pub fn step(&self, z: &[f64]) -> Vec<f64> {
        let gradient = self.ridge.objective_gradient(z, &self.y, self.lambda);
        let moved = z.iter().zip(&gradient).map(|(z, g)| z - self.step * g);
        moved.map(|v| v.clamp(self.limits.0, self.limits.1)).collect()
    }

    /// The published iteration, `iterations` times from `y`.
    pub fn accelerated(&self, iterations: usize) -> Vec<f64> {
        let (mut x, mut z, mut t) = (self.y.clone(), self.y.clone(), 1.0_f64);
        for _ in 0..iterations {
            let next = self.step(&z);
            let uphill: f64 = (0..x.len()).map(|i| (z[i] - next[i]) * (next[i] - x[i])).sum();
            let after = (1.0 + (1.0 + 4.0 * t * t).sqrt()) / 2.0;
            let beta = if uphill > 0.0 { 0.0 } else { (t - 1.0) / after };
            t = if uphill > 0.0 { 1.0 } else { after };
            z = (0..x.len()).map(|i| next[i] + beta * (next[i] - x[i])).collect();
            x = next;
        }
        x
    }

    /// A bound of the distance to the minimiser that holds wherever `x` lies: with `s = 1/L` and strong convexity `mu`,
    /// `|x - x*| <= (1 + s L) / (s mu) |x - clamp(x - s grad h(x))|`.
    pub fn distance_bound(&self, x: &[f64]) -> f64 {
        let moved: Vec<f64> = self.step(x).iter().zip(x).map(|(a, b)| a - b).collect();
        2.0 / (self.step * self.modulus) * norm(&moved)
    }

    pub fn energy(&self, x: &[f64]) -> (f64, f64) {
        let square: f64 = x.iter().zip(&self.y).map(|(x, y)| (x - y).powi(2)).sum();
        let (value, error) = self.ridge.energy(x);
        // The f32 sum of squares: a rounding per term in a tree of depth 16 + 8.
        (
            0.5 * square + self.lambda * value,
            self.lambda * error + 32.0 * EPS * square,
        )
    }
}

pub fn distance(a: &[f64], b: &[f64]) -> f64 {
    norm(&a.iter().zip(b).map(|(a, b)| a - b).collect::<Vec<_>>())
}

/// What an error of 1 in every step grows to: a step expands no distance, and `z = x + beta (x - x_old)` passes on
/// `(1 + beta) e + beta e_old`.
pub fn amplification(iterations: usize, accelerate: bool) -> f64 {
    let (mut error, mut old, mut t) = (0.0, 0.0, 1.0_f64);
    let mut beta = 0.0;
    for _ in 0..iterations {
        (error, old) = (1.0 + (1.0 + beta) * error + beta * old, error);
        let after = (1.0 + (1.0 + 4.0 * t * t).sqrt()) / 2.0;
        beta = if accelerate { (t - 1.0) / after } else { 0.0 };
        t = after;
    }
    error
}
