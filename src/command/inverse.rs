//! `reconstruct inpaint`, `deblur` and `upscale`: images from linear measurements that are images themselves.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use serde_json::{Value, json};

use super::Console;
use super::denoise::{RunArgs, SolveArgs, load_model, model_source, named_hash, quality, say_unfinished, scores_text};
use crate::io::atomic::same_file;
use crate::io::image::Image;
use crate::model::CONVEX;
use crate::model::device::RunOptions;
use crate::operator::{Blur, Boundary, LinearOperator, Mask};
use crate::report::RunRecord;
use crate::solver::{Reconstructor, Regularizer, Settings, Stop};
use crate::{Error, Result};

/// What all of them want to know.
#[derive(Args, Clone, Debug)]
pub struct InverseArgs {
    /// What was measured, in the formats of `reconstruct denoise`; colour images go channel by channel
    pub input: PathBuf,
    /// Where the result goes; the extension may change the format
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Model and solver; pixels are kept in 0,1 unless --box says otherwise
    #[command(flatten)]
    pub solve: SolveArgs,
    /// Comparison, record, messages and device
    #[command(flatten)]
    pub run: RunArgs,
}

/// Arguments of `reconstruct inpaint`.
#[derive(Args, Clone, Debug)]
pub struct InpaintArgs {
    /// Image of the same size: 0 where a pixel is missing, the largest value (1, 255) where it was measured
    #[arg(long, value_name = "FILE")]
    pub mask: PathBuf,
    /// Common options
    #[command(flatten)]
    pub common: InverseArgs,
}

/// Arguments of `reconstruct deblur`.
#[derive(Args, Clone, Debug)]
pub struct DeblurArgs {
    /// Kernel as a gray image or NPY array, a correlation about its centre; its sum becomes 1
    #[arg(long, value_name = "FILE")]
    pub kernel: PathBuf,
    /// How the blur continued the image beyond its border
    #[arg(long, value_name = "RULE", default_value = "reflect")]
    pub boundary: Boundary,
    /// Common options
    #[command(flatten)]
    pub common: InverseArgs,
}

/// Arguments of `reconstruct upscale`.
#[derive(Args, Clone, Debug)]
pub struct UpscaleArgs {
    /// How many times larger the sides become: 2, 3 or 4
    #[arg(long, value_name = "N")]
    pub factor: usize,
    /// Common options
    #[command(flatten)]
    pub common: InverseArgs,
}

/// `reconstruct inpaint`.
///
/// # Errors
/// Everything a user can get wrong, as one line; nothing is written unless the whole run succeeded.
pub fn inpaint(args: &InpaintArgs) -> Result<()> {
    let mask = Image::read(&args.mask)?;
    let operator = |size: [usize; 2]| -> Result<Box<dyn LinearOperator>> {
        if mask.channels != 1 || [mask.height, mask.width] != size {
            return Err(Error::Data(format!(
                "a mask of {} x {} x {} values for an image of {} x {}: give one plane of the same size",
                mask.channels, mask.height, mask.width, size[0], size[1]
            )));
        }
        Ok(Box::new(Mask::new(size, mask.planes.clone())?))
    };
    // Missing pixels start at the mean of the others.
    let start = |y: &[f32], _: [usize; 2]| {
        let measured = || y.iter().zip(&mask.planes).filter(|(_, m)| **m > 0.0).map(|(y, _)| *y);
        let mean = measured().sum::<f32>() / measured().count() as f32;
        y.iter()
            .zip(&mask.planes)
            .map(|(y, m)| if *m > 0.0 { *y } else { mean })
            .collect()
    };
    let parameters = json!({ "mask": named_hash(&args.mask)? });
    reconstruct("inpaint", &args.common, 1, (&args.mask, parameters), &operator, &start)
}

/// `reconstruct deblur`.
///
/// # Errors
/// As [`inpaint`].
pub fn deblur(args: &DeblurArgs) -> Result<()> {
    let kernel = Image::read(&args.kernel)?;
    if kernel.channels != 1 {
        return Err(Error::input(&args.kernel, "has several channels; a kernel has one"));
    }
    let sum: f64 = kernel.planes.iter().map(|k| f64::from(*k)).sum();
    // A sum of zero is left to the operator, which refuses it.
    let scale = if sum == 0.0 { 1.0 } else { 1.0 / sum };
    let taps: Vec<f32> = kernel.planes.iter().map(|k| (f64::from(*k) * scale) as f32).collect();
    let operator = |size: [usize; 2]| -> Result<Box<dyn LinearOperator>> {
        let side = [kernel.height, kernel.width];
        Ok(Box::new(Blur::new(size, taps.clone(), side, args.boundary)?))
    };
    let start = |y: &[f32], _: [usize; 2]| y.to_vec();
    let parameters = json!({ "kernel": named_hash(&args.kernel)?, "boundary": args.boundary });
    reconstruct("deblur", &args.common, 1, (&args.kernel, parameters), &operator, &start)
}

/// `reconstruct upscale`.
///
/// # Errors
/// As [`inpaint`].
pub fn upscale(args: &UpscaleArgs) -> Result<()> {
    let factor = args.factor;
    if !(2..=4).contains(&factor) {
        return Err(Error::Usage(format!("--factor {factor}: use 2, 3 or 4")));
    }
    let operator =
        |size: [usize; 2]| -> Result<Box<dyn LinearOperator>> { Ok(Box::new(Blur::downsampling(size, factor)?)) };
    let start = |y: &[f32], [rows, cols]: [usize; 2]| {
        let pixel = |n: usize| y[n / cols / factor * (cols / factor) + n % cols / factor];
        (0..rows * cols).map(pixel).collect()
    };
    let named = (&args.common.input, json!({ "factor": factor }));
    reconstruct("upscale", &args.common, factor, named, &operator, &start)
}

/// Where a reconstruction of a measured plane starts, given the size of the image.
type Start<'a> = dyn Fn(&[f32], [usize; 2]) -> Vec<f32> + 'a;

/// Minimises `|H x - y|^2 / 2 + lambda R(x)` over the box, plane by plane. Images are `factor` times as large as measurements;
/// `named` is the file that complaints about the operator are about, and its parameters for the record.
fn reconstruct(
    command: &str,
    args: &InverseArgs,
    factor: usize,
    (blamed, parameters): (&PathBuf, Value),
    operator: &dyn Fn([usize; 2]) -> Result<Box<dyn LinearOperator>>,
    start: &Start<'_>,
) -> Result<()> {
    let console = Console::new(args.run.quiet, args.run.json);
    let begin = Instant::now();
    let measured = Image::read(&args.input)?;
    let size = [measured.height * factor, measured.width * factor];
    let operator = operator(size).map_err(|e| match e {
        Error::Data(why) => Error::input(blamed, why),
        other => other,
    })?;
    let clean = args.run.read_clean(measured.channels, size)?;
    let format = measured.format.for_output(&args.output)?;
    let inputs = [Some(&args.input), Some(blamed), args.run.clean.as_ref()];
    let inputs: Vec<&Path> = inputs.into_iter().flatten().map(PathBuf::as_path).collect();
    if inputs.iter().any(|input| same_file(input, &args.output)) {
        return Err(Error::output(
            &args.output,
            "the result would replace a file that is read; name another with -o",
        ));
    }
    let record_path = args.run.record_path(&args.output, &inputs)?;
    let model = load_model(args.solve.model.as_deref(), CONVEX, args.solve.sigma)?;
    model.alphas(args.solve.sigma)?;
    let settings = Settings {
        lambda: args.solve.lambda,
        tolerance: args.solve.tol,
        max_iterations: args.solve.max_iter,
        // A weakly convex regularizer may fall for ever where nothing is measured: only a box bounds the energy.
        limits: Some(args.solve.limits.unwrap_or((0.0, 1.0))),
        accelerate: !args.solve.plain,
    };
    let options = RunOptions {
        sigma: args.solve.sigma,
        style: None,
        tile: args.solve.tile.map(|t| t as usize),
    };
    let gpu = args.run.device.open(Some(&record_path))?;
    let solver = Reconstructor::new(&gpu, operator.as_ref(), Regularizer::Ridge(&model, options), settings)?;
    let solving = Instant::now();
    let bar = console.progress(args.solve.max_iter);
    let mut outcomes = Vec::new();
    for channel in 0..measured.channels {
        let y = measured.plane(channel);
        outcomes.push(solver.run(y, &start(y, size), |iterations, change| {
            bar.set_position(iterations as u64);
            bar.set_message(format!("change {change:.1e}"));
        })?);
    }
    bar.finish_and_clear();
    let solve = solving.elapsed().as_secs_f64();
    let converged = outcomes.iter().all(|o| o.stop == Stop::Converged);
    let iterations = outcomes.iter().map(|o| o.iterations).max();
    let energy: f64 = outcomes.iter().map(|o| o.energy).sum();
    let planes: Vec<f32> = outcomes.into_iter().flat_map(|o| o.image).collect();
    let scores = clean.as_ref().map(|clean| quality(&planes, clean)).transpose()?;
    Image::new(measured.channels, size[0], size[1], planes, measured.format)?.write(&args.output, format)?;
    let mut result = json!({
        "output": args.output,
        "energy": energy,
        "iterations": iterations,
        "stop": if converged { Stop::Converged } else { Stop::MaxIterations },
        "constants": solver.constants(),
        "adapter": gpu.adapter().name,
        "model": model.name,
        "sigma": args.solve.sigma,
        "lambda": args.solve.lambda,
        "seconds": { "solve": solve, "total": begin.elapsed().as_secs_f64() },
    });
    if let Some((psnr, ssim)) = scores {
        result["psnr"] = json!(psnr);
        result["ssim"] = json!(ssim);
    }
    args.run.device.report(&gpu, &console, &mut result)?;
    let mut record = RunRecord::new(
        command,
        &gpu,
        json!({
            "operator": parameters,
            "sigma": args.solve.sigma,
            "lambda": args.solve.lambda,
            "tolerance": args.solve.tol,
            "max_iterations": args.solve.max_iter,
            "box": settings.limits,
            "model": model.name,
            "model_provenance": model.provenance,
        }),
    );
    record.inputs = json!({ "image": named_hash(&args.input)?, "clean": args.run.clean.as_deref().map(named_hash).transpose()?,
        "model": model_source(args.solve.model.as_deref())? });
    record.outputs = json!({ "image": named_hash(&args.output)? });
    record.results = result.clone();
    record.write(&record_path)?;
    if !converged {
        say_unfinished(&console, args.solve.max_iter);
    }
    let score = scores_text(scores);
    console.say(format!(
        "{} -> {}: {} iterations in {solve:.2} s{score}",
        args.input.display(),
        args.output.display(),
        iterations.unwrap_or(0)
    ));
    console.result(&result)
}
