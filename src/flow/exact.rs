//! A flow in f64 on the host, in both directions in closed form.
//!
//! Where a flow describes a gap between modes it compresses a hundredfold, and its inverse enlarges the rounding of single precision
//! as much, whatever the arithmetic in between: points that go to normal ones and back on the device miss by some 1e-5. So
//! points that someone asks for go both ways in double precision. The device keeps what there are many of, or what is
//! differentiated: densities, samples, training.

use super::model::Flow;
use crate::spline::Spline;
use crate::{Error, Result};

/// A positive spline that is constant beyond its outermost knots, with its integral from 0.
struct Slope<'f> {
    spline: &'f Spline,
    integrals: Vec<f64>,
}

impl<'f> Slope<'f> {
    fn new(spline: &'f Spline) -> Self {
        Self {
            spline,
            integrals: spline.integrals(),
        }
    }

    /// `M(u)`, the integral of the spline from 0 to `u`.
    fn integral(&self, u: f64) -> f64 {
        let t = self.spline.knots();
        let inner = u.clamp(t[0], t[t.len() - 1]);
        self.spline.integral(inner) + (u - inner) * self.spline.value(inner)
    }

    /// The `u` with `M(u) = y`: on a segment `f d + s d^2 / 2 = r` has the root `d = 2 r / (f + sqrt(f^2 + 2 s r))`.
    fn solve(&self, y: f64) -> f64 {
        let (t, f, p) = (self.spline.knots(), self.spline.values(), &self.integrals);
        let last = t.len() - 1;
        if y < p[0] {
            return t[0] + (y - p[0]) / f[0];
        }
        if y >= p[last] {
            return t[last] + (y - p[last]) / f[last];
        }
        let j = segment(p, y);
        let (r, slope) = (y - p[j], self.spline.segment_slope(j));
        t[j] + 2.0 * r / (f[j] + (f[j] * f[j] + 2.0 * slope * r).max(0.0).sqrt())
    }
}

/// The segment between increasing `edges` that holds `x`; the first or the last for what lies outside.
fn segment(edges: &[f64], x: f64) -> usize {
    let after = edges.partition_point(|e| *e <= x);
    after.saturating_sub(1).min(edges.len() - 2)
}

/// A layer: cosine and sine of its angle, its shift, and its splines, of which the line has only the first.
struct Layer<'f> {
    rotation: [f64; 2],
    shift: f64,
    first: Slope<'f>,
    second: Option<(Slope<'f>, &'f Spline)>,
}

impl Layer<'_> {
    /// Where the layer takes `x`.
    fn forward(&self, x: &mut [f64]) {
        let Some((second, shear)) = &self.second else {
            x[0] = self.first.integral(x[0]) + self.shift;
            return;
        };
        let [c, s] = self.rotation;
        let (u, v) = (c * x[0] - s * x[1], s * x[0] + c * x[1]);
        x[0] = self.first.integral(u) + self.shift;
        x[1] = second.integral(v) + flat(shear, u);
    }

    /// What the layer takes to `y`.
    fn inverse(&self, y: &mut [f64]) {
        let u = self.first.solve(y[0] - self.shift);
        let Some((second, shear)) = &self.second else {
            y[0] = u;
            return;
        };
        let [c, s] = self.rotation;
        let v = second.solve(y[1] - flat(shear, u));
        (y[0], y[1]) = (c * u + s * v, c * v - s * u);
    }
}

/// The value of a spline that is constant beyond its outermost knots.
pub(super) fn flat(spline: &Spline, x: f64) -> f64 {
    let t = spline.knots();
    spline.value(x.clamp(t[0], t[t.len() - 1]))
}

impl Flow {
    /// `z = F(x)` of points, (point, coordinate) in and out.
    ///
    /// # Errors
    /// [`Error::Data`] for points that are not finite or not whole.
    pub fn latent(&self, points: &[f64]) -> Result<Vec<f64>> {
        self.check_points(points)?;
        let (dims, layers) = (self.dims(), self.exact_layers());
        let mut z = points.to_vec();
        for x in z.chunks_exact_mut(dims) {
            for (i, x) in x.iter_mut().enumerate() {
                *x = (*x - self.mean[i]) / self.scale[i];
            }
            layers.iter().for_each(|layer| layer.forward(x));
        }
        Ok(z)
    }

    /// `x = F^-1(z)`, (point, coordinate) in and out.
    ///
    /// # Errors
    /// As [`Self::latent`].
    pub fn inverse(&self, latent: &[f64]) -> Result<Vec<f64>> {
        self.check_points(latent)?;
        let (dims, layers) = (self.dims(), self.exact_layers());
        let mut points = latent.to_vec();
        for y in points.chunks_exact_mut(dims) {
            layers.iter().rev().for_each(|layer| layer.inverse(y));
            for (i, y) in y.iter_mut().enumerate() {
                *y = self.mean[i] + self.scale[i] * *y;
            }
        }
        Ok(points)
    }

    /// The largest Euclidean distance `|x - F^-1(F(x))|` of points (point, coordinate); NaN if one does not come back at all.
    ///
    /// # Errors
    /// As [`Self::latent`].
    pub fn round_trip(&self, points: &[f64]) -> Result<f64> {
        let back = self.inverse(&self.latent(points)?)?;
        let dims = self.dims();
        let distances = points.chunks_exact(dims).zip(back.chunks_exact(dims)).map(|(x, y)| {
            let squares = x.iter().zip(y).map(|(x, y)| (x - y).powi(2));
            squares.sum::<f64>().sqrt()
        });
        Ok(distances.fold(0.0, |worst: f64, d| if d > worst || d.is_nan() { d } else { worst }))
    }

    fn exact_layers(&self) -> Vec<Layer<'_>> {
        let layers = self.layers();
        let layer = |l: usize| Layer {
            rotation: self.frames[l].rotation(),
            shift: f64::from(self.frames[l].shift),
            first: Slope::new(&self.slopes[l]),
            second: self
                .shears
                .get(l)
                .map(|shear| (Slope::new(&self.slopes[layers + l]), shear)),
        };
        (0..layers).map(layer).collect()
    }

    /// Refuses what is no list of points that f32 can hold.
    pub(super) fn check_points(&self, points: &[f64]) -> Result<()> {
        let dims = self.dims();
        if !points.len().is_multiple_of(dims) {
            return Err(Error::Data(format!(
                "{} numbers are no points of {dims} coordinates",
                points.len()
            )));
        }
        if let Some(n) = points.iter().position(|v| !(*v as f32).is_finite()) {
            return Err(Error::Data(format!(
                "point {} has the coordinate {}, which is not a finite f32; remove it",
                n / dims,
                points[n]
            )));
        }
        Ok(())
    }
}
