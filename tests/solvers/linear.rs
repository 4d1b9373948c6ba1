//! Reconstructions from linear measurements in f64: problems small enough for dense matrices.

use crate::common::{EPS, gpu, values};
use crate::reference::operators::{self, Dense, total_variation};
use crate::reference::problem::distance;
use crate::reference::{RidgeReference, widen};
use knotwork::model::Ridge;
use knotwork::operator::{Blur, Boundary, Geometry, LinearOperator, Mask, Radon, apply};
use knotwork::solver::Settings;

pub const SIZE: [usize; 2] = [11, 14];
pub const SIGMA: f64 = 0.1;

/// `F` in f64.
pub struct Problem<'a> {
    pub dense: Dense,
    pub y: Vec<f64>,
    pub ridge: RidgeReference<'a>,
    pub lambda: f64,
    pub lipschitz: f64,
    pub limits: (f64, f64),
}

impl Problem<'_> {
    pub fn gradient(&self, x: &[f64]) -> Vec<f64> {
        let residual: Vec<f64> = self
            .dense
            .apply(x, false)
            .0
            .iter()
            .zip(&self.y)
            .map(|(a, b)| a - b)
            .collect();
        let data = self.dense.apply(&residual, true).0;
        let prior = self.ridge.gradient(x).value;
        data.iter().zip(&prior).map(|(d, p)| d + self.lambda * p).collect()
    }

    pub fn step(&self, z: &[f64]) -> Vec<f64> {
        let moved = z.iter().zip(self.gradient(z)).map(|(z, g)| z - g / self.lipschitz);
        moved.map(|v| v.clamp(self.limits.0, self.limits.1)).collect()
    }

    /// What decides about the step from `z` at `x`: `D`, the most that it may be, and the size of its terms.
    pub fn descent_bound(&self, x: &[f64], z: &[f64], rho: f64) -> (f64, f64, f64) {
        let next = self.step(z);
        let along: f64 = (self.gradient(z).iter().zip(&next).zip(x))
            .map(|((g, n), x)| g * (n - x))
            .sum();
        let stepped = 0.5 * self.lipschitz * distance(&next, z).powi(2);
        let weak = 0.5 * self.lambda * rho * distance(z, x).powi(2);
        let most = -5e-4 * self.lipschitz * distance(&next, x).powi(2);
        (along + stepped + weak, most, along.abs() + stepped + weak)
    }

    /// The energy, and how far an f32 evaluation may be off.
    pub fn energy(&self, x: &[f64]) -> (f64, f64) {
        let (data, error) = self.data(x);
        let (value, bound) = self.ridge.energy(x);
        (data + self.lambda * value, self.lambda * bound + error)
    }

    /// The same with total variation.
    pub fn energy_of_variation(&self, x: &[f64]) -> (f64, f64) {
        let (data, error) = self.data(x);
        let value = self.lambda * total_variation(x, SIZE);
        // Roundings of a difference count with the pixels.
        let pixels: f64 = x.iter().map(|v| v.abs()).sum();
        (data + value, error + EPS * (32.0 * value + 4.0 * self.lambda * pixels))
    }

    fn data(&self, x: &[f64]) -> (f64, f64) {
        let (product, error) = self.dense.apply(x, false);
        let off: Vec<f64> = product.iter().zip(&self.y).map(|(a, b)| a - b).collect();
        let square: f64 = off.iter().map(|v| v * v).sum();
        let lost: f64 = off.iter().zip(&error).map(|(r, e)| r.abs() * e + e * e).sum();
        (0.5 * square, lost + 32.0 * EPS * square)
    }
}

pub struct Case {
    pub name: &'static str,
    pub operator: Box<dyn LinearOperator>,
    pub dense: Dense,
}

pub fn cases() -> Vec<Case> {
    let mask = Mask::new(
        SIZE,
        values(1, 154).iter().map(|v| f32::from(u8::from(*v > -0.2))).collect(),
    )
    .unwrap();
    let blur = Blur::new(
        SIZE,
        values(2, 15).iter().map(|v| 0.1 * (v + 1.2)).collect(),
        [3, 5],
        Boundary::Reflect,
    )
    .unwrap();
    let geometry = Geometry {
        rows: SIZE[0],
        cols: SIZE[1],
        pixel: 0.4,
        ..Geometry::equispaced(14, 12, 25)
    };
    let geometry = Geometry {
        detector_spacing: 0.31,
        ..geometry
    };
    vec![
        Case {
            name: "mask",
            dense: operators::mask(&mask),
            operator: Box::new(mask),
        },
        Case {
            name: "blur",
            dense: operators::blur(&blur, SIZE),
            operator: Box::new(blur),
        },
        Case {
            name: "radon",
            dense: operators::radon(&geometry),
            operator: Box::new(Radon::new(geometry).unwrap()),
        },
    ]
}

pub fn problem<'a>(case: Case, model: &'a Ridge, settings: &Settings, y: &[f32], lipschitz: f64) -> Problem<'a> {
    let limits = settings.limits.map(|(a, b)| (f64::from(a), f64::from(b)));
    Problem {
        dense: case.dense,
        y: widen(y),
        ridge: RidgeReference::new(model, SIGMA, SIZE),
        lambda: settings.lambda,
        lipschitz,
        limits: limits.unwrap_or((f64::NEG_INFINITY, f64::INFINITY)),
    }
}

pub fn measure(operator: &dyn LinearOperator, truth: &[f32]) -> Vec<f32> {
    let exact = apply(gpu(), operator, truth, false).unwrap();
    let noise = values(9, exact.len());
    exact.iter().zip(noise).map(|(v, n)| v + 0.02 * n).collect()
}
