//! Distributions that are known exactly: what flows are tried on.

use std::f64::consts::{PI, SQRT_2};

use serde::{Deserialize, Serialize};

use crate::io::noise;

/// Standard deviation of the noise around the moons.
const MOONS_SIGMA: f64 = 0.1;
/// Radius of the ring and standard deviation of its modes, as published comparisons have them.
const RING_RADIUS: f64 = 2.0 * SQRT_2;
const RING_SIGMA: f64 = 0.25 * SQRT_2;
/// Modes of the ring.
const RING_MODES: usize = 8;
/// Points of the midpoint rule along a moon: 25 of them to a standard deviation of its noise, 10 would do.
const ARC_POINTS: usize = 800;
/// Weight, mean and standard deviation of the hills.
const HILLS: [(f64, f64, f64); 4] = [(0.3, -2.0, 0.4), (0.3, 0.0, 0.25), (0.3, 1.2, 0.4), (0.1, 4.0, 0.7)];

/// A distribution with a known density.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Distribution {
    /// Two interleaved half circles of radius 1 with Gaussian noise of standard deviation 0.1.
    Moons,
    /// 8 Gaussians of standard deviation 0.5 on a circle of radius 4, equally likely, all divided by the root of 2.
    Ring,
    /// Four Gaussians on the line, of different weights and widths.
    Hills,
}

impl Distribution {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Moons, Self::Ring, Self::Hills];

    /// Its name.
    pub fn name(self) -> &'static str {
        ["moons", "ring", "hills"][self as usize]
    }

    /// The one called `name`.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|d| d.name() == name)
    }

    /// Coordinates of a point.
    pub fn dims(self) -> usize {
        if self == Self::Hills { 1 } else { 2 }
    }

    /// `count` independent points, (point, coordinate), which depend on `seed`, `stream` and their number only.
    pub fn points(self, seed: u64, stream: u64, count: usize) -> Vec<f64> {
        let dims = self.dims();
        let normal = noise::gaussian(seed, stream, dims * count);
        // In (0, 1), two per point.
        let uniform: Vec<f64> = noise::uniform(seed, stream, 2 * count)
            .iter()
            .map(|u| 0.5 * (1.0 + u))
            .collect();
        let mut points = Vec::with_capacity(dims * count);
        for n in 0..count {
            let (first, second) = (uniform[2 * n], uniform[2 * n + 1]);
            let noise = |i: usize| f64::from(normal[dims * n + i]);
            match self {
                Self::Moons => {
                    let [x, y] = moon(usize::from(first < 0.5), PI * second);
                    points.extend([x + MOONS_SIGMA * noise(0), y + MOONS_SIGMA * noise(1)]);
                }
                Self::Ring => {
                    let [x, y] = mode(((first * RING_MODES as f64) as usize).min(RING_MODES - 1));
                    points.extend([x + RING_SIGMA * noise(0), y + RING_SIGMA * noise(1)]);
                }
                Self::Hills => {
                    let mut left = first;
                    let hill = HILLS.iter().find(|h| {
                        left -= h.0;
                        left < 0.0
                    });
                    let (_, mean, sigma) = hill.unwrap_or(&HILLS[HILLS.len() - 1]);
                    points.push(mean + sigma * noise(0));
                }
            }
        }
        points
    }

    /// Logarithms of the density in nats at points (point, coordinate).
    pub fn log_density(self, points: &[f64]) -> Vec<f64> {
        let arcs: Vec<[f64; 2]> = match self {
            Self::Moons => (0..2 * ARC_POINTS)
                .map(|k| moon(k / ARC_POINTS, PI * ((k % ARC_POINTS) as f64 + 0.5) / ARC_POINTS as f64))
                .collect(),
            Self::Ring => (0..RING_MODES).map(mode).collect(),
            Self::Hills => Vec::new(),
        };
        let planar = |sigma: f64| {
            let constant = -(arcs.len() as f64).ln() - (2.0 * PI * sigma * sigma).ln();
            let arcs = &arcs;
            let one = move |x: &[f64]| {
                let exponent = |c: &[f64; 2]| -((x[0] - c[0]).powi(2) + (x[1] - c[1]).powi(2)) / (2.0 * sigma * sigma);
                constant + log_sum_exp(arcs.iter().map(exponent))
            };
            points.chunks_exact(2).map(one).collect()
        };
        match self {
            Self::Moons => planar(MOONS_SIGMA),
            Self::Ring => planar(RING_SIGMA),
            Self::Hills => {
                let one = |x: &f64| {
                    let hill = |(weight, mean, sigma): &(f64, f64, f64)| {
                        weight.ln() - 0.5 * (2.0 * PI * sigma * sigma).ln() - 0.5 * ((x - mean) / sigma).powi(2)
                    };
                    log_sum_exp(HILLS.iter().map(hill))
                };
                points.iter().map(one).collect()
            }
        }
    }

    /// A box (low, high per coordinate) outside of which less than 1e-9 of the mass lies, and the spacing of a grid that
    /// resolves the density.
    pub fn support(self) -> (Vec<(f64, f64)>, f64) {
        match self {
            Self::Moons => (vec![(-1.7, 2.7), (-1.2, 1.7)], 0.25 * MOONS_SIGMA),
            Self::Ring => (vec![(-5.2, 5.2), (-5.2, 5.2)], 0.25 * RING_SIGMA),
            Self::Hills => (vec![(-5.0, 9.0)], 0.01),
        }
    }

    /// The entropy `-integral p log p` in nats by the midpoint rule on the grid of [`Self::support`], whose error is
    /// exponentially small for these densities, analytic as they are.
    pub fn entropy(self) -> f64 {
        let (ranges, spacing) = self.support();
        let grid = super::grid_points(&ranges, &ranges.iter().map(|r| cells(r, spacing)).collect::<Vec<_>>());
        let volume: f64 = ranges.iter().map(|r| (r.1 - r.0) / cells(r, spacing) as f64).product();
        let terms = self.log_density(&grid);
        -volume * terms.iter().map(|l| l.exp() * l).sum::<f64>()
    }
}

fn cells(range: &(f64, f64), spacing: f64) -> usize {
    ((range.1 - range.0) / spacing).ceil() as usize
}

/// The point of a moon at `angle` in (0, pi).
fn moon(which: usize, angle: f64) -> [f64; 2] {
    let (x, y) = (angle.cos(), angle.sin());
    if which == 0 { [x, y] } else { [1.0 - x, 0.5 - y] }
}

fn mode(which: usize) -> [f64; 2] {
    let angle = 2.0 * PI * which as f64 / RING_MODES as f64;
    [RING_RADIUS * angle.cos(), RING_RADIUS * angle.sin()]
}

fn log_sum_exp(terms: impl Iterator<Item = f64> + Clone) -> f64 {
    let largest = terms.clone().fold(f64::NEG_INFINITY, f64::max);
    largest + terms.map(|t| (t - largest).exp()).sum::<f64>().ln()
}
