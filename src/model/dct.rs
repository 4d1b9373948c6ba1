//! The built-in regularizer that needs no training: discrete cosine filters with a smoothed absolute value.

use serde_json::json;

use super::ridge::{Border, NormKind, Ridge, Scaling};
use crate::filters::{ConvLayer, FilterBank, norm};
use crate::spline::Spline;
use crate::{Error, Result};

/// How the regularizer is made; the defaults are those of the shipped model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DctSettings {
    /// Side of the filters, odd. All `size^2 - 1` cosines but the constant one are used.
    pub size: usize,
    /// Slope of the activation around 0, the model's smoothness constant.
    pub slope: f64,
    /// Filter responses beyond `threshold * sigma` are pulled towards 0 by this much and no more.
    pub threshold: f64,
}

impl Default for DctSettings {
    fn default() -> Self {
        Self {
            size: 5,
            slope: 24.0,
            threshold: 0.26,
        }
    }
}

/// Noise levels that the scaling covers.
const SIGMA_RANGE: (f64, f64) = (0.0, 1.0);

/// The regularizer `R(x) = sum_c sigma^2 <1, psi(W_c x / sigma)>` with `W_c` the cosine filters, scaled so that the
/// certified bound of `|W|^2` is 1, and `psi' = phi(t) = clamp(slope t, -threshold, threshold)`: the Huber function, a
/// smoothed absolute value. Convex, for every noise level.
///
/// # Errors
/// [`Error::Usage`] for settings out of range.
pub fn dct(settings: &DctSettings) -> Result<Ridge> {
    let DctSettings { size, slope, threshold } = *settings;
    if !(3..=15).contains(&size) || size.is_multiple_of(2) {
        return Err(Error::Usage(format!(
            "filter size {size}: want an odd number from 3 to 15"
        )));
    }
    if !(slope.is_finite() && slope > 0.0 && threshold.is_finite() && threshold > 0.0) {
        return Err(Error::Usage(format!(
            "slope {slope} and threshold {threshold} must be above 0"
        )));
    }
    let n = size as f64;
    let cosine = |frequency: usize, position: usize| {
        let scale = if frequency == 0 { 1.0 / n } else { 2.0 / n };
        scale.sqrt() * (std::f64::consts::PI * (position as f64 + 0.5) * frequency as f64 / n).cos()
    };
    let mut weights = Vec::with_capacity((size * size - 1) * size * size);
    for channel in 1..size * size {
        for position in 0..size * size {
            let value = cosine(channel / size, position / size) * cosine(channel % size, position % size);
            weights.push(value as f32);
        }
    }
    let bank = FilterBank::new(vec![ConvLayer::new(1, size * size - 1, size, weights)?])?;
    let bound = norm::upper_bound(&bank);
    let bank = bank.scaled(1.0 / bound.sqrt());
    // Rounding the scaled weights to f32 may lift the norm by a few parts in 10^8: certify what is stored.
    let norm_squared = norm::upper_bound(&bank);
    let knee = threshold / slope;
    let phi = Spline::new(
        vec![-2.0 * knee, -knee, knee, 2.0 * knee],
        vec![-threshold, -threshold, threshold, threshold],
    )?;
    let (low, high) = SIGMA_RANGE;
    Ok(Ridge {
        bank,
        activations: vec![phi],
        scaling: Scaling {
            log: vec![Spline::new(vec![low, high], vec![0.0, 0.0])?],
            epsilon: 0.0,
        },
        slope_bounds: (0.0, slope),
        sigma_range: SIGMA_RANGE,
        norm_squared,
        norm_kind: NormKind::Bound,
        border: Border::Zero,
        name: format!("dct{size}"),
        provenance: json!({
            "made_by": concat!("train dct, knotwork ", env!("CARGO_PKG_VERSION")),
            "size": size,
            "slope": slope,
            "threshold": threshold,
            "trained": false,
        }),
    })
}
