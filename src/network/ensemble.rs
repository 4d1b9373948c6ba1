//! An ensemble on the device: one training step is a fixed list of launches that serve all members.

use super::architecture::{Architecture, Layout};
use super::batch::Batch;
use super::derived::Derived;
use super::gradient::Gradient;
use super::start::Member;
use super::state::{State, finite};
use super::trained::Network;
use crate::gpu::{Gpu, Recorder};
use crate::spline::{SlopeBounds, Spline};
use crate::train::{Adam, AdamSettings};
use crate::{Error, Result};

/// Learning rates of the three groups of parameters (method.md 1.4).
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct LearningRates {
    /// Of weights and biases.
    pub weights: f32,
    /// Of nodal values.
    pub values: f32,
    /// Of the scalings.
    pub alphas: f32,
}

/// What an ensemble is made of besides its members' parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct EnsembleSettings {
    /// The shape of every member.
    pub architecture: Architecture,
    /// Room for knots per activation, 3 to 256.
    pub slots: usize,
    /// Slope bounds of the activations, finite.
    pub bounds: SlopeBounds,
    /// Bjorck iterations from an arbitrary matrix, 1 to 100.
    pub iterations: u32,
    /// Replace the weights by the orthonormalised ones in every step (projected gradients), from where two Bjorck iterations
    /// per step do: after a step from norm 1, Adam having moved every entry by at most `(1 - beta1) / sqrt(1 - beta2)`
    /// learning rates, singular values must be at most 2, which bounds the learning rate. Without it the orthonormalisation
    /// is only part of the forward pass, as published.
    pub project: bool,
    /// Learning rates.
    pub rates: LearningRates,
    /// The optimiser.
    pub adam: AdamSettings,
}

/// Networks of one shape that are trained side by side on the device.
pub struct Ensemble<'g> {
    gpu: &'g Gpu,
    layout: Layout,
    settings: EnsembleSettings,
    derived: Derived,
    batch: Batch,
    gradient: Gradient,
    adam: Adam,
}

impl<'g> Ensemble<'g> {
    /// Uploads `members` with their samples `x` (member, input, sample), targets `y` (member, sample) and weights of TV2
    /// `lambdas` (member). The objective of each is `1/S sum (u(x) - y)^2 + lambda sum TV2(phi)`.
    ///
    /// # Errors
    /// [`Error::Usage`] for settings out of range, [`Error::Data`] for members, samples or weights that do not match the
    /// architecture; device errors.
    pub fn new(
        gpu: &'g Gpu,
        settings: &EnsembleSettings,
        members: &[Member],
        (x, y): (&[f32], &[f32]),
        lambdas: &[f32],
    ) -> Result<Self> {
        check(settings, members, lambdas)?;
        let layout = Layout {
            architecture: settings.architecture.clone(),
            members: members.len(),
            slots: settings.slots,
        };
        let derived = Derived::new(gpu, &layout, settings, &State::initial(&layout, members)?)?;
        let mut recorder = gpu.record();
        derived.record_start(&mut recorder);
        recorder.submit();
        drop(recorder);
        let batch = Batch::new(gpu, &layout, &derived, x, y)?;
        let gradient = Gradient::new(gpu, &layout, settings, &derived, &batch, lambdas)?;
        let (values, alphas) = (layout.values(0), layout.alpha(0));
        let groups = [
            (0, values, settings.rates.weights),
            (values, alphas - values, settings.rates.values),
            (alphas, layout.splines(), settings.rates.alphas),
        ];
        let adam = Adam::new(gpu, &settings.adam, &groups, &derived.parameters, &gradient.gradients)?;
        Ok(Self {
            gpu,
            settings: settings.clone(),
            layout,
            derived,
            batch,
            gradient,
            adam,
        })
    }

    /// The device.
    pub fn gpu(&self) -> &'g Gpu {
        self.gpu
    }

    /// Where the parameters lie.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The settings it was made with.
    pub fn settings(&self) -> &EnsembleSettings {
        &self.settings
    }

    /// Records the objective's gradient with respect to every parameter, at the present ones.
    pub fn record_gradient(&self, recorder: &mut Recorder<'_>) {
        self.derived.record(recorder);
        self.batch.record(recorder);
        self.gradient.record(recorder);
    }

    /// Records one training step. Any number of steps may be recorded before the next read.
    pub fn record_step(&self, recorder: &mut Recorder<'_>) {
        self.record_gradient(recorder);
        self.adam.record(recorder);
    }

    /// The gradient of the last step, as [`Layout`] numbers the parameters.
    ///
    /// # Errors
    /// Device errors.
    pub fn gradient(&self) -> Result<Vec<f32>> {
        self.gpu.read(&self.gradient.gradients)
    }

    /// Mean squared error per member before the last step.
    ///
    /// # Errors
    /// [`Error::Diverged`] if one is not finite; device errors.
    pub fn losses(&self) -> Result<Vec<f32>> {
        finite(self.gpu.read(&self.batch.losses)?)
    }

    /// Mean squared error of `networks`, one per member and with the members' knots, on samples in the shape of those for
    /// training. What is evaluated are the weights, biases, splines and scalings as given.
    ///
    /// # Errors
    /// As [`Self::losses`]; [`Error::Data`] for samples or networks of the wrong shape.
    pub fn evaluate(&self, networks: &[Network], x: &[f32], y: &[f32]) -> Result<Vec<f32>> {
        let state = State::of_networks(&self.layout, networks)?;
        let evaluated = Derived::new(self.gpu, &self.layout, &self.settings, &state)?;
        let slots = self.layout.slots;
        let mut table = vec![[0.0_f32; 4]; self.layout.splines() * slots];
        for (s, spline) in networks.iter().flat_map(Network::activations).enumerate() {
            for (n, entry) in table[s * slots..s * slots + spline.len()].iter_mut().enumerate() {
                let slope = spline.segment_slope(n.min(spline.len() - 2));
                *entry = [
                    spline.knots()[n] as f32,
                    spline.values()[n] as f32,
                    slope as f32,
                    n as f32,
                ];
            }
        }
        self.gpu.write(&evaluated.table, &table)?;
        self.gpu
            .write(&evaluated.matrices, &state.parameters[..self.layout.values(0)])?;
        let batch = Batch::new(self.gpu, &self.layout, &evaluated, x, y)?;
        let mut recorder = self.gpu.record();
        batch.record(&mut recorder);
        recorder.submit();
        drop(recorder);
        finite(self.gpu.read(&batch.losses)?)
    }

    /// What training has changed so far.
    ///
    /// # Errors
    /// [`Error::Diverged`] if a parameter is not finite; device errors.
    pub fn state(&self) -> Result<State> {
        Ok(State {
            parameters: finite(self.gpu.read(&self.derived.parameters)?)?,
            moments: self.gpu.read(self.adam.moments())?,
            positions: self.gpu.read(&self.derived.positions)?,
            counts: self.gpu.read(&self.derived.counts)?,
        })
    }

    /// Replaces it.
    ///
    /// # Errors
    /// [`Error::Data`] for another shape; device errors.
    pub fn set_state(&self, state: &State) -> Result<()> {
        if !state.fits(&self.layout) {
            return Err(Error::Data("the state belongs to an ensemble of another shape".into()));
        }
        self.gpu.write(&self.derived.parameters, &state.parameters)?;
        self.gpu.write(self.adam.moments(), &state.moments)?;
        self.gpu.write(&self.derived.positions, &state.positions)?;
        self.gpu.write(&self.derived.counts, &state.counts)
    }

    /// The inputs `u` of all activations and the gradients of the loss at their outputs in the last step,
    /// both (member, unit, sample) with input and output units included.
    ///
    /// # Errors
    /// Device errors.
    pub fn responses(&self) -> Result<(Vec<f32>, Vec<f32>)> {
        Ok((
            self.gpu.read(&self.batch.pre)?,
            self.gpu.read(&self.gradient.post_gradient)?,
        ))
    }

    /// The networks as evaluated: orthonormalised weights, clipped splines.
    ///
    /// # Errors
    /// [`Error::Diverged`] if a parameter is not finite; device errors.
    pub fn networks(&self) -> Result<Vec<Network>> {
        let mut recorder = self.gpu.record();
        self.derived.record(&mut recorder);
        recorder.submit();
        let state = self.state()?;
        let matrices: Vec<f32> = self.gpu.read(&self.derived.matrices)?;
        let table: Vec<[f32; 4]> = self.gpu.read(&self.derived.table)?;
        let architecture = &self.layout.architecture;
        let (dense, splines) = (architecture.dense(), architecture.splines());
        let member = |m: usize| {
            let first = architecture.biases(0);
            let own = m * splines..(m + 1) * splines;
            let activations = own.clone().map(|s| {
                let first = s * self.layout.slots;
                let entries = &table[first..first + state.counts[s] as usize];
                Spline::new(
                    entries.iter().map(|e| f64::from(e[0])).collect(),
                    entries.iter().map(|e| f64::from(e[1])).collect(),
                )
            });
            let scalings = own.clone().map(|s| f64::from(state.parameters[self.layout.alpha(s)]));
            let widen = |v: &[f32]| v.iter().map(|v| f64::from(*v)).collect();
            Network::new(
                architecture.clone(),
                widen(&matrices[m * dense..m * dense + first]),
                widen(&state.parameters[m * dense + first..(m + 1) * dense]),
                activations.collect::<Result<_>>()?,
                scalings.collect(),
            )
        };
        (0..self.layout.members).map(member).collect()
    }
}

fn check(settings: &EnsembleSettings, members: &[Member], lambdas: &[f32]) -> Result<()> {
    let architecture = &settings.architecture;
    if !(3..=256).contains(&settings.slots) || !(1..=100).contains(&settings.iterations) {
        return Err(Error::Usage(format!(
            "an ensemble has 3 to 256 knots per activation and 1 to 100 iterations, not {} and {}",
            settings.slots, settings.iterations
        )));
    }
    if !(settings.bounds.min().is_finite() && settings.bounds.max().is_finite()) {
        return Err(Error::Usage("activations of a network need finite slope bounds".into()));
    }
    let furthest = ((1.0 - settings.adam.beta1) / (1.0 - settings.adam.beta2).sqrt()).max(1.0) * settings.rates.weights;
    let (rows, columns) = architecture
        .widths()
        .windows(2)
        .fold((1, 1), |(r, c), w| (r.max(w[1]), c.max(w[0])));
    if settings.project && furthest * ((rows * columns) as f32).sqrt() > 1.0 {
        return Err(Error::Usage(format!(
            "a learning rate of {} can move a weight matrix of {rows}x{columns} by more than its norm; lower it",
            settings.rates.weights
        )));
    }
    if members.is_empty() || members.len() != lambdas.len() {
        return Err(Error::Data(format!(
            "{} networks need as many weights lambda, but got {}",
            members.len(),
            lambdas.len()
        )));
    }
    if let Some(n) = lambdas.iter().position(|l| !(*l >= 0.0 && l.is_finite())) {
        return Err(Error::Data(format!("lambda {n} is {}, it must be >= 0", lambdas[n])));
    }
    for (m, member) in members.iter().enumerate() {
        let splines = architecture.splines();
        if member.dense.len() != architecture.dense()
            || member.activations.len() != splines
            || member.alphas.len() != splines
        {
            return Err(Error::Data(format!("network {m} is no {:?}", architecture.widths())));
        }
        if let Some(s) = member.activations.iter().position(|s| s.len() > settings.slots) {
            return Err(Error::Data(format!(
                "activation {s} of network {m} has {} knots, there is room for {}",
                member.activations[s].len(),
                settings.slots
            )));
        }
    }
    Ok(())
}
