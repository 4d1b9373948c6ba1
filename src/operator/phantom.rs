//! Phantoms of ellipses: images and their sinograms from one formula.

use std::f64::consts::PI;

use super::Geometry;
use crate::io::noise;

/// An ellipse with the density `value (1 - r^2)^power` for `r <= 1`, where `r` is the distance from the centre in units of
/// the semi-axes. Lengths are in half sides of the image, so that it covers `[-1, 1]^2`, `y` upwards.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ellipse {
    /// Centre.
    pub centre: [f64; 2],
    /// Semi-axes.
    pub axes: [f64; 2],
    /// Angle of the first axis against `x`, in radians.
    pub turn: f64,
    /// Density at the centre.
    pub value: f64,
    /// 0: constant, 1 or 2: falls smoothly to 0 at the rim.
    pub power: u32,
}

impl Ellipse {
    /// Density at a point.
    pub fn density(&self, x: f64, y: f64) -> f64 {
        let (sin, cos) = self.turn.sin_cos();
        let (dx, dy) = (x - self.centre[0], y - self.centre[1]);
        let u = (dx * cos + dy * sin) / self.axes[0];
        let v = (dy * cos - dx * sin) / self.axes[1];
        let inside = 1.0 - u * u - v * v;
        if inside < 0.0 {
            0.0
        } else {
            self.value * inside.powi(self.power as i32)
        }
    }

    /// Integral along the line `x cos theta + y sin theta = s`. With `m` the half width of the ellipse's shadow and
    /// `tau` the distance from its middle in units of `m`, it is `value a b / m C_power (1 - tau^2)^(power + 1/2)`,
    /// `C_p = int_{-1}^1 (1 - t^2)^p dt`.
    pub fn projection(&self, theta: f64, s: f64) -> f64 {
        let [a, b] = self.axes;
        let (sin, cos) = (theta - self.turn).sin_cos();
        let half_width = (a * cos).hypot(b * sin);
        let tau = (s - self.centre[0] * theta.cos() - self.centre[1] * theta.sin()) / half_width;
        let inside = 1.0 - tau * tau;
        if inside <= 0.0 {
            return 0.0;
        }
        // C_0 = 2, C_p = C_{p-1} 2 p / (2 p + 1).
        let constant = (1..=self.power).fold(2.0, |c, p| c * 2.0 * f64::from(p) / (2.0 * f64::from(p) + 1.0));
        self.value * a * b / half_width * constant * inside.powf(f64::from(self.power) + 0.5)
    }
}

/// A sum of ellipses.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Phantom {
    /// The ellipses.
    pub ellipses: Vec<Ellipse>,
}

impl Phantom {
    /// A slice through an imaginary body: an outline of density 0.45, two lungs of 0.12, a spine, six organs of soft
    /// contrast (constant and smooth ones), twelve sharp details down to a pixel or two in width, and the texture of tissue,
    /// 600 small smooth blobs of at most 0.04. Densities lie within [0, 1]. The same seed gives the same phantom on every machine.
    pub fn body(seed: u64) -> Self {
        let mut uniform = noise::uniform(seed, 0, 8192).into_iter();
        // In [low, high); the sequence is longer than what is drawn from it.
        let mut draw = move |low: f64, high: f64| {
            let u = uniform.next().unwrap_or(0.0);
            low + (high - low) * 0.5 * (u + 1.0)
        };
        let mut ellipses = Vec::new();
        let body = [draw(0.78, 0.9), draw(0.6, 0.72)];
        let mut add = |centre: [f64; 2], axes: [f64; 2], turn: f64, value: f64, power: u32| {
            ellipses.push(Ellipse {
                centre,
                axes,
                turn,
                value,
                power,
            });
        };
        add([0.0, 0.0], body, 0.0, 0.45, 0);
        for side in [-1.0, 1.0] {
            let centre = [side * draw(0.38, 0.44), draw(0.02, 0.1)];
            add(
                centre,
                [draw(0.17, 0.23), draw(0.3, 0.4)],
                side * draw(0.05, 0.25),
                -0.33,
                0,
            );
        }
        let spine = [draw(-0.02, 0.02), -body[1] + draw(0.17, 0.21)];
        add(spine, [draw(0.09, 0.11), draw(0.08, 0.1)], 0.0, 0.4, 0);
        add(spine, [0.035, 0.03], 0.0, -0.25, 0);
        for organ in 0..6 {
            let (angle, radius) = (draw(0.0, 2.0 * PI), draw(0.1, 0.75));
            let centre = [radius * body[0] * angle.cos(), radius * body[1] * angle.sin()];
            let sign = if organ % 3 == 0 { -1.0 } else { 1.0 };
            let axes = [draw(0.05, 0.13), draw(0.04, 0.1)];
            add(centre, axes, draw(0.0, PI), sign * draw(0.03, 0.07), organ % 2);
        }
        for _ in 0..12 {
            let (angle, radius) = (draw(0.0, 2.0 * PI), draw(0.05, 0.8));
            let centre = [radius * body[0] * angle.cos(), radius * body[1] * angle.sin()];
            add(
                centre,
                [draw(0.004, 0.03), draw(0.004, 0.015)],
                draw(0.0, PI),
                draw(0.05, 0.25),
                0,
            );
        }
        for _ in 0..600 {
            let (angle, radius) = (draw(0.0, 2.0 * PI), draw(0.0, 1.0).sqrt() * 0.95);
            let centre = [radius * body[0] * angle.cos(), radius * body[1] * angle.sin()];
            add(
                centre,
                [draw(0.01, 0.05), draw(0.01, 0.05)],
                draw(0.0, PI),
                draw(-0.04, 0.04),
                2,
            );
        }
        Self { ellipses }
    }

    /// The image of `rows` x `cols` square pixels, centred, with the larger side covering `[-1, 1]`: averages of 5 x 5
    /// samples per pixel.
    pub fn image(&self, rows: usize, cols: usize) -> Vec<f32> {
        const SAMPLES: usize = 5;
        let pixel = 2.0 / rows.max(cols) as f64;
        let mut sums = vec![0.0; rows * cols];
        let middle = |n: usize| (n as f64 - 1.0) / 2.0;
        for e in &self.ellipses {
            let reach = e.axes[0].max(e.axes[1]);
            let range = |centre: f64, n: usize| {
                let low = (centre - reach) / pixel + middle(n) - 1.0;
                let high = (centre + reach) / pixel + middle(n) + 2.0;
                low.clamp(0.0, n as f64) as usize..high.clamp(0.0, n as f64) as usize
            };
            for row in range(-e.centre[1], rows) {
                for col in range(e.centre[0], cols) {
                    let mut sum = 0.0;
                    for sample in 0..SAMPLES * SAMPLES {
                        let within = |k: usize| (k as f64 + 0.5) / SAMPLES as f64 - 0.5;
                        let x = (col as f64 - middle(cols) + within(sample % SAMPLES)) * pixel;
                        let y = (middle(rows) - row as f64 - within(sample / SAMPLES)) * pixel;
                        sum += e.density(x, y);
                    }
                    sums[row * cols + col] += sum / (SAMPLES * SAMPLES) as f64;
                }
            }
        }
        sums.into_iter().map(|v| v as f32).collect()
    }

    /// Exact line integrals for a geometry whose larger image side is the phantom's `[-1, 1]`, (angle, detector).
    pub fn sinogram(&self, geometry: &Geometry) -> Vec<f32> {
        let unit = geometry.pixel * geometry.rows.max(geometry.cols) as f64 / 2.0;
        let at = |angle: f64, detector: usize| {
            let (angle, s) = geometry.line(angle, detector);
            let sum: f64 = self.ellipses.iter().map(|e| e.projection(angle, s / unit)).sum();
            (unit * sum) as f32
        };
        geometry
            .angles
            .iter()
            .flat_map(|&angle| (0..geometry.detectors).map(move |j| (angle, j)))
            .map(|(angle, j)| at(angle, j))
            .collect()
    }
}
