//! A whole training of a flow in a folder: steps, validation, checkpoints, log and report.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::config::FlowConfig;
use super::data::FlowData;
use super::device::Evaluator;
use super::grid::{DensityGrid, bounding_box};
use super::model::Flow;
use super::reduce::{FlowReductionReport, reduce_flow};
use super::start::start_flow;
use super::state::FlowState;
use super::trainer::{FlowScore, FlowTrainer, score};
use crate::gpu::Gpu;
use crate::io::atomic::write_atomically;
use crate::report::{FlowPictures, flow_report};
use crate::train::log::{Log, read_log};
use crate::train::{Ending, RunFiles, first_difference};
use crate::{Error, Result};

/// Samples and data points that the report shows.
const SHOWN: usize = 1500;
/// Cells of the report's density per coordinate, on the line and in the plane.
const LINE_CELLS: usize = 600;
const PLANE_CELLS: usize = 240;
/// Seed of the samples in the report, so that it is the same for one model.
const REPORT_SEED: u64 = 0;

/// What a training tells while it runs, and when it must stop.
pub trait FlowWatch {
    /// Steps up to this one were taken, with this mean loss in nats.
    fn steps(&mut self, step: u64, loss: f64);
    /// A validation was made.
    fn validated(&mut self, step: u64, score: &FlowScore, best: bool);
    /// Knots were removed from the best model.
    fn reduced(&mut self, report: &FlowReductionReport);
    /// Why to stop now, if at all.
    fn stop(&mut self) -> Option<String>;
}

/// A training on its way.
pub struct FlowRun<'g> {
    gpu: &'g Gpu,
    files: RunFiles,
    trainer: FlowTrainer<'g>,
    log: Log,
    deadline: Option<Instant>,
}

impl<'g> FlowRun<'g> {
    /// Starts in a folder without a training.
    ///
    /// # Errors
    /// [`Error::Output`] if the folder holds one or cannot be written; settings and device errors.
    pub fn start(gpu: &'g Gpu, config: &FlowConfig, data: FlowData, folder: &Path) -> Result<Self> {
        let files = RunFiles::new(folder);
        files.check_free()?;
        let flow = start_flow(config, data.dims(), &data.start_points())?;
        let state = FlowState::start(config, data.hash(), flow);
        let entropy = data.distribution().map(super::Distribution::entropy);
        let trainer = FlowTrainer::new(gpu, &state, data)?;
        std::fs::create_dir_all(folder).map_err(|e| Error::output(folder, e.to_string()))?;
        let text = config.to_toml()?;
        write_atomically(&files.config, |file| std::io::Write::write_all(file, text.as_bytes()))?;
        // First what can be resumed: a log alone could not be.
        state.write(&files.last)?;
        let mut log = Log::create(folder)?;
        log.write(
            &json!({ "event": "start", "step": 0, "adapter": gpu.adapter().name, "data": state.data,
                           "entropy": entropy, "parameters": state.flow.parameters(), "config": config }),
        )?;
        Ok(Self::new(gpu, files, trainer, log))
    }

    /// Goes on where the last checkpoint of `folder` left off.
    ///
    /// # Errors
    /// [`Error::Input`] if there is none, or it is one of other settings or other data; device errors.
    pub fn resume(gpu: &'g Gpu, config: &FlowConfig, data: FlowData, folder: &Path) -> Result<Self> {
        let files = RunFiles::new(folder);
        let state = FlowState::read(&files.last)?;
        let value = |c: &FlowConfig| serde_json::to_value(c).map_err(|e| Error::Internal(e.to_string()));
        if let Some(difference) = first_difference("", &value(&state.config)?, &value(config)?) {
            return Err(Error::input(
                &files.last,
                format!("belongs to other settings ({difference}); resume with those in config.toml beside it"),
            ));
        }
        if state.data != data.hash() {
            return Err(Error::input(
                &files.last,
                "belongs to other points; resume with the data it was started with",
            ));
        }
        let trainer = FlowTrainer::new(gpu, &state, data)?;
        let mut log = Log::resume(folder, state.progress.step)?;
        log.write(&json!({ "event": "resume", "step": state.progress.step, "adapter": gpu.adapter().name }))?;
        Ok(Self::new(gpu, files, trainer, log))
    }

    fn new(gpu: &'g Gpu, files: RunFiles, trainer: FlowTrainer<'g>, log: Log) -> Self {
        Self {
            gpu,
            files,
            trainer,
            log,
            deadline: None,
        }
    }

    /// Stops with a checkpoint once `budget` has passed.
    #[must_use]
    pub fn within(mut self, budget: Option<Duration>) -> Self {
        self.deadline = budget.and_then(|b| Instant::now().checked_add(b));
        self
    }

    /// Writes TensorBoard event files beside the log.
    ///
    /// # Errors
    /// [`Error::Output`].
    pub fn with_tensorboard(mut self) -> Result<Self> {
        self.log = self.log.with_tensorboard()?;
        Ok(self)
    }

    /// The state of affairs.
    pub fn trainer(&self) -> &FlowTrainer<'g> {
        &self.trainer
    }

    /// Its files.
    pub fn files(&self) -> &RunFiles {
        &self.files
    }

    /// Takes all steps that are left, then removes knots; or stops with a checkpoint when `watch` or the deadline says so.
    ///
    /// # Errors
    /// [`Error::Diverged`]; unwritable files; device errors.
    pub fn train(&mut self, watch: &mut dyn FlowWatch) -> Result<Ending> {
        let config = self.trainer.config().clone();
        let steps = config.schedule.steps;
        while self.trainer.progress().step < steps {
            let from = self.trainer.progress().step;
            let next = |every: u64| (from / every + 1) * every;
            let until = steps
                .min(next(config.validation.every))
                .min(next(config.schedule.checkpoint));
            let losses = self.trainer.steps(until)?;
            let step = self.trainer.progress().step;
            let loss = losses.iter().map(|l| f64::from(*l)).sum::<f64>() / losses.len() as f64;
            watch.steps(step, loss);
            self.log.write(&json!({ "event": "step", "step": step, "loss": loss,
                                    "seconds": self.trainer.progress().seconds }))?;
            let last = step == steps;
            let due = |every: u64| step.is_multiple_of(every);
            if due(config.validation.every) || last {
                self.validate(watch)?;
            }
            let late = || {
                self.deadline
                    .is_some_and(|d| Instant::now() >= d)
                    .then(|| "time budget".to_owned())
            };
            let stop = watch.stop().or_else(late);
            if due(config.schedule.checkpoint) || last || stop.is_some() {
                self.trainer.state()?.write(&self.files.last)?;
            }
            if let Some(why) = stop.filter(|_| !last) {
                self.log.write(&json!({ "event": "stop", "step": step, "why": why }))?;
                self.report()?;
                return Ok(Ending::Stopped);
            }
        }
        self.reduce(watch)?;
        self.report()?;
        Ok(Ending::Finished)
    }

    fn validate(&mut self, watch: &mut dyn FlowWatch) -> Result<()> {
        let flow = self.trainer.flow()?;
        let data = self.trainer.data();
        let evaluator = Evaluator::new(self.gpu, &flow, data.held_out().len() / data.dims())?;
        let found = score(&evaluator, data.held_out(), data.distribution())?;
        if !found.nll.is_finite() {
            return Err(Error::Diverged(
                "the log-likelihood of the held-out points is not finite; lower the learning rates".into(),
            ));
        }
        let best = self.trainer.note_validation(found.nll);
        if best {
            self.trainer.state()?.write(&self.files.best)?;
            flow.write(&self.files.model)?;
        }
        let step = self.trainer.progress().step;
        watch.validated(step, &found, best);
        self.log.write(
            &json!({ "event": "validation", "step": step, "nll": found.nll, "best": best,
                                "standard_error": found.standard_error, "divergence": found.divergence }),
        )
    }

    /// The best model, from its checkpoint so that a second call finds the same one, with fewer knots.
    fn reduce(&mut self, watch: &mut dyn FlowWatch) -> Result<()> {
        let state = FlowState::read(&self.files.best)?;
        let data = self.trainer.data();
        let tolerance = self.trainer.config().reduction.tolerance;
        let (mut flow, report) = reduce_flow(self.gpu, &state.flow.certified()?, data.held_out(), tolerance)?;
        flow.provenance = json!({
            "command": "train flow", "config": state.config, "data": state.data, "step": state.progress.step,
            "reduction": report,
        });
        flow.write(&self.files.model)?;
        watch.reduced(&report);
        let mut record = serde_json::to_value(&report).map_err(|e| Error::Internal(e.to_string()))?;
        record["event"] = json!("knots");
        record["step"] = json!(self.trainer.progress().step);
        self.log.write(&record)
    }

    /// The figures of the best model so far.
    fn report(&self) -> Result<()> {
        let settings = serde_json::to_value(self.trainer.config()).map_err(|e| Error::Internal(e.to_string()))?;
        let flow = if self.files.model.exists() {
            Flow::read(&self.files.model)?
        } else {
            self.trainer.flow()?
        };
        let data = self.trainer.data();
        let pictures = pictures(self.gpu, &flow, data.held_out(), data.distribution())?;
        let page = flow_report(&flow, &pictures, &read_log(self.log.path())?, &settings)?;
        write_atomically(&self.files.report, |file| {
            std::io::Write::write_all(file, page.as_bytes())
        })
    }
}

/// What a report shows of a flow beside points (point, coordinate) of the data.
///
/// # Errors
/// As [`Evaluator::log_density`].
pub fn pictures(gpu: &Gpu, flow: &Flow, data: &[f64], known: Option<super::Distribution>) -> Result<FlowPictures> {
    let dims = flow.dims();
    let shown = data[..data.len().min(SHOWN * dims)].to_vec();
    let cells = if dims == 1 {
        vec![LINE_CELLS]
    } else {
        vec![PLANE_CELLS; 2]
    };
    let evaluator = Evaluator::new(gpu, flow, cells.iter().product())?;
    let ranges = bounding_box(&shown, dims, 0.15);
    let density = DensityGrid::new(&evaluator, &ranges, &cells)?;
    let truth = known.map(|distribution| {
        let points = super::grid_points(&ranges, &cells);
        let values = distribution.log_density(&points).iter().map(|l| l.exp()).collect();
        DensityGrid {
            values,
            ..density.clone()
        }
    });
    Ok(FlowPictures {
        samples: evaluator.sample(REPORT_SEED, shown.len() / dims)?,
        data: shown,
        density,
        truth,
    })
}

/// Seconds and results of a run, for its record.
pub fn outcome(trainer: &FlowTrainer<'_>, flow: &Flow) -> Value {
    let progress = trainer.progress();
    json!({
        "step": progress.step,
        "best": progress.best.map(|(nll, step)| json!({ "nll": nll, "step": step })),
        "entropy": trainer.data().distribution().map(super::Distribution::entropy),
        "parameters": flow.parameters(),
        "knots": flow.splines().map(crate::spline::Spline::len).collect::<Vec<_>>(),
        "seconds": progress.seconds,
        "certificate": flow.certificate(),
    })
}
