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
//! **Total variation**, a baseline: the proximal gradient with momentum and restart (Beck and Teboulle, 2009; O'Donoghue
//! and Candes, 2015), step `1 / |H|^2`, the proximal operator by a fixed number of inner steps from the last dual field.
//!
//! No iteration needs an energy; they are evaluated all the same after every tenth (`energy.rs`), to be told.

use std::time::Instant;

use super::agd::SECONDS_PER_CHECK;
use super::descent_kernels::{DescentParams, DescentState, NOT_FINITE, PLAIN, RESTART, RUNNING, SAFEGUARD, subtract};
use super::energy::{Energies, EnergyHistory};
use super::error_bound::{Certainly, ErrorBound};
use super::tv::{TvProx, TvValue};
use super::{Method, Outcome, Settings, Stop};
use crate::gpu::reduce::VALUES_PER_GROUP;
use crate::gpu::{Bound, Buffer, Gpu, Readback, Recorder, Work};
use crate::model::device::{Extra, Images, RidgeOnDevice, RunOptions};
use crate::model::{NormKind, Ridge};
use crate::operator::{LinearOperator, OperatorNorm, Pass};
use crate::{Error, Result};

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

/// An operator and a regularizer prepared for one image at a time. Makes all kernels and buffers at once.
pub struct Reconstructor<'g> {
    gpu: &'g Gpu,
    domain: [usize; 2],
    range: [usize; 2],
    prior: Prior,
    forward: Pass,
    residual: (Bound, [u32; 3]),
    adjoint: Pass,
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

struct Buffers {
    x: Buffer,
    y: Buffer,
    z: Buffer,
    /// `x'`; of no account between iterations.
    candidate: Buffer,
    state: Buffer,
}

/// Iterations between two looks at the device, at most.
const LOOK_EVERY: usize = 32;

impl<'g> Reconstructor<'g> {
    /// Prepares reconstructions from measurements of `operator`, whose norm it computes.
    ///
    /// # Errors
    /// [`Error::Usage`] for settings that make no sense; model, operator and device errors.
    pub fn new(
        gpu: &'g Gpu,
        operator: &dyn LinearOperator,
        regularizer: Regularizer<'_>,
        settings: Settings,
    ) -> Result<Self> {
        Self::with_norm(gpu, operator, operator.norm_squared(gpu)?, regularizer, settings)
    }

    /// The same where [`LinearOperator::norm_squared`] is known already, from another reconstruction with the same operator.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_norm(
        gpu: &'g Gpu,
        operator: &dyn LinearOperator,
        norm: OperatorNorm,
        regularizer: Regularizer<'_>,
        settings: Settings,
    ) -> Result<Self> {
        settings.check()?;
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
        let (domain, range) = (operator.domain(), operator.range());
        let (pixels, measured) = (domain[0] * domain[1], range[0] * range[1]);
        let buffers = Buffers {
            x: gpu.buffer("x", pixels)?,
            y: gpu.buffer("y", measured)?,
            z: gpu.buffer("z", pixels)?,
            candidate: gpu.buffer("candidate", pixels)?,
            state: gpu.buffer("state", size_of::<DescentState>() / 4)?,
        };
        let (product, data) = (gpu.buffer("H z", measured)?, gpu.buffer("data gradient", pixels)?);
        let partials = gpu.buffer("step partials", pixels.div_ceil(VALUES_PER_GROUP) * 4)?;
        let forward = operator.forward(gpu, &buffers.z, &product)?;
        let adjoint = operator.adjoint(gpu, &product, &data)?;

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
            Ok(gpu.kernel(name, &[])?.bind(gpu, &all)?.with_work(None, [work]))
        };
        let (state, x, z, candidate) = (&buffers.state, &buffers.x, &buffers.z, &buffers.candidate);
        let (prior, step, error_bound) = match regularizer {
            Regularizer::Ridge(model, options) => {
                let gradient = gpu.buffer("gradient", pixels)?;
                let active = gpu.upload("active", &[0_u32])?;
                let images = Images {
                    height: domain[0],
                    width: domain[1],
                    source: z,
                    active: &active,
                    slots: 1,
                };
                let on_device = RidgeOnDevice::new(gpu, model, &options, &images, &gradient, Extra::None)?;
                let memory = [
                    ("state", state),
                    ("data", &data),
                    ("prior", &gradient),
                    ("z", z),
                    ("x", x),
                    ("candidate", candidate),
                    ("partials", &partials),
                ];
                let (of, by) = ((operator, norm), (model, &options, settings.lambda));
                (
                    Prior::Ridge(Box::new(on_device)),
                    bind("descent_step", params, &memory, 5)?,
                    ErrorBound::of_reconstruction(gpu, of, by, &params, [x, &data, &gradient])?,
                )
            }
            Regularizer::TotalVariation => {
                // The gradient step alone, without box or regularizer; what it sums is replaced by `tv_sums`.
                let before = gpu.buffer("before the proximal operator", pixels)?;
                let memory = [
                    ("state", state),
                    ("data", &data),
                    ("prior", &data),
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
                let step = bind("descent_step", unlimited, &memory, 5)?;
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
        let control = bind(
            "descent_control",
            params,
            &[("partials", &partials), ("state", state)],
            0,
        )?;
        let memory = [("state", state), ("candidate", candidate), ("x", x), ("z", z)];
        let advance = bind("descent_move", params, &memory, 4)?;
        let residual = subtract(gpu, &product, &buffers.y, measured)?;
        let energies = Energies::new(gpu, [&product, &buffers.y], measured, settings.lambda, LOOK_EVERY)?;
        let kernels = [&step, &control, &advance, &residual.0].into_iter();
        let kernels = kernels.chain(forward.kernels()).chain(adjoint.kernels());
        let certain = error_bound.iter().flat_map(ErrorBound::kernels);
        gpu.warm_up(kernels.chain(energies.kernels()).chain(certain))?;
        if let Prior::TotalVariation(tv) = &prior {
            gpu.warm_up(tv.prox.kernels().chain([&tv.sums]).chain(tv.value.kernels()))?;
        }
        let readback = gpu.readback(buffers.state.len())?;
        Ok(Self {
            gpu,
            domain,
            range,
            prior,
            forward,
            residual,
            adjoint,
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

    /// Why outcomes have no [`Outcome::error_bound`], if so.
    pub fn no_error_bound(&self) -> Option<&'static str> {
        self.error_bound.as_ref().err().copied()
    }

    /// Reconstructs the image (row, column) from `measurement`, starting at `start`. `progress` hears the iterations done
    /// and the relative change of the last.
    ///
    /// # Errors
    /// [`Error::Data`] for wrong shapes, [`Error::Diverged`] for values that are not finite, device errors.
    pub fn run(&self, measurement: &[f32], start: &[f32], mut progress: impl FnMut(usize, f64)) -> Result<Outcome> {
        for (what, given, [rows, cols]) in [
            ("measurement", measurement.len(), self.range),
            ("start", start.len(), self.domain),
        ] {
            if given != rows * cols {
                return Err(Error::Data(format!(
                    "the {what} has {given} values, the operator wants {rows} x {cols}"
                )));
            }
        }
        let (low, high) = self.settings.limits.unwrap_or((-f32::MAX, f32::MAX));
        // Descent is counted from the start, so it must lie in the box. NaN stays NaN and is reported below.
        let start: Vec<f32> = start.iter().map(|v| v.clamp(low, high)).collect();
        self.gpu.write(&self.buffers.y, measurement)?;
        self.gpu.write(&self.buffers.x, &start)?;
        self.gpu.write(&self.buffers.z, &start)?;
        if let Prior::TotalVariation(tv) = &self.prior {
            tv.prox.reset(self.gpu)?;
        }
        let mut state = DescentState {
            t: 1.0,
            ..Default::default()
        };
        self.gpu.write(&self.buffers.state, &[state])?;
        let mut history = EnergyHistory::default();
        let (mut done, mut batch) = (0, 1);
        while done < self.settings.max_iterations && state.status == RUNNING {
            let clock = Instant::now();
            let trips = batch.min(self.settings.max_iterations - done);
            let mut recorder = self.gpu.record();
            let mut due = Vec::new();
            for iterations in done..=done + trips {
                if iterations > done {
                    self.record_iteration(&mut recorder);
                }
                // What was done when the device was looked at last has been taken then, but for the start.
                if history.is_due(iterations) && (iterations > done || done == 0) {
                    self.record_energy(&mut recorder, due.len());
                    due.push(iterations);
                }
            }
            recorder.copy_out(self.buffers.state.all(), &self.readback);
            self.energies.record_out(&mut recorder);
            recorder.submit();
            state = self.gpu.fetch(&self.readback)?[0];
            done += trips;
            if state.status == NOT_FINITE {
                return Err(Error::Diverged(format!(
                    "the image became non-finite at iteration {}; check the measurement's values and the geometry",
                    state.iterations
                )));
            }
            let energies = self.energies.fetch(self.gpu)?;
            for (iterations, energy) in due.into_iter().zip(energies) {
                history.take(iterations, energy);
            }
            progress(done, f64::from(state.change));
            batch = ((SECONDS_PER_CHECK * trips as f64 / clock.elapsed().as_secs_f64()) as usize).clamp(1, LOOK_EVERY);
        }
        let measured = measurement.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>();
        self.outcome(&state, history, measured.sqrt())
    }

    fn record_iteration(&self, recorder: &mut Recorder<'_>) {
        let groups = [
            (self.domain[0] * self.domain[1]).div_ceil(VALUES_PER_GROUP) as u32,
            1,
            1,
        ];
        self.record_gradient(recorder);
        recorder.dispatch(&self.step, groups, 0);
        if let Prior::TotalVariation(tv) = &self.prior {
            tv.prox.record(recorder);
            recorder.dispatch(&tv.sums, groups, 0);
        }
        recorder.dispatch(&self.control, [1, 1, 1], 0);
        recorder.dispatch(&self.advance, groups, 0);
    }

    /// Records both parts of `grad f(z)`.
    fn record_gradient(&self, recorder: &mut Recorder<'_>) {
        self.forward.record(recorder);
        recorder.dispatch(&self.residual.0, self.residual.1, 0);
        self.adjoint.record(recorder);
        if let Prior::Ridge(model) = &self.prior {
            model.record_gradient(recorder, 1);
        }
    }

    /// Records the energy of `x`. The operator and the regularizer see `z`, so `x` is put in its place meanwhile.
    fn record_energy(&self, recorder: &mut Recorder<'_>, place: usize) {
        let Buffers { x, z, candidate, .. } = &self.buffers;
        recorder.copy(z.all(), candidate.all());
        recorder.copy(x.all(), z.all());
        self.forward.record(recorder);
        let regularizer = match &self.prior {
            Prior::Ridge(model) => {
                model.record_energy(recorder, 1);
                model.energies()
            }
            Prior::TotalVariation(tv) => {
                tv.value.record(recorder);
                tv.value.totals()
            }
        };
        self.energies.record(recorder, regularizer, place);
        recorder.copy(candidate.all(), z.all());
    }

    /// The final image with its energy, and how far the minimiser may be. `z` is free by now and takes the image.
    fn outcome(&self, state: &DescentState, mut history: EnergyHistory, measured: f64) -> Result<Outcome> {
        let mut recorder = self.gpu.record();
        self.record_energy(&mut recorder, 0);
        self.energies.record_out(&mut recorder);
        if let Ok(error_bound) = &self.error_bound {
            recorder.copy(self.buffers.x.all(), self.buffers.z.all());
            self.record_gradient(&mut recorder);
            error_bound.record(&mut recorder, 1);
        }
        recorder.submit();
        let error_bound = match &self.error_bound {
            Ok(error_bound) => error_bound.read(self.gpu, 1, measured)?.pop(),
            Err(_) => None,
        };
        let energy = self.energies.fetch(self.gpu)?[0];
        let iterations = state.iterations as usize;
        history.end(iterations, energy);
        Ok(Outcome {
            image: self.gpu.read(&self.buffers.x)?,
            energy,
            history,
            iterations,
            restarts: state.restarts as usize,
            change: f64::from(state.change),
            stop: if state.status == RUNNING {
                Stop::MaxIterations
            } else {
                Stop::Converged
            },
            error_bound,
        })
    }
}
