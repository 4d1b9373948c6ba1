//! The weights of a filter bank on the host.

use crate::{Error, Result};

/// One convolution layer: `size` x `size` filters, zero padding, no bias.
///
/// `y[o](r, q) = sum_i sum_ky sum_kx w[o][i][ky][kx] x[i](r + ky - size/2, q + kx - size/2)` (a correlation, as deep
/// learning frameworks have it), with `x = 0` outside the image.
#[derive(Clone, Debug, PartialEq)]
pub struct ConvLayer {
    /// Planes read.
    pub inputs: usize,
    /// Planes written.
    pub outputs: usize,
    /// Side of the square filters, odd.
    pub size: usize,
    /// Weights in the order (output, input, row, column).
    pub weights: Vec<f32>,
}

impl ConvLayer {
    /// A checked layer.
    ///
    /// # Errors
    /// [`Error::Data`] for an even or zero size, a count that does not match, or a non-finite weight.
    pub fn new(inputs: usize, outputs: usize, size: usize, weights: Vec<f32>) -> Result<Self> {
        if size.is_multiple_of(2) || inputs == 0 || outputs == 0 {
            return Err(Error::Data(format!(
                "a layer of {outputs} x {inputs} filters of size {size}: want odd, nonzero"
            )));
        }
        if weights.len() != inputs * outputs * size * size {
            return Err(Error::Data(format!(
                "a layer of {outputs} x {inputs} x {size} x {size} filters has {} weights",
                weights.len()
            )));
        }
        if let Some(at) = weights.iter().position(|w| !w.is_finite()) {
            return Err(Error::Data(format!("filter weight {at} is not finite")));
        }
        Ok(Self {
            inputs,
            outputs,
            size,
            weights,
        })
    }

    /// Weight from plane `input` to plane `output` at filter row `ky`, column `kx`.
    pub fn weight(&self, output: usize, input: usize, ky: usize, kx: usize) -> f32 {
        self.weights[((output * self.inputs + input) * self.size + ky) * self.size + kx]
    }

    /// The adjoint layer: planes exchanged, filters turned by half a turn. With zero padding this is the exact
    /// transpose of the layer as a matrix.
    pub fn adjoint(&self) -> Self {
        let mut weights = Vec::with_capacity(self.weights.len());
        for output in 0..self.inputs {
            for input in 0..self.outputs {
                for ky in (0..self.size).rev() {
                    for kx in (0..self.size).rev() {
                        weights.push(self.weight(input, output, ky, kx));
                    }
                }
            }
        }
        Self {
            inputs: self.outputs,
            outputs: self.inputs,
            size: self.size,
            weights,
        }
    }

    /// Pixels by which the layer looks beyond its output.
    pub fn radius(&self) -> usize {
        self.size / 2
    }
}

/// A composition of layers from one image plane to `channels` responses.
///
/// The number of layers is the boundary rule: several layers pad every intermediate plane with zeros (the published
/// models), one layer pads only the image. [`FilterBank::collapsed`] turns the former into the latter; away from the
/// border (by more than the first layers' radii) the two agree.
#[derive(Clone, Debug, PartialEq)]
pub struct FilterBank {
    layers: Vec<ConvLayer>,
}

impl FilterBank {
    /// A checked composition: one input plane, matching plane counts.
    ///
    /// # Errors
    /// [`Error::Data`] naming the layer that does not fit.
    pub fn new(layers: Vec<ConvLayer>) -> Result<Self> {
        let mut planes = 1;
        for (index, layer) in layers.iter().enumerate() {
            if layer.inputs != planes {
                return Err(Error::Data(format!(
                    "layer {index} reads {} planes, the one before it writes {planes}",
                    layer.inputs
                )));
            }
            planes = layer.outputs;
        }
        if layers.is_empty() {
            return Err(Error::Data("a filter bank needs a layer".into()));
        }
        Ok(Self { layers })
    }

    /// The layers, first to last.
    pub fn layers(&self) -> &[ConvLayer] {
        &self.layers
    }

    /// Number of responses.
    pub fn channels(&self) -> usize {
        self.layers.last().map_or(0, |l| l.outputs)
    }

    /// Pixels by which a response looks beyond its position.
    pub fn radius(&self) -> usize {
        self.layers.iter().map(ConvLayer::radius).sum()
    }

    /// The bank with every response multiplied by `factor`.
    pub fn scaled(&self, factor: f64) -> Self {
        let mut layers = self.layers.clone();
        if let Some(last) = layers.last_mut() {
            for w in &mut last.weights {
                *w = (f64::from(*w) * factor) as f32;
            }
        }
        Self { layers }
    }

    /// The effective filters as one f64 array (channel, row, column) of side `2 radius + 1`: the response to a unit
    /// impulse far from any border, turned by half a turn.
    pub fn effective_filters(&self) -> Vec<f64> {
        let side = 2 * self.radius() + 1;
        // Composition of correlations: the filters convolve. Start from the unit filter.
        let mut planes = vec![vec![0.0_f64; side * side]];
        let mut radius = 0;
        let centre = side / 2;
        planes[0][centre * side + centre] = 1.0;
        for layer in &self.layers {
            let reach = layer.radius();
            planes = (0..layer.outputs)
                .map(|output| {
                    let mut sum = vec![0.0; side * side];
                    for (input, plane) in planes.iter().enumerate() {
                        for ky in 0..layer.size {
                            for kx in 0..layer.size {
                                let w = f64::from(layer.weight(output, input, ky, kx));
                                for row in centre - radius..=centre + radius {
                                    for col in centre - radius..=centre + radius {
                                        sum[(row + ky - reach) * side + col + kx - reach] +=
                                            w * plane[row * side + col];
                                    }
                                }
                            }
                        }
                    }
                    sum
                })
                .collect();
            radius += reach;
        }
        planes.concat()
    }

    /// The same filters as one layer, which pads only the image with zeros.
    ///
    /// # Errors
    /// [`Error::Data`] if the composition overflows f32.
    pub fn collapsed(&self) -> Result<Self> {
        let weights = self.effective_filters().into_iter().map(|w| w as f32).collect();
        Self::new(vec![ConvLayer::new(
            1,
            self.channels(),
            2 * self.radius() + 1,
            weights,
        )?])
    }
}
