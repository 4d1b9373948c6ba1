//! `grad R` and products with the Hessian, for the solvers inside training.

use super::TrainableRidge;
use crate::Result;
use crate::filters::ConvStage;
use crate::gpu::{Buffer, Gpu, Recorder};
use crate::model::passes::Forward;
use crate::spline::device::Pointwise;

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

impl TrainableRidge {
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
