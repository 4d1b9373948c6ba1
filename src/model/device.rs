//! The ridge regularizer on the device: energy, gradient, Hessian-vector product and Gram operator, tile by tile.

use super::passes::{Forward, Maker};
use super::ridge::Ridge;
use super::split::Split;
use super::tiles::Tiling;
use crate::filters::{ConvStage, PackedBank, ProximalStep, Texels};
use crate::gpu::reduce::Totals;
use crate::gpu::{Bound, Buffer, Gpu, KernelStyle, Recorder, Work};
use crate::spline::device::{ConstantBank, DualSplines, Pointwise, PointwiseParams};
use crate::{Error, Result, shader_struct};

pub use super::passes::LoadParams;

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

/// How to run a model: everything but the images.
#[derive(Clone, Copy, Debug)]
pub struct RunOptions {
    /// Noise level in units of the image range.
    pub sigma: f64,
    /// How convolutions are cut; `None` chooses by adapter.
    pub style: Option<KernelStyle>,
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

/// Invocations per workgroup of `spline_energy.wgsl`.
const ENERGY_WALKERS: u32 = 256;

/// What a regularizer is prepared for besides its gradient and its energy.
#[derive(Clone, Copy, Debug)]
pub enum Extra<'b> {
    /// Nothing.
    None,
    /// The Hessian-vector product with directions indexed like the source.
    Hessian(&'b Buffer),
    /// The proximal step on the responses.
    Splitting {
        /// `lambda / penalty`.
        ratio: f64,
    },
}

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
    split: Option<Split>,
    responses: Buffer,
}

impl RidgeOnDevice {
    /// Prepares `model` for `images`, writing results to `gradient` (slot, row, column). Compiles all kernels.
    ///
    /// # Errors
    /// [`Error::Data`] if sigma is outside the model's range or a proximal step does not exist; device errors.
    pub fn new(
        gpu: &Gpu,
        model: &Ridge,
        options: &RunOptions,
        images: &Images<'_>,
        gradient: &Buffer,
        extra: Extra<'_>,
    ) -> Result<Self> {
        let alphas = model.alphas(options.sigma)?;
        let channels = model.bank.channels();
        if images.slots * channels > 65535 {
            return Err(Error::OutOfMemory(format!(
                "{} images at once are too many: use fewer",
                images.slots
            )));
        }
        let tiling = Tiling::new(&model.bank, images.height, images.width, images.slots, options.tile)?;
        let style = options.style.unwrap_or_else(|| gpu.style());
        let weights = PackedBank::new(gpu, model.bank.layers(), style)?;
        let texels = Texels::new(style, tiling.row_stride, tiling.plane_stride);
        let make = Maker {
            gpu,
            bank: &model.bank,
            weights: &weights,
            tiling: &tiling,
            texels: &texels,
            slots: images.slots,
            active: images.active,
        };
        let bank = ConstantBank::new(gpu, &model.activations, &alphas)?;
        let splines = bank.activations();
        let frames = make.frames()?;
        let responses = make.frame("responses", channels)?;
        let forward = make.forward(images.source, &frames, &responses)?;
        let activation = make.pointwise(&splines, "spline_activation", &[("u", (&responses).into())])?;
        let adjoint = make.adjoint(&responses, &frames, Some(gradient))?;

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
        let energy = splines.bind(
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
        let (mut hessian, mut split) = (None, None);
        match extra {
            Extra::None => {}
            Extra::Hessian(direction) => {
                let other = make.frame("direction responses", channels)?;
                hessian = Some(Hessian {
                    direction: make.forward(direction, &frames, &other)?,
                    factor: make.pointwise(
                        &splines,
                        "spline_hessian",
                        &[("u", (&responses).into()), ("v", (&other).into())],
                    )?,
                    adjoint: make.adjoint(&other, &frames, Some(gradient))?,
                });
            }
            Extra::Splitting { ratio } => {
                if ratio * model.weak_convexity() >= 1.0 {
                    return Err(Error::Data(format!(
                        "slopes down to -{} have no proximal step of ratio {ratio}",
                        model.weak_convexity()
                    )));
                }
                let dual = DualSplines::new(gpu, &splines, bank.ranges(), ratio)?;
                let step = ProximalStep {
                    pieces: dual.pieces(),
                    channels: splines.records,
                    per_image: false,
                };
                split = Some(Split::new(&make, step, images.source, (&frames, gradient))?);
                let mut recorder = gpu.record();
                dual.record_refresh(&mut recorder);
                recorder.submit();
            }
        }
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
            split,
            responses,
        };
        gpu.warm_up(this.first_kernels())?;
        Ok(this)
    }

    /// The kernels that come first: by splitting, the others have until the end to compile while the device is busy.
    fn first_kernels(&self) -> Vec<&Bound> {
        match &self.split {
            Some(split) => split.kernels().collect(),
            None => self.kernels().collect(),
        }
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

    /// Records the proximal step on `W x` and `gradient[s] <- W'd` of the dual variable that it leaves.
    ///
    /// # Errors
    /// [`Error::Internal`] if [`Self::new`] was not told to split.
    pub fn record_split(&self, recorder: &mut Recorder<'_>, slots: u32) -> Result<()> {
        let split = self
            .split
            .as_ref()
            .ok_or_else(|| Error::Internal("prepared without a splitting".into()))?;
        split.record(recorder, slots);
        Ok(())
    }

    /// Records that the dual variables of the first `slots` slots start anew, if there are any.
    pub fn record_split_start(&self, recorder: &mut Recorder<'_>, slots: usize) {
        if let Some(split) = &self.split {
            split.record_start(recorder, slots);
        }
    }

    /// Records that the dual variables of slot `from` are those of slot `to` from now on, for every `(from, to)` in turn.
    pub fn record_moves(&self, recorder: &mut Recorder<'_>, moves: &[(usize, usize)]) {
        if let Some(split) = &self.split {
            split.record_moves(recorder, &self.responses, moves);
        }
    }
}
