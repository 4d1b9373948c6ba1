//! A whole training in a folder: steps, knots, validation, checkpoints, log and report.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Value, json};

use super::data::{Batch, Corpus, Prefetch};
use super::log::{FILE_NAME, Log, read_log};
use super::{KnotEvent, LevelScore, Progress, StepReport};
use crate::gpu::Gpu;
use crate::io::atomic::write_atomically;
use crate::io::toml_file;
use crate::spline::Spline;
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

/// Where the batches of a training come from.
pub trait Source {
    /// What a step takes.
    type Batch;

    /// What the data are: a training is resumed with the same only.
    fn hash(&self) -> &str;

    /// The batches of `count` samples from sample `first` on, one per call.
    ///
    /// # Errors
    /// [`Error::Usage`] for a count that the data do not allow.
    fn batches(self: &Arc<Self>, first: u64, count: usize) -> Result<Box<dyn FnMut() -> Result<Self::Batch>>>;
}

impl Source for Corpus {
    type Batch = Batch;

    fn hash(&self) -> &str {
        Self::hash(self)
    }

    fn batches(self: &Arc<Self>, first: u64, count: usize) -> Result<Box<dyn FnMut() -> Result<Batch>>> {
        let mut patches = Prefetch::new(Arc::clone(self), first, count, AHEAD)?;
        Ok(Box::new(move || patches.next()))
    }
}

/// When a training does what.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// Samples per step.
    pub batch: usize,
    /// Steps of the training.
    pub steps: u64,
    /// Checkpoints are written every so many steps.
    pub checkpoint: u64,
    /// Steps between validations.
    pub validate: u64,
    /// Steps between moves of knots; 0 for none.
    pub adapt: u64,
    /// No such move after this part of the training.
    pub adapt_until: f64,
}

/// A kind of training that [`Run`] takes from a folder and back: steps on the device, a state that can be saved, a model.
pub trait Training<'g>: Sized {
    /// The settings.
    type Config: Serialize;
    /// The data.
    type Source: Source;

    /// The state before the first step.
    ///
    /// # Errors
    /// Settings and device errors.
    fn start(gpu: &'g Gpu, config: &Self::Config, data: &Self::Source) -> Result<Self>;

    /// The state of a checkpoint.
    ///
    /// # Errors
    /// [`Error::Input`] for an unusable one; device errors.
    fn load(gpu: &'g Gpu, checkpoint: &Path) -> Result<Self>;

    /// The settings.
    fn config(&self) -> &Self::Config;
    /// What the data were, see [`Source::hash`].
    fn data(&self) -> &str;
    /// When to do what.
    fn plan(&self) -> Plan;
    /// The counters.
    fn progress(&self) -> &Progress;
    /// The counters, to remember a validation.
    fn progress_mut(&mut self) -> &mut Progress;

    /// Numbers that are trained.
    ///
    /// # Errors
    /// [`Error::Data`] if a parameter is not finite; device errors.
    fn parameters(&self) -> Result<usize>;

    /// The splines as they are now.
    ///
    /// # Errors
    /// As [`Self::parameters`].
    fn splines(&self) -> Result<Vec<Spline>>;

    /// Takes one step.
    ///
    /// # Errors
    /// [`Error::Diverged`] after too many refused steps in a row; device errors.
    fn step(&mut self, batch: &<Self::Source as Source>::Batch) -> Result<StepReport>;

    /// Moves knots; `batch` is that of the last step.
    ///
    /// # Errors
    /// As [`Self::parameters`].
    fn adapt(&mut self, batch: &<Self::Source as Source>::Batch) -> Result<KnotEvent>;

    /// Scores of the model as it is now on what training does not see.
    ///
    /// # Errors
    /// As [`Self::parameters`].
    fn validate(&self, data: &Self::Source) -> Result<Vec<LevelScore>>;

    /// Writes all that [`Self::load`] needs.
    ///
    /// # Errors
    /// [`Error::Output`]; as [`Self::parameters`].
    fn write_state(&self, path: &Path) -> Result<()>;

    /// Writes the model as it is now.
    ///
    /// # Errors
    /// [`Error::Output`]; as [`Self::parameters`].
    fn write_model(&self, path: &Path) -> Result<()>;

    /// The page about the model in the file `model`, or if there is none about the model as it is now.
    ///
    /// # Errors
    /// [`Error::Input`] for an unusable file; as [`Self::parameters`].
    fn report(&self, model: Option<&Path>, records: &[Value]) -> Result<String>;
}

/// A training on its way.
pub struct Run<T, S> {
    files: RunFiles,
    data: Arc<S>,
    trainer: T,
    log: Log,
    deadline: Option<Instant>,
}

impl<'g, T: Training<'g>> Run<T, T::Source> {
    /// Starts in a folder without a training.
    ///
    /// # Errors
    /// [`Error::Output`] if the folder holds one or cannot be written; settings and device errors.
    pub fn start(gpu: &'g Gpu, config: &T::Config, data: Arc<T::Source>, folder: &Path) -> Result<Self> {
        let files = RunFiles::new(folder);
        files.check_free()?;
        let trainer = T::start(gpu, config, &data)?;
        std::fs::create_dir_all(folder).map_err(|e| Error::output(folder, e.to_string()))?;
        let text = toml_file::text(config)?;
        write_atomically(&files.config, |file| std::io::Write::write_all(file, text.as_bytes()))?;
        // First what can be resumed: a log alone could not be.
        trainer.write_state(&files.last)?;
        let mut log = Log::create(folder)?;
        log.write(
            &json!({ "event": "start", "step": 0, "adapter": gpu.adapter().name, "data": data.hash(),
                           "parameters": trainer.parameters()?, "config": config }),
        )?;
        Ok(Self::new(files, data, trainer, log))
    }

    /// Goes on where the last checkpoint of `folder` left off.
    ///
    /// # Errors
    /// [`Error::Input`] if there is none, or it is one of other settings or other data; device errors.
    pub fn resume(gpu: &'g Gpu, config: &T::Config, data: Arc<T::Source>, folder: &Path) -> Result<Self> {
        let files = RunFiles::new(folder);
        let trainer = T::load(gpu, &files.last)?;
        if let Some(difference) = difference(trainer.config(), config)? {
            return Err(Error::input(
                &files.last,
                format!("belongs to other settings ({difference}); resume with those in config.toml beside it"),
            ));
        }
        if trainer.data() != data.hash() {
            return Err(Error::input(
                &files.last,
                "belongs to other data; resume with those it was started with",
            ));
        }
        let step = trainer.progress().step;
        let mut log = Log::resume(folder, step)?;
        log.write(&json!({ "event": "resume", "step": step, "adapter": gpu.adapter().name }))?;
        Ok(Self::new(files, data, trainer, log))
    }

    fn new(files: RunFiles, data: Arc<T::Source>, trainer: T, log: Log) -> Self {
        Self {
            files,
            data,
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
    pub fn trainer(&self) -> &T {
        &self.trainer
    }

    /// Takes all steps that are left, or stops with a checkpoint when `watch` or the deadline says so.
    ///
    /// # Errors
    /// [`Error::Diverged`]; unwritable files; device errors.
    pub fn train(&mut self, watch: &mut dyn Watch) -> Result<Ending> {
        let plan = self.trainer.plan();
        let first = self.trainer.progress().step * plan.batch as u64;
        let mut batches = self.data.batches(first, plan.batch)?;
        while self.trainer.progress().step < plan.steps {
            let batch = batches()?;
            let report = self.trainer.step(&batch)?;
            let step = report.step;
            self.log_step(&report)?;
            watch.step(&report);
            let last = step == plan.steps;
            let due = |every: u64| every > 0 && step.is_multiple_of(every);
            // What a refused step leaves behind says nothing about knots.
            let adapts = due(plan.adapt) && report.taken.is_some();
            if adapts && step as f64 <= plan.adapt_until * plan.steps as f64 {
                self.adapt(&batch, watch)?;
            }
            if due(plan.validate) || last {
                self.validate(watch)?;
            }
            let late = || {
                self.deadline
                    .is_some_and(|d| Instant::now() >= d)
                    .then(|| "time budget".to_owned())
            };
            let stop = watch.stop().or_else(late);
            if due(plan.checkpoint) || last || stop.is_some() {
                self.trainer.write_state(&self.files.last)?;
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
        let norms: serde_json::Map<String, Value> = taken
            .names
            .iter()
            .zip(&taken.norms)
            .map(|(name, norm)| ((*name).to_owned(), json!(norm)))
            .collect();
        let splines = self.trainer.splines()?;
        let mut record = json!({
            "event": "step",
            "step": report.step,
            "loss": report.loss,
            "psnr": report.psnr,
            "gradient_norms": norms,
            "clipped": taken.factors.iter().filter(|f| **f < 1.0).count(),
            "rate": report.rate,
            "knots": splines.iter().map(Spline::len).sum::<usize>(),
            "tv2": splines.iter().map(Spline::tv2).sum::<f64>(),
            "seconds": self.trainer.progress().seconds,
        });
        if let Some(solver) = &report.solver {
            record["iterations"] = json!(solver.iterations);
            record["adjoint_iterations"] = json!(solver.adjoint_iterations);
            record["unfinished"] = json!(solver.unfinished);
        }
        self.log.write(&record)
    }

    fn adapt(&mut self, batch: &<T::Source as Source>::Batch, watch: &mut dyn Watch) -> Result<()> {
        let event = self.trainer.adapt(batch)?;
        watch.adapted(&event);
        let mut record = serde_json::to_value(event).map_err(|e| Error::Internal(e.to_string()))?;
        record["event"] = json!("knots");
        self.log.write(&record)
    }

    fn validate(&mut self, watch: &mut dyn Watch) -> Result<()> {
        let scores = self.trainer.validate(&self.data)?;
        let mean = scores.iter().map(|s| s.psnr).sum::<f64>() / scores.len() as f64;
        let best = self.trainer.progress_mut().note_validation(mean);
        let step = self.trainer.progress().step;
        if best {
            self.trainer.write_state(&self.files.best)?;
            self.trainer.write_model(&self.files.model)?;
        }
        watch.validated(step, &scores, best);
        self.log
            .write(&json!({ "event": "validation", "step": step, "psnr": scores, "mean": mean, "best": best }))
    }

    /// The figures of the best model so far.
    fn report(&self) -> Result<()> {
        let model = self.files.model.exists().then_some(self.files.model.as_path());
        let page = self.trainer.report(model, &read_log(self.log.path())?)?;
        write_atomically(&self.files.report, |file| {
            std::io::Write::write_all(file, page.as_bytes())
        })
    }
}

/// The first setting in which two configurations differ.
fn difference<C: Serialize>(ours: &C, theirs: &C) -> Result<Option<String>> {
    let value = |c: &C| serde_json::to_value(c).map_err(|e| Error::Internal(e.to_string()));
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
