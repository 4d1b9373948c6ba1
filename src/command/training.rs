//! What the commands that train on a folder of images have in common: the run in a folder, its messages and its result.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::ProgressBar;
use serde_json::json;

use super::options::parse_positive;
use super::{CommonArgs, Console, Interrupt};
use crate::gpu::Gpu;
use crate::io::toml_file;
use crate::train::data::Corpus;
use crate::train::{Ending, KnotEvent, LevelScore, Run, RunFiles, StepReport, Training, Watch};
use crate::{Error, Result};

/// Arguments of the commands that train on a folder of images.
#[derive(Args, Clone, Debug)]
pub struct TrainingArgs {
    /// Settings (TOML); every key has a default, --print-config shows them
    #[arg(required_unless_present = "print_config")]
    pub config: Option<PathBuf>,
    /// Folder of clean images
    #[arg(long, value_name = "DIR", required_unless_present = "print_config")]
    pub images: Option<PathBuf>,
    /// Folder for checkpoints, model, log and report; made if it does not exist
    #[arg(short, long, value_name = "DIR", default_value = "training")]
    pub output: PathBuf,
    /// Go on from the last checkpoint in the output folder
    #[arg(long)]
    pub resume: bool,
    /// Also write TensorBoard event files into the output folder
    #[arg(long)]
    pub tensorboard: bool,
    /// Save and stop with exit code 75 after so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = parse_positive)]
    pub time_budget: Option<f64>,
    /// Print all settings with their defaults as TOML and end
    #[arg(long)]
    pub print_config: bool,
    /// Messages and device
    #[command(flatten)]
    pub common: CommonArgs,
}

impl TrainingArgs {
    /// The two paths of a training, or `None` after the settings were printed instead.
    pub(super) fn paths_or_print(&self, defaults: &impl serde::Serialize) -> Result<Option<(&PathBuf, &PathBuf)>> {
        if let (Some(file), Some(images), false) = (&self.config, &self.images, self.print_config) {
            return Ok(Some((file, images)));
        }
        let text = toml_file::text(defaults)?;
        std::io::stdout()
            .write_all(text.as_bytes())
            .map_err(|e| Error::output("stdout", e.to_string()))?;
        Ok(None)
    }

    /// The images, with a warning for each that cannot be used.
    pub(super) fn corpus(
        &self,
        console: &Console,
        images: &std::path::Path,
        settings: &crate::train::data::DataSettings,
        held_out: usize,
    ) -> Result<Arc<Corpus>> {
        if !self.resume {
            RunFiles::new(&self.output).check_free()?;
        }
        let corpus = Arc::new(Corpus::read(images, settings, held_out)?);
        for skipped in corpus.skipped() {
            console.say(format!("warning: skipped {skipped}"));
        }
        Ok(corpus)
    }
}

/// Runs a training in the folder of `args` from its start or, with `--resume`, from its last checkpoint; `describe` makes of the
/// number of parameters what is said about the model.
///
/// # Errors
/// As [`Run`]; [`Error::Interrupted`] after a signal or at the end of the time budget, with everything saved.
pub(super) fn train_in_folder<'g, T>(
    gpu: &'g Gpu,
    args: &TrainingArgs,
    console: &Console,
    config: &T::Config,
    corpus: &Arc<Corpus>,
    name: &str,
    describe: impl Fn(usize) -> String,
) -> Result<()>
where
    T: Training<'g, Source = Corpus>,
{
    let files = RunFiles::new(&args.output);
    let interrupt = Interrupt::install()?;
    let make = if args.resume {
        Run::<T, _>::resume
    } else {
        Run::<T, _>::start
    };
    let budget = args
        .time_budget
        .map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX));
    let mut run = make(gpu, config, Arc::clone(corpus), &args.output)?.within(budget);
    if args.tensorboard {
        run = run.with_tensorboard()?;
    }
    let from = run.trainer().progress().step;
    let steps = run.trainer().plan().steps;
    console.say(format!(
        "{name}: {}, {} patches an epoch, {} images held out, steps {from} to {steps}",
        describe(run.trainer().parameters()?),
        corpus.len(),
        corpus.validation().len(),
    ));
    let bar = console.progress(steps as usize);
    bar.set_position(from);
    let mut watch = Progress {
        console: *console,
        bar: &bar,
        interrupt: &interrupt,
        start: Instant::now(),
    };
    let ending = run.train(&mut watch)?;
    bar.finish_and_clear();
    let trainer = run.trainer();
    let progress = trainer.progress();
    let mut result = json!({
        "ending": ending,
        "step": progress.step,
        "refused": progress.refused,
        "best": progress.best.map(|(psnr, step)| json!({ "psnr": psnr, "step": step })),
        "parameters": trainer.parameters()?,
        "knots": trainer.splines()?.iter().map(|a| a.len()).collect::<Vec<_>>(),
        "seconds": progress.seconds,
        "skipped": corpus.skipped(),
        "adapter": gpu.adapter().name,
        "model": files.model,
        "report": files.report,
    });
    args.common.device.report(gpu, console, &mut result)?;
    console.result(&result)?;
    match ending {
        Ending::Finished => {
            console.say(format!(
                "model: {}, report: {}",
                files.model.display(),
                files.report.display()
            ));
            Ok(())
        }
        Ending::Stopped => Err(Error::Interrupted(format!(
            "stopped at step {} of {steps}, all is saved; go on with --resume",
            progress.step
        ))),
    }
}

/// A line per validation and event, a bar for the steps.
struct Progress<'c> {
    console: Console,
    bar: &'c ProgressBar,
    interrupt: &'c Interrupt,
    start: Instant,
}

impl Progress<'_> {
    fn say(&self, message: String) {
        self.bar.suspend(|| self.console.say(message));
    }
}

impl Watch for Progress<'_> {
    fn step(&mut self, report: &StepReport) {
        self.bar.set_position(report.step);
        let solver = report.solver.map_or(String::new(), |s| {
            format!(", {:.0} + {:.0} iterations", s.iterations, s.adjoint_iterations)
        });
        self.bar
            .set_message(format!("loss {:.5}, {:.2} dB{solver}", report.loss, report.psnr));
        if report.taken.is_none() {
            self.say(format!("step {} refused: not finite", report.step));
        }
    }

    fn validated(&mut self, step: u64, scores: &[LevelScore], best: bool) {
        let levels: Vec<String> = scores
            .iter()
            .map(|s| format!("{:.3} dB at {:.4}", s.psnr, s.sigma))
            .collect();
        self.say(format!(
            "step {step}, {:.0} s: validation {}{}",
            self.start.elapsed().as_secs_f64(),
            levels.join(", "),
            if best { " (best)" } else { "" }
        ));
    }

    fn adapted(&mut self, event: &KnotEvent) {
        self.say(format!(
            "step {}: {} knots went, {} came, {} in all, {} at most",
            event.step, event.removed, event.inserted, event.knots, event.largest
        ));
    }

    fn stop(&mut self) -> Option<String> {
        self.interrupt.requested().map(str::to_owned)
    }
}
