//! The regularizer with which a training starts.

use serde_json::json;

use super::RidgeConfig;
use crate::Result;
use crate::filters::{ConvLayer, FilterBank};
use crate::model::{NormKind, Ridge, Scaling};
use crate::spline::Spline;

/// Keeps scalings finite at `sigma = 0`, a thousandth of a grey level.
pub(super) const EPSILON: f64 = 1e-3 / 255.0;

/// Cosine filters of low frequency, which share the smallest square that has enough of them, and the activation
/// `clamp(mu t / 2, -threshold, threshold)`, a smoothed absolute value: convex, and inside any slope bounds. Knots lie
/// symmetrically, from the knee to `range` at equal ratios, so that training can bend the activation where responses are.
///
/// # Errors
/// As [`RidgeConfig::check`].
pub fn start_model(config: &RidgeConfig) -> Result<Ridge> {
    config.check()?;
    let model = &config.model;
    let side = (3..=model.size)
        .step_by(2)
        .find(|s| s * s > model.filters)
        .unwrap_or(model.size);
    let mut frequencies: Vec<(usize, usize)> = (1..side * side).map(|n| (n / side, n % side)).collect();
    frequencies.sort_by_key(|&(u, v)| (u * u + v * v, u));
    let cosine = |frequency: usize, position: usize| {
        (std::f64::consts::PI * (position as f64 + 0.5) * frequency as f64 / side as f64).cos()
    };
    let margin = (model.size - side) / 2;
    let inside = |n: usize| (margin..margin + side).contains(&n);
    let mut weights = Vec::with_capacity(model.filters * model.size * model.size);
    for &(u, v) in frequencies.iter().take(model.filters) {
        let scale = [u, v]
            .iter()
            .map(|f| if *f == 0 { 1.0 } else { std::f64::consts::SQRT_2 })
            .product::<f64>();
        for (row, col) in (0..model.size * model.size).map(|n| (n / model.size, n % model.size)) {
            let value = if inside(row) && inside(col) {
                scale * cosine(u, row - margin) * cosine(v, col - margin) / side as f64
            } else {
                0.0
            };
            weights.push(value as f32);
        }
    }
    let activation = start_activation(config)?;
    let scaling = Spline::uniform(0.0, model.sigma_max, vec![0.0; model.scaling_knots])?;
    let channels = if model.shared { 1 } else { model.filters };
    Ok(Ridge {
        bank: FilterBank::new(vec![ConvLayer::new(1, model.filters, model.size, weights)?])?,
        activations: vec![activation; channels],
        scaling: Scaling {
            log: vec![scaling; model.filters],
            epsilon: EPSILON,
        },
        slope_bounds: (-model.rho, model.mu),
        sigma_range: (0.0, model.sigma_max),
        norm_squared: 1.0,
        norm_kind: NormKind::Estimate,
        name: config.name.clone(),
        provenance: json!({ "trained": false }),
    })
}

fn start_activation(config: &RidgeConfig) -> Result<Spline> {
    let model = &config.model;
    let slope = 0.5 * model.mu;
    let knee = model.threshold / slope;
    let half = model.start_knots / 2;
    let ratio = (model.range / knee).powf(1.0 / (half - 1) as f64);
    // f32 positions are symmetric because rounding is.
    let right: Vec<f64> = (0..half)
        .map(|n| f64::from((knee * ratio.powi(n as i32)) as f32))
        .collect();
    let knots: Vec<f64> = right.iter().rev().map(|t| -t).chain(right.iter().copied()).collect();
    let values = knots
        .iter()
        .map(|t| f64::from((slope * t).clamp(-model.threshold, model.threshold) as f32));
    let values = values.collect();
    Spline::new(knots, values)
}
