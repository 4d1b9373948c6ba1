//! The ridge regularizer on the device: energy, gradient, Hessian-vector product and Gram operator, tile by tile.

use super::ridge::Ridge;
use super::tiles::Tiling;
use crate::filters::{ConvLayer, ConvPlan, ConvStage, ConvStyle, Region};
use crate::gpu::reduce::Totals;
use crate::gpu::{Binding, Bound, Buffer, Gpu, Recorder, Work};
use crate::spline::SplineBank;
use crate::spline::device::{Activations, Pointwise, PointwiseParams};
use crate::{Error, Result, shader_struct};

shader_struct! {
    /// Parameters of `spline_energy.wgsl`.
    pub struct EnergyParams {
        /// The responses to sum over, in one chunk.
        pub walk: PointwiseParams,
        /// Index of the tile.
        pub tile: u32,
        /// Number of tiles.
        pub tiles: u32,
        /// Padding.
        pub pad0: u32,
        /// Padding.
        pub pad1: u32,
    }
}

shader_struct! {
    /// Parameters of `tile_load.wgsl`.
    pub struct LoadParams {
        /// The frame to fill.
        pub dst: Region,
        /// Index, in image 0, of the pixel under the first inside element of the frame.
        pub src_first: u32,
        /// Elements from image row to image row.
        pub src_row_stride: u32,
        /// Elements from image to image.
        pub src_image_stride: u32,
        /// Padding.
        pub pad0: u32,
    }
}

impl LoadParams {
    /// A load per pixel of the image and a store per pixel of the frame.
    fn work(&self) -> Work {
        let pixels = |rows: u32, cols: u32| u64::from(rows) * u64::from(cols);
        Work {
            bytes: 4 * (pixels(self.dst.inside_rows, self.dst.inside_cols) + pixels(self.dst.rows, self.dst.cols)),
            multiply_adds: 0,
        }
    }
}

/// How to run a model: everything but the images.
#[derive(Clone, Copy, Debug)]
pub struct RunOptions {
    /// Noise level in units of the image range.
    pub sigma: f64,
    /// How convolutions are cut; `None` chooses by adapter.
    pub style: Option<ConvStyle>,
    /// Side of the tiles; `None` takes the largest that fit.
    pub tile: Option<usize>,
}

/// Images of one size on the device and the list of those to work on.
#[derive(Debug)]
pub struct Images<'b> {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// The images that are read, (image, row, column).
    pub source: &'b Buffer,
    /// Indices of the images to work on, one u32 per slot.
    pub active: &'b Buffer,
    /// Number of slots.
    pub slots: usize,
}

/// A layer's stage or the load into the first frame.
#[derive(Debug)]
struct Load {
    bound: Bound,
    groups: Vec<[u32; 2]>,
}

/// A forward pass `W` from images to responses.
#[derive(Debug)]
struct Forward {
    load: Load,
    stages: Vec<ConvStage>,
}

impl Forward {
    fn record(&self, recorder: &mut Recorder<'_>, tile: usize, slots: u32) {
        let [x, y] = self.load.groups[tile];
        recorder.dispatch(&self.load.bound, [x, y, slots], tile);
        for stage in &self.stages {
            stage.record(recorder, tile, slots);
        }
    }

    fn kernels(&self) -> impl Iterator<Item = &Bound> {
        std::iter::once(&self.load.bound).chain(self.stages.iter().flat_map(ConvStage::bound))
    }
}

/// Invocations per workgroup of `spline_energy.wgsl`.
const ENERGY_WALKERS: u32 = 256;

/// The Hessian's extra parts: a second set of responses and the pointwise factor.
#[derive(Debug)]
struct Hessian {
    direction: Forward,
    factor: Pointwise,
    adjoint: Vec<ConvStage>,
}

/// A ridge regularizer bound to images: `gradient` receives, for slot `s`, a result for image `active[s]`.
#[derive(Debug)]
pub struct RidgeOnDevice {
    tiling: Tiling,
    channels: u32,
    forward: Forward,
    activation: Pointwise,
    adjoint: Vec<ConvStage>,
    energy: Bound,
    totals: Totals,
    hessian: Option<Hessian>,
    responses: Buffer,
}

/// What all parts of a [`RidgeOnDevice`] are made from.
struct Maker<'a> {
    gpu: &'a Gpu,
    model: &'a Ridge,
    style: ConvStyle,
    tiling: &'a Tiling,
    images: &'a Images<'a>,
    knots: Buffer,
    records: Buffer,
    longest: usize,
}

impl Maker<'_> {
    /// A frame buffer for `planes` planes per slot.
    fn frame(&self, label: &str, planes: usize) -> Result<Buffer> {
        let widest = self.model.bank.layers().iter().map(|l| l.size).max().unwrap_or(1);
        let tail = ConvPlan::slack(self.tiling.row_stride, widest);
        self.gpu
            .buffer(label, self.images.slots * planes * self.tiling.plane_stride + tail)
    }

    fn layers(&self) -> &[ConvLayer] {
        self.model.bank.layers()
    }

    /// Margin by which the output of each layer must exceed the tile: the last layer's by the bank's radius.
    fn forward_margins(&self) -> Vec<usize> {
        let mut margin = self.tiling.halo;
        self.layers()
            .iter()
            .map(|l| {
                margin -= l.radius();
                margin
            })
            .collect()
    }

    fn load(&self, source: &Buffer, frame: &Buffer) -> Result<Load> {
        let (mut params, mut groups) = (Vec::new(), Vec::new());
        let width = self.tiling.width as u32;
        for (index, tile) in self.tiling.tiles.iter().enumerate() {
            let dst = self.tiling.region(index, self.tiling.halo, 1);
            let top = (tile.top + dst.inside_top as usize).saturating_sub((dst.rows as usize - tile.rows) / 2) as u32;
            let left =
                (tile.left + dst.inside_left as usize).saturating_sub((dst.cols as usize - tile.cols) / 2) as u32;
            params.push(LoadParams {
                dst,
                src_first: top * width + left,
                src_row_stride: width,
                src_image_stride: (self.tiling.height * self.tiling.width) as u32,
                pad0: 0,
            });
            groups.push([dst.cols.div_ceil(16), dst.rows.div_ceil(16)]);
        }
        let table = self.gpu.params(&params)?;
        let memory = [
            ("params", table.binding()),
            ("active_images", self.images.active.into()),
            ("src", source.into()),
            ("dst", frame.into()),
        ];
        let work: Vec<Work> = params.iter().map(LoadParams::work).collect();
        let kernel = self.gpu.kernel("tile_load", &[])?;
        let bound = kernel.bind(self.gpu, &memory)?.with_work(Some(2), work);
        Ok(Load { bound, groups })
    }

    /// `W` from `source` through `frames` (frame i feeds layer i) to `responses`.
    fn forward(&self, source: &Buffer, frames: &[Buffer], responses: &Buffer) -> Result<Forward> {
        let load = self.load(source, &frames[0])?;
        let mut stages = Vec::new();
        for (index, (layer, margin)) in self.layers().iter().zip(self.forward_margins()).enumerate() {
            let tiles: Vec<_> = (0..self.tiling.tiles.len())
                .map(|t| {
                    (
                        self.tiling.region(t, margin, layer.inputs),
                        self.tiling.region(t, margin, layer.outputs),
                    )
                })
                .collect();
            let dst = frames.get(index + 1).unwrap_or(responses);
            let plan = ConvPlan::new(self.style, layer.inputs, layer.outputs, layer.size);
            stages.push(ConvStage::new(self.gpu, &plan, layer, &frames[index], dst, &tiles)?);
        }
        Ok(Forward { load, stages })
    }

    /// `W'` from `responses` back through `frames` to full planes in `gradient`.
    fn adjoint(&self, responses: &Buffer, frames: &[Buffer], gradient: &Buffer) -> Result<Vec<ConvStage>> {
        let mut margin = self.model.bank.radius();
        let mut stages = Vec::new();
        for (index, layer) in self.layers().iter().enumerate().rev() {
            margin -= layer.radius();
            let turned = layer.adjoint();
            let tiles: Vec<_> = (0..self.tiling.tiles.len())
                .map(|t| {
                    let source = self.tiling.region(t, margin, turned.inputs);
                    let into_frame = self.tiling.region(t, margin, turned.outputs);
                    (
                        source,
                        if index == 0 {
                            self.tiling.in_image(t)
                        } else {
                            into_frame
                        },
                    )
                })
                .collect();
            let src = frames.get(index + 1).unwrap_or(responses);
            let dst = if index == 0 { gradient } else { &frames[index] };
            let plan = ConvPlan::new(self.style, turned.inputs, turned.outputs, turned.size);
            stages.push(ConvStage::new(self.gpu, &plan, &turned, src, dst, &tiles)?);
        }
        Ok(stages)
    }

    fn splines(&self) -> Activations<'_> {
        Activations {
            table: &self.knots,
            records: &self.records,
            channels: self.model.bank.channels(),
            slots: None,
            longest: self.longest,
        }
    }

    fn pointwise(&self, name: &str, memory: &[(&str, Binding<'_>)]) -> Result<Pointwise> {
        let (radius, channels) = (self.model.bank.radius(), self.model.bank.channels());
        let regions: Vec<_> = (0..self.tiling.tiles.len())
            .map(|t| self.tiling.region(t, radius, channels))
            .collect();
        Pointwise::new(self.gpu, name, &self.splines(), &regions, self.images.slots, memory)
    }
}

impl RidgeOnDevice {
    /// Prepares `model` for `images`, writing results to `gradient` (slot, row, column); with `direction`, images
    /// indexed like the source, the Hessian-vector product too. Compiles all kernels.
    ///
    /// # Errors
    /// [`Error::Data`] if sigma is outside the model's range; device errors.
    pub fn new(
        gpu: &Gpu,
        model: &Ridge,
        options: &RunOptions,
        images: &Images<'_>,
        gradient: &Buffer,
        direction: Option<&Buffer>,
    ) -> Result<Self> {
        let alphas = model.alphas(options.sigma)?;
        let bank = SplineBank::new(&model.activations);
        let channels = model.bank.channels();
        if images.slots * channels > 65535 {
            return Err(Error::OutOfMemory(format!(
                "{} images at once are too many: use fewer",
                images.slots
            )));
        }
        let tiling = Tiling::new(&model.bank, images.height, images.width, images.slots, options.tile)?;
        let records: Vec<[u32; 4]> = alphas
            .iter()
            .enumerate()
            .map(|(c, &alpha)| {
                let (first, count) = bank.ranges[c.min(bank.ranges.len() - 1)];
                [first, count, (alpha as f32).to_bits(), ((1.0 / alpha) as f32).to_bits()]
            })
            .collect();
        let make = Maker {
            gpu,
            model,
            style: options.style.unwrap_or_else(|| ConvStyle::for_gpu(gpu)),
            tiling: &tiling,
            images,
            knots: gpu.upload("knots", &bank.entries)?,
            records: gpu.upload("channels", &records)?,
            longest: bank.longest(),
        };
        let frames = model
            .bank
            .layers()
            .iter()
            .map(|l| make.frame("frame", l.inputs))
            .collect::<Result<Vec<_>>>()?;
        let responses = make.frame("responses", channels)?;
        let forward = make.forward(images.source, &frames, &responses)?;
        let activation = make.pointwise("spline_activation", &[("u", (&responses).into())])?;
        let adjoint = make.adjoint(&responses, &frames, gradient)?;

        let tiles = tiling.tiles.len();
        let params: Vec<_> = (0..tiles)
            .map(|t| EnergyParams {
                walk: PointwiseParams::whole(tiling.region(t, 0, channels), ENERGY_WALKERS),
                tile: t as u32,
                tiles: tiles as u32,
                ..Default::default()
            })
            .collect();
        let partials = gpu.buffer("energy partials", images.slots * tiles * channels * 4)?;
        let energy = make.splines().bind(
            gpu,
            "spline_energy",
            &[],
            gpu.params(&params)?.binding(),
            &[("u", (&responses).into()), ("partials", (&partials).into())],
        )?;
        // A workgroup per channel; what it stores does not count beside what it loads.
        let work: Vec<Work> = params.iter().map(|p| p.walk.work(4) * channels as u64).collect();
        let energy = energy.with_work(Some(1), work);
        let totals = Totals::new(gpu, &partials, images.slots, tiles * channels)?;
        let hessian = match direction {
            None => None,
            Some(direction) => {
                let other = make.frame("direction responses", channels)?;
                Some(Hessian {
                    direction: make.forward(direction, &frames, &other)?,
                    factor: make.pointwise("spline_hessian", &[("u", (&responses).into()), ("v", (&other).into())])?,
                    adjoint: make.adjoint(&other, &frames, gradient)?,
                })
            }
        };
        let channels = channels as u32;
        let this = Self {
            tiling,
            channels,
            forward,
            activation,
            adjoint,
            energy,
            totals,
            hessian,
            responses,
        };
        gpu.warm_up(this.kernels())?;
        Ok(this)
    }

    fn kernels(&self) -> impl Iterator<Item = &Bound> {
        let pointwise = [self.activation.bound(), &self.energy, self.totals.bound()];
        let hessian = self.hessian.iter().map(|h| h.factor.bound());
        self.forward
            .kernels()
            .chain(self.adjoint.iter().flat_map(ConvStage::bound))
            .chain(pointwise)
            .chain(hessian)
    }

    /// The tiles in use.
    pub fn tiling(&self) -> &Tiling {
        &self.tiling
    }

    /// The responses of the tile that was last computed, (slot, channel, frame row, frame column): for inspection.
    pub fn responses(&self) -> &Buffer {
        &self.responses
    }

    /// Records `gradient[s] <- W'[phi(alpha W x) / alpha]` for the first `slots` slots.
    pub fn record_gradient(&self, recorder: &mut Recorder<'_>, slots: u32) {
        for tile in 0..self.tiling.tiles.len() {
            self.forward.record(recorder, tile, slots);
            self.activation.record(recorder, tile, slots);
            self.adjoint.iter().for_each(|s| s.record(recorder, tile, slots));
        }
    }

    /// Records `gradient[s] <- W'W x`.
    pub fn record_gram(&self, recorder: &mut Recorder<'_>, slots: u32) {
        for tile in 0..self.tiling.tiles.len() {
            self.forward.record(recorder, tile, slots);
            self.adjoint.iter().for_each(|s| s.record(recorder, tile, slots));
        }
    }

    /// Records `W x` of one tile into [`Self::responses`].
    pub fn record_responses(&self, recorder: &mut Recorder<'_>, tile: usize, slots: u32) {
        self.forward.record(recorder, tile, slots);
    }

    /// Records the activation of what [`Self::record_responses`] left behind.
    pub fn record_activation(&self, recorder: &mut Recorder<'_>, tile: usize, slots: u32) {
        self.activation.record(recorder, tile, slots);
    }

    /// Records `R(x)` into [`Self::energies`], first of 4 values per slot.
    pub fn record_energy(&self, recorder: &mut Recorder<'_>, slots: u32) {
        for tile in 0..self.tiling.tiles.len() {
            self.forward.record(recorder, tile, slots);
            recorder.dispatch(&self.energy, [self.channels, slots, 1], tile);
        }
        self.totals.record(recorder, slots);
    }

    /// Where [`Self::record_energy`] leaves its sums.
    pub fn energies(&self) -> &Buffer {
        self.totals.buffer()
    }

    /// Records `gradient[s] <- W'[phi'(alpha W x) (W v)]`, the Hessian of `R` at `x` applied to the direction `v`.
    ///
    /// # Errors
    /// [`Error::Internal`] if no direction was given to [`Self::new`].
    pub fn record_hessian(&self, recorder: &mut Recorder<'_>, slots: u32) -> Result<()> {
        let hessian = self
            .hessian
            .as_ref()
            .ok_or_else(|| Error::Internal("prepared without a Hessian direction".into()))?;
        for tile in 0..self.tiling.tiles.len() {
            self.forward.record(recorder, tile, slots);
            hessian.direction.record(recorder, tile, slots);
            hessian.factor.record(recorder, tile, slots);
            hessian.adjoint.iter().for_each(|s| s.record(recorder, tile, slots));
        }
        Ok(())
    }
}
