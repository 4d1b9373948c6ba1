//! Reconstruction from linear measurements by accelerated descent.
//!
//! Minimises `F(x) = |H x - y|^2 / 2 + lambda R(x)` over a box, with `R` a ridge regularizer or total variation.
//!
//! **Ridge.** `f`, all of `F` but the box, has a gradient with Lipschitz constant `L = |H|^2 + lambda L_R`, and
//! `f + lambda rho/2 |x|^2` is convex, `rho` the model's weak-convexity modulus. From `x_0 = z_0`,
//!
//! `x' = clamp(z_k - grad f(z_k) / L)`; if `D_k <= -m L |x' - x_k|^2` or `z_k = x_k`: `x_{k+1} = x'`,
//! `z_{k+1} = x' + beta_k (x' - x_k)`; else `x_{k+1} = z_{k+1} = x_k`, `beta` anew from 0,
//!
//! `D_k = <grad f(z_k), x' - x_k> + L/2 |x' - z_k|^2 + lambda rho/2 |z_k - x_k|^2`. Smoothness and weak convexity make `D_k` an
//! upper bound of `f(x') - f(x_k)`, so every step taken lowers `F` by at least `m L |x_{k+1} - x_k|^2`, `m = 1/2000`; a step
//! from `z_k = x_k` lowers it by half of `L |x_{k+1} - x_k|^2`. Hence the steps tend to 0 and every limit point is critical,
//! whatever `lambda`, and where `F` is convex it is a minimiser. All constants are bounds unless the model's norm is an
//! estimate. The test costs two more sums: no energy is evaluated, and a step refused costs one gradient.
//!
//! It stops where `|x' - x_k|` and `L / |H|^2 |x' - z_k|` are at most `tolerance |x'|`. The second is the projected gradient, counted
//! in steps `1 / |H|^2` whatever the regularizer: steps `1 / L` are short where `lambda L_R` is large, the more so without momentum,
//! and say little of what is left to do.
//!
//! A model that wants images to go on beyond their borders ([`Ridge::extension`]) gets larger ones, of which the inner part is measured:
//! energies are theirs.
//!
//! **Total variation**, a baseline: the proximal gradient with momentum and restart (Beck and Teboulle, 2009; O'Donoghue
//! and Candes, 2015), step `1 / |H|^2`, the proximal operator by a fixed number of inner steps from the last dual field.
//!
//! No iteration needs an energy; they are evaluated all the same after every tenth (`energy.rs`), to be told.

mod data_term;
mod energy;
mod kernels;
mod run;
mod tv;

pub use energy::EnergyHistory;
pub(super) use kernels::subtract;
pub use kernels::{DescentParams, DescentState, SubtractParams};
pub use run::Given;
pub use tv::TvParams;

use data_term::DataTerm;
use energy::Energies;
use kernels::{PLAIN, RESTART, SAFEGUARD};
use tv::{TvProx, TvValue};

use super::error_bound::{Certainly, ErrorBound};
use super::{Method, Settings};
use crate::Result;
use crate::gpu::reduce::VALUES_PER_GROUP;
use crate::gpu::{Bound, Buffer, Gpu, Readback, Work};
use crate::model::device::{Extra, Images, RidgeOnDevice, RunOptions};
use crate::model::{NormKind, Ridge};
use crate::operator::{Cropped, LinearOperator, OperatorNorm};

/// What is known of images besides the measurement.
#[derive(Clone, Copy, Debug)]
pub enum Regularizer<'a> {
    /// A ridge regularizer, run at some noise level.
    Ridge(&'a Ridge, RunOptions),
    /// Isotropic total variation.
    TotalVariation,
}

/// The constants that a reconstruction rests on.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Constants {
    /// `|H|^2`.
    pub operator: OperatorNorm,
    /// Lipschitz constant of the gradient of the smooth part.
    pub lipschitz: f64,
    /// `lambda rho`: `F + lambda rho/2 |x|^2` is convex.
    pub weak_convexity: f64,
    /// `1 / L`.
    pub step: f64,
    /// Whether every constant above is a bound, so that the steps are certified.
    pub step_certified: bool,
}

/// Where the gradient of the regularizer, or its proximal operator, comes from.
enum Prior {
    Ridge(Box<RidgeOnDevice>),
    TotalVariation(Box<Variation>),
}

/// Total variation with the sums by which its proximal step is judged.
struct Variation {
    prox: TvProx,
    sums: Bound,
    value: TvValue,
}

/// An operator and a regularizer prepared for one or several images at a time. Makes all kernels and buffers at once.
///
/// Several images share the launches of the regularizer, which cost most, and take turns at the operator. Each has the bits that it has
/// alone.
pub struct Reconstructor<'g> {
    gpu: &'g Gpu,
    /// Rows and columns of an image as it is given, and the pixels by which it goes on on every side.
    size: [usize; 2],
    extension: usize,
    /// Rows and columns with these.
    domain: [usize; 2],
    range: [usize; 2],
    slots: usize,
    prior: Prior,
    data: DataTerm,
    step: Bound,
    control: Bound,
    advance: Bound,
    energies: Energies,
    error_bound: Certainly<ErrorBound>,
    buffers: Buffers,
    readback: Readback,
    settings: Settings,
    constants: Constants,
}

/// Images (image, pixel), states (image).
struct Buffers {
    x: Buffer,
    z: Buffer,
    /// `x'`; of no account between iterations.
    candidate: Buffer,
    /// The images that go on, by slot.
    active: Buffer,
    states: Buffer,
}

/// Iterations between two looks at the device, at most.
const LOOK_EVERY: usize = 32;

impl<'g> Reconstructor<'g> {
    /// Prepares reconstructions from measurements of `operator`, whose norm it computes, one at a time.
    ///
    /// # Errors
    /// [`crate::Error::Usage`] for settings that make no sense; model, operator and device errors.
    pub fn new(
        gpu: &'g Gpu,
        operator: &dyn LinearOperator,
        regularizer: Regularizer<'_>,
        settings: Settings,
    ) -> Result<Self> {
        Self::with_norm(gpu, operator, operator.norm_squared(gpu)?, regularizer, settings, 1)
    }

    /// The same where [`LinearOperator::norm_squared`] is known already, for up to `images` at a time; with total variation, whose dual
    /// field there is once, it stays at one.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_norm(
        gpu: &'g Gpu,
        operator: &dyn LinearOperator,
        norm: OperatorNorm,
        regularizer: Regularizer<'_>,
        settings: Settings,
        images: usize,
    ) -> Result<Self> {
        settings.check()?;
        let slots = match regularizer {
            Regularizer::Ridge(..) => images.max(1),
            Regularizer::TotalVariation => 1,
        };
        let (weak, prior_lipschitz, certified) = match regularizer {
            Regularizer::Ridge(model, _) => {
                let certified = model.norm_kind == NormKind::Bound;
                (model.weak_convexity(), model.gradient_lipschitz(), certified)
            }
            Regularizer::TotalVariation => (0.0, 0.0, true),
        };
        let lipschitz = norm.squared + settings.lambda * prior_lipschitz;
        let constants = Constants {
            operator: norm,
            lipschitz,
            weak_convexity: settings.lambda * weak,
            step: 1.0 / lipschitz,
            step_certified: certified && norm.kind == NormKind::Bound,
        };
        let size = operator.domain();
        let extension = match regularizer {
            Regularizer::Ridge(model, _) => model.extension(),
            Regularizer::TotalVariation => 0,
        };
        let larger = Cropped::new(operator, extension);
        let operator = if extension > 0 { &larger } else { operator };
        let (domain, range) = (operator.domain(), operator.range());
        let pixels = domain[0] * domain[1];
        let groups = pixels.div_ceil(VALUES_PER_GROUP);
        let plane = |label: &str| gpu.buffer(label, slots * pixels);
        let buffers = Buffers {
            x: plane("x")?,
            z: plane("z")?,
            candidate: plane("candidate")?,
            active: gpu.buffer("active", slots)?,
            states: gpu.buffer("states", slots * size_of::<DescentState>() / 4)?,
        };
        let partials = gpu.buffer("step partials", slots * groups * 4)?;
        let data = DataTerm::new(gpu, operator, &buffers.z, slots)?;

        let limits = settings.limits.unwrap_or((-f32::MAX, f32::MAX));
        let params = DescentParams {
            pixels: pixels as u32,
            lambda: settings.lambda as f32,
            // Rounded up: a step must not be longer than the constants allow.
            lipschitz: (lipschitz as f32).next_up(),
            weak: constants.weak_convexity as f32,
            low: limits.0,
            high: limits.1,
            tolerance: settings.tolerance as f32,
            rule: match (settings.method != Method::Plain, regularizer) {
                (false, _) => PLAIN,
                (true, Regularizer::Ridge(..)) => SAFEGUARD,
                (true, Regularizer::TotalVariation) => RESTART,
            },
            scale: (lipschitz / norm.squared) as f32,
            groups: groups as u32,
            ..Default::default()
        };
        let bind = |name: &str, params: DescentParams, memory: &[(&str, &Buffer)], values: u64| -> Result<Bound> {
            let table = gpu.params(&[params])?;
            let mut all = vec![("params", table.binding())];
            all.extend(memory.iter().map(|&(n, b)| (n, b.into())));
            let work = Work {
                bytes: 4 * values * pixels as u64,
                multiply_adds: values * pixels as u64,
            };
            Ok(gpu.kernel(name, &[])?.bind(gpu, &all)?.with_work(Some(1), [work]))
        };
        let Buffers {
            x,
            z,
            candidate,
            active,
            states,
        } = &buffers;
        let images = [("active_images", active), ("states", states)];
        let (prior, step, error_bound) = match regularizer {
            Regularizer::Ridge(model, options) => {
                let gradient = plane("gradient")?;
                let on = Images {
                    height: domain[0],
                    width: domain[1],
                    source: z,
                    active,
                    slots,
                };
                let on_device = RidgeOnDevice::new(gpu, model, &options, &on, &gradient, Extra::None)?;
                let memory = [
                    ("data", data.gradient()),
                    ("prior", &gradient),
                    ("z", z),
                    ("x", x),
                    ("candidate", candidate),
                    ("partials", &partials),
                ];
                let (of, by) = ((operator, norm), (model, &options, settings.lambda));
                let judged = [x, data.gradient(), &gradient];
                (
                    Prior::Ridge(Box::new(on_device)),
                    bind("descent_step", params, &[&images[..], &memory].concat(), 5)?,
                    ErrorBound::of_reconstruction(gpu, of, by, (&params, slots), judged)?,
                )
            }
            Regularizer::TotalVariation => {
                // The gradient step alone, without box or regularizer; what it sums is replaced by `tv_sums`.
                let before = gpu.buffer("before the proximal operator", pixels)?;
                let memory = [
                    ("data", data.gradient()),
                    ("prior", data.gradient()),
                    ("z", z),
                    ("x", x),
                    ("candidate", &before),
                    ("partials", &partials),
                ];
                let unlimited = DescentParams {
                    lambda: 0.0,
                    low: -f32::MAX,
                    high: f32::MAX,
                    ..params
                };
                let step = bind("descent_step", unlimited, &[&images[..], &memory].concat(), 5)?;
                let prox = TvProx::new(gpu, domain, settings.lambda / lipschitz, limits, &before, candidate)?;
                let memory = [
                    ("v", &before),
                    ("z", z),
                    ("x", x),
                    ("candidate", candidate),
                    ("partials", &partials),
                ];
                let sums = bind("tv_sums", params, &memory, 4)?;
                (
                    Prior::TotalVariation(Box::new(Variation {
                        prox,
                        sums,
                        value: TvValue::new(gpu, domain, z)?,
                    })),
                    step,
                    Err("total variation is not smooth"),
                )
            }
        };
        let memory = [&images[..], &[("partials", &partials)]].concat();
        let control = bind("descent_control", params, &memory, 0)?;
        let memory = [&images[..], &[("candidate", candidate), ("x", x), ("z", z)]].concat();
        let advance = bind("descent_move", params, &memory, 4)?;
        let energies = Energies::new(gpu, slots, settings.lambda, LOOK_EVERY)?;
        let kernels = [&step, &control, &advance].into_iter().chain(data.kernels());
        let certain = error_bound.iter().flat_map(ErrorBound::kernels);
        gpu.warm_up(kernels.chain(certain))?;
        if let Prior::TotalVariation(tv) = &prior {
            gpu.warm_up(tv.prox.kernels().chain([&tv.sums]).chain(tv.value.kernels()))?;
        }
        let readback = gpu.readback(buffers.states.len())?;
        Ok(Self {
            gpu,
            size,
            extension,
            domain,
            range,
            slots,
            prior,
            data,
            step,
            control,
            advance,
            energies,
            error_bound,
            buffers,
            readback,
            settings,
            constants,
        })
    }

    /// The constants in use.
    pub fn constants(&self) -> Constants {
        self.constants
    }

    /// Why outcomes have no [`super::Outcome::error_bound`], if so.
    pub fn no_error_bound(&self) -> Option<&'static str> {
        self.error_bound.as_ref().err().copied()
    }

    /// Images that go together.
    pub fn at_once(&self) -> usize {
        self.slots
    }
}
