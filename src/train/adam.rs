//! Adam on the device, for any groups of parameters that lie in one buffer.

use crate::gpu::{Bound, Buffer, Gpu, Recorder};
use crate::{Error, Result, shader_struct};

shader_struct! {
    /// Adam's state on the device.
    pub struct AdamClock {
        /// Steps taken.
        pub step: u32,
        /// Factor of the learning rates in the present step.
        pub rate: f32,
        /// `beta1^step`.
        pub decay1: f32,
        /// `beta2^step`.
        pub decay2: f32,
        /// What gradients are multiplied by: 1, or less to clip them.
        pub factor: f32,
        /// Padding.
        pub pad0: u32,
        /// Padding.
        pub pad1: u32,
        /// Padding.
        pub pad2: u32,
    }
}

shader_struct! {
    /// A group of parameters with its learning rate.
    pub struct AdamParams {
        /// First parameter.
        pub first: u32,
        /// How many.
        pub count: u32,
        /// Learning rate.
        pub learning_rate: f32,
        /// Decay of the first moment.
        pub beta1: f32,
        /// Decay of the second moment.
        pub beta2: f32,
        /// Added to the root of the second moment.
        pub epsilon: f32,
        /// Steps at the full learning rate.
        pub hold: u32,
        /// Steps at whose end it has fallen to 0.
        pub steps: u32,
    }
}

/// Constants of Adam and when its rates fall: at the full rates for `hold` steps, then linearly to 0 at step `steps`.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct AdamSettings {
    /// Decay of the first moment, in [0, 1).
    pub beta1: f32,
    /// Decay of the second moment, in [0, 1).
    pub beta2: f32,
    /// Added to the root of the second moment, positive.
    pub epsilon: f32,
    /// Steps at the full rates.
    pub hold: u32,
    /// Steps at whose end the rates have fallen to 0.
    pub steps: u32,
}

impl AdamClock {
    /// The state before the first step.
    pub fn start() -> Self {
        Self {
            decay1: 1.0,
            decay2: 1.0,
            factor: 1.0,
            ..Self::default()
        }
    }

    /// The state of the next step, at `rate` times the learning rates and with gradients multiplied by `factor`.
    pub fn next(&self, settings: &AdamSettings, rate: f32, factor: f32) -> Self {
        Self {
            step: self.step + 1,
            rate,
            decay1: self.decay1 * settings.beta1,
            decay2: self.decay2 * settings.beta2,
            factor,
            ..*self
        }
    }
}

/// The optimiser with its moments and its step counter, all on the device. Either the device counts and lets the rates fall,
/// so that any number of steps can be recorded at once ([`Self::record`]), or the host decides about every step
/// ([`Self::set_clock`], [`Self::record_moves`]).
#[derive(Debug)]
pub struct Adam {
    moments: Buffer,
    clock_buffer: Buffer,
    tick: Bound,
    step: Bound,
    counts: Vec<u32>,
}

impl Adam {
    /// Prepares steps on `parameters` along `gradients`; each group is `(first, count, learning rate)`.
    ///
    /// # Errors
    /// [`Error::Usage`] for constants out of range, [`Error::Data`] for groups outside of the parameters; device errors.
    pub fn new(
        gpu: &Gpu,
        settings: &AdamSettings,
        groups: &[(usize, usize, f32)],
        parameters: &Buffer,
        gradients: &Buffer,
    ) -> Result<Self> {
        let decays = [settings.beta1, settings.beta2];
        if decays.iter().any(|b| !(0.0..1.0).contains(b)) || settings.epsilon.is_nan() || settings.epsilon <= 0.0 {
            return Err(Error::Usage(format!(
                "Adam needs decays in [0, 1) and a positive epsilon, not {settings:?}"
            )));
        }
        if let Some(group) = groups.iter().find(|g| !(g.2 >= 0.0 && g.2.is_finite())) {
            return Err(Error::Usage(format!(
                "a learning rate must be >= 0, but is {}",
                group.2
            )));
        }
        let len = parameters.len().min(gradients.len());
        if groups.is_empty() || groups.iter().any(|g| g.0 + g.1 > len) {
            return Err(Error::Data(format!(
                "parameter groups {groups:?} do not lie in {len} parameters"
            )));
        }
        let entries: Vec<AdamParams> = groups
            .iter()
            .map(|&(first, count, learning_rate)| AdamParams {
                first: first as u32,
                count: count as u32,
                learning_rate,
                beta1: settings.beta1,
                beta2: settings.beta2,
                epsilon: settings.epsilon,
                hold: settings.hold,
                steps: settings.steps,
            })
            .collect();
        let params = gpu.params(&entries)?;
        let moments = gpu.buffer("moments", 2 * parameters.len())?;
        let clock_buffer = gpu.upload("clock", &[AdamClock::start()])?;
        let memory = [("params", params.binding()), ("clock", (&clock_buffer).into())];
        let tick = gpu.kernel("adam_clock", &[])?.bind(gpu, &memory)?;
        let memory = [
            ("params", params.binding()),
            ("clock", (&clock_buffer).into()),
            ("gradients", gradients.into()),
            ("moments", (&moments).into()),
            ("parameters", parameters.into()),
        ];
        let step = gpu.kernel("adam", &[])?.bind(gpu, &memory)?;
        Ok(Self {
            moments,
            clock_buffer,
            tick,
            step,
            counts: entries.iter().map(|e| e.count).collect(),
        })
    }

    /// Sets the state for the step that [`Self::record_moves`] records next.
    ///
    /// # Errors
    /// As [`Gpu::write`].
    pub fn set_clock(&self, gpu: &Gpu, clock: &AdamClock) -> Result<()> {
        gpu.write(&self.clock_buffer, &[*clock])
    }

    /// Reads the state behind the steps so far, waiting for the device.
    ///
    /// # Errors
    /// Device errors.
    pub fn clock(&self, gpu: &Gpu) -> Result<AdamClock> {
        let clock: Vec<AdamClock> = gpu.read(&self.clock_buffer)?;
        Ok(clock[0])
    }

    /// Records one step of all groups, counted on the device.
    pub fn record(&self, recorder: &mut Recorder<'_>) {
        recorder.dispatch(&self.tick, [1, 1, 1], 0);
        self.record_moves(recorder);
    }

    /// Records the step of all groups at the present state of the clock.
    pub fn record_moves(&self, recorder: &mut Recorder<'_>) {
        for (entry, &count) in self.counts.iter().enumerate() {
            recorder.dispatch(&self.step, self.step.groups([count, 1, 1]), entry);
        }
    }

    /// The moments (m, v) per parameter.
    pub fn moments(&self) -> &Buffer {
        &self.moments
    }
}

/// Adam's moments at a new knot `t`: linear interpolation of `moments` at the old knots, constant beyond them, so that second
/// moments stay positive.
pub(crate) fn interpolated(knots: &[f64], moments: &[[f32; 2]], t: f64) -> [f32; 2] {
    let right = knots.partition_point(|k| *k <= t);
    if right == 0 || right == knots.len() {
        return moments[right.saturating_sub(1)];
    }
    let part = ((t - knots[right - 1]) / (knots[right] - knots[right - 1])) as f32;
    std::array::from_fn(|i| (1.0 - part) * moments[right - 1][i] + part * moments[right][i])
}
