//! `reconstruct denoise`: one image in, one image out.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use serde_json::{Value, json};

use super::{Console, DeviceArgs};
use crate::gpu::Gpu;
use crate::io::atomic::{check_writable, same_file};
use crate::io::hash::blake3_file;
use crate::io::image::{Format, Image};
use crate::model::device::RunOptions;
use crate::model::{DENOISING, Ridge, Shipped};
use crate::report::{RunRecord, certificate, metrics};
use crate::solver::{Denoiser, Outcome, Settings, Stop, most_at_once};
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

/// What goes with a reconstruction besides its input and its solver.
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// Clean image to compare with: prints PSNR and SSIM
    #[arg(long, value_name = "FILE")]
    pub clean: Option<PathBuf>,
    /// Where the record of the run goes [default: OUTPUT with .run.json]
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Print one JSON object as the last line of stdout
    #[arg(long)]
    pub json: bool,
    /// No messages but errors
    #[arg(short, long)]
    pub quiet: bool,
    /// Which device
    #[command(flatten)]
    pub device: DeviceArgs,
}

impl RunArgs {
    /// The image to compare with, which must have the result's shape.
    pub(super) fn read_clean(&self, channels: usize, [rows, cols]: [usize; 2]) -> Result<Option<Image>> {
        let Some(path) = &self.clean else { return Ok(None) };
        let clean = Image::read(path)?;
        if (clean.channels, clean.height, clean.width) != (channels, rows, cols) {
            return Err(Error::input(
                path,
                format!(
                    "{} x {} x {} pixels, the result has {channels} x {rows} x {cols}; give the clean version of the same image",
                    clean.channels, clean.height, clean.width
                ),
            ));
        }
        Ok(Some(clean))
    }

    /// Where the record goes; makes sure that it and `output` can be written and that it replaces neither the output nor
    /// one of `inputs`.
    pub(super) fn record_path(&self, output: &Path, inputs: &[&Path]) -> Result<PathBuf> {
        let record = self.record.clone().unwrap_or_else(|| output.with_extension("run.json"));
        check_writable(output)?;
        check_writable(&record)?;
        if inputs.iter().chain([&output]).any(|path| same_file(path, &record)) {
            return Err(Error::output(
                &record,
                "the record would replace the image or another file that is read; name another with --record",
            ));
        }
        Ok(record)
    }
}

/// Says that the solver was stopped before it was done.
pub(super) fn say_unfinished(console: &Console, iterations: usize) {
    console.say(format!(
        "warning: stopped after {iterations} iterations before reaching the tolerance; raise --max-iter"
    ));
}

/// Scores for the end of a line.
pub(super) fn scores_text(scores: Option<(f64, Option<f64>)>) -> String {
    scores.map_or(String::new(), |(psnr, ssim)| {
        let ssim = ssim.map_or("n/a".into(), |s| format!("{s:.4}"));
        format!(", PSNR {psnr:.2} dB, SSIM {ssim}")
    })
}

/// Model and solver settings.
#[derive(Args, Clone, Debug)]
pub struct SolveArgs {
    /// Standard deviation of the noise, as a fraction of the image range: 0.098 or 25/255
    #[arg(long, value_name = "S", value_parser = parse_level, allow_hyphen_values = true)]
    pub sigma: f64,
    /// Model file, or one of the shipped models: wcrr-small, crr-small, dct5 [default: wcrr-small for denoising, else crr-small,
    /// which is convex]
    #[arg(long, value_name = "FILE")]
    pub model: Option<PathBuf>,
    /// Weight of the regularizer
    #[arg(long, value_name = "L", default_value_t = 1.0, value_parser = parse_positive, allow_hyphen_values = true)]
    pub lambda: f64,
    /// Stop when the relative change of an iteration falls to this
    #[arg(long, value_name = "T", default_value_t = 1e-4, value_parser = parse_positive, allow_hyphen_values = true)]
    pub tol: f64,
    /// Stop after this many iterations
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = parse_count)]
    pub max_iter: usize,
    /// Keep pixels in LOW,HIGH (0,1 for images) or nonnegative (0,inf)
    #[arg(long = "box", value_name = "LOW,HIGH", value_parser = parse_box, allow_hyphen_values = true)]
    pub limits: Option<(f32, f32)>,
    /// Plain proximal gradient, without momentum
    #[arg(long)]
    pub plain: bool,
    /// Side of the tiles in pixels [default: the largest that fit]; the result does not depend on it
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u64).range(8..))]
    pub tile: Option<u64>,
}

/// `0.1` or `25/255`.
pub(super) fn parse_level(text: &str) -> std::result::Result<f64, String> {
    let number = |t: &str| {
        t.trim()
            .parse::<f64>()
            .map_err(|_| format!("'{text}' is no number or fraction"))
    };
    let value = match text.split_once('/') {
        Some((a, b)) => number(a)? / number(b)?,
        None => number(text)?,
    };
    if !(value.is_finite() && value > 0.0) {
        return Err(format!("{text}: the noise level must be above 0"));
    }
    if value >= 1.5 {
        return Err(format!(
            "{text}: the noise level counts in units of the image range; write {text}/255 for 8-bit levels"
        ));
    }
    Ok(value)
}

pub(super) fn parse_positive(text: &str) -> std::result::Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(value) if value.is_finite() && value > 0.0 => Ok(value),
        Ok(_) => Err("it must be above 0 and finite".into()),
        Err(_) => Err("it is no number".into()),
    }
}

pub(super) fn parse_count(text: &str) -> std::result::Result<usize, String> {
    match text.trim().parse::<usize>() {
        Ok(value) if value > 0 => Ok(value),
        _ => Err("want a whole number above 0".into()),
    }
}

fn parse_box(text: &str) -> std::result::Result<(f32, f32), String> {
    if text == "nonnegative" {
        return Ok((0.0, f32::MAX));
    }
    let (low, high) = text.split_once(',').ok_or("want LOW,HIGH or nonnegative")?;
    let end = |t: &str| t.trim().parse::<f32>().map_err(|_| format!("'{t}' is no number"));
    let (low, high) = (
        end(low)?.clamp(-f32::MAX, f32::MAX),
        end(high)?.clamp(-f32::MAX, f32::MAX),
    );
    if low < high {
        Ok((low, high))
    } else {
        Err(format!("'{text}': the lower end must be below the upper"))
    }
}

/// Timed steps of a reconstruction.
pub(super) struct Solved {
    pub planes: Vec<f32>,
    pub energy: f64,
    pub iterations: Vec<usize>,
    pub stop: Stop,
    pub compile: f64,
    pub solve: f64,
    pub tiles: usize,
}

/// The model named, a file or a shipped one, or `choice` if that is right for noise of `sigma`.
pub(super) fn load_model(path: Option<&Path>, choice: &Shipped, sigma: f64) -> Result<Ridge> {
    path.map_or_else(|| Shipped::for_level(choice, sigma), Shipped::or_file)
}

/// Denoises all planes of `image`, as many at once as fit.
pub(super) fn solve(gpu: &Gpu, model: &Ridge, args: &SolveArgs, image: &Image, console: &Console) -> Result<Solved> {
    let settings = Settings {
        lambda: args.lambda,
        tolerance: args.tol,
        max_iterations: args.max_iter,
        limits: args.limits,
        accelerate: !args.plain,
    };
    let options = RunOptions {
        sigma: args.sigma,
        style: None,
        tile: args.tile.map(|t| t as usize),
    };
    let at_once = most_at_once(gpu, [image.height, image.width]).min(image.channels);
    let before = gpu.timings();
    let denoiser = Denoiser::new(gpu, model, &options, settings, [image.height, image.width], at_once)?;
    let compile = gpu.timings().compile - before.compile;
    let start = Instant::now();
    let bar = console.progress(args.max_iter);
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
        energy: outcomes.iter().map(|o| o.energy).sum(),
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

/// Mean PSNR over everything and SSIM averaged over planes.
pub(super) fn quality(planes: &[f32], clean: &Image) -> Result<(f64, Option<f64>)> {
    let pixels = clean.height * clean.width;
    let psnr = metrics::psnr(planes, &clean.planes)?;
    let scores: Option<Vec<f64>> = planes
        .chunks_exact(pixels)
        .zip(clean.planes.chunks_exact(pixels))
        .map(|(a, b)| metrics::ssim(a, b, clean.height, clean.width))
        .collect();
    Ok((psnr, scores.map(|s| s.iter().sum::<f64>() / s.len() as f64)))
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

/// `reconstruct denoise`.
///
/// # Errors
/// Everything a user can get wrong, as one line; nothing is written unless the whole run succeeded.
pub fn denoise(args: &DenoiseArgs) -> Result<()> {
    let console = Console::new(args.run.quiet, args.run.json);
    let start = Instant::now();
    let image = Image::read(&args.input)?;
    let clean = args.run.read_clean(image.channels, [image.height, image.width])?;
    let output = args
        .output
        .clone()
        .unwrap_or_else(|| default_output(&args.input, image.format));
    let format = image.format.for_output(&output)?;
    let record_path = args.run.record_path(&output, &[&args.input])?;
    let model = load_model(args.solve.model.as_deref(), DENOISING, args.solve.sigma)?;
    model.alphas(args.solve.sigma)?;
    let reading = start.elapsed().as_secs_f64();

    let gpu = args.run.device.open(Some(&record_path))?;
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
        "adapter": gpu.adapter().name,
        "model": model.name,
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
    let settings = json!({
        "sigma": args.solve.sigma,
        "lambda": args.solve.lambda,
        "tolerance": args.solve.tol,
        "max_iterations": args.solve.max_iter,
        "box": args.solve.limits,
        "accelerated": !args.solve.plain,
        "model": model.name,
        "model_provenance": model.provenance,
        "certificate": certificate(&model, args.solve.lambda),
    });
    let mut record = RunRecord::new("denoise", &gpu, settings);
    record.inputs = json!({ "image": named_hash(&args.input)?, "clean": args.run.clean.as_deref().map(named_hash).transpose()?,
        "model": model_source(args.solve.model.as_deref())? });
    record.outputs = json!({ "image": named_hash(&output)? });
    args.run.device.report(&gpu, &console, &mut result)?;
    record.results = result.clone();
    record.write(&record_path)?;

    if solved.stop == Stop::MaxIterations {
        say_unfinished(&console, args.solve.max_iter);
    }
    let score = scores_text(scores);
    console.say(format!(
        "{} -> {}: {} iterations in {:.2} s{score}",
        args.input.display(),
        output.display(),
        solved.iterations.iter().max().unwrap_or(&0),
        solved.solve
    ));
    console.result(&result)
}

/// Where the model came from, for the record: a file and its hash, the name of a shipped one, or null for the default.
pub(super) fn model_source(path: Option<&Path>) -> Result<Value> {
    match path {
        Some(path) if path.exists() => named_hash(path),
        Some(name) => Ok(json!({ "shipped": name })),
        None => Ok(Value::Null),
    }
}

/// A file and its hash, for the record.
pub(super) fn named_hash(path: &Path) -> Result<Value> {
    Ok(json!({ "path": path, "blake3": blake3_file(path)? }))
}
