//! Passes over a network as lists of launches.

use super::parts::Parts;
use crate::filters::{ConvLayer, ConvPlan, ConvStage, Ends, Region, Texels};
use crate::gpu::{Bound, Buffer, Gpu, Recorder};
use crate::model::{Tiling, device::LoadParams};
use crate::spline::device::Pointwise;
use crate::{Result, shader_struct};

shader_struct! {
    /// Parameters of `linear_combination.wgsl`.
    pub struct CombinationParams {
        /// Elements.
        pub count: u32,
        /// Factor of the first operand.
        pub a: f32,
        /// Factor of the second.
        pub b: f32,
        /// Padding.
        pub pad0: u32,
    }
}

shader_struct! {
    /// Parameters of `plane_sums.wgsl`.
    pub struct PlaneSumParams {
        /// The planes.
        pub region: Region,
        /// Slots summed over.
        pub slots: u32,
        /// 1 to add to the sums.
        pub accumulate: u32,
        /// Padding.
        pub pad0: u32,
        /// Padding.
        pub pad1: u32,
    }
}

/// A launch, or several.
#[derive(Debug)]
pub(super) enum Op {
    /// A kernel with its workgroups and its entry of the parameters.
    Kernel(Bound, [u32; 3], usize),
    /// A convolution.
    Conv(ConvStage),
    /// Splines on responses.
    Spline(Pointwise),
}

impl Op {
    /// Records it for `slots` images.
    pub fn record(&self, recorder: &mut Recorder<'_>, slots: u32) {
        match self {
            Self::Kernel(bound, groups, entry) => recorder.dispatch(bound, *groups, *entry),
            Self::Conv(stage) => stage.record(recorder, 0, slots),
            Self::Spline(splines) => splines.record(recorder, 0, slots),
        }
    }
}

/// Launches in their order.
#[derive(Debug, Default)]
pub(super) struct Tape(pub Vec<Op>);

impl Tape {
    /// Records all of them for `slots` images.
    pub fn record(&self, recorder: &mut Recorder<'_>, slots: u32) {
        self.0.iter().for_each(|op| op.record(recorder, slots));
    }
}

/// What passes over images of one size are made from. Planes lie in frames with zeros around them ([`Self::frame`]); images
/// outside are tight, (slot, row, column).
pub(super) struct Maker<'a> {
    pub gpu: &'a Gpu,
    pub parts: &'a Parts,
    pub tiling: &'a Tiling,
    pub slots: usize,
    active: Buffer,
    widest: usize,
    texels: Texels,
}

impl<'a> Maker<'a> {
    /// For `slots` images of the size of `tiling`, whose halo is at least every radius; `widest` is the side of the largest filter.
    pub fn new(gpu: &'a Gpu, parts: &'a Parts, tiling: &'a Tiling, slots: usize) -> Result<Self> {
        let all: Vec<u32> = (0..slots as u32).collect();
        Ok(Self {
            gpu,
            parts,
            tiling,
            slots,
            active: gpu.upload("active images", &all)?,
            widest: 2 * tiling.halo + 1,
            texels: Texels::new(parts.style(), tiling.row_stride, tiling.plane_stride),
        })
    }

    /// Frames for `planes` planes per slot, all zero.
    pub fn frame(&self, label: &str, planes: usize) -> Result<Buffer> {
        let tail = ConvPlan::slack(self.tiling.row_stride, self.widest);
        self.gpu
            .buffer(label, self.slots * planes * self.tiling.plane_stride + tail)
    }

    /// The images in frames of `planes` planes.
    pub fn region(&self, planes: usize) -> Region {
        self.tiling.region(0, 0, planes)
    }

    /// From tight images to frames of one plane.
    pub fn load(&self, src: &Buffer, frame: &Buffer) -> Result<Op> {
        let width = self.tiling.width as u32;
        let params = self.gpu.params(&[LoadParams {
            dst: self.region(1),
            src_first: 0,
            src_row_stride: width,
            src_image_stride: (self.tiling.height * self.tiling.width) as u32,
            pad0: 0,
        }])?;
        let memory = [
            ("params", params.binding()),
            ("active_images", (&self.active).into()),
            ("src", src.into()),
            ("dst", frame.into()),
        ];
        let bound = self.gpu.kernel("tile_load", &[])?.bind(self.gpu, &memory)?;
        let groups = [
            width.div_ceil(16),
            (self.tiling.height as u32).div_ceil(16),
            self.slots as u32,
        ];
        Ok(Op::Kernel(bound, groups, 0))
    }

    /// Layer `index`, or with `adjoint` its adjoint, from frames to frames.
    pub fn conv(&self, index: usize, adjoint: bool, src: &Buffer, dst: &Buffer) -> Result<Op> {
        let (inputs, outputs) = self.planes(index, adjoint);
        self.stage(index, adjoint, src, dst, (self.region(inputs), self.region(outputs)))
    }

    /// The same into tight images; the result has one plane.
    pub fn conv_out(&self, index: usize, adjoint: bool, src: &Buffer, dst: &Buffer) -> Result<Op> {
        let (inputs, _) = self.planes(index, adjoint);
        self.stage(index, adjoint, src, dst, (self.region(inputs), self.tiling.in_image(0)))
    }

    fn planes(&self, index: usize, adjoint: bool) -> (usize, usize) {
        let layer = &self.parts.layers()[index];
        if adjoint {
            (layer.outputs, layer.inputs)
        } else {
            (layer.inputs, layer.outputs)
        }
    }

    fn stage(&self, index: usize, adjoint: bool, src: &Buffer, dst: &Buffer, tile: (Region, Region)) -> Result<Op> {
        let packed = self.parts.packed();
        let layer = if adjoint {
            packed.adjoint(index)
        } else {
            packed.layer(index)
        };
        let (inputs, _) = self.planes(index, adjoint);
        let texels = self.texels.of(self.gpu, self.slots * inputs)?;
        let texels = texels.as_ref();
        let stage = ConvStage::with_weights(
            self.gpu,
            layer,
            packed.buffer(),
            Ends {
                src,
                dst,
                texels,
                proximal: None,
            },
            &[tile],
        )?;
        Ok(Op::Conv(stage))
    }

    /// A constant layer from one plane to one, frames to frames.
    pub fn blur(&self, layer: &ConvLayer, src: &Buffer, dst: &Buffer) -> Result<Op> {
        let plan = ConvPlan::new(self.parts.style(), 1, 1, layer.size);
        let tile = (self.region(1), self.region(1));
        let texels = self.texels.of(self.gpu, self.slots)?;
        Ok(Op::Conv(ConvStage::new(
            self.gpu,
            &plan,
            layer,
            src,
            dst,
            &[tile],
            texels.as_ref(),
        )?))
    }

    /// The shifts of set `set` added to `u`, in place.
    pub fn shift(&self, set: usize, u: &Buffer) -> Result<Op> {
        let channels = self.parts.banks()[set].channels();
        let region = self.region(channels);
        let params = self.gpu.params(&[region])?;
        let (first, count) = self.parts.range(set);
        let memory = [
            ("params", params.binding()),
            ("shifts", self.parts.shifts().slice(first, count).into()),
            ("u", u.into()),
        ];
        let kernel = self.gpu.kernel("plane_shift", &[("CHANNELS", channels as u32)])?;
        let bound = kernel.bind(self.gpu, &memory)?;
        let groups = bound.groups([region.cols, region.rows, (self.slots * channels) as u32]);
        Ok(Op::Kernel(bound, groups, 0))
    }

    /// `y = phi(alpha u) / alpha` of set `set`.
    pub fn activate(&self, set: usize, u: &Buffer, y: &Buffer) -> Result<Op> {
        let bank = &self.parts.banks()[set];
        let regions = [self.region(bank.channels())];
        Ok(Op::Spline(bank.forward(self.gpu, &regions, self.slots, u, y)?))
    }

    /// The same in place.
    pub fn activate_in_place(&self, set: usize, u: &Buffer) -> Result<Op> {
        let bank = &self.parts.banks()[set];
        let regions = [self.region(bank.channels())];
        Ok(Op::Spline(bank.forward_in_place(self.gpu, &regions, self.slots, u)?))
    }

    /// `v <- phi'(alpha u) v` of set `set`.
    pub fn derivative(&self, set: usize, u: &Buffer, v: &Buffer) -> Result<Op> {
        let bank = &self.parts.banks()[set];
        let regions = [self.region(bank.channels())];
        Ok(Op::Spline(bank.backward(self.gpu, &regions, self.slots, u, v)?))
    }

    /// `out = a x + b y`, element by element.
    pub fn combine(&self, a: f64, x: &Buffer, b: f64, y: &Buffer, out: &Buffer) -> Result<Op> {
        let params = self.gpu.params(&[CombinationParams {
            count: out.len() as u32,
            a: a as f32,
            b: b as f32,
            pad0: 0,
        }])?;
        let memory = [
            ("params", params.binding()),
            ("x", x.into()),
            ("y", y.into()),
            ("out", out.into()),
        ];
        let bound = self.gpu.kernel("linear_combination", &[])?.bind(self.gpu, &memory)?;
        let groups = (out.len() as u32).div_ceil(256);
        let across = groups.min(65535);
        Ok(Op::Kernel(bound, [across, groups.div_ceil(across), 1], 0))
    }

    /// The sums of the planes of `g` into the gradient of set `set`'s shifts; replaces them at entry 0, adds at entry 1.
    pub fn shift_gradient(&self, set: usize, g: &Buffer, gradient: &Buffer) -> Result<Bound> {
        let channels = self.parts.banks()[set].channels();
        let params = self.gpu.params(&[0, 1].map(|accumulate| PlaneSumParams {
            region: self.region(channels),
            slots: self.slots as u32,
            accumulate,
            ..Default::default()
        }))?;
        let (first, count) = self.parts.range(set);
        let memory = [
            ("params", params.binding()),
            ("g", g.into()),
            ("sums", gradient.slice(first, count).into()),
        ];
        self.gpu.kernel("plane_sums", &[])?.bind(self.gpu, &memory)
    }
}
