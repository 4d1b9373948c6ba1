//! Forward operators as dense matrices in f64, written from their definitions.

use knotwork::operator::{Blur, Boundary, Geometry, Mask, Mri};

/// A matrix, and for every element how far the device's f32 weight may be from it.
pub struct Dense {
    pub rows: usize,
    pub cols: usize,
    pub entries: Vec<f64>,
    pub errors: Vec<f64>,
}

impl Dense {
    fn zero(rows: usize, cols: usize) -> Self {
        Self {
            rows,
            cols,
            entries: vec![0.0; rows * cols],
            errors: vec![0.0; rows * cols],
        }
    }

    fn add(&mut self, row: usize, col: usize, value: f64, error: f64) {
        self.entries[row * self.cols + col] += value;
        self.errors[row * self.cols + col] += error;
    }

    /// `H x`, or the transpose, with a bound of what an f32 sum of products may lose.
    pub fn apply(&self, x: &[f64], transposed: bool) -> (Vec<f64>, Vec<f64>) {
        let count = if transposed { self.cols } else { self.rows };
        let (mut value, mut error) = (vec![0.0; count], vec![0.0; count]);
        let mut terms = vec![0_usize; count];
        let mut sizes = vec![0.0; count];
        for row in 0..self.rows {
            for col in 0..self.cols {
                let at = row * self.cols + col;
                let (to, from) = if transposed { (col, row) } else { (row, col) };
                value[to] += self.entries[at] * x[from];
                error[to] += self.errors[at] * x[from].abs();
                sizes[to] += (self.entries[at] * x[from]).abs();
                terms[to] += usize::from(self.entries[at] != 0.0);
            }
        }
        for to in 0..count {
            error[to] += crate::common::EPS * (terms[to] + 4) as f64 * sizes[to] + 1e-30;
        }
        (value, error)
    }

    /// `|H|^2` by power iteration in f64, from below.
    pub fn norm_squared(&self) -> f64 {
        let mut x: Vec<f64> = (0..self.cols).map(|i| 1.0 + 0.1 * (i as f64).sin()).collect();
        let mut norm = 0.0;
        for _ in 0..300 {
            let product = self.apply(&self.apply(&x, false).0, true).0;
            norm = super::norm(&product) / super::norm(&x);
            let size = super::norm(&product);
            x = product.iter().map(|p| p / size).collect();
        }
        norm
    }
}

/// Where position `q` of an axis of `n` pixels takes its value from.
fn continued(q: i64, n: usize, boundary: Boundary) -> Option<usize> {
    let n = n as i64;
    let at = match boundary {
        Boundary::Zero => (0..n).contains(&q).then_some(q)?,
        Boundary::Circular => q.rem_euclid(n),
        // The period of a mirrored axis.
        Boundary::Reflect if n == 1 => 0,
        Boundary::Reflect => {
            let phase = q.rem_euclid(2 * (n - 1));
            phase.min(2 * (n - 1) - phase)
        }
    };
    Some(at as usize)
}

pub fn blur(blur: &Blur, size: [usize; 2]) -> Dense {
    let step = blur.step();
    let range = size.map(|s| s / step);
    let mut dense = Dense::zero(range[0] * range[1], size[0] * size[1]);
    let [kernel_rows, kernel_cols] = blur.kernel_size();
    for at in 0..dense.rows {
        let (r, c) = (at / range[1], at % range[1]);
        for tap in 0..kernel_rows * kernel_cols {
            let row = (step * r + tap / kernel_cols) as i64 - blur.anchor()[0] as i64;
            let col = (step * c + tap % kernel_cols) as i64 - blur.anchor()[1] as i64;
            let places = (
                continued(row, size[0], blur.boundary()),
                continued(col, size[1], blur.boundary()),
            );
            if let (Some(row), Some(col)) = places {
                dense.add(at, row * size[1] + col, f64::from(blur.kernel()[tap]), 0.0);
            }
        }
    }
    dense
}

pub fn mask(mask: &Mask) -> Dense {
    let pixels = mask.values().len();
    let mut dense = Dense::zero(pixels, pixels);
    for (at, m) in mask.values().iter().enumerate() {
        dense.add(at, at, f64::from(*m), 0.0);
    }
    dense
}

/// An operator on images of `size` as one on images that are larger by `by` pixels on every side.
pub fn of_inner(inner: &Dense, [rows, cols]: [usize; 2], by: usize) -> Dense {
    let width = cols + 2 * by;
    let mut dense = Dense::zero(inner.rows, (rows + 2 * by) * width);
    for row in 0..inner.rows {
        for pixel in 0..inner.cols {
            let at = row * inner.cols + pixel;
            let outer = (pixel / cols + by) * width + pixel % cols + by;
            dense.add(row, outer, inner.entries[at], inner.errors[at]);
        }
    }
    dense
}

/// A point of a ray and its direction, from the description of [`Geometry`].
fn ray(g: &Geometry, angle: f64, s: f64) -> ([f64; 2], [f64; 2]) {
    let (sin, cos) = angle.sin_cos();
    match g.fan {
        None => ([s * cos, s * sin], [-sin, cos]),
        Some(fan) => {
            let source = [fan.source_distance * sin, -fan.source_distance * cos];
            let beyond = fan.detector_distance - fan.source_distance;
            let detector = [s * cos - beyond * sin, s * sin + beyond * cos];
            (source, [detector[0] - source[0], detector[1] - source[1]])
        }
    }
}

/// Joseph's method from its geometric statement: intersect the line with the centre line of every row (or column) and
/// share the length in between among the two pixels nearest to the point.
pub fn radon(g: &Geometry) -> Dense {
    let mut dense = Dense::zero(g.angles.len() * g.detectors, g.rows * g.cols);
    let middle = |n: usize| (n as f64 - 1.0) / 2.0;
    // Roundings of the f32 position; a fan's is a quotient of two sums.
    let roundings = if g.fan.is_some() { 8.0 } else { 4.0 };
    for (a, angle) in g.angles.iter().enumerate() {
        for j in 0..g.detectors {
            let s = g.detector_offset + (j as f64 - middle(g.detectors)) * g.detector_spacing;
            let ([x0, y0], [dx, dy]) = ray(g, *angle, s);
            let by_rows = dy.abs() >= dx.abs();
            let (steps, across) = if by_rows { (g.rows, g.cols) } else { (g.cols, g.rows) };
            let length = g.pixel * dx.hypot(dy) / dx.abs().max(dy.abs());
            let passes_at = (x0 * dy - y0 * dx).abs() / dx.hypot(dy);
            for k in 0..steps {
                let u = if by_rows {
                    let y = (middle(g.rows) - k as f64) * g.pixel;
                    (x0 + (y - y0) * dx / dy) / g.pixel + middle(g.cols)
                } else {
                    let x = (k as f64 - middle(g.cols)) * g.pixel;
                    middle(g.rows) - (y0 + (x - x0) * dy / dx) / g.pixel
                };
                // The f32 position: a few roundings of numbers as large as the image and the ray's offset.
                let reach = passes_at / g.pixel * std::f64::consts::SQRT_2 + steps as f64 + across as f64;
                let off = roundings * crate::common::EPS * reach;
                for i in 0..across {
                    let distance = (u - i as f64).abs();
                    if distance < 1.0 + off {
                        let pixel = if by_rows { k * g.cols + i } else { i * g.cols + k };
                        let weight = (1.0 - distance).max(0.0);
                        let error = length * (off + 4.0 * crate::common::EPS * weight);
                        dense.add(a * g.detectors + j, pixel, length * weight, error);
                    }
                }
            }
        }
    }
    dense
}

/// `M F S` with the transform written as the sum it is. Both sides are centred: position `i` of `n` stands for the
/// coordinate `i - floor(n / 2)`.
pub fn mri(mri: &Mri, [rows, cols]: [usize; 2]) -> Dense {
    let pixels = rows * cols;
    let mut dense = Dense::zero(2 * mri.coils() * pixels, pixels);
    let coordinate = |i: usize, n: usize| i as f64 - (n / 2) as f64;
    for coil in 0..mri.coils() {
        for sample in (0..pixels).filter(|s| mri.mask()[*s] == 1.0) {
            for pixel in 0..pixels {
                let turns = coordinate(sample / cols, rows) * coordinate(pixel / cols, rows) / rows as f64
                    + coordinate(sample % cols, cols) * coordinate(pixel % cols, cols) / cols as f64;
                let (sin, cos) = (-2.0 * std::f64::consts::PI * turns).sin_cos();
                let [re, im] = mri.maps()[coil * pixels + pixel].map(f64::from);
                let scale = 1.0 / (pixels as f64).sqrt();
                let at = 2 * (coil * pixels + sample);
                // The device's weight is a product of about as many rounded roots as there are passes.
                let error = 16.0 * crate::common::EPS * scale * re.hypot(im);
                dense.add(at, pixel, scale * (re * cos - im * sin), error);
                dense.add(at + 1, pixel, scale * (re * sin + im * cos), error);
            }
        }
    }
    dense
}

/// Isotropic total variation `sum |D x|` of an image (row, column): forward differences, 0 beyond the last row and column.
pub fn total_variation(image: &[f64], [rows, cols]: [usize; 2]) -> f64 {
    let at = |r: usize, c: usize| image[r * cols + c];
    (0..rows * cols)
        .map(|i| {
            let (r, c) = (i / cols, i % cols);
            let down = if r + 1 < rows { at(r + 1, c) - at(r, c) } else { 0.0 };
            let right = if c + 1 < cols { at(r, c + 1) - at(r, c) } else { 0.0 };
            down.hypot(right)
        })
        .sum()
}
