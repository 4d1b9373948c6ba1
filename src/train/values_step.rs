//! The step of nodal values: proximal, in Adam's metric, inside the slope bounds.

use super::AdamClock;
use super::optimiser::StepRule;
use crate::gpu::{Bound, Buffer, Gpu, Readback, Recorder};
use crate::spline::SlopeBounds;
use crate::spline::device::TrainableBank;
use crate::spline::device::tv2::{NodalProx, OPTIMAL, Tv2Problem};
use crate::{Error, Result, shader_struct};

shader_struct! {
    /// Parameters of the `values_*` kernels (`shaders/lib/training.wgsl`).
    pub struct ValuesParams {
        /// Entries of the bank.
        pub entries: u32,
        /// 1 for antisymmetric splines.
        pub odd: u32,
        /// Learning rate.
        pub learning_rate: f32,
        /// Decay of the first moment.
        pub beta1: f32,
        /// Decay of the second moment.
        pub beta2: f32,
        /// Added to the root of the second moment.
        pub epsilon: f32,
        /// Smallest scale of an entry, relative to the largest of its spline.
        pub floor: f32,
        /// Padding.
        pub pad0: u32,
    }
}

shader_struct! {
    /// Where an entry's spline lies (`shaders/lib/training.wgsl`).
    pub struct Entry {
        /// First entry of its spline.
        pub first: u32,
        /// Entries of its spline.
        pub count: u32,
        /// The entry mirrored at the middle of the spline.
        pub mirror: u32,
        /// Padding.
        pub pad0: u32,
    }
}

/// Entries move as if their second moment were at least this part of the largest of their spline: knots that hardly any
/// response reaches follow their neighbours instead of noise.
const FLOOR: f32 = 1e-2;

/// The kernels of the step of nodal values.
#[derive(Debug)]
pub(super) struct ValuesStep {
    pub moments: Buffer,
    pub clock: Buffer,
    moment: Bound,
    target: Bound,
    prox: NodalProx,
    outcome: Readback,
    accept: Bound,
    entries: u32,
}

impl ValuesStep {
    /// Prepares steps of `bank`'s values along `gradient` at most at learning rate `rate`, with slopes in `bounds`; if `odd`,
    /// splines are antisymmetric and stay so.
    pub fn new(
        gpu: &Gpu,
        bank: &TrainableBank,
        gradient: &Buffer,
        bounds: &SlopeBounds,
        odd: bool,
        rate: f64,
        rule: &StepRule,
    ) -> Result<Self> {
        let positions: Vec<f32> = gpu.read(bank.positions())?;
        let mut entries = Vec::with_capacity(positions.len());
        for (index, &(first, count)) in bank.ranges().iter().enumerate() {
            for n in 0..count {
                let mirror = first + count - 1 - n;
                if odd && positions[mirror as usize] != -positions[(first + n) as usize] {
                    return Err(Error::Data(format!(
                        "the knots of activation {index} are not symmetric about 0"
                    )));
                }
                entries.push(Entry {
                    first,
                    count,
                    mirror,
                    pad0: 0,
                });
            }
        }
        let adam = rule.adam();
        let params = gpu.params(&[ValuesParams {
            entries: entries.len() as u32,
            odd: u32::from(odd),
            learning_rate: rate as f32,
            beta1: adam.beta1,
            beta2: adam.beta2,
            epsilon: adam.epsilon,
            floor: FLOOR,
            pad0: 0,
        }])?;
        let (count, table) = (entries.len(), gpu.upload("entries", &entries)?);
        let moments = gpu.buffer("moments of values", 2 * count)?;
        let clock = gpu.upload("clock of values", &[AdamClock::start()])?;
        let targets = gpu.buffer("targets", 2 * count)?;
        let problems: Vec<_> = bank
            .ranges()
            .iter()
            .map(|&(first, count)| Tv2Problem::new(first as usize, count as usize, rule.tv2, bounds))
            .collect();
        let prox = NodalProx::new(gpu, &positions, &problems, &targets)?;
        let bind = |name: &str, memory: &[(&str, &Buffer)]| {
            let all = memory.iter().map(|&(name, buffer)| (name, buffer.into()));
            let all: Vec<_> = [("params", params.binding()), ("entries", (&table).into())]
                .into_iter()
                .chain(all)
                .collect();
            gpu.kernel(name, &[])?.bind(gpu, &all)
        };
        Ok(Self {
            moment: bind(
                "values_moments",
                &[("clock", &clock), ("gradient", gradient), ("moments", &moments)],
            )?,
            target: bind(
                "values_targets",
                &[
                    ("clock", &clock),
                    ("values", bank.values()),
                    ("moments", &moments),
                    ("targets", &targets),
                ],
            )?,
            accept: bind(
                "values_accept",
                &[("solution", prox.solver().values()), ("values", bank.values())],
            )?,
            outcome: gpu.readback(prox.solver().problems().len())?,
            prox,
            moments,
            clock,
            entries: count as u32,
        })
    }

    /// Records the step at the present clock.
    pub fn record(&self, recorder: &mut Recorder<'_>) {
        let groups = self.moment.groups([self.entries, 1, 1]);
        recorder.dispatch(&self.moment, groups, 0);
        recorder.dispatch(&self.target, groups, 0);
        self.prox.record(recorder);
        recorder.dispatch(&self.accept, groups, 0);
        recorder.copy_out(self.prox.solver().problems().all(), &self.outcome);
    }

    /// Whether every proximal problem of the step that was recorded last was solved.
    pub fn check(&self, gpu: &Gpu) -> Result<()> {
        let problems: Vec<Tv2Problem> = gpu.fetch(&self.outcome)?;
        match problems.iter().position(|p| p.status != OPTIMAL) {
            None => Ok(()),
            Some(index) => Err(Error::Internal(format!(
                "the proximal step of activation {index} ended with status {} after {} steps",
                problems[index].status, problems[index].steps
            ))),
        }
    }
}
