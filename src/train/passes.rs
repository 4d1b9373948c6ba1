//! `grad R` and products with the Hessian, for the solvers inside training.

use super::TrainableRidge;
use crate::Result;
use crate::filters::{ConvStage, ProximalStep};
use crate::gpu::{Buffer, Gpu, Recorder};
use crate::model::passes::Forward;
use crate::model::split::Split;
use crate::solver::{Filters, Iterates, LARGEST_SIDE, PENALTY, SplitSettings, Splitting};
use crate::spline::device::{DualSplines, Pointwise};

/// `out[s] <- grad R(x[s]) = W'[phi(alpha W x) / alpha]` for every patch; made by [`TrainableRidge::gradient`].
#[derive(Debug)]
pub struct GradientPass {
    forward: Forward,
    activation: Pointwise,
    adjoint: Vec<ConvStage>,
}

impl GradientPass {
    /// Records the pass for the first `slots` patches.
    pub fn record(&self, recorder: &mut Recorder<'_>, slots: u32) {
        self.forward.record(recorder, 0, slots);
        self.activation.record(recorder, 0, slots);
        self.adjoint.iter().for_each(|s| s.record(recorder, 0, slots));
    }
}

/// `out[s] <- Hess R(x[s]) v[s] = W'[phi'(alpha W x) (W v)]` for every patch; made by [`TrainableRidge::hessian`].
#[derive(Debug)]
pub struct HessianPass {
    point: Forward,
    direction: Forward,
    factor: Pointwise,
    adjoint: Vec<ConvStage>,
}

impl HessianPass {
    /// Records `W x` of the first `slots` patches, on which all products rest until another pass of the same ridge is
    /// recorded.
    pub fn record_point(&self, recorder: &mut Recorder<'_>, slots: u32) {
        self.point.record(recorder, 0, slots);
    }

    /// Records the product with the present `v` for the first `slots` patches, behind [`Self::record_point`].
    pub fn record_product(&self, recorder: &mut Recorder<'_>, slots: u32) {
        self.direction.record(recorder, 0, slots);
        self.factor.record(recorder, 0, slots);
        self.adjoint.iter().for_each(|s| s.record(recorder, 0, slots));
    }
}

/// An iteration by splitting towards the minimiser of `|x - y|^2 / 2 + R(x)` for every patch (`src/solver/splitting.rs`); made by
/// [`TrainableRidge::splitting`].
#[derive(Debug)]
pub(super) struct SplitPass {
    splines: DualSplines,
    split: Split,
    splitting: Splitting,
}

impl SplitPass {
    /// Records what follows from the parameters, behind [`TrainableRidge::record_refresh`].
    pub fn record_refresh(&self, recorder: &mut Recorder<'_>) {
        self.splines.record_refresh(recorder);
        self.splitting.record_refresh(recorder);
    }

    /// Records that the dual variables of the first `slots` patches start anew.
    pub fn record_start(&self, recorder: &mut Recorder<'_>, slots: usize) {
        self.split.record_start(recorder, slots);
    }

    /// Records an iteration of the first `slots` patches.
    pub fn record(&self, recorder: &mut Recorder<'_>, slots: u32) {
        self.split.record(recorder, slots);
        self.splitting.record(recorder, slots);
    }
}

impl TrainableRidge {
    /// Prepares iterations by splitting on `on`, all images (slot, row, column), until changes fall to `tolerance` of what the
    /// states' scale says; `None` for banks of several layers, for filters whose spectrum is not computed or whose launches do not sum all
    /// at once, and for more knots than the dual splines may have.
    ///
    /// # Errors
    /// Device errors.
    pub(super) fn splitting(&self, gpu: &Gpu, tolerance: f64, on: &Iterates<'_>) -> Result<Option<SplitPass>> {
        let [layer] = self.bank().layers() else {
            return Ok(None);
        };
        if layer.size > LARGEST_SIDE {
            return Ok(None);
        }
        let (bank, activations) = (self.activations(), self.activations().activations());
        let make = self.maker(gpu);
        if !DualSplines::exist_for(bank.entries()) || !make.weights.layer(0).in_one_pass() {
            return Ok(None);
        }
        let splines = DualSplines::new(gpu, &activations, bank.ranges(), 1.0 / PENALTY)?;
        let step = ProximalStep {
            pieces: splines.pieces(),
            channels: activations.records,
            per_image: activations.slots.is_some(),
        };
        let [(frames, _), _] = self.frames();
        let filters = Filters {
            shape: layer.shape(),
            weights: self.effective(),
        };
        let settings = SplitSettings { tolerance, lambda: 1.0 };
        let batch = self.batch();
        Ok(Some(SplitPass {
            split: Split::new(&make, step, on.z, (frames, on.gradient))?,
            splitting: Splitting::new(gpu, &filters, settings, [batch.height, batch.width], batch.patches, on)?,
            splines,
        }))
    }

    /// Prepares `grad R` from `x` into `out`, both (slot, row, column).
    ///
    /// # Errors
    /// Device errors.
    pub fn gradient(&self, gpu: &Gpu, x: &Buffer, out: &Buffer) -> Result<GradientPass> {
        let (make, splines) = (self.maker(gpu), self.activations().activations());
        let [(frames, responses), _] = self.frames();
        let pass = GradientPass {
            forward: make.forward(x, frames, responses)?,
            activation: make.pointwise(&splines, "spline_activation", &[("u", responses.into())])?,
            adjoint: make.adjoint(responses, frames, Some(out))?,
        };
        Ok(pass)
    }

    /// Prepares products of the Hessian at `x` with `v` into `out`, all (slot, row, column).
    ///
    /// # Errors
    /// Device errors.
    pub fn hessian(&self, gpu: &Gpu, x: &Buffer, v: &Buffer, out: &Buffer) -> Result<HessianPass> {
        let (make, splines) = (self.maker(gpu), self.activations().activations());
        let [(frames, responses), (others, directions)] = self.frames();
        let pass = HessianPass {
            point: make.forward(x, frames, responses)?,
            direction: make.forward(v, others, directions)?,
            factor: make.pointwise(
                &splines,
                "spline_hessian",
                &[("u", responses.into()), ("v", directions.into())],
            )?,
            adjoint: make.adjoint(directions, others, Some(out))?,
        };
        Ok(pass)
    }

    /// For images and for directions: the frames that feed the layers, and the responses.
    pub(super) fn frames(&self) -> [(&[Buffer], &Buffer); 2] {
        self.planes.each_ref().map(|planes| {
            let last = planes.len() - 1;
            (&planes[..last], &planes[last])
        })
    }
}
