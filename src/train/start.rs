//! The regularizer with which a training starts.

use std::path::Path;

use serde_json::json;

use super::RidgeConfig;
use crate::filters::{ConvLayer, FilterBank};
use crate::io::noise;
use crate::model::{Border, NormKind, Ridge, Scaling, Shipped};
use crate::spline::{SlopeBounds, Spline, clip_slopes};
use crate::{Error, Result};

/// Keeps scalings finite at `sigma = 0`, a thousandth of a grey level.
pub(super) const EPSILON: f64 = 1e-3 / 255.0;

/// Of the filters of all layers but the first before training.
const LAYER_SEED: u64 = 1;

/// [`super::ModelSettings::start`] of a training that starts from nothing.
pub(super) const COSINES: &str = "cosines";

/// What `[model] start` names: `cosines`, or another model, to be trained further. Its filters come first, with zeros
/// around them if they are smaller, and those of the cosines with greater numbers after them, as large as [`super::ModelSettings::fresh`] says; its activations keep their
/// knots, with slopes clipped to the bounds of the settings, its scalings are sampled anew. Filters are used divided by their norm, as in every training: a model whose norm is not 1, as
/// that of trained ones is, starts as another regularizer.
///
/// # Errors
/// As [`RidgeConfig::check`]; [`Error::Input`] for an unusable file or a model that the settings have no room for.
pub fn start_model(config: &RidgeConfig) -> Result<Ridge> {
    config.check()?;
    let fresh = cosine_model(config)?;
    let start = config.model.start.as_str();
    if start == COSINES {
        return Ok(fresh);
    }
    let path = Path::new(start);
    continued(config, &Shipped::or_file(path)?, fresh).map_err(|why| Error::input(path, why))
}

/// `old` in the shape that the settings ask for, filled up from `fresh`; or why there is no such thing.
fn continued(config: &RidgeConfig, old: &Ridge, fresh: Ridge) -> Result<Ridge, String> {
    let model = &config.model;
    if !model.hidden.is_empty() {
        return Err("filters of several layers start from nothing; leave out [model] start, or [model] hidden".into());
    }
    let [layer] = old.bank.layers() else {
        let layers = old.bank.layers().len();
        return Err(format!("has {layers} layers of filters; a training starts from one"));
    };
    let (filters, size) = (layer.outputs, layer.size);
    if filters > model.filters || size > model.size {
        return Err(format!(
            "has {filters} filters of {size}x{size}; set [model] filters and size to no less"
        ));
    }
    if model.shared && old.activations.len() > 1 {
        return Err("has an activation for each channel; set [model] shared to false".into());
    }

    let norm = |weights: &[f32]| weights.iter().map(|w| f64::from(*w).powi(2)).sum::<f64>().sqrt();
    let typical = norm(&layer.weights) / (filters as f64).sqrt();
    let (margin, taps) = ((model.size - size) / 2, model.size * model.size);
    let mut weights = vec![0.0_f32; filters * taps];
    for (n, weight) in layer.weights.iter().enumerate() {
        let [filter, row, col] = [n / (size * size), n / size % size, n % size];
        weights[filter * taps + (row + margin) * model.size + col + margin] = *weight;
    }
    for filter in fresh.bank.layers()[0].weights.chunks(taps).skip(filters) {
        let scale = model.fresh * typical / norm(filter);
        weights.extend(filter.iter().map(|w| (scale * f64::from(*w)) as f32));
    }
    let bank = ConvLayer::new(1, model.filters, model.size, weights).and_then(|layer| FilterBank::new(vec![layer]));

    let of_channel = |splines: &[Spline], channel: usize| splines[channel.min(splines.len() - 1)].clone();
    let mut scaling = fresh.scaling;
    for (channel, log) in scaling.log.iter_mut().take(filters).enumerate() {
        let before = of_channel(&old.scaling.log, channel);
        // The same alpha = exp(s(sigma)) / (sigma + epsilon) with the epsilon of trainings; finite at sigma = 0 without one, too.
        let sampled = |sigma: &f64| {
            let change = (sigma + EPSILON) / (sigma + old.scaling.epsilon).max(EPSILON);
            before.value(*sigma) + change.ln()
        };
        let values = log.knots().iter().map(sampled).collect();
        *log = Spline::new(log.knots().to_vec(), values).map_err(|e| e.to_string())?;
    }
    let mut activations = fresh.activations;
    let bounds = SlopeBounds::weakly_convex(model.rho, model.mu).map_err(|e| e.to_string())?;
    for (channel, activation) in activations.iter_mut().take(filters).enumerate() {
        *activation = inside(&of_channel(&old.activations, channel), &bounds).map_err(|e| e.to_string())?;
    }
    Ok(Ridge {
        bank: bank.map_err(|e| e.to_string())?,
        activations,
        scaling,
        provenance: json!({ "trained": false, "start": old.name }),
        ..fresh
    })
}

/// The spline whose slopes are those of `spline`, clipped to `bounds`, and whose value at 0 is the same: what is left of a weakly convex
/// potential when what bends it down is taken out.
fn inside(spline: &Spline, bounds: &SlopeBounds) -> Result<Spline> {
    let clipped = clip_slopes(spline, bounds)?;
    clipped.with_affine_output(1.0, spline.value(0.0) - clipped.value(0.0))
}

/// Cosines `[side, row frequency, column frequency]` without mean: all of the largest square that has no more of them than `filters`,
/// then those of low frequency in the next square.
fn cosines(filters: usize, size: usize) -> Vec<[usize; 3]> {
    let complete = (3..=size).step_by(2).take_while(|s| s * s - 1 <= filters).last();
    let next = complete.map_or(3, |side| side + 2);
    let of_side = |side: usize| {
        let mut all: Vec<_> = (1..side * side).map(|n| [side, n / side, n % side]).collect();
        all.sort_by_key(|&[_, u, v]| (u * u + v * v, u));
        all
    };
    let all = complete.into_iter().chain([next]).flat_map(of_side);
    all.take(filters).collect()
}

/// The filters of [`cosines`] with zeros around them, and the activation
/// `clamp(mu t / 2, -threshold, threshold)`, a smoothed absolute value: convex, and inside any slope bounds. Knots lie
/// symmetrically, from the knee to `range` at equal ratios, so that training can bend the activation where responses are.
///
/// A complete square is a tight frame: `sum_c |W_c|^2` is the same at all but low frequencies, so that dividing by the norm leaves
/// all of them strong. Filters beyond it would spoil that, as would low frequencies alone: trainings that start from 32 of the 48
/// cosines of 7x7 are far behind at first and do not catch up.
///
/// Of several layers the first has these filters, the others random ones.
fn cosine_model(config: &RidgeConfig) -> Result<Ridge> {
    let model = &config.model;
    let first = model.hidden.first().copied().unwrap_or(model.filters);
    let mut weights = Vec::with_capacity(first * model.size * model.size);
    let cosines = cosines(first, model.size);
    for &[side, u, v] in &cosines {
        let cosine = |frequency: usize, position: usize| {
            (std::f64::consts::PI * (position as f64 + 0.5) * frequency as f64 / side as f64).cos()
        };
        let margin = (model.size - side) / 2;
        let inside = |n: usize| (margin..margin + side).contains(&n);
        let scale = [u, v]
            .iter()
            .map(|f| if *f == 0 { 1.0 } else { std::f64::consts::SQRT_2 })
            .product::<f64>();
        let scale = if side > cosines[0][0] {
            model.fresh * scale
        } else {
            scale
        };
        for (row, col) in (0..model.size * model.size).map(|n| (n / model.size, n % model.size)) {
            let value = if inside(row) && inside(col) {
                scale * cosine(u, row - margin) * cosine(v, col - margin) / side as f64
            } else {
                0.0
            };
            weights.push(value as f32);
        }
    }
    let mut weights = Some(weights);
    let layers = model.layers().into_iter().zip(0..).map(|([inputs, outputs], number)| {
        let taps = inputs * model.size.pow(2);
        // As long as cosines.
        let scale = 1.0 / (taps as f32).sqrt();
        let random = || {
            noise::gaussian(LAYER_SEED, number, outputs * taps)
                .iter()
                .map(|v| scale * v)
                .collect()
        };
        ConvLayer::new(inputs, outputs, model.size, weights.take().unwrap_or_else(random))
    });
    let activation = start_activation(config)?;
    // Knots at squares: what little noise asks of a scaling changes with the level, what much noise asks hardly does.
    let last = (model.scaling_knots - 1) as f64;
    let levels = (0..model.scaling_knots).map(|n| model.sigma_max * (n as f64 / last).powi(2));
    let scaling = Spline::new(levels.collect(), vec![0.0; model.scaling_knots])?;
    let channels = if model.shared { 1 } else { model.filters };
    Ok(Ridge {
        bank: FilterBank::new(layers.collect::<Result<_>>()?)?,
        activations: vec![activation; channels],
        scaling: Scaling {
            log: vec![scaling; model.filters],
            epsilon: EPSILON,
        },
        slope_bounds: (0.0 - model.rho, model.mu),
        sigma_range: (0.0, model.sigma_max),
        norm_squared: 1.0,
        norm_kind: NormKind::Estimate,
        border: Border::Zero,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trainings_start_from_a_frame_that_is_as_tight_as_their_filters_allow() {
        // Filters, their side, the largest square they fill. Sums over all shifts of one product of such a square's cosines are those
        // of an orthonormal basis without its constant: every other image of its size has the same norm before and behind them.
        for (filters, size, complete) in [(24, 7, 5), (32, 9, 5), (48, 7, 7), (60, 13, 7), (8, 3, 3)] {
            let mut config = RidgeConfig::default();
            (config.model.filters, config.model.size) = (filters, size);
            let model = start_model(&config).unwrap();
            let layer = &model.bank.layers()[0];
            let taps = size * size;
            let (mut gram, mut fresh) = (vec![0.0; taps * taps], 0.0_f64);
            for (number, filter) in layer.weights.chunks(taps).enumerate() {
                let filter: Vec<f64> = filter.iter().map(|w| f64::from(*w)).collect();
                assert!(filter.iter().sum::<f64>().abs() < 1e-6, "filter {number} has a mean");
                if number < complete * complete - 1 {
                    for (n, entry) in gram.iter_mut().enumerate() {
                        *entry += filter[n / taps] * filter[n % taps];
                    }
                } else {
                    fresh = fresh.max(filter.iter().map(|w| w * w).sum::<f64>().sqrt());
                }
            }
            let margin = (size - complete) / 2;
            let inside = |n: usize| {
                [n / size, n % size]
                    .iter()
                    .all(|i| (margin..margin + complete).contains(i))
            };
            let mean = 1.0 / (complete * complete) as f64;
            for (n, entry) in gram.iter().enumerate() {
                let (row, col) = (n / taps, n % taps);
                let want = match inside(row) && inside(col) {
                    true => f64::from(u8::from(row == col)) - mean,
                    false => 0.0,
                };
                assert!(
                    (entry - want).abs() < 1e-6,
                    "{filters} of {size}: {entry} at {row}, {col}, want {want}"
                );
            }
            assert!(fresh < 1.001 * config.model.fresh && (fresh > 0.0) == (filters > complete * complete - 1));
        }
    }

    #[test]
    fn knots_of_scalings_are_dense_where_there_is_little_noise() {
        let mut config = RidgeConfig::default();
        (config.model.scaling_knots, config.model.sigma_max) = (5, 0.16);
        let model = start_model(&config).unwrap();
        for log in &model.scaling.log {
            let pairs = log.knots().iter().zip([0.0, 0.01, 0.04, 0.09, 0.16]);
            assert!(log.len() == 5 && pairs.into_iter().all(|(knot, want)| (knot - want).abs() < 1e-12));
        }
    }

    #[test]
    fn a_bank_without_a_complete_square_starts_from_its_lowest_frequencies() {
        assert_eq!(cosines(3, 5), [[3, 0, 1], [3, 1, 0], [3, 1, 1]]);
    }
}
