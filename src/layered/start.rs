//! The network with which a training starts: the identity, up to a little noise that tells equal channels apart.

use super::config::{ActivationKind, Kind, LayeredConfig};
use super::model::{Architecture, Layered};
use crate::Result;
use crate::filters::ConvLayer;
use crate::io::noise;
use crate::spline::Spline;

/// Standard deviation of the noise on the inner filters.
const NOISE: f32 = 1e-3;
/// Blur kernels end after so many standard deviations.
const REACH: f64 = 2.5;

/// A denoiser: cosines, a tight frame with `W' W = Id` exactly, then the identity from layer to layer, then the frame's adjoint.
/// Steps of an unrolled network: the frame and its adjoint. Splines start as the identity, with knots that are denser at 0;
/// the others too, as far as shifts can keep responses on their positive side.
///
/// # Errors
/// As [`LayeredConfig::check`].
pub fn start_model(config: &LayeredConfig) -> Result<Layered> {
    config.check()?;
    let net = &config.network;
    let (channels, size) = (net.channels, net.size);
    let frame = frame(channels, size)?;
    let mut filters = Vec::new();
    let architecture = match net.kind {
        Kind::Denoiser => {
            filters.push(frame.clone());
            for layer in 1..net.depth - 1 {
                filters.push(nearly_identity(config.data.seed, layer as u64, channels, size)?);
            }
            filters.push(frame.adjoint());
            Architecture::Denoiser {
                averaging: net.averaging,
            }
        }
        Kind::Unrolled => {
            let layers = if net.tied { 1 } else { net.depth };
            for layer in 0..layers {
                let mut own = frame.clone();
                let noise = noise::gaussian(config.data.seed, 1 << 32 | layer as u64, own.weights.len());
                own.weights.iter_mut().zip(noise).for_each(|(w, n)| *w += NOISE * n);
                filters.push(own);
            }
            Architecture::Unrolled {
                steps: net.depth,
                step: net.step,
                blur: gaussian(net.blur),
            }
        }
    };
    let sets = filters.len() - usize::from(net.kind == Kind::Denoiser);
    let activation = activation(config)?;
    // Responses of the first layer but the means, which are positive anyway, are lifted above the kink by the standard deviation
    // of the noise in them: nearly the identity, yet not so far that training would have to find the kink first.
    let lifted = net.activation != ActivationKind::Spline;
    let shift = |set: usize, channel: usize| {
        if lifted && set == 0 && !channel.is_multiple_of(size * size) {
            (config.sigma() / size as f64) as f32
        } else {
            0.0
        }
    };
    Ok(Layered {
        name: config.name.clone(),
        architecture,
        filters,
        shifts: (0..sets)
            .map(|set| (0..channels).map(|c| shift(set, c)).collect())
            .collect(),
        activations: vec![vec![activation; channels]; sets],
        scalings: vec![vec![1.0; channels]; sets],
        slope_bounds: net.slope_bounds(),
        sigma: config.sigma(),
        provenance: serde_json::json!({ "trained": false }),
    })
}

/// `channels` filters from the cosine basis of `size` x `size` pixels, every one of it at least once, weighted so that
/// `sum_c w_c(k) w_c(k') = delta / size^2`: the frame is tight with bound 1.
fn frame(channels: usize, size: usize) -> Result<ConvLayer> {
    let basis = size * size;
    let cosine = |frequency: usize, position: usize| {
        let scale = if frequency == 0 { 1.0 } else { std::f64::consts::SQRT_2 };
        let angle = std::f64::consts::PI * (position as f64 + 0.5) * frequency as f64 / size as f64;
        scale * angle.cos() / (size as f64).sqrt()
    };
    let weight = |channel: usize, tap: usize| {
        let index = channel % basis;
        let copies = (channels - index).div_ceil(basis) as f64;
        let value = cosine(index / size, tap / size) * cosine(index % size, tap % size);
        (value / copies.sqrt() / size as f64) as f32
    };
    let weights = (0..channels * basis).map(|n| weight(n / basis, n % basis)).collect();
    ConvLayer::new(1, channels, size, weights)
}

fn nearly_identity(seed: u64, layer: u64, channels: usize, size: usize) -> Result<ConvLayer> {
    let taps = size * size;
    let mut weights: Vec<f32> = noise::gaussian(seed, 1 << 32 | layer, channels * channels * taps)
        .into_iter()
        .map(|n| NOISE * n)
        .collect();
    for channel in 0..channels {
        weights[(channel * channels + channel) * taps + taps / 2] += 1.0;
    }
    ConvLayer::new(channels, channels, size, weights)
}

fn activation(config: &LayeredConfig) -> Result<Spline> {
    let net = &config.network;
    let corner = |left: f64| Spline::new(vec![-1.0, 0.0, 1.0], vec![-left, 0.0, 1.0]);
    match net.activation {
        ActivationKind::Relu => corner(0.0),
        ActivationKind::Prelu => corner(1.0),
        ActivationKind::Abs => corner(-1.0),
        ActivationKind::Spline => {
            let half = (net.start_knots / 2) as i64;
            let knot = |n: i64| {
                let part = n as f64 / half as f64;
                f64::from((net.range * part * part.abs()) as f32)
            };
            let knots: Vec<f64> = (-half..=half).map(knot).collect();
            Spline::new(knots.clone(), knots)
        }
    }
}

/// A sampled Gaussian of this standard deviation with sum 1, row by row; empty for 0.
fn gaussian(deviation: f64) -> Vec<f64> {
    if deviation == 0.0 {
        return Vec::new();
    }
    let radius = (REACH * deviation).ceil() as i64;
    let line: Vec<f64> = (-radius..=radius)
        .map(|x| (-0.5 * (x as f64 / deviation).powi(2)).exp())
        .collect();
    let sum: f64 = line.iter().sum();
    line.iter()
        .flat_map(|y| line.iter().map(move |x| x * y / (sum * sum)))
        .collect()
}
