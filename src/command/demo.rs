//! `reconstruct demo`: noise added to a bundled photograph and taken away again.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::CommonArgs;
use super::any_model::AnyModel;
use super::denoise::SolveArgs;
use super::engine::solve;
use super::options::{SolverArgs, load_model, named_hash, parse_level, quality};
use crate::io::image::{Format, Image, side_by_side};
use crate::io::noise;
use crate::model::DENOISING;
use crate::report::RunRecord;
use crate::{Error, Result};

/// The photograph (CC0, see assets/photos/LICENCE.md).
static PHOTOGRAPH: &[u8] = include_bytes!("../../assets/photos/camera.png");

/// Arguments of `reconstruct demo`.
#[derive(Args, Clone, Debug)]
pub struct DemoArgs {
    /// Folder for noisy.png, denoised.png, side_by_side.png and run.json
    #[arg(short, long, value_name = "FOLDER", default_value = "demo-out")]
    pub output: PathBuf,
    /// Standard deviation of the noise
    #[arg(long, value_name = "S", default_value = "25/255", value_parser = parse_level)]
    pub sigma: f64,
    /// Seed of the noise
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Model file, or one of the shipped models: wcrr-64, wcrr-48, wcrr-small, crr-48, crr-44, crr-32, dct5, wcrr-phantom [default: wcrr-64]
    #[arg(long, value_name = "FILE")]
    pub model: Option<PathBuf>,
    /// Messages and device
    #[command(flatten)]
    pub common: CommonArgs,
}

/// `reconstruct demo`.
///
/// # Errors
/// An unwritable folder, no adapter, or a device error.
pub fn demo(args: &DemoArgs) -> Result<()> {
    let console = args.common.console();
    std::fs::create_dir_all(&args.output).map_err(|e| {
        Error::output(
            &args.output,
            format!("cannot make the folder: {e}; choose another with -o"),
        )
    })?;
    let clean = Image::from_bytes(PHOTOGRAPH).map_err(Error::Internal)?;
    let noise = noise::gaussian(args.seed, 0, clean.planes.len());
    let planes = clean
        .planes
        .iter()
        .zip(&noise)
        .map(|(c, n)| c + args.sigma as f32 * n)
        .collect();
    let noisy = Image::gray(clean.height, clean.width, planes, Format::Png8)?;
    let model = AnyModel::Ridge(Box::new(load_model(
        args.model.as_deref(),
        || Ok(DENOISING),
        args.sigma,
    )?));
    let settings = SolveArgs {
        sigma: args.sigma,
        lambda: None,
        solver: SolverArgs {
            model: args.model.clone(),
            tol: None,
            max_iter: None,
            limits: None,
            solver: None,
            tile: None,
        },
    };
    let gpu = args.common.device.open(Some(&args.output.join("run.json")))?;
    console.say(format!(
        "denoising a photograph of {} x {} pixels on {}",
        clean.width,
        clean.height,
        gpu.adapter().name
    ));
    let solved = solve(&gpu, &model, &settings, &noisy, &console)?;
    let denoised = Image {
        planes: solved.planes,
        ..noisy.clone()
    };
    let (before, _) = quality(&noisy.planes, &clean)?;
    let (after, ssim) = quality(&denoised.planes, &clean)?;

    let path = |name: &str| args.output.join(name);
    noisy.write(path("noisy.png"), Format::Png8)?;
    denoised.write(path("denoised.png"), Format::Png8)?;
    side_by_side(&[&noisy, &denoised], 8)?.write(path("side_by_side.png"), Format::Png8)?;
    let mut result = json!({
        "output": path("denoised.png"),
        "psnr_noisy": before,
        "psnr": after,
        "ssim": ssim,
        "energy": solved.energy,
        "iterations": solved.iterations.iter().max(),
        "stop": solved.stop,
        "seconds": { "open": gpu.timings().open, "compile": solved.compile, "solve": solved.solve },
        "adapter": gpu.adapter().name,
        "model": model.name(),
        "sigma": args.sigma,
    });
    let mut record = RunRecord::new(
        "demo",
        &gpu,
        json!({ "sigma": args.sigma, "seed": args.seed, "lambda": settings.lambda(), "noise_tolerance": settings.solver.settings(settings.lambda()).noise_tolerance,
            "max_iterations": settings.solver.max_iter, "model": model.name(), "model_provenance": model.provenance(),
            "certificate": model.certificate(settings.lambda()) }),
    );
    record.outputs = json!({ "noisy": named_hash(&path("noisy.png"))?, "denoised": named_hash(&path("denoised.png"))?,
        "side_by_side": named_hash(&path("side_by_side.png"))? });
    args.common.device.report(&gpu, &console, &mut result)?;
    record.results = result.clone();
    record.write(&path("run.json"))?;
    console.say(format!(
        "PSNR {before:.2} dB -> {after:.2} dB in {} iterations, {:.2} s (compiling shaders {:.2} s); see {}",
        solved.iterations[0],
        solved.solve,
        solved.compile,
        path("side_by_side.png").display()
    ));
    console.result(&result)
}
