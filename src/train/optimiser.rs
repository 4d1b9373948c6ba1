//! One step of all parameters of a trainable ridge.

use serde::{Deserialize, Serialize};

use super::{Adam, AdamClock, AdamSettings, ParameterGradient, TrainableRidge};
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

shader_struct! {
    /// Parameters of `group_norms.wgsl`.
    pub struct GroupParams {
        /// Parameters of the group.
        pub count: u32,
        /// Number of the group.
        pub group: u32,
        /// Padding.
        pub pad0: u32,
        /// Padding.
        pub pad1: u32,
    }
}

/// The groups of parameters: filters, nodal values of the activations, nodal values of the scalings.
pub const GROUPS: [&str; 3] = ["filters", "values", "scalings"];

/// Entries move as if their second moment were at least this part of the largest of their spline: knots that hardly any
/// response reaches follow their neighbours instead of noise.
const FLOOR: f32 = 1e-2;

/// Steps after which second moments tell how large gradients usually are.
const SETTLED: u32 = 20;

/// How parameters are moved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptimiserSettings {
    /// Learning rate of the filters.
    pub filters: f64,
    /// Learning rate of the activations' nodal values.
    pub values: f64,
    /// Learning rate of the logarithms of the scalings.
    pub scalings: f64,
    /// Adam's decays of the first and second moments.
    pub decays: [f64; 2],
    /// Weight of `sum TV2(phi)` in the objective, per activation.
    pub tv2: f64,
    /// A group's gradient longer than this many times its usual length (the root of Adam's summed second moments) is
    /// shortened to that; 0 never shortens.
    pub clip: f64,
}

impl Default for OptimiserSettings {
    fn default() -> Self {
        Self {
            filters: 2e-3,
            values: 5e-4,
            scalings: 5e-3,
            decays: [0.9, 0.999],
            tv2: 1e-7,
            clip: 3.0,
        }
    }
}

impl OptimiserSettings {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the setting.
    pub fn check(&self) -> Result<()> {
        let named = [
            ("filters", self.filters),
            ("values", self.values),
            ("scalings", self.scalings),
            ("tv2", self.tv2),
            ("clip", self.clip),
        ];
        for (name, value) in named {
            if !(value.is_finite() && value >= 0.0) {
                return Err(Error::Usage(format!("[optimiser] {name} = {value} must be 0 or more")));
            }
        }
        if self.values == 0.0 {
            return Err(Error::Usage(
                "[optimiser] values = 0 leaves no step for the activations; use a small rate instead".into(),
            ));
        }
        if self.decays.iter().any(|d| !(0.0..1.0).contains(d)) {
            return Err(Error::Usage(format!(
                "[optimiser] decays = {:?} must lie in [0, 1)",
                self.decays
            )));
        }
        Ok(())
    }

    fn adam(&self) -> AdamSettings {
        AdamSettings {
            beta1: self.decays[0] as f32,
            beta2: self.decays[1] as f32,
            // Gradients of a mean over pixels are small; relative to them this is nothing.
            epsilon: 1e-12,
            hold: 0,
            steps: 0,
        }
    }
}

/// What one step did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepResult {
    /// Lengths of the groups' gradients, before clipping.
    pub norms: [f64; 3],
    /// What they were multiplied by.
    pub factors: [f64; 3],
}

/// Adam for filters and scalings; for nodal values the proximal step, in Adam's metric, of TV2 under the slope bounds
/// (`shaders/values_targets.wgsl`), which is exact: slopes never leave their bounds, and slope changes become 0.
#[derive(Debug)]
pub struct Optimiser {
    settings: OptimiserSettings,
    filters: Adam,
    scalings: Adam,
    values: ValuesStep,
    clock: AdamClock,
    norms: Vec<Bound>,
    sums: Buffer,
    sums_out: Readback,
}

impl Optimiser {
    /// Prepares steps of `ridge`'s parameters along `gradient`, with slopes of the activations in `bounds`. If `odd`,
    /// activations are antisymmetric and stay so.
    ///
    /// # Errors
    /// [`Error::Usage`] for settings out of range, [`Error::Data`] for knots that are not symmetric if `odd`; device errors.
    pub fn new(
        gpu: &Gpu,
        ridge: &TrainableRidge,
        gradient: &ParameterGradient,
        bounds: &SlopeBounds,
        odd: bool,
        settings: &OptimiserSettings,
    ) -> Result<Self> {
        settings.check()?;
        let adam = |rate: f64, parameters: &Buffer, gradient: &Buffer| {
            Adam::new(
                gpu,
                &settings.adam(),
                &[(0, parameters.len(), rate as f32)],
                parameters,
                gradient,
            )
        };
        let filters = adam(settings.filters, ridge.weights(), gradient.weights())?;
        let scalings = adam(settings.scalings, ridge.scalings().values(), gradient.scalings())?;
        let values = ValuesStep::new(gpu, ridge.activations(), gradient.activations(), bounds, odd, settings)?;
        let sums = gpu.buffer("group sums", 4 * GROUPS.len())?;
        let groups = [
            (gradient.weights(), filters.moments()),
            (gradient.activations(), &values.moments),
            (gradient.scalings(), scalings.moments()),
        ];
        let norm = |(group, (gradient, moments)): (usize, (&Buffer, &Buffer))| {
            let params = gpu.params(&[GroupParams {
                count: (moments.len() / 2) as u32,
                group: group as u32,
                ..Default::default()
            }])?;
            let memory = [
                ("params", params.binding()),
                ("gradient", gradient.into()),
                ("moments", moments.into()),
                ("sums", (&sums).into()),
            ];
            gpu.kernel("group_norms", &[])?.bind(gpu, &memory)
        };
        let norms = groups.into_iter().enumerate().map(norm).collect::<Result<_>>()?;
        Ok(Self {
            settings: settings.clone(),
            filters,
            scalings,
            values,
            clock: AdamClock::start(),
            norms,
            sums_out: gpu.readback(sums.len())?,
            sums,
        })
    }

    /// Moves all parameters along the present gradient at `rate` times the learning rates, or refuses to: `None` if a group's
    /// gradient is not finite, and then nothing has changed. Afterwards [`TrainableRidge::record_refresh`] must follow.
    ///
    /// # Errors
    /// [`Error::Usage`] for a rate that is not positive; [`Error::Internal`] if the proximal step did not end; device errors.
    pub fn step(&mut self, gpu: &Gpu, rate: f64) -> Result<Option<StepResult>> {
        if !(rate > 0.0 && rate.is_finite()) {
            return Err(Error::Usage(format!("a step wants a positive rate, not {rate}")));
        }
        let mut recorder = gpu.record();
        self.norms.iter().for_each(|n| recorder.dispatch(n, [1, 1, 1], 0));
        recorder.copy_out(self.sums.all(), &self.sums_out);
        recorder.submit();
        drop(recorder);
        let sums: Vec<f32> = gpu.fetch(&self.sums_out)?;
        let norms: [f64; 3] = std::array::from_fn(|g| f64::from(sums[4 * g]).sqrt());
        if norms.iter().any(|n| !n.is_finite()) {
            return Ok(None);
        }
        let unbiased = 1.0 - f64::from(self.clock.decay2);
        let factors = std::array::from_fn(|g| {
            let usual = (f64::from(sums[4 * g + 1]) / unbiased).sqrt();
            let longest = self.settings.clip * usual;
            if self.clock.step < SETTLED || longest == 0.0 || norms[g] <= longest {
                1.0
            } else {
                longest / norms[g]
            }
        });
        let next = |factor: f64| self.clock.next(&self.settings.adam(), rate as f32, factor as f32);
        let clocks: [AdamClock; 3] = factors.map(next);
        self.filters.set_clock(gpu, &clocks[0])?;
        gpu.write(&self.values.clock, &[clocks[1]])?;
        self.scalings.set_clock(gpu, &clocks[2])?;
        self.clock = clocks[0];
        let mut recorder = gpu.record();
        self.filters.record_moves(&mut recorder);
        self.scalings.record_moves(&mut recorder);
        self.values.record(&mut recorder);
        recorder.submit();
        drop(recorder);
        self.values.check(gpu)?;
        Ok(Some(StepResult { norms, factors }))
    }

    /// Adam's moments (m, v) per parameter, group by group.
    pub fn moments(&self) -> [&Buffer; 3] {
        [self.filters.moments(), &self.values.moments, self.scalings.moments()]
    }

    /// The clock behind the last step.
    pub fn clock(&self) -> AdamClock {
        self.clock
    }

    /// Continues from `clock`.
    pub fn set_clock(&mut self, clock: AdamClock) {
        self.clock = clock;
    }
}

/// The kernels of the step of nodal values.
#[derive(Debug)]
struct ValuesStep {
    moments: Buffer,
    clock: Buffer,
    moment: Bound,
    target: Bound,
    prox: NodalProx,
    outcome: Readback,
    accept: Bound,
    entries: u32,
}

impl ValuesStep {
    fn new(
        gpu: &Gpu,
        bank: &TrainableBank,
        gradient: &Buffer,
        bounds: &SlopeBounds,
        odd: bool,
        settings: &OptimiserSettings,
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
        let adam = settings.adam();
        let params = gpu.params(&[ValuesParams {
            entries: entries.len() as u32,
            odd: u32::from(odd),
            learning_rate: settings.values as f32,
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
            .map(|&(first, count)| Tv2Problem::new(first as usize, count as usize, settings.tv2, bounds))
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

    fn record(&self, recorder: &mut Recorder<'_>) {
        let groups = self.moment.groups([self.entries, 1, 1]);
        recorder.dispatch(&self.moment, groups, 0);
        recorder.dispatch(&self.target, groups, 0);
        self.prox.record(recorder);
        recorder.dispatch(&self.accept, groups, 0);
        recorder.copy_out(self.prox.solver().problems().all(), &self.outcome);
    }

    /// Whether every proximal problem of the step that was recorded last was solved.
    fn check(&self, gpu: &Gpu) -> Result<()> {
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
