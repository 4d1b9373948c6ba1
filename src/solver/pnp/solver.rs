//! The iterations of plug-and-play on the device.

use std::time::Instant;

use super::prox::{DataProx, ProxMemory};
use super::{Algorithm, Nonexpansive, PnpConstants, PnpSettings};
use crate::gpu::reduce::VALUES_PER_GROUP;
use crate::gpu::{Bound, Buffer, Gpu, Readback, Recorder, Work};
use crate::operator::{LinearOperator, OperatorNorm, Pass};
use crate::solver::agd::SECONDS_PER_CHECK;
use crate::solver::descent::subtract;
use crate::solver::{NOT_FINITE, RUNNING, Stop};
use crate::{Error, Result, shader_struct};

shader_struct! {
    /// Parameters of the `pnp_*` kernels (`shaders/lib/pnp.wgsl`).
    pub struct PnpParams {
        /// Pixels of the image.
        pub pixels: u32,
        /// Weight of `x` in the denoiser's argument.
        pub keep: f32,
        /// Weight of the other array in it.
        pub add: f32,
        /// `a`.
        pub averaging: f32,
        /// `s`.
        pub strength: f32,
        /// Lower end of the box.
        pub low: f32,
        /// Upper end of the box.
        pub high: f32,
        /// Stop at this fixed-point residual.
        pub tolerance: f32,
    }
}

shader_struct! {
    /// State of an iteration (`shaders/lib/pnp.wgsl`).
    pub struct PnpState {
        /// The last fixed-point residual.
        pub change: f32,
        /// Iterations done.
        pub iterations: u32,
        /// 0 running, 1 converged, 2 not finite.
        pub status: u32,
        /// Padding.
        pub pad0: u32,
    }
}

/// Iterations between looks at the device at most: as long as the ring of residuals.
const LOOK_EVERY: usize = 32;

/// The result for one image.
#[derive(Clone, Debug)]
pub struct PnpOutcome {
    /// The reconstruction, (row, column).
    pub image: Vec<f32>,
    /// Iterations done.
    pub iterations: usize,
    /// `|T x - x|` and `|x|` of every iteration `x <- T x`; of ADMM `|w - x|` and `|x|`, the movement of `z`.
    pub history: Vec<[f32; 2]>,
    /// The last fixed-point residual, see [`PnpSettings::tolerance`].
    pub change: f64,
    /// Why it ended.
    pub stop: Stop,
}

/// What stands between the iterate and the denoiser's argument.
enum Split {
    /// `H'(H x - y)`.
    Gradient {
        forward: Pass,
        residual: (Bound, [u32; 3]),
        adjoint: Pass,
    },
    /// `x = prox(z)`.
    Proximal(Box<DataProx>),
}

/// An operator and a denoiser prepared for one image at a time. Makes all kernels and buffers at once.
pub struct PlugAndPlay<'g, N> {
    gpu: &'g Gpu,
    network: N,
    domain: [usize; 2],
    range: [usize; 2],
    split: Split,
    argument: Bound,
    step: Bound,
    control: Bound,
    buffers: Buffers,
    state_out: Readback,
    history_out: Readback,
    settings: PnpSettings,
    constants: PnpConstants,
}

struct Buffers {
    y: Buffer,
    /// What the iteration moves: `x`, of ADMM `z`.
    iterate: Buffer,
    /// Where the result is: of forward-backward the iterate itself.
    image: Option<Buffer>,
    state: Buffer,
    history: Buffer,
}

impl<'g, N: Nonexpansive> PlugAndPlay<'g, N> {
    /// Prepares reconstructions from measurements of `operator`, whose norm is `norm`, with the denoiser of `network`, which must be
    /// bound to images of the operator's domain.
    ///
    /// # Errors
    /// As [`PnpSettings::constants`], before anything is computed; [`Error::Data`] for a network of another size; operator and device
    /// errors.
    pub fn new(
        gpu: &'g Gpu,
        operator: &dyn LinearOperator,
        norm: OperatorNorm,
        network: N,
        settings: PnpSettings,
    ) -> Result<Self> {
        let constants = settings.constants(norm, network.lipschitz())?;
        let (domain, range) = (operator.domain(), operator.range());
        let (pixels, measured) = (domain[0] * domain[1], range[0] * range[1]);
        for (what, buffer) in [("takes", network.input()), ("gives", network.output())] {
            if buffer.len() != pixels {
                return Err(Error::Data(format!(
                    "the denoiser {what} {} pixels, the operator works on {} x {}; prepare it for that size",
                    buffer.len(),
                    domain[0],
                    domain[1]
                )));
            }
        }
        let plane = |label: &str| gpu.buffer(label, pixels);
        let proximal = settings.algorithm == Algorithm::Admm;
        let buffers = Buffers {
            y: gpu.buffer("y", measured)?,
            iterate: plane("iterate")?,
            image: proximal.then(|| plane("image")).transpose()?,
            state: gpu.buffer("state", size_of::<PnpState>() / 4)?,
            history: gpu.buffer("history", 2 * LOOK_EVERY)?,
        };
        let (product, other, v) = (gpu.buffer("product", measured)?, plane("gradient")?, plane("argument")?);
        let partials = gpu.buffer("step partials", pixels.div_ceil(VALUES_PER_GROUP) * 4)?;
        let limits = settings.limits.unwrap_or((-f32::MAX, f32::MAX));
        let (keep, add) = if proximal {
            (2.0, -1.0)
        } else {
            // Rounded towards 0: a step must not be longer than the constants allow.
            (1.0, -(constants.gamma as f32).next_down())
        };
        let params = gpu.params(&[PnpParams {
            pixels: pixels as u32,
            keep,
            add,
            averaging: settings.averaging as f32,
            strength: settings.strength as f32,
            low: limits.0,
            high: limits.1,
            tolerance: settings.tolerance as f32,
        }])?;
        let bind = |name: &str, memory: &[(&str, &Buffer)], values: u64| -> Result<Bound> {
            let all = memory.iter().map(|&(n, b)| (n, b.into()));
            let all: Vec<_> = [("params", params.binding())].into_iter().chain(all).collect();
            let work = Work {
                bytes: 4 * values * pixels as u64,
                multiply_adds: values * pixels as u64,
            };
            Ok(gpu.kernel(name, &[])?.bind(gpu, &all)?.with_work(None, [work]))
        };
        let (iterate, state, output) = (&buffers.iterate, &buffers.state, network.output());
        let ends = [
            ("state", state),
            ("v", &v),
            ("network", output),
            ("partials", &partials),
        ];
        let (split, argument, step) = match &buffers.image {
            None => {
                let split = Split::Gradient {
                    forward: operator.forward(gpu, iterate, &product)?,
                    residual: subtract(gpu, &product, &buffers.y, measured, 1)?,
                    adjoint: operator.adjoint(gpu, &product, &other)?,
                };
                let memory = [("x", iterate), ("q", &other), ("v", &v), ("input", network.input())];
                let step = [ends.as_slice(), &[("x", iterate)]].concat();
                (split, memory, bind("pnp_forward_backward", &step, 4)?)
            }
            Some(image) => {
                // The proximal operator's scratch is free when its result comes.
                let memory = ProxMemory {
                    z: iterate,
                    y: &buffers.y,
                    x: &other,
                    product: &product,
                    scratch: &v,
                };
                let prox = DataProx::new(gpu, operator, constants.gamma, settings.step, &memory)?;
                let memory = [("x", &other), ("q", iterate), ("v", &v), ("input", network.input())];
                let step = [ends.as_slice(), &[("x", &other), ("z", iterate), ("image", image)]].concat();
                (
                    Split::Proximal(Box::new(prox)),
                    memory,
                    bind("pnp_douglas_rachford", &step, 6)?,
                )
            }
        };
        let argument = bind("pnp_argument", &argument, 4)?;
        let memory = [("partials", &partials), ("state", state), ("history", &buffers.history)];
        let control = bind("pnp_control", &memory, 0)?;
        gpu.warm_up([&argument, &step, &control])?;
        match &split {
            Split::Gradient {
                forward,
                residual,
                adjoint,
            } => gpu.warm_up(forward.kernels().chain([&residual.0]).chain(adjoint.kernels()))?,
            Split::Proximal(prox) => gpu.warm_up(prox.kernels())?,
        }
        Ok(Self {
            state_out: gpu.readback(buffers.state.len())?,
            history_out: gpu.readback(buffers.history.len())?,
            gpu,
            network,
            domain,
            range,
            split,
            argument,
            step,
            control,
            buffers,
            settings,
            constants,
        })
    }

    /// The constants in use.
    pub fn constants(&self) -> PnpConstants {
        self.constants
    }

    /// Reconstructs the image (row, column) from `measurement`, starting at `start`. `progress` hears the iterations done
    /// and the fixed-point residual of the last.
    ///
    /// # Errors
    /// [`Error::Data`] for wrong shapes, [`Error::Diverged`] for values that are not finite, device errors.
    pub fn run(&self, measurement: &[f32], start: &[f32], mut progress: impl FnMut(usize, f64)) -> Result<PnpOutcome> {
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
        let (gpu, buffers) = (self.gpu, &self.buffers);
        gpu.write(&buffers.y, measurement)?;
        gpu.write(&buffers.iterate, start)?;
        let mut state = PnpState::default();
        gpu.write(&buffers.state, &[state])?;
        if let Split::Proximal(prox) = &self.split {
            let mut recorder = gpu.record();
            prox.record_measurement(&mut recorder);
            recorder.submit();
        }
        let mut history: Vec<[f32; 2]> = Vec::new();
        let mut batch = 1;
        while history.len() < self.settings.max_iterations && state.status == RUNNING {
            let clock = Instant::now();
            let done = history.len();
            let trips = batch.min(self.settings.max_iterations - done);
            let mut recorder = gpu.record();
            for _ in 0..trips {
                self.record_iteration(&mut recorder);
            }
            recorder.copy_out(buffers.state.all(), &self.state_out);
            recorder.copy_out(buffers.history.all(), &self.history_out);
            recorder.submit();
            drop(recorder);
            state = gpu.fetch(&self.state_out)?[0];
            let ring: Vec<[f32; 2]> = gpu.fetch(&self.history_out)?;
            history.extend((done..state.iterations as usize).map(|n| ring[n % LOOK_EVERY]));
            if state.status == NOT_FINITE {
                return Err(Error::Diverged(format!(
                    "the image became non-finite at iteration {}; check the values of the measurement and of the denoiser",
                    state.iterations
                )));
            }
            progress(history.len(), f64::from(state.change));
            batch = ((SECONDS_PER_CHECK * trips as f64 / clock.elapsed().as_secs_f64()) as usize).clamp(1, LOOK_EVERY);
        }
        Ok(PnpOutcome {
            image: gpu.read(buffers.image.as_ref().unwrap_or(&buffers.iterate))?,
            iterations: history.len(),
            history,
            change: f64::from(state.change),
            stop: Stop::of_status(state.status),
        })
    }

    fn record_iteration(&self, recorder: &mut Recorder<'_>) {
        let groups = [
            (self.domain[0] * self.domain[1]).div_ceil(VALUES_PER_GROUP) as u32,
            1,
            1,
        ];
        match &self.split {
            Split::Gradient {
                forward,
                residual,
                adjoint,
            } => {
                forward.record(recorder);
                recorder.dispatch(&residual.0, residual.1, 0);
                adjoint.record(recorder);
            }
            Split::Proximal(prox) => prox.record(recorder),
        }
        recorder.dispatch(&self.argument, groups, 0);
        self.network.record(recorder);
        recorder.dispatch(&self.step, groups, 0);
        recorder.dispatch(&self.control, [1, 1, 1], 0);
    }
}
