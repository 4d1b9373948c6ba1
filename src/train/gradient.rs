//! The derivative of `<q, grad R(x; theta)>` with respect to all parameters.

use super::TrainableRidge;
use super::composition::CompositionPull;
use super::filter_norm::FilterPull;
use crate::Result;
use crate::filters::{ConvStage, GradientPair, WeightGradient, WeightGradientPlan};
use crate::gpu::{Bound, Buffer, Gpu, Recorder};
use crate::model::passes::Forward;
use crate::spline::device::{BankGradient, Pointwise};

/// `d/dtheta S` of `S = sum over patches of <q, grad R(x; theta)>`, for every group of parameters of a [`TrainableRidge`]; made
/// by [`TrainableRidge::parameter_gradient`].
///
/// With `u = W x`, `v = W q`, `a = phi(alpha u) / alpha` and `b = phi'(alpha u) v`, `S = <v, a>`, so that
///
/// * `W` enters twice: `dS = <dW q, a> + <dW x, b>`. For layer `l` with `x_l`, `q_l` what it reads in both forward passes, and
///   `a_l`, `b_l` what the adjoints of the layers behind it make of `a` and `b`,
///   `dS/dw_l[o, i, k] = sum over p of a_l[o](p) q_l[i](p + k) + b_l[o](p) x_l[i](p + k)`;
/// * values and scalings of the activations have the gradients of [`BankGradient`] for the upstream gradient `v`;
/// * `dS/ds_c(sigma) = alpha_c dS/dalpha_c`, and the values of `s_c` have those of [`BankGradient`] for it.
#[derive(Debug)]
pub struct ParameterGradient {
    point: Forward,
    direction: Forward,
    bank: BankGradient,
    logs: Bound,
    log_groups: [u32; 3],
    scalings: BankGradient,
    factor: Pointwise,
    activation: Pointwise,
    /// From the last layer to the first: its gradient, and the adjoints of `a` and `b` through it where a layer precedes.
    layers: Vec<(WeightGradient, Option<[ConvStage; 2]>)>,
    pull: Option<FilterPull>,
    composition: Option<CompositionPull>,
    centre: Option<Bound>,
    centre_groups: [u32; 3],
    weights: Buffer,
    slots: u32,
}

impl TrainableRidge {
    /// Prepares the derivative of `<q, grad R(x)>` with respect to the parameters; `x` and `q` are (slot, row, column).
    ///
    /// # Errors
    /// Device errors.
    pub fn parameter_gradient(&self, gpu: &Gpu, x: &Buffer, q: &Buffer) -> Result<ParameterGradient> {
        let make = self.maker(gpu);
        let (bank, slots) = (self.activations(), self.batch().patches);
        let splines = bank.activations();
        let [(frames, u), (others, v)] = self.frames();
        let channels = self.bank().channels();
        let region = |planes: usize| self.tiling.region(0, 0, planes);

        let bank_gradient = BankGradient::new(gpu, bank, &[region(channels)], slots, u, v)?;
        let of_logs = gpu.buffer("gradient of log scalings", slots * channels)?;
        let params = gpu.params(&[self.scaling_params()])?;
        let logs = gpu.kernel("scaling_gradient", &[])?.bind(
            gpu,
            &[
                ("params", params.binding()),
                ("records", bank.records().into()),
                ("of_alphas", bank_gradient.alphas().into()),
                ("of_logs", (&of_logs).into()),
            ],
        )?;
        let scalings = BankGradient::new(gpu, self.scalings(), &[self.vectors()], 1, self.sigmas(), &of_logs)?;

        let weights = gpu.buffer("gradient of weights", self.effective().len())?;
        let mut adjoints = make
            .adjoint(u, frames, None)?
            .into_iter()
            .zip(make.adjoint(v, others, None)?);
        let mut first = weights.len();
        let mut layers = Vec::new();
        for (index, layer) in self.bank().layers().iter().enumerate().rev() {
            let shape = layer.shape();
            first -= shape.weights();
            let [images, directions] = &self.planes;
            // a_l has taken the place of x_{l+1}, b_l that of q_{l+1}.
            let pairs = [(images, directions), (directions, images)].map(|(g, x)| GradientPair {
                g: &g[index + 1],
                g_region: region(shape.outputs),
                x: &x[index],
                x_region: region(shape.inputs),
            });
            let plan = WeightGradientPlan::new(self.style, shape.inputs, shape.outputs, shape.size);
            let gradient = WeightGradient::new(gpu, &plan, shape, slots, &pairs, &weights, first)?;
            layers.push((gradient, adjoints.next().map(|(a, b)| [a, b])));
        }
        let composition = self.composition_pull(gpu, &weights)?;
        let trained = composition.as_ref().map_or(&weights, CompositionPull::weights);
        let centre = self
            .batch()
            .zero_mean
            .then(|| self.centring(gpu, trained))
            .transpose()?;
        Ok(ParameterGradient {
            point: make.forward(x, frames, u)?,
            direction: make.forward(q, others, v)?,
            bank: bank_gradient,
            log_groups: logs.groups([(slots * channels) as u32, 1, 1]),
            logs,
            scalings,
            factor: make.pointwise(&splines, "spline_hessian", &[("u", u.into()), ("v", v.into())])?,
            activation: make.pointwise(&splines, "spline_activation", &[("u", u.into())])?,
            layers,
            pull: self.pull(gpu, &weights)?,
            composition,
            centre_groups: self.centring_groups(),
            centre,
            weights,
            slots: slots as u32,
        })
    }
}

impl ParameterGradient {
    /// Records the gradients, which replace what was there.
    pub fn record(&self, recorder: &mut Recorder<'_>) {
        self.record_sums(recorder, false);
        self.record_pull(recorder);
    }

    /// Records the sums over the patches, which replace those that were there or, with `accumulate`, are added to them:
    /// parameters that were used at several points. Behind the last, [`Self::record_pull`] must follow.
    pub fn record_sums(&self, recorder: &mut Recorder<'_>, accumulate: bool) {
        self.point.record(recorder, 0, self.slots);
        self.direction.record(recorder, 0, self.slots);
        self.bank.record(recorder, 0, accumulate);
        // b replaces v while u is still there, then a replaces u.
        self.factor.record(recorder, 0, self.slots);
        self.activation.record(recorder, 0, self.slots);
        for (gradient, adjoints) in &self.layers {
            gradient.record(recorder, accumulate);
            for stage in adjoints.iter().flatten() {
                stage.record(recorder, 0, self.slots);
            }
        }
    }

    /// Records the responses `W x` and `W q` alone, into the frames of the ridge.
    pub(super) fn record_responses(&self, recorder: &mut Recorder<'_>) {
        self.point.record(recorder, 0, self.slots);
        self.direction.record(recorder, 0, self.slots);
    }

    /// Records how the sums become gradients with respect to the parameters: through the scalings' logarithms, and through
    /// norm, composition and mean of the filters.
    pub fn record_pull(&self, recorder: &mut Recorder<'_>) {
        recorder.dispatch(&self.logs, self.log_groups, 0);
        self.scalings.record(recorder, 0, false);
        if let Some(pull) = &self.pull {
            pull.record(recorder);
        }
        if let Some(composition) = &self.composition {
            composition.record(recorder);
        }
        if let Some(centre) = &self.centre {
            recorder.dispatch(centre, self.centre_groups, 0);
        }
    }

    /// With respect to [`TrainableRidge::weights`], in their order.
    pub fn weights(&self) -> &Buffer {
        self.composition
            .as_ref()
            .map_or(&self.weights, CompositionPull::weights)
    }

    /// With respect to the nodal values of [`TrainableRidge::activations`].
    pub fn activations(&self) -> &Buffer {
        self.bank.values()
    }

    /// With respect to the nodal values of [`TrainableRidge::scalings`].
    pub fn scalings(&self) -> &Buffer {
        self.scalings.values()
    }

    /// With respect to the scalings `alpha` themselves, (slot, channel): for inspection.
    pub fn alphas(&self) -> &Buffer {
        self.bank.alphas()
    }
}
