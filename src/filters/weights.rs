//! The weights of a bank in the order in which launches read them.
//!
//! The canonical order is (layer, output, input, row, column). [`PackedBank`] holds, for every layer and its adjoint, the
//! blocks of weights that the launches of their plans bind. One list says which canonical weight goes where: the host packs
//! by it, and `weights_pack.wgsl` does so after every change of trained weights.

use super::{ConvLayer, ConvPlan};
use crate::Result;
use crate::gpu::{Buffer, Gpu, KernelStyle};

/// Shape of a layer: planes read, planes written, side of the filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerShape {
    /// Planes read.
    pub inputs: usize,
    /// Planes written.
    pub outputs: usize,
    /// Side of the square filters, odd.
    pub size: usize,
}

impl LayerShape {
    /// Number of weights.
    pub fn weights(&self) -> usize {
        self.inputs * self.outputs * self.size * self.size
    }

    /// Index of a weight in the order (output, input, row, column).
    pub fn index(&self, output: usize, input: usize, ky: usize, kx: usize) -> usize {
        ((output * self.inputs + input) * self.size + ky) * self.size + kx
    }

    /// The shape of the adjoint layer.
    pub fn adjoint(&self) -> Self {
        Self {
            inputs: self.outputs,
            outputs: self.inputs,
            size: self.size,
        }
    }
}

/// Stands in a list of sources where a launch's block is padded with zeros.
const PADDING: u32 = u32::MAX;

/// A layer, or the adjoint of one, and where in a buffer the weights of its launches lie.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PackedLayer {
    pub(super) shape: LayerShape,
    pub(super) plan: ConvPlan,
    /// First element of the first launch's weights.
    pub(super) first: usize,
    /// Elements from launch to launch.
    pub(super) block: usize,
}

impl PackedLayer {
    /// Planes read.
    pub fn inputs(&self) -> usize {
        self.shape.inputs
    }

    /// Lays a layer out behind `sources`; `canonical` gives the index of a weight (output, input, row, column) of it.
    ///
    /// Launches come in the order (pass, launch); each has, for every group and source plane, (c, tap) but for the last tap, then the
    /// last taps (c), taps row by row; planes are padded to whole vec4s and launches to a binding offset.
    pub(super) fn lay_out(
        gpu: &Gpu,
        plan: &ConvPlan,
        shape: LayerShape,
        sources: &mut Vec<u32>,
        canonical: impl Fn(usize, usize, usize, usize) -> usize,
    ) -> Self {
        let alignment = gpu.limits().min_uniform_buffer_offset_alignment as usize / 4;
        let block = plan.weights_per_launch(shape.size).next_multiple_of(alignment);
        let first = sources.len();
        for pass in 0..plan.passes {
            for launch in 0..plan.launches {
                let start = sources.len();
                let groups = launch * plan.groups..(launch + 1) * plan.groups;
                let planes = pass * plan.planes..(pass + 1) * plan.planes;
                for (group, plane) in groups.flat_map(|g| planes.clone().map(move |p| (g, p))) {
                    let last = shape.size * shape.size - 1;
                    let filters = group * plan.co..(group + 1) * plan.co;
                    let of = |c, tap| canonical(c, plane, tap / shape.size, tap % shape.size) as u32;
                    sources.extend(filters.clone().flat_map(|c| (0..last).map(move |tap| of(c, tap))));
                    sources.extend(filters.map(|c| of(c, last)));
                    sources.resize(sources.len().next_multiple_of(4), PADDING);
                }
                sources.resize(start + block, PADDING);
            }
        }
        Self {
            shape,
            plan: *plan,
            first,
            block,
        }
    }
}

/// The packed form of `weights` in canonical order.
pub(super) fn pack(sources: &[u32], weights: &[f32]) -> Vec<f32> {
    let of = |s: &u32| weights.get(*s as usize).copied().unwrap_or(0.0);
    sources.iter().map(of).collect()
}

/// The weights of layers and of their adjoints, packed for one style.
#[derive(Debug)]
pub struct PackedBank {
    style: KernelStyle,
    buffer: Buffer,
    sources: Vec<u32>,
    forward: Vec<PackedLayer>,
    adjoint: Vec<PackedLayer>,
}

impl PackedBank {
    /// Packs the weights of `layers`, which need not fit each other, and uploads them.
    ///
    /// # Errors
    /// Device errors.
    pub fn new(gpu: &Gpu, layers: &[ConvLayer], style: KernelStyle) -> Result<Self> {
        let (mut sources, mut forward, mut adjoint) = (Vec::new(), Vec::new(), Vec::new());
        let mut first = 0;
        for layer in layers {
            let (shape, last) = (layer.shape(), layer.size - 1);
            let turned = shape.adjoint();
            let plan = |s: &LayerShape| ConvPlan::new(style, s.inputs, s.outputs, s.size);
            let straight = |o, i, ky, kx| first + shape.index(o, i, ky, kx);
            let transposed = |o, i, ky, kx| first + shape.index(i, o, last - ky, last - kx);
            forward.push(PackedLayer::lay_out(gpu, &plan(&shape), shape, &mut sources, straight));
            adjoint.push(PackedLayer::lay_out(
                gpu,
                &plan(&turned),
                turned,
                &mut sources,
                transposed,
            ));
            first += shape.weights();
        }
        let weights: Vec<f32> = layers.iter().flat_map(|l| l.weights.iter().copied()).collect();
        Ok(Self {
            style,
            buffer: gpu.written_uniform("weights", &pack(&sources, &weights))?,
            sources,
            forward,
            adjoint,
        })
    }

    /// The style that it is packed for.
    pub fn style(&self) -> KernelStyle {
        self.style
    }

    /// The packed weights.
    pub fn buffer(&self) -> &Buffer {
        &self.buffer
    }

    /// For every element of [`Self::buffer`] the index of its weight in canonical order, or `u32::MAX` for a zero.
    pub fn sources(&self) -> &[u32] {
        &self.sources
    }

    /// Layer `index` as packed.
    pub(crate) fn layer(&self, index: usize) -> &PackedLayer {
        &self.forward[index]
    }

    /// The adjoint of layer `index` as packed.
    pub(crate) fn adjoint(&self, index: usize) -> &PackedLayer {
        &self.adjoint[index]
    }
}

impl ConvLayer {
    /// The layer's shape.
    pub fn shape(&self) -> LayerShape {
        LayerShape {
            inputs: self.inputs,
            outputs: self.outputs,
            size: self.size,
        }
    }
}
