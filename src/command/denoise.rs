//! `reconstruct denoise`: one image in, one image out.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use serde_json::{Value, json};

use super::Console;
use super::any_model::AnyModel;
use super::options::{
    RunArgs, SolverArgs, model_source, named_hash, parse_level, parse_positive, quality, say_unfinished, scores_text,
};
use crate::gpu::Gpu;
use crate::io::image::{Format, Image};
use crate::layered::{Layered, LayeredDenoiser};
use crate::model::device::RunOptions;
use crate::model::{DENOISING, Ridge, Shipped};
use crate::report::RunRecord;
use crate::solver::{Denoiser, Outcome, Stop, most_at_once};
use crate::{Error, Result};

/// Arguments of `reconstruct denoise`.
#[derive(Args, Clone, Debug)]
pub struct DenoiseArgs {
    /// Noisy image: PNG (8/16 bit), TIFF (8/16 bit, 32-bit float) or NPY, and JPEG, BMP, PGM or PPM; colour images go
    /// channel by channel
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
    /// Weight of the regularizer
    #[arg(long, value_name = "L", default_value_t = 1.0, value_parser = parse_positive, allow_hyphen_values = true)]
    pub lambda: f64,
    /// Model and solver
    #[command(flatten)]
    pub solver: SolverArgs,
}

/// Timed steps of a reconstruction.
pub(super) struct Solved {
    pub planes: Vec<f32>,
    /// `None` for a network, which minimises none.
    pub energy: Option<f64>,
    pub iterations: Vec<usize>,
    pub stop: Stop,
    pub compile: f64,
    pub solve: f64,
    pub tiles: usize,
}

/// Denoises all planes of `image`, as many at once as fit.
pub(super) fn solve(gpu: &Gpu, model: &Ridge, args: &SolveArgs, image: &Image, console: &Console) -> Result<Solved> {
    let settings = args.solver.settings(args.lambda);
    let options = RunOptions {
        sigma: args.sigma,
        style: None,
        tile: args.solver.tile.map(|t| t as usize),
    };
    let at_once = most_at_once(gpu, [image.height, image.width]).min(image.channels);
    let before = gpu.timings();
    let denoiser = Denoiser::new(gpu, model, &options, settings, [image.height, image.width], at_once)?;
    let compile = gpu.timings().compile - before.compile;
    let start = Instant::now();
    let bar = console.progress(args.solver.max_iter);
    let mut outcomes: Vec<Outcome> = Vec::new();
    let channels: Vec<usize> = (0..image.channels).collect();
    for batch in channels.chunks(at_once) {
        let planes: Vec<&[f32]> = batch.iter().map(|&c| image.plane(c)).collect();
        let done = denoiser.run(&planes, |iterations, running, change| {
            bar.set_position(iterations as u64);
            bar.set_message(format!("{running} running, change {change:.1e}"));
        })?;
        outcomes.extend(done);
    }
    bar.finish_and_clear();
    let converged = outcomes.iter().all(|o| o.stop == Stop::Converged);
    Ok(Solved {
        energy: Some(outcomes.iter().map(|o| o.energy).sum()),
        iterations: outcomes.iter().map(|o| o.iterations).collect(),
        stop: if converged {
            Stop::Converged
        } else {
            Stop::MaxIterations
        },
        planes: outcomes.into_iter().flat_map(|o| o.image).collect(),
        compile,
        solve: start.elapsed().as_secs_f64(),
        tiles: denoiser.tiles(),
    })
}

/// Applies a network to every plane of `image`, scaled for noise of `sigma`.
fn apply(gpu: &Gpu, model: &Layered, args: &SolveArgs, image: &Image) -> Result<Solved> {
    let before = gpu.timings();
    let denoiser = LayeredDenoiser::new(gpu, model, [image.height, image.width])?;
    let compile = gpu.timings().compile - before.compile;
    let start = Instant::now();
    let planes = (0..image.channels)
        .map(|channel| denoiser.run(gpu, image.plane(channel), args.sigma))
        .collect::<Result<Vec<_>>>()?;
    let (low, high) = args.solver.limits.unwrap_or((f32::NEG_INFINITY, f32::INFINITY));
    let planes = planes.concat().into_iter().map(|v| v.clamp(low, high)).collect();
    Ok(Solved {
        planes,
        energy: None,
        iterations: vec![model.iterations(); image.channels],
        stop: Stop::Converged,
        compile,
        solve: start.elapsed().as_secs_f64(),
        tiles: 1,
    })
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
    let console = args.run.common.console();
    let start = Instant::now();
    let image = Image::read(&args.input)?;
    let clean = args.run.read_clean(image.channels, [image.height, image.width])?;
    let output = args
        .output
        .clone()
        .unwrap_or_else(|| default_output(&args.input, image.format));
    let format = image.format.for_output(&output)?;
    let record_path = args.run.record_path(&output, &[&args.input])?;
    let model = match args.solve.solver.model.as_deref() {
        Some(path) => AnyModel::open(path)?,
        None => AnyModel::Ridge(Box::new(Shipped::for_level(DENOISING, args.solve.sigma)?)),
    };
    match &model {
        AnyModel::Ridge(ridge) => drop(ridge.alphas(args.solve.sigma)?),
        AnyModel::Layered(_) => {}
        AnyModel::Flow(flow) => {
            return Err(Error::Usage(format!(
                "'{}' is a flow of points and denoises no images; name a regularizer or a network",
                flow.name
            )));
        }
    }
    let reading = start.elapsed().as_secs_f64();

    let gpu = args.run.common.device.lent_or_open(lent, Some(&record_path))?;
    let solved = match &model {
        AnyModel::Ridge(ridge) => solve(&gpu, ridge, &args.solve, &image, &console)?,
        AnyModel::Layered(network) => apply(&gpu, network, &args.solve, &image)?,
        AnyModel::Flow(_) => return Err(Error::Internal("a flow denoises no images".into())),
    };

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
    let mut settings = json!({
        "sigma": args.solve.sigma,
        "box": args.solve.solver.limits,
        "model": model.name(),
        "model_provenance": model.provenance(),
        "certificate": model.certificate(args.solve.lambda),
    });
    // A network solves nothing.
    if let AnyModel::Ridge(_) = model {
        settings["lambda"] = json!(args.solve.lambda);
        let solver = args.solve.solver.settings(args.solve.lambda);
        settings["tolerance"] = json!(solver.tolerance);
        settings["noise_tolerance"] = json!(solver.noise_tolerance);
        settings["max_iterations"] = json!(solver.max_iterations);
        settings["solver"] = json!(solver.method);
    }
    let mut record = RunRecord::new("denoise", &gpu, settings);
    record.inputs = json!({ "image": named_hash(&args.input)?, "clean": args.run.clean.as_deref().map(named_hash).transpose()?,
        "model": model_source(args.solve.solver.model.as_deref())? });
    record.outputs = json!({ "image": named_hash(&output)? });
    args.run.common.device.report(&gpu, &console, &mut result)?;
    record.results = result.clone();
    record.write(&record_path)?;

    if solved.stop == Stop::MaxIterations {
        say_unfinished(&console, args.solve.solver.max_iter);
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
