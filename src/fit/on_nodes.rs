//! A fit on given nodes: what the device starts from and what it returns, in the samples' units.

use crate::spline::device::tv2::FREE;
use crate::spline::tv2::Units;
use crate::spline::{Loss, Samples, SlopeBounds};

/// A continuous piecewise-linear function on nodes, with the active set of the problem it is a solution of.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct OnNodes {
    /// Nodes t, strictly increasing.
    pub nodes: Vec<f64>,
    /// f at the first node.
    pub first: f64,
    /// One slope per segment, inside the bounds and exactly f32.
    pub slopes: Vec<f64>,
    /// Sign and side per node, as in `shaders/lib/tv2.wgsl`.
    pub flags: Vec<u32>,
}

/// The part of a flag that is the sign of the slope change; the rest is the side of the segment.
const SIGN: u32 = 3;

impl OnNodes {
    /// The admissible line with the slope nearest to 0, through the mean of the samples in the middle.
    pub fn line(nodes: Vec<f64>, units: &Units, bounds: &SlopeBounds) -> Self {
        let slope = inside(bounds.clip(0.0), bounds);
        let middle = units.x_origin + 0.5 * units.x;
        Self {
            first: units.y_origin + slope * (nodes[0] - middle),
            slopes: vec![slope; nodes.len() - 1],
            flags: vec![FREE; nodes.len()],
            nodes,
        }
    }

    /// The same function with the additional nodes `new`, sorted.
    pub fn with_nodes(&self, new: &[f64]) -> Self {
        let mut refined = Self {
            nodes: [self.nodes.as_slice(), new].concat(),
            first: self.first,
            slopes: Vec::new(),
            flags: Vec::new(),
        };
        refined.nodes.sort_by(f64::total_cmp);
        refined.nodes.dedup();
        let mut own = 0;
        for &t in &refined.nodes {
            if self.nodes.get(own + 1).is_some_and(|&next| next <= t) {
                own += 1;
            }
            // A new node is no knot; its segment keeps its side.
            let sign = if self.nodes[own] == t { self.flags[own] } else { FREE };
            refined.flags.push(self.flags[own] & !SIGN | sign & SIGN);
            refined.slopes.push(self.slopes[own.min(self.slopes.len() - 1)]);
        }
        refined.slopes.pop();
        refined
    }

    /// First value and slopes of the same function between the sorted points `x`, with its bends among them.
    pub fn between(&self, x: &[f64]) -> (f64, Vec<f64>) {
        let mut segment = 0;
        let slopes = x.windows(2).map(|pair| {
            while segment + 1 < self.slopes.len() && self.nodes[segment + 1] <= pair[0] {
                segment += 1;
            }
            self.slopes[segment]
        });
        let slopes = slopes.collect();
        (self.first + self.slopes[0] * (x[0] - self.nodes[0]), slopes)
    }

    /// `sum loss(f(x) - y) + lambda TV2(f)`, in f64.
    pub fn objective(&self, samples: &Samples, loss: Loss, lambda: f64) -> f64 {
        let (mut segment, mut value) = (0, self.first);
        let data = samples.x().iter().zip(samples.y()).zip(samples.weights());
        let data: f64 = data
            .map(|((&x, y), &w)| {
                while segment + 1 < self.slopes.len() && self.nodes[segment + 1] <= x {
                    value += self.slopes[segment] * (self.nodes[segment + 1] - self.nodes[segment]);
                    segment += 1;
                }
                loss.value(w, value + self.slopes[segment] * (x - self.nodes[segment]) - y)
            })
            .sum();
        data + lambda * self.slopes.windows(2).map(|s| (s[1] - s[0]).abs()).sum::<f64>()
    }
}

/// The f32 nearest to `slope` that is inside the bounds.
pub(super) fn inside(slope: f64, bounds: &SlopeBounds) -> f64 {
    let mut nearest = slope as f32;
    if f64::from(nearest) > bounds.max() {
        nearest = nearest.next_down();
    }
    if f64::from(nearest) < bounds.min() {
        nearest = nearest.next_up();
    }
    f64::from(nearest)
}
