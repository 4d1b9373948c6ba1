//! A trained network and what is guaranteed about it.

use super::architecture::Architecture;
use crate::filters::norm::matrix_bound;
use crate::spline::{SlopeBounds, Spline, rounded_inside};
use crate::{Error, Result};

/// Attempts at rounding something to the inside of its bound.
const ROUNDS: usize = 8;

/// A network as it is evaluated: weights, biases, activations and scalings.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    architecture: Architecture,
    weights: Vec<f64>,
    biases: Vec<f64>,
    activations: Vec<Spline>,
    scalings: Vec<f64>,
}

/// Constants of a network, each an upper bound that holds for the stored numbers, computed in f64.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Certificate {
    /// `|W_l|` per layer.
    pub norms: Vec<f64>,
    /// Smallest and largest slope of the activations per hidden layer.
    pub slopes: Vec<(f64, f64)>,
    /// Product of the norms and of the largest absolute slopes: a Lipschitz constant of the network.
    pub lipschitz: f64,
}

impl Network {
    /// A network from its parts: weights row by row and layer by layer, biases, activations and scalings unit by unit.
    ///
    /// # Errors
    /// [`Error::Data`] for a wrong number of any of them, or a number that is not finite, or a scaling of 0.
    pub fn new(
        architecture: Architecture,
        weights: Vec<f64>,
        biases: Vec<f64>,
        activations: Vec<Spline>,
        scalings: Vec<f64>,
    ) -> Result<Self> {
        let first = architecture.biases(0);
        let splines = architecture.splines();
        let lengths = [weights.len(), biases.len(), activations.len(), scalings.len()];
        if lengths != [first, architecture.dense() - first, splines, splines] {
            return Err(Error::Data(format!(
                "{lengths:?} weights, biases, activations and scalings do not make a network {:?}",
                architecture.widths()
            )));
        }
        if weights.iter().chain(&biases).chain(&scalings).any(|v| !v.is_finite()) || scalings.contains(&0.0) {
            return Err(Error::Data(
                "a network's weights, biases and scalings must be finite, scalings not 0".into(),
            ));
        }
        Ok(Self {
            architecture,
            weights,
            biases,
            activations,
            scalings,
        })
    }

    /// The shape.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// `W_l`, row by row.
    pub fn weights(&self, layer: usize) -> &[f64] {
        let (rows, columns) = self.architecture.matrix(layer);
        let first = self.architecture.weights(layer);
        &self.weights[first..first + rows * columns]
    }

    /// `b_l`.
    pub fn biases(&self, layer: usize) -> &[f64] {
        let first = self.architecture.biases(layer) - self.architecture.biases(0);
        &self.biases[first..first + self.architecture.matrix(layer).0]
    }

    /// The activations of all hidden units in order.
    pub fn activations(&self) -> &[Spline] {
        &self.activations
    }

    /// `alpha` of all hidden units in order.
    pub fn scalings(&self) -> &[f64] {
        &self.scalings
    }

    /// The nearest network that f32 holds and whose norms are at most 1 and slopes inside `bounds` as f64 computes them:
    /// rounding on the device may leave them a few units in the last place outside, which the stored network must not be.
    /// Weights are divided by the excess of their bound; values are moved from knot to knot by units in the last place.
    ///
    /// # Errors
    /// [`Error::Data`] if `bounds` leave no room for rounding: a slope that f32 values cannot have at these knots.
    pub fn certified(mut self, bounds: &SlopeBounds) -> Result<Self> {
        for layer in 0..self.architecture.layers() {
            let (rows, columns) = self.architecture.matrix(layer);
            let first = self.architecture.weights(layer);
            let weights = &mut self.weights[first..first + rows * columns];
            // Rounding the quotients may exceed the bound again, by less each time.
            for _ in 0..ROUNDS {
                let bound = matrix_bound(weights, columns);
                if bound <= 1.0 {
                    break;
                }
                let divisor = bound * (1.0 + f64::from(f32::EPSILON));
                for w in weights.iter_mut() {
                    *w = f64::from((*w / divisor) as f32);
                }
            }
        }
        for activation in &mut self.activations {
            *activation = rounded_inside(activation, bounds)?;
        }
        Ok(self)
    }

    /// Its constants.
    pub fn certificate(&self) -> Certificate {
        let widths = self.architecture.widths();
        let norms: Vec<f64> = (0..self.architecture.layers())
            .map(|layer| matrix_bound(self.weights(layer), widths[layer]))
            .collect();
        let mut slopes = Vec::new();
        let mut rest = self.activations.as_slice();
        for &width in &widths[1..widths.len() - 1] {
            let (own, others) = rest.split_at(width);
            slopes.push(own.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), s| {
                let (a, b) = s.slope_range();
                (low.min(a), high.max(b))
            }));
            rest = others;
        }
        let steepest: f64 = slopes.iter().map(|(low, high)| high.max(-low)).product();
        Certificate {
            lipschitz: norms.iter().product::<f64>() * steepest,
            norms,
            slopes,
        }
    }

    /// Knots of the activation with the most.
    pub fn most_knots(&self) -> usize {
        self.activations.iter().map(Spline::len).max().unwrap_or_default()
    }
}
