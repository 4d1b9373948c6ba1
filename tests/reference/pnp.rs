//! Plug-and-play in f64: operators as matrices, single iterations, and the LASSO.

use knotwork::operator::{Blur, Boundary, Geometry, LinearOperator, Mask, Radon};
use knotwork::solver::PnpSettings;
use knotwork::spline::Spline;

use super::operators::{self, Dense};
use super::problem::distance;
use super::{Hinges, dot, norm, widen};
use crate::common::{EPS, values};

pub const SIZE: [usize; 2] = [11, 14];
pub const PIXELS: usize = 154;

/// An operator and its matrix.
pub struct Case {
    pub name: &'static str,
    pub operator: Box<dyn LinearOperator>,
    pub dense: Dense,
}

/// A blur whose taps beside the middle have the sum 0.4: `0.2 |x| <= |H x| <= |x|`, if what lies outside counts as 0 or the image is
/// continued periodically.
pub fn mild_blur(boundary: Boundary) -> Case {
    let mut taps: Vec<f32> = values(3, 9).iter().map(|v| 1.5 + v).collect();
    taps[4] = 0.0;
    let sum: f32 = taps.iter().sum();
    for tap in &mut taps {
        *tap *= 0.4 / sum;
    }
    taps[4] = 0.6;
    let blur = Blur::new(SIZE, taps, [3, 3], boundary).unwrap();
    Case {
        name: "blur",
        dense: operators::blur(&blur, SIZE),
        operator: Box::new(blur),
    }
}

pub fn cases() -> Vec<Case> {
    let mask = values(1, PIXELS)
        .iter()
        .map(|v| f32::from(u8::from(*v > -0.2)))
        .collect();
    let mask = Mask::new(SIZE, mask).unwrap();
    let geometry = Geometry {
        rows: SIZE[0],
        cols: SIZE[1],
        pixel: 0.4,
        detector_spacing: 0.31,
        ..Geometry::equispaced(14, 12, 25)
    };
    vec![
        Case {
            name: "mask",
            dense: operators::mask(&mask),
            operator: Box::new(mask),
        },
        mild_blur(Boundary::Reflect),
        Case {
            name: "radon",
            dense: operators::radon(&geometry),
            operator: Box::new(Radon::new(geometry).unwrap()),
        },
    ]
}

/// `H'(H x - y)`.
pub fn gradient(dense: &Dense, y: &[f64], x: &[f64]) -> Vec<f64> {
    let off: Vec<f64> = dense.apply(x, false).0.iter().zip(y).map(|(a, b)| a - b).collect();
    dense.apply(&off, true).0
}

/// One iteration in f64.
pub struct Reference<'a> {
    dense: &'a Dense,
    y: Vec<f64>,
    hinges: Hinges,
    gamma: f64,
    settings: PnpSettings,
}

impl<'a> Reference<'a> {
    pub fn new(case: &'a Case, spline: &Spline, y: &[f32], gamma: f64, settings: PnpSettings) -> Self {
        Self {
            dense: &case.dense,
            y: widen(y),
            hinges: Hinges::new(spline),
            gamma,
            settings,
        }
    }

    fn denoise(&self, v: f64) -> f64 {
        let (a, s) = (self.settings.averaging, self.settings.strength);
        (1.0 - a) * v + a * s * self.hinges.value(v / s)
    }

    pub fn clamp(&self, v: f64) -> f64 {
        let (low, high) = self.settings.limits.unwrap_or((-f32::MAX, f32::MAX));
        v.clamp(f64::from(low), f64::from(high))
    }

    /// Forward-backward.
    pub fn map(&self, x: &[f64]) -> Vec<f64> {
        let moved = x
            .iter()
            .zip(gradient(self.dense, &self.y, x))
            .map(|(x, g)| x - self.gamma * g);
        moved.map(|v| self.clamp(self.denoise(v))).collect()
    }

    /// The proximal operator by conjugate gradients, another method than the device's.
    fn prox(&self, z: &[f64]) -> Vec<f64> {
        let back = self.dense.apply(&self.y, true).0;
        let mut r: Vec<f64> = z.iter().zip(back).map(|(z, b)| z + self.gamma * b).collect();
        let (mut x, mut p, mut square) = (vec![0.0; z.len()], r.clone(), dot(&r, &r));
        let enough = 1e-28 * square;
        while square > enough {
            let h = self.dense.apply(&self.dense.apply(&p, false).0, true).0;
            let w: Vec<f64> = p.iter().zip(h).map(|(p, h)| p + self.gamma * h).collect();
            let alpha = square / dot(&p, &w);
            for i in 0..x.len() {
                x[i] += alpha * p[i];
                r[i] -= alpha * w[i];
            }
            let next = dot(&r, &r);
            for i in 0..x.len() {
                p[i] = r[i] + next / square * p[i];
            }
            square = next;
        }
        x
    }

    /// Douglas-Rachford: the next `z`, `x` and `w`.
    pub fn reflect(&self, z: &[f64]) -> [Vec<f64>; 3] {
        let x = self.prox(z);
        let w: Vec<f64> = x.iter().zip(z).map(|(x, z)| self.denoise(2.0 * x - z)).collect();
        let next = (0..z.len()).map(|i| z[i] + w[i] - x[i]).collect();
        [next, x, w]
    }

    /// How far one iteration in f32 may be off, in l2: a sum of products per pixel and measurement, whose sizes are those of
    /// `H` with absolute values, and a handful of roundings more; the spline passes errors on without growth.
    pub fn rounding(&self, x: &[f64]) -> f64 {
        let size: Vec<f64> = x.iter().map(|v| v.abs()).collect();
        let absolute = Dense {
            entries: self.dense.entries.iter().map(|e| e.abs()).collect(),
            errors: self.dense.errors.clone(),
            ..*self.dense
        };
        let (product, error) = absolute.apply(&size, false);
        let off: Vec<f64> = product.iter().zip(&self.y).map(|(p, y)| p + y.abs()).collect();
        let back = absolute.apply(&off, true);
        let carried = absolute.apply(&error, true).0;
        let terms = back.1.iter().zip(carried).map(|(a, b)| self.gamma * (a + 2.0 * b));
        let terms = terms.zip(back.0).map(|(t, b)| t + 8.0 * EPS * self.gamma * b).zip(size);
        let spline = 16.0 * EPS * self.settings.strength;
        norm(&terms.map(|(t, x)| t + 12.0 * EPS * x + spline).collect::<Vec<_>>())
    }
}

/// `argmin |H x - y|^2 / 2 + lambda |x|_1` over `x >= low`, by ISTA until f64 stands still.
pub fn lasso(dense: &Dense, y: &[f64], lambda: f64, low: f64) -> Vec<f64> {
    let step = 1.0 / (1.001 * dense.norm_squared());
    let mut x = vec![0.0; PIXELS];
    loop {
        let g = gradient(dense, y, &x);
        let next: Vec<f64> = x
            .iter()
            .zip(g)
            .map(|(x, g)| {
                let v: f64 = x - step * g;
                (v.signum() * (v.abs() - step * lambda).max(0.0)).max(low)
            })
            .collect();
        let moved = distance(&next, &x);
        x = next;
        if moved <= 1e-13 * norm(&x) {
            return x;
        }
    }
}
