//! `train evaluate`: how well a model denoises a folder of clean images.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use serde_json::{Value, json};

use super::CommonArgs;
use super::any_model::AnyModel;
use super::denoise::DENOISING_LAMBDA;
use super::options::{MAX_ITERATIONS, parse_count, parse_level, parse_positive, quality, refuse_for_network};
use crate::gpu::Gpu;
use crate::io::folder::Folder;
use crate::io::image::Image;
use crate::io::noise;
use crate::layered::{Layered, LayeredDenoiser};
use crate::model::Ridge;
use crate::model::device::RunOptions;
use crate::report::metrics::CONVENTIONS;
use crate::solver::{Method, Outcome, Settings, SizedPlane, denoise_planes};
use crate::{Error, Result};

/// Arguments of `train evaluate`.
#[derive(Args, Clone, Debug)]
pub struct EvaluateArgs {
    /// Model file (regularizer, denoiser, unrolled network), or one of the shipped models: default (wcrr-64), wcrr-48, wcrr-small, crr-48, crr-44, crr-32, dct5, wcrr-phantom, denoiser-25, deblur-8, unrolled-25
    pub model: PathBuf,
    /// Folder of clean images
    #[arg(long, value_name = "DIR")]
    pub images: PathBuf,
    /// Noise levels: 5,15,25 count in 1/255, 0.1 and 25/255 in units of the image range
    #[arg(long, value_name = "S,S,..", value_delimiter = ',', default_value = "5,15,25", value_parser = parse_noise,
          allow_hyphen_values = true)]
    pub sigma: Vec<f64>,
    /// Weight of the regularizer [default: 1]
    #[arg(long, value_name = "L", value_parser = parse_positive, allow_hyphen_values = true)]
    pub lambda: Option<f64>,
    /// Stop when the relative change of an iteration falls to this [default: 1e-4; by splitting, a change of 0.002 sigma]
    #[arg(long, value_name = "T", value_parser = parse_positive, allow_hyphen_values = true)]
    pub tol: Option<f64>,
    /// Iteration [default: splitting]
    #[arg(long, value_enum, value_name = "NAME")]
    pub solver: Option<Method>,
    /// Stop after this many iterations [default: 1000]
    #[arg(long, value_name = "N", value_parser = parse_count)]
    pub max_iter: Option<usize>,
    /// Seed of the noise
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Only the first N images
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Messages and device
    #[command(flatten)]
    pub common: CommonArgs,
}

/// `25` and `25/255` are the same level, as is `0.098`.
fn parse_noise(text: &str) -> std::result::Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(level) if (1.0..256.0).contains(&level) => Ok(level / 255.0),
        Ok(level) if level >= 256.0 => Err(format!("{text}: a noise level is below 256 (in 1/255)")),
        _ => parse_level(text),
    }
}

/// One image at one noise level.
struct Score {
    name: String,
    sigma: f64,
    psnr: f64,
    ssim: Option<f64>,
    iterations: usize,
}

/// `train evaluate`.
///
/// # Errors
/// An unusable model or folder, noise levels outside the model's range, device errors.
pub fn evaluate(args: &EvaluateArgs) -> Result<()> {
    let console = args.common.console();
    let model = AnyModel::open(&args.model)?;
    if let AnyModel::Flow(flow) = &model {
        return Err(Error::Usage(format!(
            "'{}' is a flow, a density of points; use `train flow-evaluate`",
            flow.name
        )));
    }
    match &model {
        AnyModel::Ridge(ridge) => args.sigma.iter().try_for_each(|&sigma| ridge.alphas(sigma).map(drop))?,
        _ => refuse_for_network(model.name(), &args.of_regularizers())?,
    }
    let mut folder = Folder::read(&args.images)?;
    for skipped in &folder.skipped {
        console.say(format!("warning: skipped {skipped}"));
    }
    folder.images.truncate(args.limit.unwrap_or(usize::MAX));
    if folder.images.is_empty() {
        return Err(Error::Usage("--limit 0 leaves no image".into()));
    }
    let gpu = args.common.device.open(None)?;
    let start = Instant::now();
    let planes: usize = folder.images.iter().map(|(_, image)| image.channels).sum();
    let bar = console.progress(planes * args.sigma.len());
    let mut scores = Vec::new();
    for &sigma in &args.sigma {
        let done = |done| bar.inc(done as u64);
        scores.extend(match &model {
            AnyModel::Ridge(model) => evaluate_level(&gpu, model, args, sigma, &folder.images, done)?,
            AnyModel::Layered(model) => evaluate_network(&gpu, model, args.seed, sigma, &folder.images, done)?,
            AnyModel::Flow(_) => return Err(Error::Internal("a flow denoises no images".into())),
        });
    }
    bar.finish_and_clear();

    console.say("sigma      PSNR [dB]  SSIM    iterations");
    let mut means = Vec::new();
    for &sigma in &args.sigma {
        let mean = mean(scores.iter().filter(|s| s.sigma == sigma), sigma);
        console.say(format!(
            "{:<9.4}  {:<9.3}  {}  {:.1}",
            sigma,
            mean["psnr"].as_f64().unwrap_or(f64::NAN),
            mean["ssim"].as_f64().map_or("n/a   ".into(), |s| format!("{s:.4}")),
            mean["iterations"].as_f64().unwrap_or(f64::NAN),
        ));
        means.push(mean);
    }
    let images: Vec<Value> = scores
        .iter()
        .map(|s| json!({ "image": s.name, "sigma": s.sigma, "psnr": s.psnr, "ssim": s.ssim, "iterations": s.iterations }))
        .collect();
    // A network minimises nothing.
    let settings = matches!(model, AnyModel::Ridge(_)).then(|| args.settings());
    let mut result = json!({
        "model": model.name(),
        "mean": means,
        "images": images,
        "skipped": folder.skipped,
        "seed": args.seed,
        "lambda": settings.map(|s| s.lambda),
        "tolerance": settings.map(|s| s.tolerance),
        "noise_tolerance": settings.map(|s| s.noise_tolerance),
        "solver": settings.map(|s| s.method),
        "adapter": gpu.adapter().name,
        "conventions": CONVENTIONS,
        "seconds": start.elapsed().as_secs_f64(),
    });
    if let AnyModel::Layered(network) = &model {
        result["lipschitz"] = json!(network.lipschitz());
    }
    args.common.device.report(&gpu, &console, &mut result)?;
    console.result(&result)
}

impl EvaluateArgs {
    /// The options that only regularizers have, and whether they were given.
    fn of_regularizers(&self) -> [(&'static str, bool); 4] {
        [
            ("--lambda", self.lambda.is_some()),
            ("--tol", self.tol.is_some()),
            ("--solver", self.solver.is_some()),
            ("--max-iter", self.max_iter.is_some()),
        ]
    }

    fn settings(&self) -> Settings {
        let settings = Settings {
            lambda: self.lambda.unwrap_or(DENOISING_LAMBDA),
            max_iterations: self.max_iter.unwrap_or(MAX_ITERATIONS),
            method: self.solver.unwrap_or(Method::Splitting),
            ..Settings::default()
        };
        settings.stopping_at(self.tol)
    }
}

/// Means over the images. SSIM is left out if an image is too small to have one.
fn mean<'s>(scores: impl Iterator<Item = &'s Score> + Clone, sigma: f64) -> Value {
    let count = scores.clone().count() as f64;
    let ssim: Option<f64> = scores.clone().map(|s| s.ssim).sum();
    json!({
        "sigma": sigma,
        "psnr": scores.clone().map(|s| s.psnr).sum::<f64>() / count,
        "ssim": ssim.map(|sum| sum / count),
        "iterations": scores.map(|s| s.iterations as f64).sum::<f64>() / count,
    })
}

/// All images at one noise level, in their order. The noise of image i at `sigma` depends on the seed, i and sigma only.
fn evaluate_level(
    gpu: &Gpu,
    model: &Ridge,
    args: &EvaluateArgs,
    sigma: f64,
    images: &[(String, Image)],
    done: impl FnMut(usize),
) -> Result<Vec<Score>> {
    let settings = args.settings();
    let options = RunOptions {
        sigma,
        style: None,
        tile: None,
    };
    let noisy: Vec<SizedPlane> = images
        .iter()
        .enumerate()
        .flat_map(|(i, (_, image))| add_noise(image, args.seed, i as u64, sigma))
        .collect();
    let mut outcomes = denoise_planes(gpu, model, &options, settings, &noisy, done)?.into_iter();
    images
        .iter()
        .map(|(name, image)| {
            let own: Vec<Outcome> = outcomes.by_ref().take(image.channels).collect();
            let iterations = own.iter().map(|o| o.iterations).max().unwrap_or(0);
            let planes: Vec<f32> = own.into_iter().flat_map(|o| o.image).collect();
            let (psnr, ssim) = quality(&planes, image)?;
            Ok(Score {
                name: name.clone(),
                sigma,
                psnr,
                ssim,
                iterations,
            })
        })
        .collect()
}

/// The same for a network, which is applied once to every plane.
fn evaluate_network(
    gpu: &Gpu,
    model: &Layered,
    seed: u64,
    sigma: f64,
    images: &[(String, Image)],
    mut done: impl FnMut(usize),
) -> Result<Vec<Score>> {
    let mut scores = Vec::new();
    // Preparing a network takes longer than applying it: the last one serves as long as the size stays.
    let mut prepared: Option<([usize; 2], LayeredDenoiser)> = None;
    for (index, (name, image)) in images.iter().enumerate() {
        let pixels = image.height * image.width;
        let mut planes = Vec::with_capacity(image.planes.len());
        for ((size, noisy), clean) in add_noise(image, seed, index as u64, sigma).zip(image.planes.chunks_exact(pixels))
        {
            let measured = model.measured(clean, &noisy, size)?;
            let denoiser = match prepared.take() {
                Some((same, denoiser)) if same == size => denoiser,
                _ => LayeredDenoiser::new(gpu, model, size)?,
            };
            planes.extend(denoiser.run(gpu, &measured, sigma)?);
            prepared = Some((size, denoiser));
            done(1);
        }
        let (psnr, ssim) = quality(&planes, image)?;
        scores.push(Score {
            name: name.clone(),
            sigma,
            psnr,
            ssim,
            iterations: model.iterations(),
        });
    }
    Ok(scores)
}

/// The planes of an image with noise of standard deviation `sigma`; every image has a stream of its own.
fn add_noise(image: &Image, seed: u64, stream: u64, sigma: f64) -> impl Iterator<Item = SizedPlane> {
    let noise = noise::gaussian(seed, stream, image.planes.len());
    let noisy: Vec<f32> = image
        .planes
        .iter()
        .zip(noise)
        .map(|(x, n)| x + sigma as f32 * n)
        .collect();
    let size = [image.height, image.width];
    let pixels = image.height * image.width;
    (0..image.channels).map(move |c| (size, noisy[c * pixels..(c + 1) * pixels].to_vec()))
}
