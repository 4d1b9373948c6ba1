//! `train flow`: a normalising flow of the line or the plane from points.

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::ProgressBar;
use serde_json::json;

use super::options::{named_hash, parse_positive};
use super::{CommonArgs, Console, Interrupt};
use crate::flow::{Flow, FlowConfig, FlowData, FlowReductionReport, FlowRun, FlowScore, FlowWatch, outcome};
use crate::report::RunRecord;
use crate::train::{Ending, RunFiles};
use crate::{Error, Result};

/// Arguments of `train flow`.
#[derive(Args, Clone, Debug)]
pub struct FlowArgs {
    /// Settings (TOML); every key has a default, `train flow --print-config` shows them
    #[arg(required_unless_present = "print_config")]
    pub config: Option<PathBuf>,
    /// Points of one or two coordinates (CSV or NPY), or moons, ring or hills, in place of `data` in the settings
    #[arg(long, value_name = "FILE|NAME")]
    pub data: Option<String>,
    /// Folder for checkpoints, model, log and report; made if it does not exist
    #[arg(short, long, value_name = "DIR", default_value = "flow")]
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

/// `train flow`.
///
/// # Errors
/// [`Error::Input`] for unusable settings, points or checkpoints; [`Error::Output`] for a folder that holds a training or
/// cannot be written; [`Error::Interrupted`] after a signal or at the end of the time budget, with everything saved;
/// [`Error::Diverged`]; device errors.
pub fn train_flow(args: &FlowArgs) -> Result<()> {
    let console = args.common.console();
    let (Some(file), false) = (&args.config, args.print_config) else {
        let text = FlowConfig::default().to_toml()?;
        return std::io::stdout()
            .write_all(text.as_bytes())
            .map_err(|e| Error::output("stdout", e.to_string()));
    };
    let mut config = FlowConfig::read(file)?;
    if let Some(data) = &args.data {
        config.data.clone_from(data);
        config.check()?;
    }
    let files = RunFiles::new(&args.output);
    if !args.resume {
        files.check_free()?;
    }
    let data = FlowData::new(&config.data, config.seed, config.validation.points)?;
    let interrupt = Interrupt::install()?;
    let gpu = args.common.device.open(None)?;
    let make = if args.resume { FlowRun::resume } else { FlowRun::start };
    let budget = args
        .time_budget
        .map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX));
    let mut run = make(&gpu, &config, data, &args.output)?.within(budget);
    if args.tensorboard {
        run = run.with_tensorboard()?;
    }
    let from = run.trainer().progress().step;
    let data = run.trainer().data();
    console.say(format!(
        "{}: {} layers in {}, slopes in [{}, {}], {} knots per spline, {}, {} held out, steps {from} to {}",
        config.name,
        config.model.layers,
        if data.dims() == 1 {
            "1 dimension"
        } else {
            "2 dimensions"
        },
        config.model.slope_min,
        config.model.slope_max,
        config.model.knots,
        match data.training_points() {
            Some(count) => format!("{count} points to train on"),
            None => "new points in every step".into(),
        },
        data.held_out().len() / data.dims(),
        config.schedule.steps
    ));
    if let Some(distribution) = data.distribution() {
        console.say(format!(
            "entropy of {}: {:.4} nats",
            distribution.name(),
            distribution.entropy()
        ));
    }
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
    let step = run.trainer().progress().step;
    let flow = if files.model.exists() {
        Flow::read(&files.model)?
    } else {
        run.trainer().flow()?
    };
    let mut result = outcome(run.trainer(), &flow);
    result["ending"] = json!(ending);
    result["adapter"] = json!(gpu.adapter().name);
    result["model"] = json!(files.model);
    result["report"] = json!(files.report);
    args.common.device.report(&gpu, &console, &mut result)?;
    let settings = serde_json::to_value(&config).map_err(|e| Error::Internal(e.to_string()))?;
    let mut record = RunRecord::new("flow", &gpu, settings);
    record.inputs = json!({ "config": named_hash(file)?, "data": run.trainer().data().hash() });
    if files.model.exists() {
        record.outputs = json!({ "model": named_hash(&files.model)?, "report": named_hash(&files.report)? });
    }
    record.results = result.clone();
    record.write(&files.folder.join("run.json"))?;
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
            "stopped at step {step} of {}, all is saved; go on with --resume",
            config.schedule.steps
        ))),
    }
}

/// A line per validation, a bar for the steps.
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

impl FlowWatch for Progress<'_> {
    fn steps(&mut self, step: u64, loss: f64) {
        self.bar.set_position(step);
        self.bar.set_message(format!("{loss:.4} nats"));
    }

    fn validated(&mut self, step: u64, score: &FlowScore, best: bool) {
        let divergence = score
            .divergence
            .map_or(String::new(), |d| format!(", {d:.4} from the true density"));
        self.say(format!(
            "step {step}, {:.0} s: {:.4} nats for held-out points{divergence}{}",
            self.start.elapsed().as_secs_f64(),
            score.nll,
            if best { " (best)" } else { "" }
        ));
    }

    fn reduced(&mut self, report: &FlowReductionReport) {
        self.say(format!(
            "best model: {} knots instead of {}, {:.4} nats instead of {:.4}",
            report.after, report.before, report.nll_after, report.nll_before
        ));
    }

    fn stop(&mut self) -> Option<String> {
        self.interrupt.requested().map(str::to_owned)
    }
}
