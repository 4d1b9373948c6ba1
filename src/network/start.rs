//! Initial parameters.

use super::architecture::Architecture;
use crate::io::noise;
use crate::spline::Spline;
use crate::{Error, Result};

/// What an activation is before training (method.md 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// The identity.
    Identity,
    /// The absolute value.
    Absolute,
    /// Half of the units of each layer the identity, half the absolute value.
    Mixed,
}

/// One network's free parameters: what is trained, before orthonormalisation and slope clipping.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Weights and biases as [`Architecture`] numbers them.
    pub dense: Vec<f32>,
    /// One spline per hidden unit.
    pub activations: Vec<Spline>,
    /// `alpha` per hidden unit.
    pub alphas: Vec<f32>,
}

impl Member {
    /// Normally distributed weights, biases uniform in `[-spread, spread]` (those of the output 0), the activations of
    /// `shape` on `knots` equidistant knots in `[-range, range]`, `alpha = 1`. The same for the same seed.
    ///
    /// # Errors
    /// [`Error::Usage`] for fewer than 3 knots or a range that is not positive.
    pub fn random(
        architecture: &Architecture,
        seed: u64,
        shape: Shape,
        knots: usize,
        range: f64,
        spread: f32,
    ) -> Result<Self> {
        if knots < 3 || !(range > 0.0 && range.is_finite()) {
            return Err(Error::Usage(format!(
                "activations need at least 3 knots and a positive range, but got {knots} knots on [-{range}, {range}]"
            )));
        }
        let first_bias = architecture.biases(0);
        let mut dense = noise::gaussian(seed, 0, first_bias);
        let biases = architecture.dense() - first_bias;
        dense.extend(noise::uniform(seed, 1, biases - 1).iter().map(|u| spread * *u as f32));
        dense.push(0.0);
        let widths = architecture.widths();
        let mut activations = Vec::new();
        for &width in &widths[1..widths.len() - 1] {
            for unit in 0..width {
                let bent = match shape {
                    Shape::Identity => false,
                    Shape::Absolute => true,
                    Shape::Mixed => unit % 2 == 1,
                };
                let line = Spline::uniform(-range, range, vec![0.0; knots])?;
                let values = line.knots().iter().map(|t| if bent { t.abs() } else { *t });
                activations.push(Spline::new(line.knots().to_vec(), values.collect())?);
            }
        }
        Ok(Self {
            dense,
            alphas: vec![1.0; activations.len()],
            activations,
        })
    }
}
