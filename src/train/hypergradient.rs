//! How good the denoiser is on a batch, and the gradient of that with respect to the parameters of the regularizer.

use serde::{Deserialize, Serialize};

use super::passes::SplitPass;
use super::{GradientPass, HessianPass, ParameterGradient, TrainableRidge};
use crate::gpu::reduce::VALUES_PER_GROUP;
use crate::gpu::{Bound, Buffer, Gpu, Readback, Recorder};
use crate::solver::{AgdKernels, AgdParams, AgdState, Iterates, MOST_ITERATIONS, NOT_FINITE, RUNNING};
use crate::{Error, Result, shader_struct};

shader_struct! {
    /// Parameters of the kernels that work on batches of patches (`shaders/lib/training.wgsl`).
    pub struct TrainingParams {
        /// Pixels of a patch.
        pub pixels: u32,
        /// Conjugate gradients stop at this relative residual.
        pub tolerance: f32,
        /// Step of the unrolled gradient descent, else 1: how far the parameters' pull on `grad R` moves an iterate.
        pub step: f32,
        /// 0 for the squared loss, 1 for the absolute.
        pub loss: u32,
        /// Columns of a patch.
        pub width: u32,
        /// Pixels along the border of a patch that do not count.
        pub margin: u32,
        /// Padding.
        pub pad0: u32,
        /// Padding.
        pub pad1: u32,
    }
}

shader_struct! {
    /// State of conjugate gradients for one patch (`shaders/lib/training.wgsl`).
    pub struct CgState {
        /// `|r|^2`.
        pub residual: f32,
        /// `|b|^2`.
        pub start: f32,
        /// Steps done.
        pub iterations: u32,
        /// 0 running, 1 converged, 2 not finite, 3 no descent left.
        pub status: u32,
    }
}

/// What is minimised over the parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImageLoss {
    /// `|x - c|_1`.
    L1,
    /// `|x - c|_2^2 / 2`.
    L2,
}

/// Which denoiser is trained, and how its derivative is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Objective {
    /// The minimiser `x*` of `|x - y|^2 / 2 + R(x)`, differentiated implicitly.
    Bilevel,
    /// The same with `q = dL/dx*` in place of the solution of `(I + Hess R) q = dL/dx*`: cheaper, and biased.
    JacobianFree,
    /// Some steps of gradient descent from `y`, differentiated exactly.
    Unrolled,
}

/// How a batch is denoised and differentiated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HypergradientSettings {
    /// The denoiser.
    pub objective: Objective,
    /// The loss.
    pub loss: ImageLoss,
    /// Pixels along the border of a patch whose errors do not count.
    pub margin: usize,
    /// `x*` is found up to this change of an iteration, relative to the norm of the noise: `|dx| <= tolerance sigma sqrt(pixels)`.
    pub tolerance: f64,
    /// Iterations for `x*` at most; the number of steps of [`Objective::Unrolled`].
    pub iterations: usize,
    /// The adjoint system is solved up to this relative residual.
    pub adjoint_tolerance: f64,
    /// Conjugate gradients for it at most.
    pub adjoint_iterations: usize,
}

/// What one batch said.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchResult {
    /// The loss: the weighted sum over patches.
    pub loss: f64,
    /// Mean squared error of each patch, over the pixels that count.
    pub squared_errors: Vec<f64>,
    /// Iterations for `x*`, mean over the patches.
    pub iterations: f64,
    /// Steps of the adjoint solver, mean over the patches.
    pub adjoint_iterations: f64,
    /// Patches whose solvers used up their iterations.
    pub unfinished: usize,
    /// Whether everything was finite; if not, the gradient is worthless.
    pub finite: bool,
}

/// Iterations between looks at the device: few enough that little is computed in vain, enough to hide the wait.
const LOOK_EVERY: usize = 8;

/// Covers the rounding of filters in training, whose certified norm is 1 up to this.
const NORM_SLACK: f64 = 1e-5;

/// The loss of a batch and its gradient with respect to all parameters of a [`TrainableRidge`].
///
/// `L = sum_s a_s l(x_s - c_s)` over the patches, but for a margin along their borders, with weights `a_s` and clean patches `c_s`. With `(I + Hess R(x*)) q = -dL/dx*`,
/// `dL/dtheta = d/dtheta <q, grad R(x*; theta)>`; unrolled, the same sum is taken over all steps with the adjoint state for `q`.
#[derive(Debug)]
pub struct Hypergradient {
    settings: HypergradientSettings,
    slots: usize,
    pixels: usize,
    /// Pixels of a patch that count.
    counted: usize,
    x: Buffer,
    y: Buffer,
    z: Buffer,
    clean: Buffer,
    weights: Buffer,
    states: Buffer,
    states_out: Readback,
    /// The iteration for `x*`, unless steps are unrolled or the filters do not allow it.
    split: Option<SplitPass>,
    gradient: GradientPass,
    agd: AgdKernels,
    descent: Buffer,
    sums: Buffer,
    loss: Bound,
    q: Buffer,
    hessian: HessianPass,
    cg_states: Buffer,
    cg_states_out: Readback,
    sums_out: Readback,
    cg_start: Bound,
    cg_step: Bound,
    unrolling: Option<Unrolling>,
    parameters: ParameterGradient,
}

/// What only the unrolled denoiser needs.
#[derive(Debug)]
struct Unrolling {
    /// All iterates but the last, (step, patch, pixel).
    iterates: Buffer,
    hessian: HessianPass,
    back: Bound,
}

impl Hypergradient {
    /// Prepares for the batches of `ridge`, whose filters must have norm 1 and whose activations have slopes in
    /// `[-rho, mu]`: the step follows from `lipschitz = max(rho, mu)`.
    ///
    /// # Errors
    /// [`Error::Usage`] for settings out of range; device errors.
    pub fn new(gpu: &Gpu, ridge: &TrainableRidge, lipschitz: f64, settings: &HypergradientSettings) -> Result<Self> {
        check(settings)?;
        let batch = ridge.batch();
        let (slots, pixels) = (batch.patches, batch.height * batch.width);
        let inner = |side: usize| side.saturating_sub(2 * settings.margin);
        let counted = inner(batch.height) * inner(batch.width);
        if counted == 0 {
            return Err(Error::Usage(format!(
                "a margin of {} pixels leaves nothing of patches of {} x {}",
                settings.margin, batch.height, batch.width
            )));
        }
        let plane = |label: &str| gpu.buffer(label, slots * pixels);
        let (x, y, z, clean) = (plane("x")?, plane("y")?, plane("z")?, plane("clean")?);
        let grad = plane("gradient")?;
        let [descent, q, r, p, h] = ["descent", "q", "r", "p", "h"].map(plane);
        let (descent, q, r, p, h) = (descent?, q?, r?, p?, h?);
        let states = gpu.buffer("states", slots * size_of::<AgdState>() / 4)?;
        let cg_states = gpu.buffer("adjoint states", slots * size_of::<CgState>() / 4)?;
        let weights = gpu.buffer("patch weights", slots)?;
        let sums = gpu.buffer("losses", 4 * slots)?;

        let unrolled = settings.objective == Objective::Unrolled;
        let largest = 1.0 + lipschitz * (1.0 + NORM_SLACK);
        // Gradient descent on a function with curvatures up to `largest` converges below 2 / largest.
        let step = if unrolled {
            (2.0 - 1e-3) / largest
        } else {
            1.0 / largest
        };
        let agd = AgdParams {
            pixels: pixels as u32,
            groups: pixels.div_ceil(VALUES_PER_GROUP) as u32,
            lambda: 1.0,
            step: step as f32,
            low: -f32::MAX,
            high: f32::MAX,
            tolerance: if unrolled { -1.0 } else { settings.tolerance as f32 },
            accelerate: u32::from(!unrolled),
        };
        let iterates = Iterates {
            x: &x,
            y: &y,
            z: &z,
            gradient: &grad,
            active: &ridge.active,
            states: &states,
        };
        let agd = AgdKernels::new(gpu, &agd, slots, &iterates)?;
        let split = match unrolled {
            true => None,
            false => ridge.splitting(gpu, settings.tolerance, &iterates)?,
        };
        let params = gpu.params(&[TrainingParams {
            pixels: pixels as u32,
            tolerance: settings.adjoint_tolerance as f32,
            step: if unrolled { step as f32 } else { 1.0 },
            loss: u32::from(settings.loss == ImageLoss::L1),
            width: batch.width as u32,
            margin: settings.margin as u32,
            ..Default::default()
        }])?;
        let bind = |name: &str, memory: &[(&str, &Buffer)]| {
            let all = memory.iter().map(|&(name, buffer)| (name, buffer.into()));
            let all: Vec<_> = [("params", params.binding())].into_iter().chain(all).collect();
            gpu.kernel(name, &[])?.bind(gpu, &all)
        };
        let unrolling = if unrolled {
            Some(Unrolling {
                iterates: gpu.buffer("iterates", settings.iterations * slots * pixels)?,
                hessian: ridge.hessian(gpu, &x, &q, &h)?,
                back: bind("unrolled_step", &[("h", &h), ("q", &q)])?,
            })
        } else {
            None
        };
        Ok(Self {
            states_out: gpu.readback(states.len())?,
            cg_states_out: gpu.readback(cg_states.len())?,
            sums_out: gpu.readback(sums.len())?,
            settings: *settings,
            slots,
            pixels,
            counted,
            gradient: ridge.gradient(gpu, &z, &grad)?,
            agd,
            split,
            loss: bind(
                "training_loss",
                &[
                    ("x", &x),
                    ("clean", &clean),
                    ("weights", &weights),
                    ("descent", &descent),
                    ("sums", &sums),
                ],
            )?,
            hessian: ridge.hessian(gpu, &x, &p, &h)?,
            cg_start: bind(
                "cg_start",
                &[("b", &descent), ("q", &q), ("r", &r), ("p", &p), ("states", &cg_states)],
            )?,
            cg_step: bind(
                "cg_step",
                &[("h", &h), ("q", &q), ("r", &r), ("p", &p), ("states", &cg_states)],
            )?,
            unrolling,
            parameters: ridge.parameter_gradient(gpu, &x, &q)?,
            x,
            y,
            z,
            clean,
            weights,
            states,
            descent,
            sums,
            q,
            cg_states,
        })
    }

    /// Denoises the batch and leaves the gradient of its loss in [`Self::gradient`]. `noisy` and `clean` are
    /// (patch, row, column), `sigmas` and `weights` one per patch. The ridge must have been refreshed with these noise levels;
    /// patches that take long should come first, because whatever is last is left out when it is done.
    ///
    /// # Errors
    /// [`Error::Data`] for wrong shapes; device errors.
    pub fn run(&self, gpu: &Gpu, noisy: &[f32], clean: &[f32], sigmas: &[f32], weights: &[f32]) -> Result<BatchResult> {
        let values = self.slots * self.pixels;
        if noisy.len() != values || clean.len() != values || [sigmas, weights].iter().any(|v| v.len() != self.slots) {
            return Err(Error::Data(format!(
                "a batch of {} patches of {} pixels wants as many noisy and clean values, noise levels and weights",
                self.slots, self.pixels
            )));
        }
        for buffer in [&self.x, &self.y, &self.z] {
            gpu.write(buffer, noisy)?;
        }
        gpu.write(&self.clean, clean)?;
        gpu.write(&self.weights, weights)?;
        let state = |sigma: &f32| AgdState {
            scale: sigma * (self.pixels as f32).sqrt(),
            ..AgdState::start()
        };
        gpu.write(&self.states, &sigmas.iter().map(state).collect::<Vec<_>>())?;
        let states = self.minimise(gpu)?;
        let adjoint = self.differentiate(gpu)?;
        let sums: Vec<f32> = gpu.fetch(&self.sums_out)?;
        let column = |n: usize| sums.iter().skip(n).step_by(4).map(|v| f64::from(*v));
        let mean = |total: u32| f64::from(total) / self.slots as f64;
        let loss: f64 = column(0).sum();
        let converges = self.settings.objective != Objective::Unrolled;
        Ok(BatchResult {
            loss,
            squared_errors: column(1).map(|s| s / self.counted as f64).collect(),
            iterations: mean(states.iter().map(|s| s.iterations).sum()),
            adjoint_iterations: mean(adjoint.iter().map(|s| s.iterations).sum()),
            unfinished: (0..self.slots)
                .filter(|&s| {
                    converges && states[s].status == RUNNING || adjoint.get(s).is_some_and(|a| a.status == RUNNING)
                })
                .count(),
            finite: loss.is_finite()
                && states.iter().all(|s| s.status != NOT_FINITE)
                && adjoint.iter().all(|s| s.status != NOT_FINITE),
        })
    }

    /// The gradient that [`Self::run`] left behind.
    pub fn gradient(&self) -> &ParameterGradient {
        &self.parameters
    }

    /// The denoised patches that [`Self::run`] left behind, (patch, row, column).
    pub fn denoised(&self) -> &Buffer {
        &self.x
    }

    /// Iterates until every patch is done or the iterations are used up: by splitting as long as [`crate::solver::Denoiser`] does,
    /// then by accelerated gradients.
    fn minimise(&self, gpu: &Gpu) -> Result<Vec<AgdState>> {
        let mut running = self.slots;
        let mut done = 0;
        loop {
            let split = self.split.as_ref().filter(|_| done < MOST_ITERATIONS);
            let trips = LOOK_EVERY.min(self.settings.iterations - done);
            let mut recorder = gpu.record();
            if let (0, Some(split)) = (done, split) {
                split.record_refresh(&mut recorder);
                split.record_start(&mut recorder, self.slots);
            }
            for trip in done..done + trips {
                if let Some(split) = split {
                    split.record(&mut recorder, running as u32);
                    continue;
                }
                if let Some(unrolling) = &self.unrolling {
                    let kept = unrolling.iterates.slice(trip * self.x.len(), self.x.len());
                    recorder.copy(self.x.all(), kept);
                }
                self.gradient.record(&mut recorder, running as u32);
                self.agd.record(&mut recorder, running as u32);
            }
            recorder.copy_out(self.states.all(), &self.states_out);
            recorder.submit();
            drop(recorder);
            done += trips;
            let states: Vec<AgdState> = gpu.fetch(&self.states_out)?;
            running = states
                .iter()
                .rposition(|s| s.status == RUNNING)
                .map_or(0, |last| last + 1);
            if running == 0 || done == self.settings.iterations {
                return Ok(states);
            }
            if split.is_some() && done >= MOST_ITERATIONS {
                // The momentum starts anew: it belongs to other steps.
                let restarted: Vec<AgdState> = states.iter().map(|s| s.restarted()).collect();
                gpu.write(&self.states, &restarted)?;
            }
        }
    }

    /// The loss, the adjoint and the gradient with respect to the parameters; the losses are on their way to the host.
    fn differentiate(&self, gpu: &Gpu) -> Result<Vec<CgState>> {
        let mut recorder = gpu.record();
        recorder.dispatch(&self.loss, [self.slots as u32, 1, 1], 0);
        let mut states = Vec::new();
        match (self.settings.objective, &self.unrolling) {
            (Objective::Unrolled, Some(unrolling)) => {
                recorder.copy(self.descent.all(), self.q.all());
                self.record_unrolled(&mut recorder, unrolling);
            }
            (Objective::Bilevel, _) => {
                recorder.dispatch(&self.cg_start, [self.slots as u32, 1, 1], 0);
                self.hessian.record_point(&mut recorder, self.slots as u32);
                recorder.submit();
                drop(recorder);
                states = self.solve_adjoint(gpu)?;
                recorder = gpu.record();
                self.parameters.record(&mut recorder);
            }
            _ => {
                recorder.copy(self.descent.all(), self.q.all());
                self.parameters.record(&mut recorder);
            }
        }
        recorder.copy_out(self.sums.all(), &self.sums_out);
        recorder.submit();
        Ok(states)
    }

    fn solve_adjoint(&self, gpu: &Gpu) -> Result<Vec<CgState>> {
        let mut running = self.slots;
        let mut done = 0;
        loop {
            let trips = LOOK_EVERY.min(self.settings.adjoint_iterations - done);
            let mut recorder = gpu.record();
            for _ in 0..trips {
                self.hessian.record_product(&mut recorder, running as u32);
                recorder.dispatch(&self.cg_step, [running as u32, 1, 1], 0);
            }
            recorder.copy_out(self.cg_states.all(), &self.cg_states_out);
            recorder.submit();
            drop(recorder);
            done += trips;
            let states: Vec<CgState> = gpu.fetch(&self.cg_states_out)?;
            running = states
                .iter()
                .rposition(|s| s.status == RUNNING)
                .map_or(0, |last| last + 1);
            if running == 0 || done == self.settings.adjoint_iterations {
                return Ok(states);
            }
        }
    }

    /// From the last step to the first.
    fn record_unrolled(&self, recorder: &mut Recorder<'_>, unrolling: &Unrolling) {
        let groups = self.x.len().div_ceil(64);
        let across = groups.min(1024);
        // The last iterate is the result and is wanted afterwards: it waits in z.
        recorder.copy(self.x.all(), self.z.all());
        for (count, step) in (0..self.settings.iterations).rev().enumerate() {
            recorder.copy(
                unrolling.iterates.slice(step * self.x.len(), self.x.len()),
                self.x.all(),
            );
            self.parameters.record_sums(recorder, count > 0);
            unrolling.hessian.record_point(recorder, self.slots as u32);
            unrolling.hessian.record_product(recorder, self.slots as u32);
            recorder.dispatch(&unrolling.back, [across as u32, groups.div_ceil(across) as u32, 1], 0);
        }
        self.parameters.record_pull(recorder);
        recorder.copy(self.z.all(), self.x.all());
    }
}

fn check(settings: &HypergradientSettings) -> Result<()> {
    let fail = |why: &str| Err(Error::Usage(format!("{why}, not {settings:?}")));
    let positive = |v: f64| v > 0.0 && v.is_finite();
    if settings.iterations == 0 || settings.adjoint_iterations == 0 {
        return fail("solvers of training need at least one iteration");
    }
    if !positive(settings.tolerance) || !positive(settings.adjoint_tolerance) {
        return fail("tolerances of training must be above 0");
    }
    if settings.objective == Objective::Unrolled && settings.iterations > 100 {
        return fail("at most 100 steps can be unrolled");
    }
    Ok(())
}
