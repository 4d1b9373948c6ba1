//! Steps of a flow's training on the device.

use std::time::Instant;

use super::config::FlowConfig;
use super::data::FlowData;
use super::device::{Evaluator, FlowDevice};
use super::gradient::FlowGradient;
use super::model::Flow;
use super::state::{FlowProgress, FlowState};
use crate::gpu::{Bound, Gpu, Recorder};
use crate::spline::Spline;
use crate::train::{Adam, Moments};
use crate::{Error, Result, shader_struct};

shader_struct! {
    /// Parameters of `flow_project.wgsl`.
    pub struct ProjectParams {
        /// Splines of the flow.
        pub splines: u32,
        /// Those of them that are slopes; shears follow.
        pub monotone: u32,
        /// Least value of a slope.
        pub slope_min: f32,
        /// Largest value of a slope.
        pub slope_max: f32,
        /// Largest absolute slope of a shear.
        pub shear: f32,
        /// Padding.
        pub pad0: u32,
        /// Padding.
        pub pad1: u32,
        /// Padding.
        pub pad2: u32,
    }
}

/// Steps whose points lie ready on the device, and that are recorded at once.
const STEPS_PER_PORTION: u64 = 64;

/// Projects the splines of a flow onto their bounds after its parameters moved.
#[derive(Debug)]
pub struct Projection {
    bound: Bound,
    splines: u32,
}

impl Projection {
    /// Prepares the projection of `device`'s parameters into its bank, with the bounds of `flow`.
    ///
    /// # Errors
    /// Device errors.
    pub fn new(gpu: &Gpu, device: &FlowDevice, flow: &Flow) -> Result<Self> {
        let bank = device.bank();
        let splines = bank.ranges().len() as u32;
        let params = gpu.params(&[ProjectParams {
            splines,
            monotone: flow.slopes.len() as u32,
            slope_min: flow.slope_bounds.min() as f32,
            slope_max: flow.slope_bounds.max() as f32,
            shear: flow.shear_bound as f32,
            ..Default::default()
        }])?;
        let bound = gpu.kernel("flow_project", &[])?.bind(
            gpu,
            &[
                ("params", params.binding()),
                ("positions", bank.positions().into()),
                ("records", bank.records().into()),
                ("parameters", device.parameters().into()),
                ("values", bank.values().into()),
            ],
        )?;
        Ok(Self { bound, splines })
    }

    /// Records the projection; [`crate::spline::device::TrainableBank::record_refresh`] must follow.
    pub fn record(&self, recorder: &mut Recorder<'_>) {
        recorder.dispatch(&self.bound, self.bound.groups([self.splines, 1, 1]), 0);
    }
}

/// A training on its way: parameters and Adam's memory on the device, counters here.
pub struct FlowTrainer<'g> {
    gpu: &'g Gpu,
    config: FlowConfig,
    data: FlowData,
    flow: Flow,
    device: FlowDevice,
    gradient: FlowGradient,
    adam: Adam,
    projection: Projection,
    progress: FlowProgress,
    /// The portion of points on the device.
    portion: Option<u64>,
}

impl<'g> FlowTrainer<'g> {
    /// Goes on from `state` with `data`.
    ///
    /// # Errors
    /// [`Error::Data`] for data of other dimensions; device errors.
    pub fn new(gpu: &'g Gpu, state: &FlowState, data: FlowData) -> Result<Self> {
        let (config, flow) = (&state.config, &state.flow);
        if data.dims() != flow.dims() {
            return Err(Error::Data(format!(
                "points of {} coordinates do not train a flow of {}",
                data.dims(),
                flow.dims()
            )));
        }
        let device = FlowDevice::new(gpu, flow)?;
        let gradient = FlowGradient::new(gpu, &device, flow, config.batch, STEPS_PER_PORTION as usize)?;
        let entries = device.bank().entries();
        let slopes: usize = flow.slopes.iter().map(Spline::len).sum();
        let groups: Vec<(usize, usize, f32)> = [
            (0, slopes, config.optimiser.slopes),
            (slopes, entries - slopes, config.optimiser.shears),
            (entries, 2 * flow.layers(), config.optimiser.frames),
        ]
        .into_iter()
        .filter(|g| g.1 > 0)
        .map(|(first, count, rate)| (first, count, rate as f32))
        .collect();
        let adam = Adam::new(gpu, &config.adam(), &groups, device.parameters(), gradient.gradient())?;
        gpu.write(adam.moments(), &state.moments)?;
        adam.set_clock(gpu, &state.progress.clock())?;
        Ok(Self {
            gpu,
            config: config.clone(),
            data,
            flow: flow.clone(),
            projection: Projection::new(gpu, &device, flow)?,
            device,
            gradient,
            adam,
            progress: state.progress,
            portion: None,
        })
    }

    /// The settings.
    pub fn config(&self) -> &FlowConfig {
        &self.config
    }

    /// The data.
    pub fn data(&self) -> &FlowData {
        &self.data
    }

    /// The counters.
    pub fn progress(&self) -> &FlowProgress {
        &self.progress
    }

    /// Takes steps up to step `until`, or to the end of the points that lie ready, whichever comes first, and returns their
    /// losses in nats.
    ///
    /// # Errors
    /// [`Error::Diverged`] if a loss is not finite; device errors.
    pub fn steps(&mut self, until: u64) -> Result<Vec<f32>> {
        let start = Instant::now();
        let from = self.progress.step;
        let portion = from / STEPS_PER_PORTION;
        if self.portion != Some(portion) {
            let count = self.config.batch * STEPS_PER_PORTION as usize;
            let points = self.data.portion(portion, count);
            self.gradient.set_points(self.gpu, &self.flow, &points)?;
            self.portion = Some(portion);
        }
        let until = until.min((portion + 1) * STEPS_PER_PORTION);
        let mut recorder = self.gpu.record();
        for step in from..until {
            self.gradient.record(&mut recorder, (step % STEPS_PER_PORTION) as usize);
            self.adam.record(&mut recorder);
            self.projection.record(&mut recorder);
            self.device.bank().record_refresh(&mut recorder);
        }
        recorder.submit();
        drop(recorder);
        let losses: Vec<f32> = self.gpu.read(self.gradient.losses())?;
        let of = |step: u64| losses[(step % STEPS_PER_PORTION) as usize];
        let losses: Vec<f32> = (from..until).map(of).collect();
        if let Some(at) = losses.iter().position(|l| !l.is_finite()) {
            return Err(Error::Diverged(format!(
                "the loss of step {} is not finite; lower the learning rates, or raise [model] slope_min",
                from + at as u64 + 1
            )));
        }
        self.progress.step = until;
        self.progress.seconds += start.elapsed().as_secs_f64();
        Ok(losses)
    }

    /// The flow as it is now on the device.
    ///
    /// # Errors
    /// [`Error::Diverged`] if a parameter is not finite; device errors.
    pub fn raw_flow(&self) -> Result<Flow> {
        let (frames, mut splines) = self.device.read(self.gpu)?;
        let shears = splines.split_off(self.flow.slopes.len());
        Ok(Flow {
            frames,
            slopes: splines,
            shears,
            ..self.flow.clone()
        })
    }

    /// The flow as it is judged and shipped: bounds hold exactly.
    ///
    /// # Errors
    /// As [`Self::raw_flow`] and [`Flow::certified`].
    pub fn flow(&self) -> Result<Flow> {
        let mut flow = self.raw_flow()?.certified()?;
        flow.provenance = serde_json::json!({
            "command": "train flow", "config": self.config, "data": self.data.hash(), "step": self.progress.step,
        });
        Ok(flow)
    }

    /// Everything needed to go on.
    ///
    /// # Errors
    /// As [`Self::raw_flow`].
    pub fn state(&self) -> Result<FlowState> {
        let moments: Moments = self.gpu.read(self.adam.moments())?;
        let clock = self.adam.clock(self.gpu)?;
        Ok(FlowState {
            config: self.config.clone(),
            data: self.data.hash().into(),
            flow: self.raw_flow()?,
            moments,
            progress: FlowProgress {
                decay1: clock.decay1,
                decay2: clock.decay2,
                ..self.progress
            },
        })
    }

    /// Notes a validation; whether it is the best so far.
    pub fn note_validation(&mut self, nll: f64) -> bool {
        let better = self.progress.best.is_none_or(|(best, _)| nll < best);
        if better {
            self.progress.best = Some((nll, self.progress.step));
        }
        better
    }
}

/// How well a flow explains points.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct FlowScore {
    /// Mean negative log-density in nats.
    pub nll: f64,
    /// Its standard error, from the spread over the points.
    pub standard_error: f64,
    /// Where the density is known: the mean of `log p - log q` over the points, an estimate of the Kullback-Leibler divergence,
    /// which is what `nll` exceeds the entropy by.
    pub divergence: Option<f64>,
}

/// Scores `flow` on points (point, coordinate), against the distribution that they come from if it is known.
///
/// # Errors
/// As [`Evaluator::log_density`].
pub fn score(evaluator: &Evaluator<'_>, points: &[f64], known: Option<super::Distribution>) -> Result<FlowScore> {
    let logarithms: Vec<f64> = evaluator.log_density(points)?.iter().map(|l| f64::from(*l)).collect();
    let count = logarithms.len().max(1) as f64;
    let nll = -logarithms.iter().sum::<f64>() / count;
    let variance = logarithms.iter().map(|l| (l + nll).powi(2)).sum::<f64>() / count;
    let divergence = known.map(|distribution| {
        let truth = distribution.log_density(points);
        truth.iter().zip(&logarithms).map(|(p, q)| p - q).sum::<f64>() / count
    });
    Ok(FlowScore {
        nll,
        standard_error: (variance / count).sqrt(),
        divergence,
    })
}
