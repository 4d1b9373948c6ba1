//! The published comparison of 1-D fits (method.md 2.2): networks 1-10-10-10-1, 1-Lipschitz, with splines on uniform grids or
//! on nonuniform adaptive knots, everything else alike.

use std::fmt;
use std::str::FromStr;

use super::adapt::{Adaptation, AdaptationEvent};
use super::architecture::Architecture;
use super::ensemble::{Ensemble, EnsembleSettings, LearningRates};
use super::start::{Member, Shape};
use super::targets::Target;
use super::train::{Progress, Schedule, train};
use super::trained::Network;
use crate::gpu::Gpu;
use crate::spline::SlopeBounds;
use crate::train::AdamSettings;
use crate::{Error, Result};

/// Units per layer.
const WIDTHS: [usize; 5] = [1, 10, 10, 10, 1];
/// The grid reaches from `-RANGE` to `RANGE`, the scalings adapt it.
const RANGE: f64 = 0.5;
/// Biases start uniform in `[-SPREAD, SPREAD]`.
const SPREAD: f32 = 0.3;
/// Knots with which adaptive activations start.
const FIRST_KNOTS: usize = 9;
/// Bjorck iterations from the initial weights.
const ITERATIONS: u32 = 30;
/// Test samples per training sample.
const TEST_FACTOR: usize = 4;

/// How an activation's knots are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knots {
    /// That many equidistant knots, for good.
    Uniform(usize),
    /// Never more than that many, moved during training.
    Adaptive(usize),
}

impl Knots {
    /// The most knots an activation can have.
    pub fn most(self) -> usize {
        match self {
            Self::Uniform(count) | Self::Adaptive(count) => count,
        }
    }
}

impl FromStr for Knots {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (kind, count) = text.split_once(':').unwrap_or((text, ""));
        match (kind, count.parse()) {
            ("uniform", Ok(count @ 3..=256)) => Ok(Self::Uniform(count)),
            ("adaptive", Ok(count @ 5..=256)) => Ok(Self::Adaptive(count)),
            _ => Err(format!("'{text}': want uniform:N (3 to 256) or adaptive:N (5 to 256)")),
        }
    }
}

impl fmt::Display for Knots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uniform(count) => write!(f, "uniform:{count}"),
            Self::Adaptive(count) => write!(f, "adaptive:{count}"),
        }
    }
}

/// What is trained: a network for every function, lambda and seed, in this order.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Experiment {
    /// The functions.
    pub functions: Vec<Target>,
    /// Weights of TV2.
    pub lambdas: Vec<f32>,
    /// Seeds 1, 2, ... up to this one.
    pub seeds: u64,
    /// Steps, each on all samples.
    pub steps: u32,
    /// Equidistant training samples at the centres of as many cells of [-1, 1]; four times as many for the test.
    pub samples: usize,
    /// Activations before training.
    pub shape: Shape,
    /// Learning rates of the weights, of slopes, and of the scalings. That of nodal values is the rate of slopes times the
    /// spacing that the most knots have when equidistant, so that grids of any density learn slopes equally fast.
    pub rates: [f32; 3],
    /// Part of the steps at the full rates; then they fall to 0 linearly.
    pub hold: f32,
    /// Adaptations of adaptive knots, equally spaced over the first 70 % of the steps.
    pub adaptations: u32,
    /// New knots per activation and adaptation.
    pub insert: usize,
    /// Root-mean-square change of an activation by removal, see [`Adaptation`].
    pub max_error: f64,
}

/// A trained network and how well it does.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// What it was to fit.
    pub function: Target,
    /// Weight of TV2.
    pub lambda: f32,
    /// Its seed.
    pub seed: u64,
    /// Mean squared error on the test samples.
    pub test: f32,
    /// Mean squared error on the training samples before the last step.
    pub training: f32,
    /// The network, certified.
    pub network: Network,
}

impl Experiment {
    /// Trains all networks side by side with activations on `knots`, and tests what they have become.
    ///
    /// # Errors
    /// [`Error::Usage`] for settings out of range, [`Error::Diverged`], device errors.
    pub fn run(
        &self,
        gpu: &Gpu,
        knots: Knots,
        report: impl FnMut(&Progress),
    ) -> Result<(Vec<Outcome>, Vec<AdaptationEvent>)> {
        self.check()?;
        let settings = self.settings(knots)?;
        let first = match knots {
            Knots::Uniform(count) => count,
            Knots::Adaptive(count) => count.min(FIRST_KNOTS),
        };
        let (mut members, mut labels, mut lambdas) = (Vec::new(), Vec::new(), Vec::new());
        for &function in &self.functions {
            for &lambda in &self.lambdas {
                for seed in 1..=self.seeds {
                    let architecture = &settings.architecture;
                    members.push(Member::random(architecture, seed, self.shape, first, RANGE, SPREAD)?);
                    labels.push((function, lambda, seed));
                    lambdas.push(lambda);
                }
            }
        }
        let targets: Vec<Target> = labels.iter().map(|l| l.0).collect();
        let (x, y) = samples(&targets, self.samples)?;
        let ensemble = Ensemble::new(gpu, &settings, &members, (&x, &y), &lambdas)?;
        let events = train(&ensemble, &self.schedule(knots), report)?;
        let training = ensemble.losses()?;
        let networks = ensemble
            .networks()?
            .into_iter()
            .map(|n| n.certified(&settings.bounds))
            .collect::<Result<Vec<_>>>()?;
        let (x, y) = samples(&targets, TEST_FACTOR * self.samples)?;
        let test = ensemble.evaluate(&networks, &x, &y)?;
        let outcomes = networks.into_iter().zip(labels).zip(test.iter().zip(&training));
        let outcomes = outcomes.map(|((network, (function, lambda, seed)), (&test, &training))| Outcome {
            function,
            lambda,
            seed,
            test,
            training,
            network,
        });
        Ok((outcomes.collect(), events))
    }

    fn check(&self) -> Result<()> {
        if self.functions.is_empty() || self.lambdas.is_empty() || self.seeds == 0 || self.samples == 0 {
            return Err(Error::Usage(
                "nothing to fit: name functions, lambdas, seeds and samples".into(),
            ));
        }
        if !(0.0..=1.0).contains(&self.hold) || self.steps == 0 {
            return Err(Error::Usage(format!(
                "learning rates hold for a part of the steps, 0 to 1, not {} of {} steps",
                self.hold, self.steps
            )));
        }
        Ok(())
    }

    fn settings(&self, knots: Knots) -> Result<EnsembleSettings> {
        let [weights, slopes, alphas] = self.rates;
        Ok(EnsembleSettings {
            architecture: Architecture::new(&WIDTHS)?,
            slots: knots.most(),
            bounds: SlopeBounds::lipschitz(),
            iterations: ITERATIONS,
            project: true,
            rates: LearningRates {
                weights,
                values: slopes * (2.0 * RANGE) as f32 / (knots.most() - 1) as f32,
                alphas,
            },
            adam: AdamSettings {
                beta1: 0.9,
                beta2: 0.999,
                epsilon: 1e-8,
                hold: (self.hold * self.steps as f32) as u32,
                steps: self.steps,
            },
        })
    }

    fn schedule(&self, knots: Knots) -> Schedule {
        let steps = self.steps as usize;
        let last = steps * 7 / 10;
        let adaptation = Adaptation {
            max_knots: knots.most(),
            insert: self.insert,
            max_error: self.max_error,
        };
        Schedule {
            steps,
            adaptation: matches!(knots, Knots::Adaptive(_)).then_some(adaptation),
            interval: (last / self.adaptations.max(1) as usize).max(1),
            last_adaptation: if self.adaptations == 0 { 0 } else { last },
        }
    }
}

/// `count` equidistant samples of every target, (member, sample).
fn samples(targets: &[Target], count: usize) -> Result<(Vec<f32>, Vec<f32>)> {
    // What the device sees is the function at the rounded x.
    let x: Vec<f32> = (0..count)
        .map(|n| (-1.0 + (2 * n + 1) as f64 / count as f64) as f32)
        .collect();
    let wide: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
    let mut y = Vec::with_capacity(targets.len() * count);
    for target in targets {
        y.extend(target.values(&wide)?.iter().map(|y| *y as f32));
    }
    Ok((x.repeat(targets.len()), y))
}
