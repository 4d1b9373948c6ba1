//! A whole training in a folder: steps, knots, validation, checkpoints, log and report.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::data::{Corpus, Prefetch};
use super::log::{FILE_NAME, Log, read_log};
use super::{GROUPS, KnotEvent, LevelScore, RidgeConfig, StepReport, Trainer, TrainingState, start_model, validate};
use crate::gpu::Gpu;
use crate::io::atomic::write_atomically;
use crate::report::training_report;
use crate::{Error, Result};

/// Batches that are made ahead of the device.
const AHEAD: usize = 4;

/// Files of a training in its folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunFiles {
    /// The folder.
    pub folder: PathBuf,
    /// The settings.
    pub config: PathBuf,
    /// The state behind the last step that was kept.
    pub last: PathBuf,
    /// The state of the best validation.
    pub best: PathBuf,
    /// The model of the best validation.
    pub model: PathBuf,
    /// Figures and curves.
    pub report: PathBuf,
}

impl RunFiles {
    /// The files in `folder`.
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.into(),
            config: folder.join("config.toml"),
            last: folder.join("last.safetensors"),
            best: folder.join("best.safetensors"),
            model: folder.join("model.safetensors"),
            report: folder.join("report.html"),
        }
    }

    /// Whether a training can start here.
    ///
    /// # Errors
    /// [`Error::Output`] if the folder holds one already, or is a file.
    pub fn check_free(&self) -> Result<()> {
        let fail = |why: &str| Err(Error::output(&self.folder, why));
        if self.folder.exists() && !self.folder.is_dir() {
            return fail("it is a file; name a folder");
        }
        let made = [&self.last, &self.best, &self.model, &self.folder.join(FILE_NAME)];
        if made.iter().any(|f| f.exists()) {
            return fail("it holds a training already; go on with --resume or name another folder");
        }
        Ok(())
    }
}

/// How a training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// All steps were taken.
    Finished,
    /// It was told to stop, and can be resumed.
    Stopped,
}

/// What a training tells while it runs, and when it must stop.
pub trait Watch {
    /// A step was taken.
    fn step(&mut self, report: &StepReport);
    /// A validation was made.
    fn validated(&mut self, step: u64, scores: &[LevelScore], best: bool);
    /// Knots were moved.
    fn adapted(&mut self, event: &KnotEvent);
    /// Why to stop now, if at all.
    fn stop(&mut self) -> Option<String>;
}

/// A training on its way.
pub struct Run<'g> {
    gpu: &'g Gpu,
    files: RunFiles,
    corpus: Arc<Corpus>,
    trainer: Trainer<'g>,
    log: Log,
    deadline: Option<Instant>,
}

impl<'g> Run<'g> {
    /// Starts in a folder without a training.
    ///
    /// # Errors
    /// [`Error::Output`] if the folder holds one or cannot be written; settings and device errors.
    pub fn start(gpu: &'g Gpu, config: &RidgeConfig, corpus: Arc<Corpus>, folder: &Path) -> Result<Self> {
        let files = RunFiles::new(folder);
        files.check_free()?;
        let state = TrainingState::start(config, corpus.hash(), &start_model(config)?);
        let trainer = Trainer::new(gpu, &state)?;
        std::fs::create_dir_all(folder).map_err(|e| Error::output(folder, e.to_string()))?;
        let text = config.to_toml()?;
        write_atomically(&files.config, |file| std::io::Write::write_all(file, text.as_bytes()))?;
        // First what can be resumed: a log alone could not be.
        state.write(&files.last)?;
        let mut log = Log::create(folder)?;
        log.write(
            &json!({ "event": "start", "step": 0, "adapter": gpu.adapter().name, "data": corpus.hash(),
                           "parameters": parameters(&state), "config": config }),
        )?;
        Ok(Self::new(gpu, files, corpus, trainer, log))
    }

    /// Goes on where the last checkpoint of `folder` left off.
    ///
    /// # Errors
    /// [`Error::Input`] if there is none, or it is one of other settings or other data; device errors.
    pub fn resume(gpu: &'g Gpu, config: &RidgeConfig, corpus: Arc<Corpus>, folder: &Path) -> Result<Self> {
        let files = RunFiles::new(folder);
        let state = TrainingState::read(&files.last)?;
        if let Some(difference) = difference(&state.config, config)? {
            return Err(Error::input(
                &files.last,
                format!("belongs to other settings ({difference}); resume with those in config.toml beside it"),
            ));
        }
        if state.data != corpus.hash() {
            return Err(Error::input(
                &files.last,
                "belongs to other images; resume with the folder it was started with",
            ));
        }
        let trainer = Trainer::new(gpu, &state)?;
        let mut log = Log::resume(folder, state.progress.step)?;
        log.write(&json!({ "event": "resume", "step": state.progress.step, "adapter": gpu.adapter().name }))?;
        Ok(Self::new(gpu, files, corpus, trainer, log))
    }

    fn new(gpu: &'g Gpu, files: RunFiles, corpus: Arc<Corpus>, trainer: Trainer<'g>, log: Log) -> Self {
        Self {
            gpu,
            files,
            corpus,
            trainer,
            log,
            deadline: None,
        }
    }

    /// Stops with a checkpoint once `budget` has passed.
    #[must_use]
    pub fn within(mut self, budget: Option<Duration>) -> Self {
        self.deadline = budget.map(|b| Instant::now() + b);
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
    pub fn trainer(&self) -> &Trainer<'g> {
        &self.trainer
    }

    /// Takes all steps that are left, or stops with a checkpoint when `watch` or the deadline says so.
    ///
    /// # Errors
    /// [`Error::Diverged`]; unwritable files; device errors.
    pub fn train(&mut self, watch: &mut dyn Watch) -> Result<Ending> {
        let config = self.trainer.config().clone();
        let first = self.trainer.progress().step * config.batch as u64;
        let mut patches = Prefetch::new(Arc::clone(&self.corpus), first, config.batch, AHEAD)?;
        let steps = config.schedule.steps;
        while self.trainer.progress().step < steps {
            let report = self.trainer.step(&patches.next()?)?;
            let step = report.step;
            self.log_step(&report)?;
            watch.step(&report);
            let last = step == steps;
            let adaptation = &config.adaptation;
            let due = |every: u64| every > 0 && step.is_multiple_of(every);
            if due(adaptation.every) && step as f64 <= adaptation.until * steps as f64 {
                self.adapt(watch)?;
            }
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
        self.report()?;
        Ok(Ending::Finished)
    }

    fn log_step(&mut self, report: &StepReport) -> Result<()> {
        let Some(taken) = &report.taken else {
            return self.log.write(&json!({ "event": "refused", "step": report.step,
                                           "why": "the loss or its gradient is not finite" }));
        };
        let norms: serde_json::Map<String, Value> = GROUPS
            .iter()
            .zip(taken.norms)
            .map(|(name, norm)| ((*name).to_owned(), json!(norm)))
            .collect();
        let activations = self.trainer.activations()?;
        self.log.write(&json!({
            "event": "step",
            "step": report.step,
            "loss": report.loss,
            "psnr": report.psnr,
            "iterations": report.iterations,
            "adjoint_iterations": report.adjoint_iterations,
            "unfinished": report.unfinished,
            "gradient_norms": norms,
            "clipped": taken.factors.iter().filter(|f| **f < 1.0).count(),
            "rate": report.rate,
            "knots": activations.iter().map(crate::spline::Spline::len).sum::<usize>(),
            "tv2": activations.iter().map(crate::spline::Spline::tv2).sum::<f64>(),
            "seconds": self.trainer.progress().seconds,
        }))
    }

    fn adapt(&mut self, watch: &mut dyn Watch) -> Result<()> {
        let event = self.trainer.adapt()?;
        watch.adapted(&event);
        let mut record = serde_json::to_value(event).map_err(|e| Error::Internal(e.to_string()))?;
        record["event"] = json!("knots");
        self.log.write(&record)
    }

    /// The model as it is judged and shipped.
    fn exported(&self) -> Result<crate::model::Ridge> {
        self.trainer.model()?.bounded_below()
    }

    fn validate(&mut self, watch: &mut dyn Watch) -> Result<()> {
        let model = self.exported()?;
        let scores = validate(
            self.gpu,
            &model,
            self.corpus.validation(),
            &self.trainer.config().validation,
        )?;
        let mean = scores.iter().map(|s| s.psnr).sum::<f64>() / scores.len() as f64;
        let best = self.trainer.note_validation(mean);
        let step = self.trainer.progress().step;
        if best {
            self.trainer.state()?.write(&self.files.best)?;
            model.write(&self.files.model)?;
        }
        watch.validated(step, &scores, best);
        self.log
            .write(&json!({ "event": "validation", "step": step, "psnr": scores, "mean": mean, "best": best }))
    }

    /// The figures of the best model so far.
    fn report(&self) -> Result<()> {
        let settings = serde_json::to_value(self.trainer.config()).map_err(|e| Error::Internal(e.to_string()))?;
        let model = if self.files.model.exists() {
            crate::model::Ridge::read(&self.files.model)?
        } else {
            self.exported()?
        };
        let page = training_report(&model, &read_log(self.log.path())?, &settings)?;
        write_atomically(&self.files.report, |file| {
            std::io::Write::write_all(file, page.as_bytes())
        })
    }
}

/// Numbers that are trained, counted as the published models are: both halves of antisymmetric activations.
pub fn parameters(state: &TrainingState) -> usize {
    let entries = |splines: &[crate::spline::Spline]| splines.iter().map(crate::spline::Spline::len).sum::<usize>();
    state.weights.len() + entries(&state.activations) + entries(&state.scalings)
}

/// The first setting in which two configurations differ.
fn difference(ours: &RidgeConfig, theirs: &RidgeConfig) -> Result<Option<String>> {
    let value = |c: &RidgeConfig| serde_json::to_value(c).map_err(|e| Error::Internal(e.to_string()));
    Ok(first_difference("", &value(ours)?, &value(theirs)?))
}

/// The first key whose values differ.
pub(crate) fn first_difference(path: &str, a: &Value, b: &Value) -> Option<String> {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => a.iter().find_map(|(key, a)| {
            let path = if path.is_empty() {
                key.clone()
            } else {
                format!("{path}.{key}")
            };
            first_difference(&path, a, b.get(key).unwrap_or(&Value::Null))
        }),
        (a, b) if a == b => None,
        (a, b) => Some(format!("{path} = {a} there, {b} here")),
    }
}
