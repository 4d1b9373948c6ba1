//! Flows in f64, written from the formulas of `knotwork::flow`: splines that are constant beyond their outermost knots, looked
//! up by a linear search, integrals as sums over segments.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test should panic")]

use knotwork::flow::{Flow, Frame};
use knotwork::spline::{SlopeBounds, Spline};

/// Value and derivative of a flat-tailed spline.
fn value(t: &[f64], f: &[f64], x: f64) -> (f64, f64) {
    let last = t.len() - 1;
    if x < t[0] {
        return (f[0], 0.0);
    }
    if x >= t[last] {
        return (f[last], 0.0);
    }
    let j = (0..last).find(|&j| x < t[j + 1]).unwrap();
    let slope = (f[j + 1] - f[j]) / (t[j + 1] - t[j]);
    (f[j] + slope * (x - t[j]), slope)
}

/// Its integral from the first knot.
fn from_first(t: &[f64], f: &[f64], x: f64) -> f64 {
    let last = t.len() - 1;
    if x < t[0] {
        return f[0] * (x - t[0]);
    }
    let mut sum = 0.0;
    for j in 0..last {
        let right = x.min(t[j + 1]);
        if right > t[j] {
            sum += (right - t[j]) * 0.5 * (f[j] + value(t, f, right).0);
        }
    }
    sum + (x - t[last]).max(0.0) * f[last]
}

/// Its integral from 0.
pub fn integral(t: &[f64], f: &[f64], x: f64) -> f64 {
    from_first(t, f, x) - from_first(t, f, 0.0)
}

/// A flow with parameters of its own, so that they can be moved for difference quotients.
#[derive(Clone)]
pub struct ReferenceFlow {
    pub dims: usize,
    pub layers: usize,
    pub mean: Vec<f64>,
    pub scale: Vec<f64>,
    pub knots: Vec<Vec<f64>>,
    /// Values of every spline, one behind the other, then (tau, shift) per layer.
    pub parameters: Vec<f64>,
}

impl ReferenceFlow {
    pub fn new(flow: &Flow) -> Self {
        let values = flow.splines().flat_map(|s| s.values().to_vec());
        let frames = flow.frames.iter().flat_map(|f| [f64::from(f.tau), f64::from(f.shift)]);
        Self {
            dims: flow.dims(),
            layers: flow.layers(),
            mean: flow.mean.clone(),
            scale: flow.scale.clone(),
            knots: flow.splines().map(|s| s.knots().to_vec()).collect(),
            parameters: values.chain(frames).collect(),
        }
    }

    fn values(&self, spline: usize) -> &[f64] {
        let first: usize = self.knots[..spline].iter().map(Vec::len).sum();
        &self.parameters[first..first + self.knots[spline].len()]
    }

    fn frame(&self, layer: usize) -> (f64, f64, f64) {
        let first: usize = self.knots.iter().map(Vec::len).sum::<usize>() + 2 * layer;
        let (tau, shift) = (self.parameters[first], self.parameters[first + 1]);
        let angle = 2.0 * tau.atan();
        (angle.cos(), angle.sin(), shift)
    }

    /// z, the log-determinant without that of the standardisation, and the distance of the nearest knot to any input of a spline.
    pub fn forward(&self, point: &[f64]) -> (Vec<f64>, f64, f64) {
        let mut x: Vec<f64> = (0..self.dims)
            .map(|i| (point[i] - self.mean[i]) / self.scale[i])
            .collect();
        let (mut log_det, mut nearest) = (0.0, f64::INFINITY);
        let mut see = |t: &[f64], u: f64| nearest = t.iter().fold(nearest, |n: f64, t| n.min((t - u).abs()));
        for l in 0..self.layers {
            let (c, s, shift) = self.frame(l);
            let (m, t) = (self.values(l), &self.knots[l]);
            if self.dims == 1 {
                see(t, x[0]);
                log_det += value(t, m, x[0]).0.ln();
                x = vec![integral(t, m, x[0]) + shift];
                continue;
            }
            let (u, v) = (c * x[0] - s * x[1], s * x[0] + c * x[1]);
            let (n, shear) = (self.layers + l, 2 * self.layers + l);
            see(t, u);
            see(&self.knots[n], v);
            see(&self.knots[shear], u);
            log_det += value(t, m, u).0.ln() + value(&self.knots[n], self.values(n), v).0.ln();
            x = vec![
                integral(t, m, u) + shift,
                integral(&self.knots[n], self.values(n), v) + value(&self.knots[shear], self.values(shear), u).0,
            ];
        }
        (x, log_det, nearest)
    }

    /// Negative log-density.
    pub fn nll(&self, point: &[f64]) -> f64 {
        let (z, log_det, _) = self.forward(point);
        let normal: f64 = z
            .iter()
            .map(|z| 0.5 * z * z + 0.5 * (2.0 * std::f64::consts::PI).ln())
            .sum();
        normal - log_det + self.scale.iter().map(|s| s.ln()).sum::<f64>()
    }

    /// Mean over points (point, coordinate).
    pub fn loss(&self, points: &[f64]) -> f64 {
        let all = points.chunks_exact(self.dims);
        all.clone().map(|p| self.nll(p)).sum::<f64>() / all.count() as f64
    }
}

/// A flow with irregular knots and lively splines: what training could make.
pub fn lively(dims: usize, layers: usize, knots: impl Fn(usize) -> usize, seed: u64) -> Flow {
    let spread = crate::common::values;
    let spline = |index: usize, low: f64, high: f64| {
        let count = knots(index);
        let random = spread(seed * 1000 + index as u64, 2 * count);
        let mut t = -2.6;
        let mut at = Vec::new();
        for r in &random[..count] {
            at.push(f64::from(t as f32));
            t += (0.2 + f64::from(*r).abs()) * 7.0 / count as f64;
        }
        // 0 is enclosed.
        at[count - 1] = at[count - 1].max(0.875);
        let value = |r: &f32| f64::from((low + (high - low) * 0.5 * (1.0 + f64::from(*r))) as f32);
        Spline::new(at, random[count..].iter().map(value).collect()).unwrap()
    };
    let frames = spread(seed + 77, 2 * layers);
    Flow {
        name: "lively".into(),
        mean: vec![0.3, -0.2][..dims].to_vec(),
        scale: vec![1.25, 0.75][..dims].to_vec(),
        frames: frames
            .chunks_exact(2)
            .map(|f| Frame {
                tau: 1.5 * f[0],
                shift: 0.3 * f[1],
            })
            .collect(),
        slopes: (0..dims * layers).map(|i| spline(i, 0.4, 1.8)).collect(),
        shears: (0..(dims - 1) * layers).map(|i| spline(100 + i, -0.5, 0.5)).collect(),
        slope_bounds: SlopeBounds::invertible(0.125, 8.0).unwrap(),
        shear_bound: 1000.0,
        provenance: serde_json::Value::Null,
    }
}
