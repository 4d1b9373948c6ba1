//! The shape of a network and where an ensemble keeps its parameters.

use crate::{Error, Result};

/// Widest layer: four matrices of this side fill the workgroup memory that every adapter has.
const MAX_WIDTH: usize = 32;

/// Units per layer, input first: `[1, 10, 10, 10, 1]` is a network of four affine layers and three layers of activations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Architecture {
    widths: Vec<usize>,
}

impl Architecture {
    /// A network with these widths.
    ///
    /// # Errors
    /// [`Error::Usage`] without a hidden layer, with another number of outputs than 1, or a width outside 1..=32.
    pub fn new(widths: &[usize]) -> Result<Self> {
        if widths.len() < 3 || widths[widths.len() - 1] != 1 {
            return Err(Error::Usage(format!(
                "a network needs an input, at least one hidden layer and 1 output, but the widths are {widths:?}"
            )));
        }
        if let Some(width) = widths.iter().find(|w| !(1..=MAX_WIDTH).contains(*w)) {
            return Err(Error::Usage(format!(
                "a layer of {width} units does not fit; use 1 to {MAX_WIDTH}"
            )));
        }
        Ok(Self {
            widths: widths.to_vec(),
        })
    }

    /// Units per layer, input first.
    pub fn widths(&self) -> &[usize] {
        &self.widths
    }

    /// Number of affine layers.
    pub fn layers(&self) -> usize {
        self.widths.len() - 1
    }

    /// `(outputs, inputs)` of affine layer `layer`.
    pub fn matrix(&self, layer: usize) -> (usize, usize) {
        (self.widths[layer + 1], self.widths[layer])
    }

    /// Units of all layers, input and output included.
    pub fn units(&self) -> usize {
        self.widths.iter().sum()
    }

    /// Activations, the hidden units.
    pub fn splines(&self) -> usize {
        self.units() - self.widths[0] - 1
    }

    /// Weights and biases.
    pub fn dense(&self) -> usize {
        self.biases(self.layers())
    }

    /// First unit of layer `layer` (0: the input).
    pub fn unit(&self, layer: usize) -> usize {
        self.widths[..layer].iter().sum()
    }

    /// Where the weights of affine layer `layer` start among a member's dense parameters, row by row.
    pub fn weights(&self, layer: usize) -> usize {
        (0..layer).map(|l| self.widths[l] * self.widths[l + 1]).sum()
    }

    /// Where its biases start there: behind the weights of all layers.
    pub fn biases(&self, layer: usize) -> usize {
        self.weights(self.layers()) + self.widths[1..=layer].iter().sum::<usize>()
    }
}

/// Where the parameters of `members` networks with room for `slots` knots per spline lie in one array:
/// (member, weights and biases), then nodal values (member, spline, slot), then scalings (member, spline).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The shape of each.
    pub architecture: Architecture,
    /// How many networks.
    pub members: usize,
    /// Room for knots per spline.
    pub slots: usize,
}

impl Layout {
    /// Splines of all members.
    pub fn splines(&self) -> usize {
        self.members * self.architecture.splines()
    }

    /// Where the nodal values of spline `spline` (of all members) start; with [`Self::splines`], where they end.
    pub fn values(&self, spline: usize) -> usize {
        self.members * self.architecture.dense() + spline * self.slots
    }

    /// Where the scaling of spline `spline` is.
    pub fn alpha(&self, spline: usize) -> usize {
        self.values(self.splines()) + spline
    }

    /// Parameters of all members.
    #[allow(clippy::len_without_is_empty, reason = "an ensemble has parameters")]
    pub fn len(&self) -> usize {
        self.alpha(self.splines())
    }
}
