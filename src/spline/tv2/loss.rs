//! The loss of a sample.

/// The loss of a residual r with weight w.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Loss {
    /// `w r^2 / 2`.
    Squared,
    /// Huber's loss with the given threshold delta, in units of y: `w r^2 / 2` up to `|r| = delta`, then
    /// `w delta (|r| - delta / 2)`.
    Huber(f64),
    /// `w |r|`.
    Absolute,
}

impl Loss {
    /// The loss of residuals that are counted in `unit`.
    pub(crate) fn in_units(self, unit: f64) -> Self {
        match self {
            Self::Huber(delta) => Self::Huber(delta / unit),
            other => other,
        }
    }

    /// The inverse of the curvature at 0.
    pub(super) fn compliance(self, weight: f64) -> f64 {
        match self {
            Self::Squared | Self::Huber(_) => 1.0 / weight,
            Self::Absolute => 0.0,
        }
    }

    /// The largest absolute derivative.
    pub(super) fn limit(self, weight: f64) -> f64 {
        match self {
            Self::Squared => f64::INFINITY,
            Self::Huber(delta) => weight * delta,
            Self::Absolute => weight,
        }
    }

    /// The derivative. The absolute loss is smoothed where `|r|` is below `smoothing`.
    pub(super) fn derivative(self, weight: f64, r: f64, smoothing: f64) -> f64 {
        match self {
            Self::Squared => weight * r,
            Self::Huber(delta) => weight * r.clamp(-delta, delta),
            Self::Absolute if r == 0.0 => 0.0,
            Self::Absolute => weight * r / r.abs().max(smoothing),
        }
    }

    /// The loss itself.
    pub fn value(self, weight: f64, r: f64) -> f64 {
        match self {
            Self::Huber(delta) if r.abs() > delta => weight * delta * (r.abs() - 0.5 * delta),
            Self::Squared | Self::Huber(_) => 0.5 * weight * r * r,
            Self::Absolute => weight * r.abs(),
        }
    }

    /// The Fenchel-Young gap `loss(r) + loss*(t) - t r >= 0`, written without cancellation; `|t|` is within the limit.
    pub(super) fn gap(self, weight: f64, r: f64, t: f64) -> f64 {
        match self {
            Self::Huber(delta) if r.abs() > delta => {
                let missing = weight * delta - t * r.signum();
                missing * (r.abs() - delta) + 0.5 * missing * missing / weight
            }
            Self::Squared | Self::Huber(_) => 0.5 * (t - weight * r).powi(2) / weight,
            Self::Absolute => r.abs() * (weight - t * r.signum()),
        }
    }
}
