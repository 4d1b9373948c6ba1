//! From measurements to an image: what `reconstruct inpaint`, `deblur`, `upscale` and `ct` have in common.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use serde_json::{Map, Value, json};

use super::options::{
    RunArgs, SolverArgs, model_source, named_hash, parse_level, parse_noise, parse_positive, quality, say_unfinished,
    scores_text,
};
use super::pnp::{ChosenPnp, PnpArgs};
use super::problem::{Chosen, Method, Problem, Strength};
use super::stack::{Measurements, reconstruct_stack};
use crate::gpu::Gpu;
use crate::io::atomic::same_file;
use crate::io::image::{Image, Stack, StackKind};
use crate::io::toml_file;
use crate::report::RunRecord;
use crate::solver::Stop;
use crate::{Error, Result};

/// What all of them want to know.
#[derive(Args, Clone, Debug)]
pub struct InverseArgs {
    /// What was measured; a stack (slices, ..) goes slice by slice
    pub input: PathBuf,
    /// Where the result goes; the extension may change the format
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// What the image is reconstructed with [default: model]
    #[arg(long, value_enum)]
    pub method: Option<Method>,
    /// Noise level for which the model runs, as a fraction of the image range: 0.02 or 5/255. Where measurements are pixels it is
    /// their noise, too [default: from the noise of the measurement]
    #[arg(long, value_name = "S", value_parser = parse_level, allow_hyphen_values = true)]
    pub sigma: Option<f64>,
    /// Standard deviation of the noise in units of the measurement [default: --sigma, or estimated from the measurement]
    #[arg(long, value_name = "S", value_parser = parse_noise, allow_hyphen_values = true)]
    pub noise: Option<f64>,
    /// Weight of the regularizer [default: (noise / sigma)^2; for tv 0.8 noise^2 / sigma]
    #[arg(long, value_name = "L", value_parser = parse_positive, allow_hyphen_values = true)]
    pub lambda: Option<f64>,
    /// Settings that `reconstruct tune` found (TOML); options given beside it come first
    #[arg(long, value_name = "FILE")]
    pub settings: Option<PathBuf>,
    /// Plug-and-play
    #[command(flatten)]
    pub pnp: PnpArgs,
    /// Model and solver
    #[command(flatten)]
    pub solver: SolverArgs,
    /// Comparison, record, messages and device
    #[command(flatten)]
    pub run: RunArgs,
}

impl InverseArgs {
    /// What the options and the file of settings say.
    ///
    /// # Errors
    /// [`Error::Input`] for a file that holds anything else.
    pub(super) fn strength(&self) -> Result<Strength> {
        let file = match &self.settings {
            Some(path) => {
                let file: Strength = toml_file::read(path)?;
                let positive = |value: Option<f64>| value.is_none_or(|v| v.is_finite() && v > 0.0);
                let numbers = [
                    file.lambda,
                    file.sigma,
                    file.noise,
                    file.step,
                    file.averaging,
                    file.strength,
                ];
                if !numbers.into_iter().all(positive) {
                    return Err(Error::input(path, "all numbers must be above 0 and finite"));
                }
                file
            }
            None => Strength::default(),
        };
        let pnp = &self.pnp;
        let implied = pnp.denoiser.as_ref().map(|_| Method::Pnp);
        let method = self.method.or(implied).or(file.method);
        match (method, pnp.first()) {
            (Some(Method::Pnp), _) if self.lambda.is_some() => {
                return Err(Error::Usage(
                    "--lambda has no part in --method pnp; use --step and --strength".into(),
                ));
            }
            (Some(Method::Pnp), _) | (_, None) => {}
            (_, Some(option)) => {
                return Err(Error::Usage(format!(
                    "{option} is an option of --method pnp; give both or neither"
                )));
            }
        }
        Ok(Strength {
            method,
            model: self.solver.model.clone().or(file.model),
            lambda: self.lambda.or(file.lambda),
            sigma: self.sigma.or(file.sigma),
            noise: self.noise.or(file.noise),
            denoiser: pnp.denoiser.clone().or(file.denoiser),
            algorithm: pnp.algorithm.or(file.algorithm),
            step: pnp.step.or(file.step),
            averaging: pnp.averaging.or(file.averaging),
            strength: pnp.strength.or(file.strength),
        })
    }
}

impl InverseArgs {
    /// Where the record goes; makes sure that it and the output can be written and replace nothing that is read.
    ///
    /// # Errors
    /// [`Error::Output`].
    pub(super) fn record_path(&self, problem: &Problem, strength: &Strength) -> Result<PathBuf> {
        let others = [
            self.run.clean.as_ref(),
            self.settings.as_ref(),
            strength.denoiser.as_ref(),
        ];
        let others = others.into_iter().flatten();
        let inputs: Vec<&Path> = [&self.input]
            .into_iter()
            .chain(problem.files.iter().map(|(_, path)| path))
            .chain(others)
            .map(PathBuf::as_path)
            .collect();
        if inputs.iter().any(|input| same_file(input, &self.output)) {
            return Err(Error::output(
                &self.output,
                "the result would replace a file that is read; name another with -o",
            ));
        }
        self.run.record_path(&self.output, &inputs)
    }

    /// The input as a stack of images, as `kind` sees it, and the first image that is wanted.
    ///
    /// # Errors
    /// [`Error::Input`], [`Error::Usage`].
    pub(super) fn stack(&self, kind: StackKind) -> Result<Option<(Image, Stack)>> {
        let Some(mut stack) = self.run.stack.open(&self.input, kind)? else {
            return Ok(None);
        };
        let range = self.run.stack.range(&self.input, stack.slices())?;
        Ok(Some((stack.read(range.start)?, stack)))
    }
}

/// The arguments of a command that reconstructs from linear measurements.
pub trait Inverse {
    /// What it has in common with the others.
    fn common(&self) -> &InverseArgs;

    /// Reads its files.
    ///
    /// # Errors
    /// [`Error::Input`] with what is wrong with one of them.
    fn problem(&self) -> Result<Problem>;

    /// If the input is a stack: the problem of its first slice that is wanted, and all slices, which differ in the measurement only.
    ///
    /// # Errors
    /// As [`Self::problem`].
    fn stack(&self) -> Result<Option<(Problem, Box<dyn Measurements>)>>;

    /// Files it reads although no option names them, and what for.
    fn unnamed_files(&self) -> Vec<(&'static str, PathBuf)> {
        Vec::new()
    }
}

/// Minimises `|H x - y|^2 / 2 + lambda R(x)` over the box, plane by plane, on a device of its own or one that is `lent`; writes the
/// image and the record and returns what there is to tell.
///
/// # Errors
/// Everything a user can get wrong, as one line; nothing is written unless the whole run succeeded.
pub(super) fn reconstruct(command: &dyn Inverse, lent: Option<&Gpu>) -> Result<Value> {
    if let Some((problem, stack)) = command.stack()? {
        return reconstruct_stack(command, problem, stack, lent);
    }
    let args = command.common();
    let console = args.run.common.console();
    let begin = Instant::now();
    let strength = args.strength()?;
    let problem = command.problem()?;
    let size = problem.operator.domain();
    let clean = args.run.read_clean(problem.measured.len(), size)?;
    let format = problem.format.for_output(&args.output)?;
    let record_path = args.record_path(&problem, &strength)?;
    let gpu = args.run.common.device.lent_or_open(lent, Some(&record_path))?;
    let chosen = problem.choose(&gpu, &strength)?;
    let solving = Instant::now();
    let regularizers = 1 + usize::from(chosen.first().is_some());
    let bar = console.progress(regularizers * args.solver.max_iter());
    let solution = problem.solve(&gpu, &chosen, &args.solver, None, |iterations, change| {
        bar.set_position(iterations as u64);
        bar.set_message(format!("change {change:.1e}"));
    })?;
    bar.finish_and_clear();
    let solve = solving.elapsed().as_secs_f64();
    let scores = clean
        .as_ref()
        .map(|clean| quality(&solution.planes, clean))
        .transpose()?;
    Image::new(
        problem.measured.len(),
        size[0],
        size[1],
        solution.planes,
        problem.format,
    )?
    .write(&args.output, format)?;
    let report = Report {
        args,
        problem: &problem,
        strength: &strength,
        chosen: &chosen,
        constants: solution.constants,
    };
    let mut result = report.result(&gpu);
    result["energy"] = json!(solution.energy);
    result["iterations"] = json!(solution.iterations);
    result["stop"] = json!(solution.stop);
    result["error_bound"] = json!(solution.error_bound);
    result["no_error_bound"] = json!(solution.no_error_bound);
    result["residuals"] = json!(solution.residuals);
    result["seconds"] = json!({ "solve": solve, "total": begin.elapsed().as_secs_f64() });
    if let Some((psnr, ssim)) = scores {
        result["psnr"] = json!(psnr);
        result["ssim"] = json!(ssim);
    }
    args.run.common.device.report(&gpu, &console, &mut result)?;
    let mut record = report.record(&gpu, &result)?;
    // Too long for a line on a terminal.
    record.results["energy_history"] = json!(solution.energy_history);
    record.write(&record_path)?;
    if solution.stop != Stop::Converged {
        say_unfinished(&console, args.solver.max_iter());
    }
    console.say(format!(
        "{} -> {}: {} iterations in {solve:.2} s{}",
        args.input.display(),
        args.output.display(),
        solution.iterations,
        scores_text(scores)
    ));
    Ok(result)
}

/// What is told of a reconstruction, of one image or of a stack.
pub(super) struct Report<'a> {
    pub args: &'a InverseArgs,
    pub problem: &'a Problem,
    pub strength: &'a Strength,
    pub chosen: &'a Chosen,
    /// What the steps rest on.
    pub constants: Option<Value>,
}

impl Report<'_> {
    /// A direct inversion has no strength.
    fn strength_of(&self, value: f64) -> Option<f64> {
        (self.constants.is_some() && self.chosen.pnp.is_none()).then_some(value)
    }

    /// The part of the results that does not depend on what was measured.
    pub fn result(&self, gpu: &Gpu) -> Value {
        json!({
            "output": self.args.output,
            "method": self.chosen.method,
            "constants": self.constants,
            "pnp": self.chosen.pnp.as_ref().map(ChosenPnp::told),
            "adapter": gpu.adapter().name,
            "model": self.chosen.model.as_ref().map(|m| &m.name),
            "first_model": self.chosen.first().map(|m| &m.name),
            "sigma": self.strength_of(self.chosen.sigma),
            "noise": self.strength_of(self.chosen.noise),
            "lambda": self.strength_of(self.chosen.lambda),
        })
    }

    /// The record, with hashes of all files; the output must have been written.
    ///
    /// # Errors
    /// [`Error::Input`] for a file that has gone.
    pub fn record(&self, gpu: &Gpu, result: &Value) -> Result<RunRecord> {
        let Self {
            args, problem, chosen, ..
        } = self;
        let (model, pnp) = (chosen.model.as_ref(), chosen.pnp.as_ref());
        let mut record = RunRecord::new(
            problem.name,
            gpu,
            json!({
                "operator": problem.parameters,
                "method": chosen.method,
                "pnp": pnp.map(ChosenPnp::told),
                "denoiser_provenance": pnp.map(|p| &p.denoiser.provenance),
                "sigma": self.strength_of(chosen.sigma),
                "noise": self.strength_of(chosen.noise),
                "lambda": self.strength_of(chosen.lambda),
                "tolerance": args.solver.tol.unwrap_or(chosen.tolerance),
                "max_iterations": args.solver.max_iter(),
                "box": args.solver.limits.unwrap_or(problem.limits),
                "model": model.map(|m| &m.name),
                "first_model": chosen.first().map(|m| &m.name),
                "border": model.map(|m| m.border),
                "model_provenance": model.map(|m| &m.provenance),
            }),
        );
        let mut read = Map::new();
        read.insert("measurement".into(), named_hash(&args.input)?);
        for (what, path) in &problem.files {
            read.insert((*what).into(), named_hash(path)?);
        }
        for (what, path) in [("clean", &args.run.clean), ("settings", &args.settings)] {
            read.insert(what.into(), path.as_deref().map(named_hash).transpose()?.into());
        }
        if model.is_some() {
            read.insert("model".into(), model_source(self.strength.model.as_deref())?);
        }
        if pnp.is_some() {
            let denoiser = self.strength.denoiser.as_deref().map(|path| model_source(Some(path)));
            read.insert("denoiser".into(), denoiser.transpose()?.into());
        }
        record.inputs = Value::Object(read);
        record.outputs = json!({ "image": named_hash(&args.output)? });
        record.results = result.clone();
        Ok(record)
    }
}
