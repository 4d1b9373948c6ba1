//! `reconstruct denoise`: one image in, one image out; `stack/denoise.rs` does stacks of them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use serde_json::{Value, json};

use super::any_model::AnyModel;
use super::engine::{no_images, solve};
use super::options::{
    RunArgs, SolverArgs, model_source, named_hash, parse_level, parse_positive, quality, refuse_for_network,
    say_unfinished, scores_text,
};
use super::stack::denoise_stack;
use crate::Result;
use crate::gpu::Gpu;
use crate::io::image::{Format, Image, StackKind};
use crate::model::{DENOISING, Shipped};
use crate::report::RunRecord;
use crate::solver::Stop;

/// Arguments of `reconstruct denoise`.
#[derive(Args, Clone, Debug)]
pub struct DenoiseArgs {
    /// Noisy image: PNG (8/16 bit), TIFF (8/16 bit, 32-bit float) or NPY, and JPEG, BMP, PGM or PPM; colour images go
    /// channel by channel, stacks (TIFF of several pages, NPY (slices, H, W)) slice by slice
    pub input: PathBuf,
    /// Where the result goes; the extension may change the format [default: INPUT with _denoised, .png for JPEG,
    /// BMP, PGM and PPM]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Model and solver
    #[command(flatten)]
    pub solve: SolveArgs,
    /// Comparison, record, messages and device
    #[command(flatten)]
    pub run: RunArgs,
}

/// Settings of a denoising.
#[derive(Args, Clone, Debug)]
pub struct SolveArgs {
    /// Standard deviation of the noise, as a fraction of the image range: 0.098 or 25/255
    #[arg(long, value_name = "S", value_parser = parse_level, allow_hyphen_values = true)]
    pub sigma: f64,
    /// Weight of the regularizer [default: 1]
    #[arg(long, value_name = "L", value_parser = parse_positive, allow_hyphen_values = true)]
    pub lambda: Option<f64>,
    /// Model and solver
    #[command(flatten)]
    pub solver: SolverArgs,
}

/// The weight of the regularizer that trained models are meant for.
pub(super) const DENOISING_LAMBDA: f64 = 1.0;

impl SolveArgs {
    /// The weight of the regularizer.
    pub(super) fn lambda(&self) -> f64 {
        self.lambda.unwrap_or(DENOISING_LAMBDA)
    }
}

impl DenoiseArgs {
    /// The model, which must denoise images of the noise level asked for.
    ///
    /// # Errors
    /// [`crate::Error::Input`] for a file that holds none, [`crate::Error::Usage`] for a level beyond those it knows or options of
    /// regularizers with a network.
    pub(super) fn model(&self) -> Result<AnyModel> {
        let model = match self.solve.solver.model.as_deref() {
            Some(path) => AnyModel::open(path)?,
            None => AnyModel::Ridge(Box::new(Shipped::for_level(DENOISING, self.solve.sigma)?)),
        };
        match &model {
            AnyModel::Ridge(ridge) => drop(ridge.alphas(self.solve.sigma)?),
            AnyModel::Layered(network) => {
                let weight = ("--lambda", self.solve.lambda.is_some());
                let options = [&[weight][..], &self.solve.solver.of_iterations()].concat();
                refuse_for_network(&network.name, &options)?;
            }
            AnyModel::Flow(flow) => return Err(no_images(&flow.name)),
        }
        Ok(model)
    }

    /// Where the result goes, for an input of `format`.
    pub(super) fn place(&self, format: Format) -> PathBuf {
        let default = || default_output(&self.input, format);
        self.output.clone().unwrap_or_else(default)
    }

    /// The settings of a record.
    pub(super) fn settings(&self, model: &AnyModel) -> Value {
        let mut settings = json!({
            "sigma": self.solve.sigma,
            "box": self.solve.solver.limits,
            "model": model.name(),
            "model_provenance": model.provenance(),
            "certificate": model.certificate(self.solve.lambda()),
        });
        // A network solves nothing.
        if let AnyModel::Ridge(_) = model {
            settings["lambda"] = json!(self.solve.lambda());
            let solver = self.solve.solver.settings(self.solve.lambda());
            settings["tolerance"] = json!(solver.tolerance);
            settings["noise_tolerance"] = json!(solver.noise_tolerance);
            settings["max_iterations"] = json!(solver.max_iterations);
            settings["solver"] = json!(solver.method);
        }
        settings
    }

    /// What a record says about the files that were read.
    pub(super) fn inputs(&self) -> Result<Value> {
        Ok(json!({
            "image": named_hash(&self.input)?,
            "clean": self.run.clean.as_deref().map(named_hash).transpose()?,
            "model": model_source(self.solve.solver.model.as_deref())?,
        }))
    }
}

/// Where the result goes if the user does not say: `_denoised` put between stem and extension. Names under which images
/// are not written, such as `.jpg` or none at all, get the extension of the format in which they are.
fn default_output(input: &Path, format: Format) -> PathBuf {
    let mut name = input.file_stem().map_or_else(OsString::new, OsString::from);
    name.push("_denoised.");
    match input.extension() {
        Some(extension) if format.for_output(input).is_ok() => name.push(extension),
        _ => name.push(format.extension()),
    }
    input.with_file_name(name)
}

/// `reconstruct denoise`, on a device of its own or one that is `lent`. Returns what there is to tell.
///
/// # Errors
/// Everything a user can get wrong, as one line; nothing is written unless the whole run succeeded.
pub(super) fn denoise(args: &DenoiseArgs, lent: Option<&Gpu>) -> Result<Value> {
    if let Some(stack) = args.run.stack.open(&args.input, StackKind::Images)? {
        return denoise_stack(args, stack, lent);
    }
    let console = args.run.common.console();
    let start = Instant::now();
    let image = Image::read(&args.input)?;
    let clean = args.run.read_clean(image.channels, [image.height, image.width])?;
    let output = args.place(image.format);
    let format = image.format.for_output(&output)?;
    let record_path = args.run.record_path(&output, &[&args.input])?;
    let model = args.model()?;
    let reading = start.elapsed().as_secs_f64();

    let gpu = args.run.common.device.lent_or_open(lent, Some(&record_path))?;
    let solved = solve(&gpu, &model, &args.solve, &image, &console)?;

    let writing = Instant::now();
    let planes = solved.planes;
    let scores = clean.as_ref().map(|clean| quality(&planes, clean)).transpose()?;
    Image { planes, ..image }.write(&output, format)?;
    let mut result = json!({
        "output": output,
        "energy": solved.energy,
        "iterations": solved.iterations.iter().max(),
        "iterations_per_channel": solved.iterations,
        "stop": solved.stop,
        "error_bound": solved.error_bound,
        "adapter": gpu.adapter().name,
        "model": model.name(),
        "sigma": args.solve.sigma,
        "tiles": solved.tiles,
    });
    if let Some((psnr, ssim)) = scores {
        result["psnr"] = json!(psnr);
        result["ssim"] = json!(ssim);
    }
    let io = reading + writing.elapsed().as_secs_f64();
    result["seconds"] = json!({
        "io": io,
        "open": gpu.timings().open,
        "compile": solved.compile,
        "solve": solved.solve,
        "total": start.elapsed().as_secs_f64(),
    });
    let mut record = RunRecord::new("denoise", &gpu, args.settings(&model));
    record.inputs = args.inputs()?;
    record.outputs = json!({ "image": named_hash(&output)? });
    args.run.common.device.report(&gpu, &console, &mut result)?;
    record.results = result.clone();
    record.write(&record_path)?;

    if solved.stop == Stop::MaxIterations {
        say_unfinished(&console, args.solve.solver.max_iter());
    }
    let score = scores_text(scores);
    console.say(format!(
        "{} -> {}: {} iterations in {:.2} s{score}",
        args.input.display(),
        output.display(),
        solved.iterations.iter().max().unwrap_or(&0),
        solved.solve
    ));
    Ok(result)
}
