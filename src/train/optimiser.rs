//! One step of all parameters, group by group.

use serde::{Deserialize, Serialize};

use super::filters_step::FiltersStep;
use super::values_step::ValuesStep;
use super::{Adam, AdamClock, AdamSettings, ParameterGradient, TrainableRidge};
use crate::filters::FilterBank;
use crate::gpu::{Bound, Buffer, Gpu, Readback, Recorder};
use crate::spline::SlopeBounds;
use crate::spline::device::TrainableBank;
use crate::{Error, Result, shader_struct};

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
    /// Weight of `sum TV2(phi)` in the objective, per activation. Gradients of filters that are still small are small, too: much more
    /// than the default straightens their activations before the filters have grown.
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
            tv2: 2e-9,
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

    /// What does not depend on the group.
    pub fn rule(&self) -> StepRule {
        StepRule {
            decays: self.decays,
            tv2: self.tv2,
            clip: self.clip,
        }
    }
}

/// What the steps of all groups have in common.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepRule {
    /// Adam's decays of the first and second moments.
    pub decays: [f64; 2],
    /// Weight of `sum TV2(phi)` in the objective.
    pub tv2: f64,
    /// See [`OptimiserSettings::clip`].
    pub clip: f64,
}

impl StepRule {
    pub(super) fn adam(&self) -> AdamSettings {
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

/// How the parameters of a group are moved.
#[derive(Clone, Copy, Debug)]
pub enum Moves<'a> {
    /// By Adam.
    Free(&'a Buffer),
    /// Filters, by Adam on their coefficients in the basis of cosines.
    Filters {
        /// Their shapes.
        bank: &'a FilterBank,
        /// All of their weights.
        weights: &'a Buffer,
    },
    /// Nodal values, by the proximal step of TV2 under slope bounds.
    Slopes {
        /// The splines.
        bank: &'a TrainableBank,
        /// What their slopes keep.
        bounds: &'a SlopeBounds,
        /// Whether they are antisymmetric and stay so.
        odd: bool,
    },
}

/// Parameters that share a learning rate and are clipped together.
#[derive(Clone, Copy, Debug)]
pub struct Group<'a> {
    /// Its name in logs.
    pub name: &'static str,
    /// Learning rate.
    pub rate: f64,
    /// Gradient of the loss, parameter by parameter.
    pub gradient: &'a Buffer,
    /// The parameters.
    pub moves: Moves<'a>,
}

/// What one step did, group by group.
#[derive(Clone, Debug, PartialEq)]
pub struct StepResult {
    /// Names of the groups.
    pub names: Vec<&'static str>,
    /// Lengths of the groups' gradients, before clipping.
    pub norms: Vec<f64>,
    /// What they were multiplied by.
    pub factors: Vec<f64>,
}

/// Adam for free parameters, for filters on their cosine coefficients ([`Moves::Filters`]); for nodal values the proximal step, in
/// Adam's metric, of TV2 under the slope bounds (`shaders/values_targets.wgsl`), which is exact: slopes never leave their bounds, and slope changes become 0.
#[derive(Debug)]
pub struct Optimiser {
    rule: StepRule,
    names: Vec<&'static str>,
    steps: Vec<GroupStep>,
    clock: AdamClock,
    norms: Vec<Bound>,
    sums: Buffer,
    sums_out: Readback,
}

#[derive(Debug)]
enum GroupStep {
    Free(Box<Adam>),
    Filters(Box<FiltersStep>),
    Values(Box<ValuesStep>),
}

impl GroupStep {
    fn moments(&self) -> &Buffer {
        match self {
            Self::Free(adam) => adam.moments(),
            Self::Filters(step) => step.adam.moments(),
            Self::Values(step) => &step.moments,
        }
    }

    fn set_clock(&self, gpu: &Gpu, clock: &AdamClock) -> Result<()> {
        match self {
            Self::Free(adam) => adam.set_clock(gpu, clock),
            Self::Filters(step) => step.adam.set_clock(gpu, clock),
            Self::Values(step) => gpu.write(&step.clock, &[*clock]),
        }
    }

    fn record(&self, recorder: &mut Recorder<'_>) {
        match self {
            Self::Free(adam) => adam.record_moves(recorder),
            Self::Filters(step) => step.record(recorder),
            Self::Values(step) => step.record(recorder),
        }
    }
}

impl Optimiser {
    /// Prepares steps of `groups`.
    ///
    /// # Errors
    /// [`Error::Data`] for knots that are not symmetric where splines are to stay odd; device errors.
    pub fn new(gpu: &Gpu, groups: &[Group<'_>], rule: &StepRule) -> Result<Self> {
        let step = |group: &Group<'_>| {
            Ok(match group.moves {
                Moves::Free(parameters) => GroupStep::Free(Box::new(Adam::new(
                    gpu,
                    &rule.adam(),
                    &[(0, parameters.len(), group.rate as f32)],
                    parameters,
                    group.gradient,
                )?)),
                Moves::Filters { bank, weights } => GroupStep::Filters(Box::new(FiltersStep::new(
                    gpu,
                    bank,
                    [weights, group.gradient],
                    group.rate,
                    &rule.adam(),
                )?)),
                Moves::Slopes { bank, bounds, odd } => GroupStep::Values(Box::new(ValuesStep::new(
                    gpu,
                    bank,
                    group.gradient,
                    bounds,
                    odd,
                    group.rate,
                    rule,
                )?)),
            })
        };
        let steps: Vec<GroupStep> = groups.iter().map(step).collect::<Result<_>>()?;
        let sums = gpu.buffer("group sums", 4 * groups.len())?;
        let norm = |(index, (group, step)): (usize, (&Group<'_>, &GroupStep))| {
            let moments = step.moments();
            let params = gpu.params(&[GroupParams {
                count: (moments.len() / 2) as u32,
                group: index as u32,
                ..Default::default()
            }])?;
            let memory = [
                ("params", params.binding()),
                ("gradient", group.gradient.into()),
                ("moments", moments.into()),
                ("sums", (&sums).into()),
            ];
            gpu.kernel("group_norms", &[])?.bind(gpu, &memory)
        };
        let norms = groups.iter().zip(&steps).enumerate().map(norm).collect::<Result<_>>()?;
        Ok(Self {
            rule: *rule,
            names: groups.iter().map(|g| g.name).collect(),
            steps,
            clock: AdamClock::start(),
            norms,
            sums_out: gpu.readback(sums.len())?,
            sums,
        })
    }

    /// The same for a ridge regularizer: filters, nodal values of the activations with slopes in `bounds`, nodal values of the
    /// scalings. If `odd`, activations are antisymmetric and stay so.
    ///
    /// # Errors
    /// [`Error::Usage`] for settings out of range; as [`Self::new`].
    pub fn for_ridge(
        gpu: &Gpu,
        ridge: &TrainableRidge,
        gradient: &ParameterGradient,
        bounds: &SlopeBounds,
        odd: bool,
        settings: &OptimiserSettings,
    ) -> Result<Self> {
        settings.check()?;
        let group = |name, rate, gradient, moves| Group {
            name,
            rate,
            gradient,
            moves,
        };
        let bank = ridge.activations();
        let groups = [
            group(
                "filters",
                settings.filters,
                gradient.weights(),
                Moves::Filters {
                    bank: ridge.trained(),
                    weights: ridge.weights(),
                },
            ),
            group(
                "values",
                settings.values,
                gradient.activations(),
                Moves::Slopes { bank, bounds, odd },
            ),
            group(
                "scalings",
                settings.scalings,
                gradient.scalings(),
                Moves::Free(ridge.scalings().values()),
            ),
        ];
        Self::new(gpu, &groups, &settings.rule())
    }

    /// Moves all parameters along the present gradient at `rate` times the learning rates, or refuses to: `None` if a group's
    /// gradient is not finite, and then nothing has changed. What is derived from the parameters must be renewed afterwards.
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
        let norms: Vec<f64> = (0..self.steps.len()).map(|g| f64::from(sums[4 * g]).sqrt()).collect();
        if norms.iter().any(|n| !n.is_finite()) {
            return Ok(None);
        }
        let unbiased = 1.0 - f64::from(self.clock.decay2);
        let factor = |(g, norm): (usize, &f64)| {
            let usual = (f64::from(sums[4 * g + 1]) / unbiased).sqrt();
            let longest = self.rule.clip * usual;
            if self.clock.step < SETTLED || longest == 0.0 || *norm <= longest {
                1.0
            } else {
                longest / norm
            }
        };
        let factors: Vec<f64> = norms.iter().enumerate().map(factor).collect();
        for (step, factor) in self.steps.iter().zip(&factors) {
            let clock = self.clock.next(&self.rule.adam(), rate as f32, *factor as f32);
            step.set_clock(gpu, &clock)?;
        }
        self.clock = self.clock.next(&self.rule.adam(), rate as f32, 1.0);
        let mut recorder = gpu.record();
        self.steps.iter().for_each(|s| s.record(&mut recorder));
        recorder.submit();
        drop(recorder);
        for step in &self.steps {
            if let GroupStep::Values(values) = step {
                values.check(gpu)?;
            }
        }
        Ok(Some(StepResult {
            names: self.names.clone(),
            norms,
            factors,
        }))
    }

    /// Adam's moments (m, v) per parameter, group by group.
    pub fn moments(&self) -> Vec<&Buffer> {
        self.steps.iter().map(GroupStep::moments).collect()
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
