//! The convex penalty of which a nondecreasing spline with slopes at most 1 is the proximal operator.

use serde::Serialize;

use super::function::Spline;
use crate::{Error, Result};

/// Slopes may leave [0, 1] by this: what the check of a model on file allows, and the rounding of slopes in f64.
const SLACK: f64 = 1e-8;

/// The convex function `g` with `phi(v) = argmin_z (z - v)^2 / 2 + g(z)` for a spline `phi` with slopes in [0, 1]
/// (method.md 1.1: prox-potential duality).
///
/// `z = phi(v)` holds where `v - z` is a subgradient of `g` at `z`, so the graph of the subdifferential is that of
/// `phi^{-1} - Id` with all its corners filled: a segment of slope s in (0, 1] makes `g` a parabola of curvature
/// `(1 - s) / s`, a straight line for s = 1; a flat segment makes a kink, where the subdifferential grows by the length of the
/// segment. If the first or the last segment is flat, `phi` takes no values beyond, and `g` is infinite there. So `g` is
/// quadratic between nodes, the values of `phi` at its knots; it holds exactly up to rounding in f64.
///
/// A penalty is fixed by its operator up to a constant: here its least value from the first to the last node is 0. (Beyond
/// them it may fall, even without end.)
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Penalty {
    /// `z_k`, strictly increasing, at least one.
    nodes: Vec<f64>,
    /// `g(z_k)`.
    values: Vec<f64>,
    /// `g'(z_k-)`; minus infinity at the first node if the domain begins there. (JSON has no infinities and says null.)
    left_derivatives: Vec<f64>,
    /// `g'(z_k+)`; infinity at the last node if the domain ends there.
    right_derivatives: Vec<f64>,
    /// `g''` before the first and behind the last node; infinity where `g` is infinite.
    outer_curvatures: [f64; 2],
}

impl Penalty {
    /// The penalty of the proximal operator `prox`.
    ///
    /// # Errors
    /// [`Error::Data`] naming a segment whose slope leaves [0, 1] by more than 1e-8.
    pub fn of_prox(prox: &Spline) -> Result<Self> {
        if let Some((j, slope)) = (prox.slopes().into_iter().enumerate()).find(|(_, s)| *s < -SLACK || *s > 1.0 + SLACK)
        {
            return Err(Error::Data(format!(
                "a proximal operator of a convex penalty has slopes in [0, 1], but segment {j} has slope {slope:e}"
            )));
        }
        let (t, f) = (prox.knots(), prox.values());
        let (mut nodes, mut left, mut right) = (vec![f[0]], vec![t[0] - f[0]], vec![t[0] - f[0]]);
        for (t, f) in t.iter().zip(f).skip(1) {
            let last = nodes.len() - 1;
            // Subgradients grow along the graph; what rounding takes back is given again.
            if *f > nodes[last] {
                let derivative = (t - f).max(right[last]);
                nodes.push(*f);
                left.push(derivative);
                right.push(derivative);
            } else {
                right[last] = (t - nodes[last]).max(right[last]);
            }
        }
        let last = t.len() - 1;
        let outer_curvatures = [0, last - 1].map(|j| {
            let (run, rise) = (t[j + 1] - t[j], f[j + 1] - f[j]);
            if rise > 0.0 {
                ((run - rise) / rise).max(0.0)
            } else {
                f64::INFINITY
            }
        });
        let end = nodes.len() - 1;
        if outer_curvatures[0].is_infinite() {
            left[0] = f64::NEG_INFINITY;
        }
        if outer_curvatures[1].is_infinite() {
            right[end] = f64::INFINITY;
        }
        let mut values = vec![0.0; nodes.len()];
        for k in 1..nodes.len() {
            values[k] = values[k - 1] + 0.5 * (right[k - 1] + left[k]) * (nodes[k] - nodes[k - 1]);
        }
        let mut penalty = Self {
            nodes,
            values,
            left_derivatives: left,
            right_derivatives: right,
            outer_curvatures,
        };
        let least = penalty.least();
        penalty.values.iter_mut().for_each(|v| *v -= least);
        Ok(penalty)
    }

    /// The nodes `z_k`, strictly increasing: kinks, changes of the curvature, ends of the domain.
    pub fn nodes(&self) -> &[f64] {
        &self.nodes
    }

    /// `g(z_k)`.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// `g'(z_k-)` and `g'(z_k+)`: the ends of the subdifferential, infinite at an end of the domain.
    pub fn derivatives(&self) -> impl Iterator<Item = (f64, f64)> {
        self.left_derivatives
            .iter()
            .copied()
            .zip(self.right_derivatives.iter().copied())
    }

    /// Where `g` is finite, ends included; infinite ends for the whole line.
    pub fn domain(&self) -> (f64, f64) {
        let end = |k: usize, side: usize, beyond: f64| match self.outer_curvatures[side].is_infinite() {
            true => self.nodes[k],
            false => beyond,
        };
        (
            end(0, 0, f64::NEG_INFINITY),
            end(self.nodes.len() - 1, 1, f64::INFINITY),
        )
    }

    /// `g(z)`, infinite outside of the domain; NaN for NaN.
    pub fn value(&self, z: f64) -> f64 {
        let (low, high) = self.domain();
        if z < low || z > high {
            return f64::INFINITY;
        }
        let (end, after) = (self.nodes.len() - 1, self.nodes.partition_point(|n| *n <= z));
        let (node, slope, curvature) = match after {
            0 => (0, self.left_derivatives[0], self.outer_curvatures[0]),
            k if k > end => (end, self.right_derivatives[end], self.outer_curvatures[1]),
            k => (k - 1, self.right_derivatives[k - 1], self.curvature(k - 1)),
        };
        let distance = z - self.nodes[node];
        if distance == 0.0 {
            return self.values[node];
        }
        self.values[node] + distance * (slope + 0.5 * curvature * distance)
    }

    /// `g''` between nodes `k` and `k + 1`.
    fn curvature(&self, k: usize) -> f64 {
        (self.left_derivatives[k + 1] - self.right_derivatives[k]) / (self.nodes[k + 1] - self.nodes[k])
    }

    /// The least value from the first to the last node.
    fn least(&self) -> f64 {
        // The last node to which g comes down from the left, or the first.
        let node = self.left_derivatives.iter().rposition(|d| *d <= 0.0).unwrap_or(0);
        let slope = self.right_derivatives[node];
        if slope >= 0.0 || node + 1 == self.nodes.len() {
            return self.values[node];
        }
        // The bottom of the parabola lies before the next node, where g rises.
        self.values[node] - 0.5 * slope * slope / self.curvature(node)
    }
}
