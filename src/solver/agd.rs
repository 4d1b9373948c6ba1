//! Denoising by accelerated projected gradient with gradient restart.
//!
//! Minimises `h(x) = |x - y|^2 / 2 + lambda R(x)` over a box, for each image of a batch on its own:
//!
//! `x_{k+1} = clamp(z_k - step ((z_k - y) + lambda grad R(z_k)))`, `step = 1 / (1 + lambda L)`,
//! `z_{k+1} = x_{k+1} + (t_k - 1)/t_{k+1} (x_{k+1} - x_k)`, `t_{k+1} = (1 + sqrt(1 + 4 t_k^2)) / 2`,
//!
//! with `t = 1`, `z = x` whenever `<z_k - x_{k+1}, x_{k+1} - x_k> > 0` (O'Donoghue and Candes, 2015), from `x_0 = y`
//! until `|x_{k+1} - x_k| <= tolerance |x_{k+1}|`, or by splitting (`splitting.rs`). `h` is convex when `lambda rho <= 1`, where `rho` is
//! the model's weak-convexity modulus; a larger `lambda` is refused, and a smaller one gives a bound of `|x - x*|` with the result.
//! Without the box, the accelerated gradient is the published solver (arXiv 2308.10542).

use std::time::Instant;

use super::agd_kernels::{AgdKernels, AgdParams, AgdState, Iterates, NOT_FINITE, RUNNING};
use super::descent::EnergyHistory;
use super::error_bound::ErrorBound;
use super::mirror;
use super::splitting::{Filters, LARGEST_SIDE, MOST_ITERATIONS, PENALTY, SplitSettings, Splitting};
use crate::filters::LayerShape;
use crate::gpu::reduce::{InnerProduct, VALUES_PER_GROUP};
use crate::gpu::{Buffer, Gpu, Readback, Recorder};
use crate::model::device::{Extra, Images, RidgeOnDevice, RunOptions};
use crate::model::split::{MOST_DUAL_BYTES, dual_bytes, has_proximal_step};
use crate::model::{Ridge, Tiling};
use crate::{Error, Result};

/// Which iteration finds the minimiser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Splitting with the activations' proximal operators: fewest iterations, more memory; the accelerated gradient takes over under a
    /// box, for images too large for it, and after 60 iterations
    Splitting,
    /// Accelerated gradient with restart
    Accelerated,
    /// Proximal gradient without momentum
    Plain,
}

/// How to denoise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Weight of the regularizer; 1 is what models are trained for.
    pub lambda: f64,
    /// Stop when the relative change of an image falls to this.
    pub tolerance: f64,
    /// Stop after this many iterations.
    pub max_iterations: usize,
    /// Keep pixels in this interval.
    pub limits: Option<(f32, f32)>,
    /// The iteration.
    pub method: Method,
    /// Splitting stops when the root mean square of a change falls to this many noise levels, which is what the PSNR feels;
    /// `None`: at `tolerance`.
    pub noise_tolerance: Option<f64>,
}

/// The relative change at which the published solver stops.
pub const TOLERANCE: f64 = 1e-4;
/// Changes, in noise levels, at which the PSNR of splitting is within about 0.02 dB of where it ends (`README.md`).
const NOISE_TOLERANCE: f64 = 2e-3;

impl Default for Settings {
    fn default() -> Self {
        Self {
            lambda: 1.0,
            tolerance: TOLERANCE,
            max_iterations: 300,
            limits: None,
            method: Method::Accelerated,
            noise_tolerance: None,
        }
    }
}

impl Settings {
    /// With a relative tolerance for every method, or with the usual ones: 1e-4, by splitting 0.002 noise levels.
    pub fn stopping_at(self, tolerance: Option<f64>) -> Self {
        Self {
            tolerance: tolerance.unwrap_or(TOLERANCE),
            noise_tolerance: tolerance.is_none().then_some(NOISE_TOLERANCE),
            ..self
        }
    }

    /// Checks what holds for every solver.
    ///
    /// # Errors
    /// [`Error::Usage`] with the first setting that makes no sense.
    pub(super) fn check(&self) -> Result<()> {
        let fail = |why: String| Err(Error::Usage(why));
        if !(self.lambda.is_finite() && self.lambda > 0.0) {
            return fail(format!("lambda {} must be above 0", self.lambda));
        }
        if !(self.tolerance.is_finite() && self.tolerance > 0.0) {
            return fail(format!("the tolerance {} must be above 0", self.tolerance));
        }
        if self.max_iterations == 0 {
            return fail("at least one iteration is needed".into());
        }
        Ok(())
    }
}

/// Why an image was finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stop {
    /// The relative change fell to the tolerance.
    Converged,
    /// The iterations were used up.
    MaxIterations,
}

impl Stop {
    /// Why an image ended whose state says so; those of all solvers speak alike.
    pub(super) fn of_status(status: u32) -> Self {
        match status {
            RUNNING => Self::MaxIterations,
            _ => Self::Converged,
        }
    }

    /// Why several images ended together: converged if all of them are.
    pub fn of_all(stops: impl IntoIterator<Item = Self>) -> Self {
        if stops.into_iter().all(|stop| stop == Self::Converged) {
            Self::Converged
        } else {
            Self::MaxIterations
        }
    }
}

/// The result for one image.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The reconstruction, (row, column).
    pub image: Vec<f32>,
    /// `h(x)`.
    pub energy: f64,
    /// Energies on the way, where they are evaluated: of reconstructions from measurements.
    pub history: EnergyHistory,
    /// Iterations done.
    pub iterations: usize,
    /// Restarts of the momentum.
    pub restarts: usize,
    /// Last relative change.
    pub change: f64,
    /// Why it ended.
    pub stop: Stop,
    /// A bound of the distance `|x - x*|` to the minimiser over the box, rounding included, where the energy is strongly convex for
    /// certain: of denoising `lambda rho < 1`, of a reconstruction `lambda rho` below [`crate::operator::LinearOperator::least_squared`], with
    /// a bound of the filters' norm.
    pub error_bound: Option<f64>,
}

/// A model prepared for images of one size. Makes all kernels and buffers at once, then runs any number of batches.
pub struct Denoiser<'g> {
    gpu: &'g Gpu,
    slots: usize,
    /// Rows and columns of an image as it is given, and the pixels by which it is mirrored on every side.
    size: [usize; 2],
    extension: usize,
    /// Pixels of an image with these.
    pixels: usize,
    model: RidgeOnDevice,
    buffers: Buffers,
    kernels: AgdKernels,
    splitting: Option<Splitting>,
    distance: InnerProduct,
    error_bound: Option<ErrorBound>,
    state_readback: Readback,
    /// What changes are measured by when an image starts, [`AgdState::scale`].
    scale: f32,
    settings: Settings,
}

struct Buffers {
    x: Buffer,
    y: Buffer,
    z: Buffer,
    active: Buffer,
    states: Buffer,
}

impl Buffers {
    fn iterates<'b>(&'b self, gradient: &'b Buffer) -> Iterates<'b> {
        Iterates {
            x: &self.x,
            y: &self.y,
            z: &self.z,
            gradient,
            active: &self.active,
            states: &self.states,
        }
    }
}

/// One submission should keep the device busy for about this long: short enough to notice convergence early, long enough
/// to hide the wait.
pub(super) const SECONDS_PER_CHECK: f64 = 0.15;

impl<'g> Denoiser<'g> {
    /// Prepares for batches of up to `slots` images of `size`, which are mirrored beyond their borders where the model wants it
    /// ([`Ridge::extension`]): energies and bounds of [`Outcome`] are those of the larger image.
    ///
    /// # Errors
    /// [`Error::Usage`] for settings under which convergence is not guaranteed; model and device errors.
    pub fn new(
        gpu: &'g Gpu,
        model: &Ridge,
        options: &RunOptions,
        settings: Settings,
        size: [usize; 2],
        slots: usize,
    ) -> Result<Self> {
        check(&settings, model)?;
        let [height, width] = model.extended(size);
        let pixels = height * width;
        let plane = |label: &str| gpu.buffer(label, slots * pixels);
        let buffers = Buffers {
            x: plane("x")?,
            y: plane("y")?,
            z: plane("z")?,
            active: gpu.buffer("active", slots)?,
            states: gpu.buffer("states", slots * size_of::<AgdState>() / 4)?,
        };
        let gradient = plane("gradient")?;
        let images = Images {
            height,
            width,
            source: &buffers.z,
            active: &buffers.active,
            slots,
        };
        // Of one image, so that the method does not depend on how many there are.
        let alone = Tiling::new(&model.bank, height, width, 1, options.tile)?;
        let splits = settings.method == Method::Splitting
            && settings.limits.is_none()
            && 2 * model.bank.radius() < LARGEST_SIDE
            && has_proximal_step(model, options.style.unwrap_or_else(|| gpu.style()))
            && dual_bytes(&alone, model.bank.channels(), 1) <= MOST_DUAL_BYTES;
        let extra = if splits {
            Extra::Splitting { ratio: 1.0 / PENALTY }
        } else {
            Extra::None
        };
        let on_device = RidgeOnDevice::new(gpu, model, options, &images, &gradient, extra)?;
        let (low, high) = settings.limits.unwrap_or((-f32::MAX, f32::MAX));
        let params = AgdParams {
            pixels: pixels as u32,
            groups: pixels.div_ceil(VALUES_PER_GROUP) as u32,
            lambda: settings.lambda as f32,
            step: (1.0 / (1.0 + settings.lambda * model.gradient_lipschitz())) as f32,
            low,
            high,
            tolerance: settings.tolerance as f32,
            accelerate: u32::from(settings.method != Method::Plain),
        };
        let kernels = AgdKernels::new(gpu, &params, slots, &buffers.iterates(&gradient))?;
        let splitting = if splits {
            let on = buffers.iterates(&gradient);
            let split = SplitSettings {
                tolerance: settings.noise_tolerance.unwrap_or(settings.tolerance),
                lambda: settings.lambda,
            };
            Some(prepare_splitting(gpu, model, split, [height, width], slots, &on)?)
        } else {
            None
        };
        let distance = InnerProduct::new(gpu, &buffers.z, &buffers.y, slots, pixels)?;
        let energy = (model, options, &settings);
        let on = [&buffers.x, &buffers.y, &gradient, &buffers.active];
        let error_bound = ErrorBound::of_denoising(gpu, energy, &params, slots, on)?;
        gpu.warm_up(
            kernels
                .bound()
                .into_iter()
                .chain(splitting.iter().flat_map(Splitting::bound))
                .chain(error_bound.iter().flat_map(ErrorBound::kernels)),
        )?;
        let state_readback = gpu.readback(buffers.states.len())?;
        Ok(Self {
            gpu,
            slots,
            size,
            extension: model.extension(),
            pixels,
            model: on_device,
            buffers,
            kernels,
            splitting,
            distance,
            error_bound,
            state_readback,
            scale: match (splits, settings.noise_tolerance) {
                (true, Some(_)) => (options.sigma * (pixels as f64).sqrt()) as f32,
                _ => 0.0,
            },
            settings,
        })
    }

    /// Tiles per image.
    pub fn tiles(&self) -> usize {
        self.model.tiling().tiles.len()
    }

    /// Denoises up to `slots` images, each an array of (row, column). `progress` hears the iterations done, how many
    /// images are still running and the largest relative change among them.
    ///
    /// # Errors
    /// [`Error::Data`] for wrong shapes, [`Error::Diverged`] for non-finite iterates, device errors.
    pub fn run(&self, noisy: &[&[f32]], mut progress: impl FnMut(usize, usize, f64)) -> Result<Vec<Outcome>> {
        let [rows, cols] = self.size;
        if noisy.is_empty() || noisy.len() > self.slots || noisy.iter().any(|n| n.len() != rows * cols) {
            return Err(Error::Data(format!(
                "want up to {} images of {} pixels",
                self.slots,
                rows * cols
            )));
        }
        let count = noisy.len();
        let extend = |plane: &&[f32]| mirror::extended(plane, self.size, self.extension);
        let y = noisy.iter().flat_map(extend).collect::<Vec<_>>();
        for buffer in [&self.buffers.x, &self.buffers.y, &self.buffers.z] {
            self.gpu.write(buffer, &y)?;
        }
        drop(y);
        let fresh = AgdState {
            scale: self.scale,
            ..AgdState::start()
        };
        self.gpu.write(&self.buffers.states, &vec![fresh; count])?;
        let mut states = vec![fresh; count];
        let (mut done, mut batch, mut waited) = (0, 1, 0);
        let mut slots: Vec<u32> = (0..count as u32).collect();
        while done < self.settings.max_iterations {
            let active: Vec<u32> = (0..count as u32)
                .filter(|&i| states[i as usize].status == RUNNING)
                .collect();
            if active.is_empty() {
                break;
            }
            self.gpu.write(&self.buffers.active, &active)?;
            let start = Instant::now();
            let splitting = self.splitting.as_ref().filter(|_| done < MOST_ITERATIONS);
            if self.splitting.is_some() && done == MOST_ITERATIONS {
                // The momentum starts anew, it belongs to other steps; so does the measure of changes.
                for state in &mut states {
                    *state = AgdState {
                        scale: 0.0,
                        ..state.restarted()
                    };
                }
                self.gpu.write(&self.buffers.states, &states)?;
            }
            let left = self.settings.max_iterations - done;
            let trips = batch.min(splitting.map_or(left, |_| left.min(MOST_ITERATIONS - done)));
            let mut recorder = self.gpu.record();
            if splitting.is_some() {
                if done == 0 {
                    self.model.record_split_start(&mut recorder, count);
                }
                // What an image leaves behind follows it to its new slot.
                let of = |image: &u32| slots.iter().position(|s| s == image).unwrap_or_default();
                let moves: Vec<_> = active.iter().map(of).zip(0..).filter(|(from, to)| from != to).collect();
                self.model.record_moves(&mut recorder, &moves);
                slots.clone_from(&active);
            }
            for _ in 0..trips {
                match splitting {
                    Some(splitting) => {
                        self.model.record_split(&mut recorder, active.len() as u32)?;
                        splitting.record(&mut recorder, active.len() as u32);
                    }
                    None => self.record_iteration(&mut recorder, active.len() as u32),
                }
            }
            recorder.copy_out(
                self.buffers.states.slice(0, count * size_of::<AgdState>() / 4),
                &self.state_readback,
            );
            recorder.submit();
            states = self.gpu.fetch(&self.state_readback)?;
            states.truncate(count);
            done += trips;
            waited += 1;
            if let Some(image) = states.iter().position(|s| s.status == NOT_FINITE) {
                return Err(Error::Diverged(format!(
                    "image {image} became non-finite at iteration {}; check the input's range (want about 0..1) and the model",
                    states[image].iterations
                )));
            }
            let running = states.iter().filter(|s| s.status == RUNNING);
            let change = running.clone().map(|s| f64::from(s.change)).fold(0.0, f64::max);
            progress(done, running.count(), change);
            let per_iteration = start.elapsed().as_secs_f64() / trips as f64;
            batch = ((SECONDS_PER_CHECK / per_iteration) as usize).clamp(1, 32);
        }
        log::debug!("{done} iterations in {waited} submissions");
        self.outcomes(&states)
    }

    fn record_iteration(&self, recorder: &mut Recorder<'_>, slots: u32) {
        self.model.record_gradient(recorder, slots);
        self.kernels.record(recorder, slots);
    }

    /// Energies of the final images, and everything read back. `z` is free by now and takes the images.
    fn outcomes(&self, states: &[AgdState]) -> Result<Vec<Outcome>> {
        let count = states.len();
        let everyone: Vec<u32> = (0..count as u32).collect();
        self.gpu.write(&self.buffers.active, &everyone)?;
        let mut recorder = self.gpu.record();
        recorder.copy(
            self.buffers.x.slice(0, count * self.pixels),
            self.buffers.z.slice(0, count * self.pixels),
        );
        self.model.record_energy(&mut recorder, count as u32);
        if let Some(error_bound) = &self.error_bound {
            self.model.record_gradient(&mut recorder, count as u32);
            error_bound.record(&mut recorder, count as u32);
        }
        self.distance.record(&mut recorder, count as u32);
        recorder.submit();
        let regularizer: Vec<f32> = self.gpu.read(self.model.energies())?;
        let distance: Vec<f32> = self.gpu.read(self.distance.totals())?;
        let images: Vec<f32> = self.gpu.read(self.buffers.x.slice(0, count * self.pixels))?;
        let bounds = match &self.error_bound {
            Some(error_bound) => Some(error_bound.read(self.gpu, &vec![0.0; count])?),
            None => None,
        };
        Ok(states
            .iter()
            .enumerate()
            .map(|(i, state)| Outcome {
                image: mirror::inner(
                    &images[i * self.pixels..(i + 1) * self.pixels],
                    self.size,
                    self.extension,
                ),
                energy: 0.5 * f64::from(distance[4 * i + 1]) + self.settings.lambda * f64::from(regularizer[4 * i]),
                history: EnergyHistory::default(),
                iterations: state.iterations as usize,
                restarts: state.restarts as usize,
                change: f64::from(state.change),
                stop: Stop::of_status(state.status),
                error_bound: bounds.as_ref().map(|bounds| bounds[i]),
            })
            .collect())
    }
}

/// The splitting for the filters of `model` as one layer.
fn prepare_splitting(
    gpu: &Gpu,
    model: &Ridge,
    settings: SplitSettings,
    size: [usize; 2],
    slots: usize,
    on: &Iterates<'_>,
) -> Result<Splitting> {
    let effective: Vec<f32> = model.bank.effective_filters().iter().map(|w| *w as f32).collect();
    let filters = Filters {
        shape: LayerShape {
            inputs: 1,
            outputs: model.bank.channels(),
            size: 2 * model.bank.radius() + 1,
        },
        weights: &gpu.upload("effective filters", &effective)?,
    };
    let splitting = Splitting::new(gpu, &filters, settings, size, slots, on)?;
    let mut recorder = gpu.record();
    splitting.record_refresh(&mut recorder);
    recorder.submit();
    Ok(splitting)
}

fn check(settings: &Settings, model: &Ridge) -> Result<()> {
    settings.check()?;
    let convexity = settings.lambda * model.weak_convexity();
    if convexity > 1.0 + 1e-6 {
        return Err(Error::Usage(format!(
            "lambda {} makes the energy non-convex (lambda rho = {convexity:.3} > 1); use at most {:.4}",
            settings.lambda,
            1.0 / model.weak_convexity()
        )));
    }
    Ok(())
}
