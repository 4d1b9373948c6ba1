//! `train ridge`: a (weakly) convex ridge regularizer from a folder of images.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::ProgressBar;
use serde_json::json;

use super::options::parse_positive;
use super::{CommonArgs, Console, Interrupt};
use crate::train::data::Corpus;
use crate::train::{
    Ending, KnotEvent, LevelScore, RidgeConfig, Run, RunFiles, StepReport, Trainer, Training, Watch, parameters,
};
use crate::{Error, Result};

/// Arguments of `train ridge`.
#[derive(Args, Clone, Debug)]
pub struct RidgeArgs {
    /// Settings (TOML); every key has a default, `train ridge --print-config` shows them
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

/// `train ridge`.
///
/// # Errors
/// [`Error::Input`] for unusable settings, images or checkpoints; [`Error::Output`] for a folder that holds a training or
/// cannot be written; [`Error::Interrupted`] after a signal or at the end of the time budget, with everything saved;
/// [`Error::Diverged`]; device errors.
pub fn train_ridge(args: &RidgeArgs) -> Result<()> {
    let console = args.common.console();
    let (Some(file), Some(images), false) = (&args.config, &args.images, args.print_config) else {
        let text = RidgeConfig::default().to_toml()?;
        return std::io::stdout()
            .write_all(text.as_bytes())
            .map_err(|e| Error::output("stdout", e.to_string()));
    };
    let config = RidgeConfig::read(file)?;
    let files = RunFiles::new(&args.output);
    if !args.resume {
        files.check_free()?;
    }
    let corpus = Arc::new(Corpus::read(images, &config.data, config.validation.images)?);
    for skipped in corpus.skipped() {
        console.say(format!("warning: skipped {skipped}"));
    }
    let interrupt = Interrupt::install()?;
    let gpu = args.common.device.open(None)?;
    let make = if args.resume {
        Run::<Trainer<'_>, _>::resume
    } else {
        Run::start
    };
    let budget = args.time_budget.map(Duration::from_secs_f64);
    let mut run = make(&gpu, &config, Arc::clone(&corpus), &args.output)?.within(budget);
    if args.tensorboard {
        run = run.with_tensorboard()?;
    }
    let from = run.trainer().progress().step;
    console.say(format!(
        "{}: {} filters of {}x{}, slopes in [{}, {}], {} parameters, {} patches an epoch, {} images held out, steps {from} to {}",
        config.name,
        config.model.filters,
        config.model.size,
        config.model.size,
        -config.model.rho,
        config.model.mu,
        parameters(&run.trainer().state()?),
        corpus.len(),
        corpus.validation().len(),
        config.schedule.steps
    ));
    let bar = console.progress(config.schedule.steps as usize);
    bar.set_position(from);
    let mut watch = Progress {
        console,
        bar: &bar,
        interrupt: &interrupt,
        start: Instant::now(),
    };
    let ending = run.train(&mut watch)?;
    bar.finish_and_clear();
    let state = run.trainer().state()?;
    let mut result = json!({
        "ending": ending,
        "step": state.progress.step,
        "refused": state.progress.refused,
        "best": state.progress.best.map(|(psnr, step)| json!({ "psnr": psnr, "step": step })),
        "parameters": parameters(&state),
        "knots": state.activations.iter().map(|a| a.len()).collect::<Vec<_>>(),
        "seconds": state.progress.seconds,
        "skipped": corpus.skipped(),
        "adapter": gpu.adapter().name,
        "model": files.model,
        "report": files.report,
    });
    args.common.device.report(&gpu, &console, &mut result)?;
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
            "stopped at step {} of {}, all is saved; go on with --resume",
            state.progress.step, config.schedule.steps
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
