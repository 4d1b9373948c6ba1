//! The ridge regularizer with parameters that change on the device.

use super::composition::{Composition, CompositionPull};
use super::filter_norm::{FilterNorm, FilterPull};
use crate::filters::{ConvLayer, FilterBank, PackedBank, Packer, Region, Texels, norm};
use crate::gpu::{Bound, Buffer, Gpu, KernelStyle, Recorder};
use crate::model::passes::Maker;
use crate::model::{NormKind, Ridge, Scaling, Tiling};
use crate::spline::device::{Pointwise, TrainableBank};
use crate::spline::{SlopeBounds, Spline, clip_slopes};
use crate::{Error, Result, shader_struct};

shader_struct! {
    /// Parameters of `filter_centre.wgsl`.
    pub struct CentreParams {
        /// Filters whose mean is taken away.
        pub filters: u32,
        /// Weights of a filter.
        pub taps: u32,
        /// Padding.
        pub pad0: u32,
        /// Padding.
        pub pad1: u32,
    }
}

shader_struct! {
    /// Parameters of `scaling_records.wgsl` and `scaling_gradient.wgsl`.
    pub struct ScalingParams {
        /// Slots times channels.
        pub count: u32,
        /// Keeps scalings finite at `sigma = 0`.
        pub epsilon: f32,
        /// Padding.
        pub pad0: u32,
        /// Padding.
        pub pad1: u32,
    }
}

/// What a [`TrainableRidge`] is prepared for.
#[derive(Clone, Copy, Debug)]
pub struct BatchShape {
    /// Images at once.
    pub patches: usize,
    /// Rows of an image.
    pub height: usize,
    /// Columns of an image.
    pub width: usize,
    /// Whether the filters of the first layer are used without their mean, so that `R` does not see constants.
    pub zero_mean: bool,
    /// Whether filters of several layers are used as those of one, [`FilterBank::collapsed`].
    pub composed: bool,
    /// Whether the filters are used divided by the certified bound of their norm; wants a bank of one layer, or a composed one.
    pub unit_norm: bool,
    /// How convolutions are cut; `None` chooses by adapter.
    pub style: Option<KernelStyle>,
}

/// The ridge regularizer of [`Ridge`] for a batch of patches, each with a noise level of its own, with parameters that change on
/// the device:
///
/// * [`Self::weights`]: the filters of all layers, (layer, output, input, row, column); the first layer's count without their
///   mean, all of them as those of one layer, and divided by their norm, if the batch says so;
/// * [`Self::activations`]: the nodal values of `phi_c`, one spline per channel or one for all;
/// * [`Self::scalings`]: the nodal values of `s_c` in `alpha_c(sigma) = exp(s_c(sigma)) / (sigma + epsilon)`.
///
/// Passes read what [`Self::record_refresh`] derives from the parameters and from the noise levels: it must follow every
/// change of either. Knots stay where they are. Slope bounds are the trainer's to keep
/// ([`crate::spline::device::SlopeClip`]), and so is the norm of the filters unless the batch asks for it.
#[derive(Debug)]
pub struct TrainableRidge {
    /// With the filters as they are used.
    model: Ridge,
    /// As they are trained.
    trained: FilterBank,
    batch: BatchShape,
    pub(super) style: KernelStyle,
    pub(super) tiling: Tiling,
    texels: Texels,
    weights: Buffer,
    effective: Buffer,
    packed: PackedBank,
    composition: Option<Composition>,
    centre: Option<Bound>,
    norm: Option<FilterNorm>,
    pack: Packer,
    activations: TrainableBank,
    scalings: TrainableBank,
    sigmas: Buffer,
    logs: Pointwise,
    records: Bound,
    pub(super) active: Buffer,
    /// Two sets of planes: `planes[0]` for images, `planes[1]` for directions; the first of each feeds the first layer, the last
    /// holds the responses.
    pub(super) planes: [Vec<Buffer>; 2],
}

impl TrainableRidge {
    /// Uploads the parameters of `model`, rounded to f32, and reserves memory for the passes over `batch`. All noise levels
    /// are the largest that the model is meant for until [`Self::set_sigmas`].
    ///
    /// # Errors
    /// [`Error::Data`] for an empty batch, more than 65535 planes of responses in it, or a model that fails [`Ridge::check`];
    /// [`Error::OutOfMemory`] if the responses of the batch do not fit one binding; device errors.
    pub fn new(gpu: &Gpu, model: &Ridge, batch: BatchShape) -> Result<Self> {
        model.check()?;
        let BatchShape {
            patches, height, width, ..
        } = batch;
        if patches * height * width == 0 {
            return Err(Error::Data(format!(
                "a batch of {patches} patches of {height} x {width} pixels is empty"
            )));
        }
        let trained = model.bank.clone();
        let composed = batch.composed && trained.layers().len() > 1;
        let used = if composed {
            trained.collapsed()?
        } else {
            trained.clone()
        };
        let model = &Ridge {
            bank: used,
            ..model.clone()
        };
        let (bank, channels) = (&model.bank, model.bank.channels());
        let style = batch.style.unwrap_or_else(|| gpu.style());
        let packed = PackedBank::new(gpu, bank.layers(), style)?;
        let all = |bank: &FilterBank| -> Vec<f32> { bank.layers().iter().flat_map(|l| l.weights.clone()).collect() };
        let weights = gpu.upload("filter weights", &all(&trained))?;
        let effective = gpu.upload("effective weights", &all(bank))?;
        let pack = packed.packer(gpu, &effective)?;

        let sigma = model.sigma_range.1;
        let sigmas = gpu.upload("noise levels", &vec![sigma as f32; patches * channels])?;
        let alphas: Vec<f32> = model.alphas(sigma)?.iter().map(|a| *a as f32).collect();
        let activations = TrainableBank::with_slots(gpu, &model.activations, channels, &alphas.repeat(patches))?;
        activations.activations().check(patches)?;
        let scalings = TrainableBank::new(gpu, &model.scaling.log, &vec![1.0; channels])?;
        let logs = gpu.buffer("logarithms of scalings", patches * channels)?;
        let params = gpu.params(&[scaling_params(model, patches * channels)])?;
        let records = gpu.kernel("scaling_records", &[])?.bind(
            gpu,
            &[
                ("params", params.binding()),
                ("sigmas", (&sigmas).into()),
                ("logs", (&logs).into()),
                ("records", activations.records().into()),
            ],
        )?;
        let logs = scalings.forward(gpu, &[vectors(patches, channels)], 1, &sigmas, &logs)?;

        let tiling = Tiling::whole(bank, height, width);
        let texels = Texels::new(style, tiling.row_stride, tiling.plane_stride);
        let active = gpu.upload("active images", &(0..patches as u32).collect::<Vec<_>>())?;
        let make = Maker {
            gpu,
            bank,
            weights: &packed,
            tiling: &tiling,
            texels: &texels,
            slots: patches,
            active: &active,
        };
        let planes = || -> Result<Vec<Buffer>> {
            let mut planes = make.frames()?;
            planes.push(make.frame("responses", channels)?);
            Ok(planes)
        };
        let planes = [planes()?, planes()?];
        let mut this = Self {
            composition: composed
                .then(|| Composition::new(gpu, &trained, &effective))
                .transpose()?,
            centre: None,
            norm: None,
            model: model.clone(),
            trained,
            batch,
            style,
            tiling,
            texels,
            weights,
            effective,
            packed,
            pack,
            activations,
            scalings,
            sigmas,
            logs,
            records,
            active,
            planes,
        };
        if batch.zero_mean {
            this.centre = Some(this.centring(gpu, this.copied())?);
        }
        if batch.unit_norm {
            this.norm = Some(FilterNorm::new(gpu, &this.model.bank, &this.effective)?);
        }
        let mut recorder = gpu.record();
        this.record_refresh(&mut recorder);
        recorder.submit();
        gpu.wait()?;
        Ok(this)
    }

    /// The batch it was prepared for.
    pub fn batch(&self) -> &BatchShape {
        &self.batch
    }

    /// The filters, (layer, output, input, row, column): what training changes.
    pub fn weights(&self) -> &Buffer {
        &self.weights
    }

    /// The filters as they are used: without means, divided by their norm.
    pub(super) fn effective(&self) -> &Buffer {
        &self.effective
    }

    /// The activations; training changes [`TrainableBank::values`].
    pub fn activations(&self) -> &TrainableBank {
        &self.activations
    }

    /// The logarithms of the scalings as functions of the noise level; training changes [`TrainableBank::values`].
    pub fn scalings(&self) -> &TrainableBank {
        &self.scalings
    }

    /// The noise levels, (slot, channel), a slot's repeated for every channel.
    pub(super) fn sigmas(&self) -> &Buffer {
        &self.sigmas
    }

    /// The weights as the convolutions read them: for inspection.
    pub fn packed(&self) -> &PackedBank {
        &self.packed
    }

    /// Sets the noise level of every patch, in units of the image range; [`Self::record_refresh`] must follow.
    ///
    /// # Errors
    /// [`Error::Data`] if there is not one per patch, or one lies outside the model's range; as [`Gpu::write`].
    pub fn set_sigmas(&self, gpu: &Gpu, sigmas: &[f32]) -> Result<()> {
        if sigmas.len() != self.batch.patches {
            return Err(Error::Data(format!(
                "{} noise levels for {} patches",
                sigmas.len(),
                self.batch.patches
            )));
        }
        for sigma in sigmas {
            self.model.alphas(f64::from(*sigma))?;
        }
        let channels = self.model.bank.channels();
        let repeated: Vec<f32> = sigmas.iter().flat_map(|s| std::iter::repeat_n(*s, channels)).collect();
        gpu.write(&self.sigmas, &repeated)
    }

    /// Records the renewal of all that is derived from the parameters and the noise levels: packed filters of all layers and
    /// their adjoints, tables of splines, scalings of every patch.
    pub fn record_refresh(&self, recorder: &mut Recorder<'_>) {
        recorder.copy(self.weights.all(), self.copied().all());
        if let Some(centre) = &self.centre {
            recorder.dispatch(centre, self.centring_groups(), 0);
        }
        if let Some(composition) = &self.composition {
            composition.record(recorder);
        }
        if let Some(norm) = &self.norm {
            norm.record(recorder);
        }
        self.pack.record(recorder);
        self.activations.record_refresh(recorder);
        self.scalings.record_refresh(recorder);
        self.logs.record(recorder, 0, 1);
        let count = self.sigmas.len() as u32;
        recorder.dispatch(&self.records, self.records.groups([count, 1, 1]), 0);
    }

    /// Reads the model back, waiting for the device: the filters as they are used, so without means where those are taken
    /// away, and a rigorous bound of their norm; the slopes of the activations brought back within the model's bounds where
    /// rounding to f32 left them.
    ///
    /// # Errors
    /// [`Error::Data`] if a parameter is not finite or slopes lie further outside their bounds than rounding explains;
    /// device errors.
    pub fn to_ridge(&self, gpu: &Gpu) -> Result<Ridge> {
        let weights: Vec<f32> = gpu.read(&self.effective)?;
        let mut rest = weights.as_slice();
        let layers = self.model.bank.layers().iter().map(|l| {
            let (own, behind) = rest.split_at(l.weights.len());
            rest = behind;
            ConvLayer::new(l.inputs, l.outputs, l.size, own.to_vec())
        });
        let bank = FilterBank::new(layers.collect::<Result<_>>()?)?;
        let bounds = SlopeBounds::new(self.model.slope_bounds.0, self.model.slope_bounds.1)?;
        let activations = self.activations.splines(gpu)?;
        let ridge = Ridge {
            norm_squared: norm::upper_bound(&bank),
            norm_kind: NormKind::Bound,
            bank,
            activations: activations
                .iter()
                .enumerate()
                .map(|(index, spline)| within(index, spline, &bounds))
                .collect::<Result<_>>()?,
            scaling: Scaling {
                log: self.scalings.splines(gpu)?,
                epsilon: self.model.scaling.epsilon,
            },
            ..self.model.clone()
        };
        ridge.check()?;
        Ok(ridge)
    }

    /// What passes are made from.
    pub(super) fn maker<'a>(&'a self, gpu: &'a Gpu) -> Maker<'a> {
        Maker {
            gpu,
            bank: &self.model.bank,
            weights: &self.packed,
            tiling: &self.tiling,
            texels: &self.texels,
            slots: self.batch.patches,
            active: &self.active,
        }
    }

    /// The filters as they are used, in their shapes.
    pub(super) fn bank(&self) -> &FilterBank {
        &self.model.bank
    }

    /// The filters as they are trained, in their shapes.
    pub(super) fn trained(&self) -> &FilterBank {
        &self.trained
    }

    /// Where the trained filters go first.
    fn copied(&self) -> &Buffer {
        self.composition.as_ref().map_or(&self.effective, Composition::weights)
    }

    pub(super) fn scaling_params(&self) -> ScalingParams {
        scaling_params(&self.model, self.sigmas.len())
    }

    /// Where the patches lie in the responses.
    pub(super) fn responses_region(&self) -> Region {
        self.tiling.region(0, 0, self.model.bank.channels())
    }

    /// Where scalings and noise levels lie: a batch of vectors (slot, channel).
    pub(super) fn vectors(&self) -> Region {
        vectors(self.batch.patches, self.model.bank.channels())
    }

    /// The kernel that takes the means away from the first layer's filters in `weights`.
    pub(super) fn centring(&self, gpu: &Gpu, weights: &Buffer) -> Result<Bound> {
        let first = &self.trained.layers()[0];
        let params = gpu.params(&[CentreParams {
            filters: (first.outputs * first.inputs) as u32,
            taps: (first.size * first.size) as u32,
            ..Default::default()
        }])?;
        let memory = [("params", params.binding()), ("weights", weights.into())];
        gpu.kernel("filter_centre", &[])?.bind(gpu, &memory)
    }

    /// What takes a gradient with respect to the filters as they are used to one before they are divided by their norm, in place.
    pub(super) fn pull(&self, gpu: &Gpu, gradient: &Buffer) -> Result<Option<FilterPull>> {
        let pull = |norm: &FilterNorm| norm.pull(gpu, &self.effective, gradient);
        self.norm.as_ref().map(pull).transpose()
    }

    /// What takes that on to one with respect to [`Self::weights`], but for their means, where they are composed.
    pub(super) fn composition_pull(&self, gpu: &Gpu, gradient: &Buffer) -> Result<Option<CompositionPull>> {
        let pull = |composition: &Composition| composition.pull(gpu, gradient);
        self.composition.as_ref().map(pull).transpose()
    }

    /// Workgroups of [`Self::centring`].
    pub(super) fn centring_groups(&self) -> [u32; 3] {
        let first = &self.trained.layers()[0];
        [((first.outputs * first.inputs) as u32).div_ceil(64), 1, 1]
    }
}

fn scaling_params(model: &Ridge, count: usize) -> ScalingParams {
    ScalingParams {
        count: count as u32,
        epsilon: model.scaling.epsilon as f32,
        ..Default::default()
    }
}

fn vectors(batch: usize, channels: usize) -> Region {
    Region {
        rows: batch as u32,
        cols: 1,
        row_stride: channels as u32,
        plane_stride: 1,
        image_stride: (batch * channels) as u32,
        inside_rows: batch as u32,
        inside_cols: 1,
        ..Default::default()
    }
}

/// `spline` with slopes in `bounds`, moved no further than f32 rounding of its values explains.
fn within(index: usize, spline: &Spline, bounds: &SlopeBounds) -> Result<Spline> {
    let clipped = clip_slopes(spline, bounds)?;
    let pairs = || spline.values().iter().zip(clipped.values());
    let moved = pairs().map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    let largest = spline.values().iter().fold(0.0_f64, |m, f| m.max(f.abs()));
    // Each segment is off by the rounding of two values and their knots; the corrections add up along the spline.
    let rounding = 4.0 * f64::from(f32::EPSILON) * largest * spline.len() as f64;
    if moved <= rounding {
        return Ok(clipped);
    }
    let (low, high) = spline.slope_range();
    Err(Error::Data(format!(
        "trained activation {index} has slopes in [{low}, {high}], outside [{}, {}]: train it through SlopeClip",
        bounds.min(),
        bounds.max()
    )))
}
