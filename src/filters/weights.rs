//! The weights of a bank in the order in which launches read them.
//!
//! The canonical order is (layer, output, input, row, column). [`PackedBank`] holds, for every layer and its adjoint, the
//! blocks of weights that the launches of their plans bind. One list says what every element is made of: the host packs
//! by it, and `weights_pack.wgsl` does so after every change of trained weights.

use std::ops::Range;

use super::points::{FROM_TAPS, POINTS, PackedWeight, SEGMENT, segments};
use super::{ConvLayer, ConvPlan};
use crate::Result;
use crate::gpu::{Bound, Buffer, Gpu, KernelStyle, Recorder};

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

    /// Whether a single launch sums all source planes of an output.
    pub fn in_one_pass(&self) -> bool {
        self.plan.passes == 1
    }

    /// Lays a layer out behind `sources`; `canonical` gives the index of a weight (output, input, row, column) of it.
    ///
    /// Launches come in the order (pass, launch); each has, for every group and source plane, or planes held at a time, what
    /// `lib/conv.wgsl` or `lib/conv_points.wgsl` says; these are padded to whole vec4s and launches to a binding offset.
    pub(super) fn lay_out(
        gpu: &Gpu,
        plan: &ConvPlan,
        shape: LayerShape,
        sources: &mut Vec<PackedWeight>,
        canonical: impl Fn(usize, usize, usize, usize) -> usize,
    ) -> Self {
        let alignment = gpu.limits().min_uniform_buffer_offset_alignment as usize / 4;
        let block = plan.weights_per_launch(shape.size).next_multiple_of(alignment);
        let first = sources.len();
        let at_once = plan.held.unwrap_or(1);
        for pass in 0..plan.passes {
            for launch in 0..plan.launches {
                let start = sources.len();
                for group in launch * plan.groups..(launch + 1) * plan.groups {
                    for trip in 0..plan.planes / at_once {
                        let filters = group * plan.co..(group + 1) * plan.co;
                        let plane = pass * plan.planes + trip * at_once;
                        match plan.held {
                            Some(held) => points(shape.size, filters, plane..plane + held, sources, &canonical),
                            None => taps(shape.size, filters, plane, sources, &canonical),
                        }
                        sources.resize(sources.len().next_multiple_of(4), PackedWeight::PADDING);
                    }
                }
                sources.resize(start + block, PackedWeight::PADDING);
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

/// (c, tap) but for the last tap, then the last taps (c), taps row by row.
fn taps(
    size: usize,
    filters: Range<usize>,
    plane: usize,
    sources: &mut Vec<PackedWeight>,
    canonical: &impl Fn(usize, usize, usize, usize) -> usize,
) {
    let last = size * size - 1;
    let of = |c, tap| PackedWeight::plain(canonical(c, plane, tap / size, tap % size));
    sources.extend(filters.clone().flat_map(|c| (0..last).map(move |tap| of(c, tap))));
    sources.extend(filters.map(|c| of(c, last)));
}

/// (c, point, tap) but for the taps behind the last whole quad, then (c, tap, point) of these; taps go by plane, segment and filter row.
fn points(
    size: usize,
    filters: Range<usize>,
    planes: Range<usize>,
    sources: &mut Vec<PackedWeight>,
    canonical: &impl Fn(usize, usize, usize, usize) -> usize,
) {
    let per_plane = segments(size) * size;
    let (count, quads) = (planes.len() * per_plane, planes.len() * per_plane / 4 * 4);
    let of = |c: usize, point: usize, tap: usize| {
        let (plane, column, ky) = (
            planes.start + tap / per_plane,
            tap % per_plane / size * SEGMENT,
            tap % size,
        );
        let taps = SEGMENT.min(size - column);
        let [first, last] = [column, column + taps - 1].map(|kx| canonical(c, plane, ky, kx));
        PackedWeight::at_point(point, first, taps, last < first)
    };
    for c in filters.clone() {
        sources.extend((0..POINTS).flat_map(|point| (0..quads).map(move |tap| of(c, point, tap))));
    }
    for c in filters {
        sources.extend((quads..count).flat_map(|tap| (0..POINTS).map(move |point| of(c, point, tap))));
    }
}

/// The packed form of `weights` in canonical order.
pub(super) fn pack(sources: &[PackedWeight], weights: &[f32]) -> Vec<f32> {
    sources.iter().map(|s| s.of(weights)).collect()
}

/// The weights of layers and of their adjoints, packed for one style.
#[derive(Debug)]
pub struct PackedBank {
    style: KernelStyle,
    buffer: Buffer,
    sources: Vec<PackedWeight>,
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

    /// Elements of [`Self::buffer`] that are used.
    pub fn elements(&self) -> usize {
        self.sources.len()
    }

    /// What makes the packed weights anew from those in `weights`, canonical order, on the device.
    ///
    /// # Errors
    /// Device errors.
    pub(crate) fn packer(&self, gpu: &Gpu, weights: &Buffer) -> Result<Packer> {
        let sources = gpu.upload("weight sources", &self.sources)?;
        let g = gpu.upload(
            "points of taps",
            FROM_TAPS
                .as_flattened()
                .iter()
                .map(|g| *g as f32)
                .collect::<Vec<_>>()
                .as_slice(),
        )?;
        let memory = [
            ("weights", weights.into()),
            ("g", (&g).into()),
            ("sources", (&sources).into()),
            ("packed", (&self.buffer).into()),
        ];
        let kernel = gpu.kernel("weights_pack", &[])?.bind(gpu, &memory)?;
        let groups = (self.sources.len() as u32).div_ceil(64);
        Ok(Packer { kernel, groups })
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

/// The kernel that packs the weights of a [`PackedBank`] anew.
#[derive(Debug)]
pub(crate) struct Packer {
    kernel: Bound,
    groups: u32,
}

impl Packer {
    /// Records it.
    pub fn record(&self, recorder: &mut Recorder<'_>) {
        recorder.dispatch(&self.kernel, [self.groups, 1, 1], 0);
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
