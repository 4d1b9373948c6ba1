//! How far from the minimiser an image may be.
//!
//! `h(x) = |x - y|^2 / 2 + lambda R(x)` over a box is strongly convex with modulus `m = 1 - lambda rho`, `rho` the model's weak-convexity
//! modulus, so that `|x - x*| <= |v| / m` for every subgradient `v` of `h` plus the box at `x`; the least of them is taken
//! (`shaders/lib/box.wgsl`). So is `|H x - y|^2 / 2 + lambda R(x)` with `m = c - lambda rho`, where `|H x|^2 >= c |x|^2`
//! ([`LinearOperator::least_squared`]). It is computed in f32, and what that may cost is added, so that the bound holds for the minimiser of
//! the energy whose activations are those of the model in f64.

use super::agd::Settings;
use super::agd_kernels::AgdParams;
use super::descent::DescentParams;
use crate::Result;
use crate::filters::{ConvLayer, ConvPlan, LayerShape};
use crate::gpu::reduce::{Totals, VALUES_PER_GROUP};
use crate::gpu::{Bound, Buffer, Gpu, KernelStyle, Recorder, Work};
use crate::model::device::RunOptions;
use crate::model::{NormKind, Ridge};
use crate::operator::{LinearOperator, OperatorNorm};

/// Rounding unit of f32.
const UNIT: f64 = f32::EPSILON as f64 / 2.0;
/// Roundings, each relative, of an activation: its knots, values, slopes and scaling as stored, the operations on them, and a division.
const ACTIVATION: f64 = 16.0;
/// Roundings for each of [`LinearOperator::additions`] in the gradient of a data term: a sum's and those of the products before it. That is
/// proved for sums of products; for Fourier transforms, whose butterflies share their rounding, it is an estimate with room.
const OPERATOR: f64 = 4.0;
/// Below this modulus a bound would say nothing.
const LEAST_MODULUS: f64 = 1e-6;

/// `sum_n |a_n b_n|` is computed with an error of at most this times itself, whatever the order of the `terms`, of which each may carry
/// two roundings of its own.
fn sum_error(terms: usize) -> f64 {
    let roundings = (terms + 2) as f64 * UNIT;
    roundings / (1.0 - roundings)
}

/// What f32 may cost the gradient of a model, as a function of the norms of what enters.
#[derive(Clone, Copy, Debug)]
struct Rounding {
    /// `|W|`.
    norm: f64,
    /// A bound of the norm of the filters with their weights' absolute values.
    absolute: f64,
    /// Relative errors of `W` and `W'` in units of `absolute`.
    forward: f64,
    adjoint: f64,
    /// The steepest slope.
    slope: f64,
    /// Norms over all pixels and channels of `phi_c(0) / alpha_c` and of the farthest knot over `alpha_c`.
    offset: f64,
    reach: f64,
}

impl Rounding {
    fn new(model: &Ridge, sigma: f64, pixels: usize, style: KernelStyle) -> Result<Self> {
        let alphas = model.alphas(sigma)?;
        let channels = model.bank.channels();
        let values = ((channels * pixels) as f64).sqrt();
        let farthest = |of: &dyn Fn(&crate::spline::Spline) -> f64| {
            let all = model.activations.iter().map(of);
            let least = alphas.iter().copied().fold(f64::INFINITY, f64::min);
            all.fold(0.0, f64::max) / least * values
        };
        let error = |shape: LayerShape| {
            let plan = ConvPlan::new(style, shape.inputs, shape.outputs, shape.size);
            let (terms, amplified) = plan.rounding(shape.size);
            amplified * sum_error(terms)
        };
        let shapes = || model.bank.layers().iter().map(ConvLayer::shape);
        Ok(Self {
            norm: model.norm_squared.sqrt(),
            absolute: model.bank.layers().iter().map(absolute_norm).product(),
            forward: shapes().map(error).sum(),
            adjoint: shapes().map(|shape| error(shape.adjoint())).sum(),
            slope: model.slope_bounds.1.max(-model.slope_bounds.0),
            offset: farthest(&|spline| spline.value(0.0).abs()),
            reach: farthest(&|spline| spline.knots().iter().fold(0.0, |far: f64, knot| far.max(knot.abs()))),
        })
    }

    /// The error of `grad R(x)` for `|x| = size`.
    fn of_gradient(&self, size: f64) -> f64 {
        let responses = self.norm * size;
        let wrong = self.forward * self.absolute * size;
        let activated = self.slope * responses + self.offset;
        let evaluated = ACTIVATION * UNIT * (activated + 2.0 * self.slope * (responses + wrong + self.reach));
        let wrong = self.slope * wrong + evaluated;
        self.norm * wrong + self.adjoint * self.absolute * (activated + wrong)
    }
}

/// A bound of the norm of a layer with its weights' absolute values: the root of its largest row sum times its largest column sum.
fn absolute_norm(layer: &ConvLayer) -> f64 {
    let taps = layer.size * layer.size;
    let filter = |output: usize, input: usize| -> f64 {
        let weights = &layer.weights[(output * layer.inputs + input) * taps..][..taps];
        weights.iter().map(|weight| f64::from(weight.abs())).sum()
    };
    let (outputs, inputs) = (0..layer.outputs, 0..layer.inputs);
    let row = |output: usize| -> f64 { inputs.clone().map(|input| filter(output, input)).sum() };
    let column = |input: usize| -> f64 { outputs.clone().map(|output| filter(output, input)).sum() };
    let rows = outputs.clone().map(row).fold(0.0, f64::max);
    (rows * inputs.clone().map(column).fold(0.0, f64::max)).sqrt()
}

/// What can be said for certain, or why it cannot.
pub(super) type Certainly<T> = std::result::Result<T, &'static str>;

/// A modulus of strong convexity of an energy `data + lambda R` whose data term has the modulus `least`, or why there is none for certain.
fn modulus(model: &Ridge, lambda: f64, least: f64) -> Certainly<f64> {
    // Slopes keep their bounds up to a part in 10^9 (`Ridge::check`).
    let (min, max) = model.slope_bounds;
    let slack = 2e-9 * (max.max(-min) + 1.0) * model.norm_squared;
    let modulus = least - lambda * (model.weak_convexity() + slack);
    if model.norm_kind != NormKind::Bound {
        Err("the norm of the filters is an estimate")
    } else if modulus < LEAST_MODULUS {
        Err("the energy is not strongly convex for certain")
    } else {
        Ok(modulus)
    }
}

/// A kernel bound to sums by which an image is judged, and where it puts them.
struct Sums<'b> {
    bound: Bound,
    partials: &'b Buffer,
}

/// Computes bounds of `|x - x*|` for images on the device.
#[derive(Debug)]
pub(super) struct ErrorBound {
    sums: Bound,
    totals: Totals,
    groups: u32,
    lambda: f64,
    modulus: f64,
    rounding: Rounding,
    /// Errors of the gradient of the data term per `|x|` and per `|y|`.
    data: [f64; 2],
}

impl ErrorBound {
    /// For up to `slots` images `x` of noisy ones `y`, with `grad R(x)` in `gradient`. `None` where nothing can be said for certain: the
    /// energy is not strongly convex, or the norm of the filters is an estimate.
    ///
    /// # Errors
    /// Model and device errors.
    pub fn of_denoising(
        gpu: &Gpu,
        (model, options, settings): (&Ridge, &RunOptions, &Settings),
        params: &AgdParams,
        slots: usize,
        [x, y, gradient, active]: [&Buffer; 4],
    ) -> Result<Option<Self>> {
        let Ok(modulus) = modulus(model, settings.lambda, 1.0) else {
            return Ok(None);
        };
        let partials = gpu.buffer("residual partials", slots * params.groups as usize * 4)?;
        let table = gpu.params(&[*params])?;
        let memory = [
            ("params", table.binding()),
            ("active_images", active.into()),
            ("y", y.into()),
            ("x", x.into()),
            ("gradient", gradient.into()),
            ("partials", (&partials).into()),
        ];
        let kernel = gpu.kernel("agd_residual", &[])?;
        let work = Work {
            bytes: kernel.element_bytes(&["y", "x", "gradient"]) * u64::from(params.pixels),
            multiply_adds: 6 * u64::from(params.pixels),
        };
        let sums = Sums {
            bound: kernel.bind(gpu, &memory)?.with_work(Some(1), [work]),
            partials: &partials,
        };
        // The error of x - y is one of the roundings that are added anyway.
        let of = (modulus, [0.0; 2], settings.lambda);
        Self::new(gpu, (model, options), of, sums, slots, params.pixels as usize).map(Some)
    }

    /// For up to `slots` images `x` reconstructed from measurements of `operator`, whose norm is `norm`, with `H'(H x - y)` in `data` and
    /// `grad R(x)` in `prior`; or why nothing can be said for certain.
    ///
    /// # Errors
    /// Model and device errors.
    pub fn of_reconstruction(
        gpu: &Gpu,
        (operator, norm): (&dyn LinearOperator, OperatorNorm),
        (model, options, lambda): (&Ridge, &RunOptions, f64),
        (params, slots): (&DescentParams, usize),
        [x, data, prior]: [&Buffer; 3],
    ) -> Result<Certainly<Self>> {
        let least = match (operator.least_squared(), norm.kind) {
            (Some(least), NormKind::Bound) => least,
            _ => return Ok(Err("the operator is not known to see every image")),
        };
        let modulus = match modulus(model, lambda, least) {
            Ok(modulus) => modulus,
            Err(why) => return Ok(Err(why)),
        };
        let pixels = params.pixels as usize;
        let partials = gpu.buffer("residual partials", slots * params.groups as usize * 4)?;
        let table = gpu.params(&[*params])?;
        let memory = [
            ("params", table.binding()),
            ("data", data.into()),
            ("prior", prior.into()),
            ("x", x.into()),
            ("partials", (&partials).into()),
        ];
        let kernel = gpu.kernel("descent_residual", &[])?;
        let work = Work {
            bytes: kernel.element_bytes(&["data", "prior", "x"]) * pixels as u64,
            multiply_adds: 6 * pixels as u64,
        };
        let sums = Sums {
            bound: kernel.bind(gpu, &memory)?.with_work(Some(1), [work]),
            partials: &partials,
        };
        let relative = OPERATOR * UNIT * (operator.additions() + 2) as f64;
        let data = [relative * norm.squared, relative * norm.squared.sqrt()];
        Self::new(gpu, (model, options), (modulus, data, lambda), sums, slots, pixels).map(Ok)
    }

    fn new(
        gpu: &Gpu,
        (model, options): (&Ridge, &RunOptions),
        (modulus, data, lambda): (f64, [f64; 2], f64),
        sums: Sums<'_>,
        slots: usize,
        pixels: usize,
    ) -> Result<Self> {
        let style = options.style.unwrap_or_else(|| gpu.style());
        let groups = pixels.div_ceil(VALUES_PER_GROUP);
        Ok(Self {
            totals: Totals::new(gpu, sums.partials, slots, groups)?,
            sums: sums.bound,
            groups: groups as u32,
            lambda,
            modulus,
            rounding: Rounding::new(model, options.sigma, pixels, style)?,
            data,
        })
    }

    /// For [`Gpu::warm_up`].
    pub fn kernels(&self) -> [&Bound; 2] {
        [&self.sums, self.totals.bound()]
    }

    /// Records the sums for the first `slots` slots, after `grad R(x)`.
    pub fn record(&self, recorder: &mut Recorder<'_>, slots: u32) {
        recorder.dispatch(&self.sums, [self.groups, slots, 1], 0);
        self.totals.record(recorder, slots);
    }

    /// Bounds for the first images, once what was recorded is done; `measured` has `|y|` of each, or 0 where there is no operator.
    ///
    /// # Errors
    /// Device errors.
    pub fn read(&self, gpu: &Gpu, measured: &[f64]) -> Result<Vec<f64>> {
        let sums: Vec<f32> = gpu.read(self.totals.buffer())?;
        let bound = |(sums, measured): (&[f32], &f64)| {
            // 16 terms by each invocation, a tree of 256, then all groups; a sum too large for f32 leaves no bound but infinity.
            let terms = 64 + self.groups as usize;
            let grown = 1.0 + sum_error(terms);
            let [residual, data, prior, size] = std::array::from_fn(|n| (f64::from(sums[n]) * grown).sqrt());
            let operator = self.data[0] * size + self.data[1] * measured;
            let rounding = self.lambda * self.rounding.of_gradient(size) + operator + 4.0 * UNIT * (data + prior);
            (residual + rounding) / self.modulus
        };
        Ok(sums.chunks_exact(4).zip(measured).map(bound).collect())
    }
}
