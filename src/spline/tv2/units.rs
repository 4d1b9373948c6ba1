//! The units in which a fitting problem is of order 1.

use super::super::bounds::SlopeBounds;
use super::super::samples::Samples;
use super::Loss;

/// Units of a fitting problem: `x' = (x - x_origin) / x` lies in [0, 1], `y' = (y - y_origin) / y` in [-1, 1], and the
/// weights `w' = w / weight` have mean 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Units {
    /// The smallest x.
    pub x_origin: f64,
    /// The range of x.
    pub x: f64,
    /// The weighted mean of y.
    pub y_origin: f64,
    /// The largest deviation of y from it, or what slope bounds that exclude 0 require over the range of x.
    pub y: f64,
    /// The mean weight.
    pub weight: f64,
}

impl Units {
    /// The units of `samples` under `bounds`.
    pub fn new(samples: &Samples, bounds: &SlopeBounds) -> Self {
        let (x, y, weights) = (samples.x(), samples.y(), samples.weights());
        let range = x[x.len() - 1] - x[0];
        let weight_sum: f64 = weights.iter().sum();
        let mean: f64 = weights.iter().zip(y).map(|(w, y)| w / weight_sum * y).sum();
        let deviation = y.iter().fold(0.0_f64, |m, y| m.max((y - mean).abs()));
        // Bounds that exclude slope 0 make every admissible function at least this large.
        let required = bounds.clip(0.0).abs() * range;
        let size = deviation.max(required);
        Self {
            x_origin: x[0],
            x: range,
            y_origin: mean,
            y: if size > 0.0 { size } else { 1.0 },
            weight: weight_sum / weights.len() as f64,
        }
    }

    /// The unit of slopes.
    pub fn slope(&self) -> f64 {
        self.y / self.x
    }

    /// The unit of the objective.
    pub fn objective(&self, loss: Loss) -> f64 {
        match loss {
            Loss::Squared | Loss::Huber(_) => self.weight * self.y * self.y,
            Loss::Absolute => self.weight * self.y,
        }
    }

    /// The unit of lambda.
    pub fn lambda(&self, loss: Loss) -> f64 {
        self.objective(loss) / self.slope()
    }
}
