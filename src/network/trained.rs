//! A trained network and what is guaranteed about it.

use nalgebra::DMatrix;

use super::architecture::Architecture;
use crate::spline::{SlopeBounds, Spline};
use crate::{Error, Result};

/// Squarings of the Gram matrix: the bound is then within a factor `n^(2^-25)` of the norm, far below rounding in f32.
const SQUARINGS: i32 = 24;

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
                let bound = norm_bound(weights, columns);
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
            .map(|layer| norm_bound(self.weights(layer), widths[layer]))
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

/// The spline with values that f32 holds and slopes inside the bounds, each value within about one unit in the last place of
/// the one before plus the increment of `spline`.
pub(crate) fn rounded_inside(spline: &Spline, bounds: &SlopeBounds) -> Result<Spline> {
    let (t, f) = (spline.knots(), spline.values());
    let mut values = vec![f64::from(f[0] as f32)];
    for n in 0..t.len() - 1 {
        let h = t[n + 1] - t[n];
        let inside = values[n] + h * bounds.clip((f[n + 1] - f[n]) / h);
        let mut value = inside as f32;
        for _ in 0..ROUNDS {
            let slope = (f64::from(value) - values[n]) / h;
            if slope > bounds.max() {
                value = value.next_down();
            } else if slope < bounds.min() {
                value = value.next_up();
            }
        }
        values.push(f64::from(value));
    }
    let rounded = Spline::new(t.to_vec(), values)?;
    match bounds.violation(&rounded) {
        None => Ok(rounded),
        Some(violation) => Err(Error::Data(format!(
            "values in f32 cannot have slopes inside the bounds at these knots: {violation:?}"
        ))),
    }
}

/// An upper bound of the largest singular value of a matrix given row by row.
///
/// With the Gram matrix `G` of its shorter side (n x n, positive semidefinite), `|W|^2 = lambda_max(G) <=
/// |G^(2^k)|_F^(1 / 2^k)`, too large by at most the factor `n^(1 / 2^(k+1))`. G is squared and rescaled k times. A computed
/// square has an error of at most `n u |G_i|_F^2` in the Frobenius norm (u: rounding unit of f64), and `lambda_max` of the
/// scaled square is at least `1/sqrt n`, so rounding changes the bound of `lambda_max` in step i by less than the factor
/// `1 + 2 n^2 u`, which enters with the power `1 / 2^i`; the sum of these powers is below 2, doubled to be safe.
pub fn norm_bound(weights: &[f64], columns: usize) -> f64 {
    let matrix = DMatrix::from_row_slice(weights.len() / columns, columns, weights);
    let mut gram = if matrix.nrows() < columns {
        &matrix * matrix.transpose()
    } else {
        matrix.transpose() * &matrix
    };
    let mut logarithm = 0.0;
    for squaring in 0..=SQUARINGS {
        let size = gram.norm();
        if size == 0.0 {
            return 0.0;
        }
        logarithm += size.ln() * 0.5_f64.powi(squaring);
        gram /= size;
        if squaring < SQUARINGS {
            gram = &gram * &gram;
        }
    }
    let n = matrix.nrows().max(columns) as f64;
    let rounding = 8.0 * n * n * f64::EPSILON;
    // What the sum of logarithms loses is of the order of their own rounding.
    (0.5 * logarithm).exp() * (1.0 + rounding + 64.0 * f64::EPSILON)
}
