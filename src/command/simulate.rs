//! `reconstruct simulate`: from a true image to a measurement with seeded noise, so that experiments can be repeated.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::options::{named_hash, parse_noise};
use super::pixels::{BlurArgs, blame, check_factor};
use super::simulate_ct::{SimulateCtArgs, simulate_ct};
use super::simulate_mri::{SimulateMriArgs, simulate_mri};
use super::{CommonArgs, Console};
use crate::gpu::Gpu;
use crate::io::atomic::{check_writable, same_file};
use crate::io::image::{Format, Image};
use crate::io::noise;
use crate::operator::{Blur, Boundary, LinearOperator, Mask, Phantom, apply};
use crate::report::RunRecord;
use crate::{Error, Result};

/// Arguments of `reconstruct simulate`.
#[derive(Args, Clone, Debug)]
pub struct SimulateArgs {
    /// What is measured
    #[command(subcommand)]
    pub what: Simulation,
}

/// What `reconstruct simulate` makes.
#[derive(Subcommand, Clone, Debug)]
pub enum Simulation {
    /// A slice through an imaginary body, a true image for ct
    Phantom(PhantomArgs),
    /// A sinogram of parallel rays or of a fan, its geometry beside it (.geometry.toml)
    Ct(SimulateCtArgs),
    /// Cartesian k-space, the mask beside it (.mask.npy), for several coils their maps, too (.maps.npy)
    Mri(SimulateMriArgs),
    /// An image with missing pixels, the mask beside it (.mask.npy)
    Inpaint(SimulateInpaintArgs),
    /// A blurred image
    Deblur(SimulateDeblurArgs),
    /// A smaller image
    Upscale(SimulateUpscaleArgs),
}

/// What all measurements need.
#[derive(Args, Clone, Debug)]
pub struct SimulateCommon {
    /// True image
    pub input: PathBuf,
    /// Where the measurement goes: .npy or .tif keep it as it is, .png rounds it to 0..1
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Standard deviation of the white noise that is added, in units of the measurement [default: none]
    #[arg(long, value_name = "S", value_parser = parse_noise, allow_hyphen_values = true)]
    pub noise: Option<f64>,
    /// Seed of noise and mask
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Messages and device
    #[command(flatten)]
    pub run: CommonArgs,
}

/// Arguments of `reconstruct simulate phantom`.
#[derive(Args, Clone, Debug)]
pub struct PhantomArgs {
    /// Where the image goes
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Pixels along each side
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u64).range(16..=4096))]
    pub size: u64,
    /// The body: another for every seed
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Resolution of the scanner that saw it: standard deviation of its Gaussian point spread in pixels, at most 10
    #[arg(long, value_name = "PIXELS", default_value = "1", value_parser = parse_spread)]
    pub spread: f64,
    /// Messages and device
    #[command(flatten)]
    pub run: CommonArgs,
}

fn parse_spread(text: &str) -> std::result::Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(value) if (0.1..=10.0).contains(&value) => Ok(value),
        _ => Err("want a number of pixels from 0.1 to 10".into()),
    }
}

/// Arguments of `reconstruct simulate inpaint`.
#[derive(Args, Clone, Debug)]
pub struct SimulateInpaintArgs {
    /// Probability with which a pixel is measured
    #[arg(long, value_name = "P", default_value_t = 0.5)]
    pub keep: f64,
    /// Common options
    #[command(flatten)]
    pub common: SimulateCommon,
}

/// Arguments of `reconstruct simulate deblur`.
#[derive(Args, Clone, Debug)]
pub struct SimulateDeblurArgs {
    /// The kernel
    #[command(flatten)]
    pub blur: BlurArgs,
    /// Common options
    #[command(flatten)]
    pub common: SimulateCommon,
}

/// Arguments of `reconstruct simulate upscale`.
#[derive(Args, Clone, Debug)]
pub struct SimulateUpscaleArgs {
    /// How many times smaller the sides become: 2, 3 or 4
    #[arg(long, value_name = "N")]
    pub factor: usize,
    /// Common options
    #[command(flatten)]
    pub common: SimulateCommon,
}

/// `reconstruct simulate`.
///
/// # Errors
/// Everything a user can get wrong, as one line; nothing is written unless the whole run succeeded.
pub fn simulate(args: &SimulateArgs) -> Result<()> {
    match &args.what {
        Simulation::Phantom(args) => phantom(args),
        Simulation::Ct(args) => simulate_ct(args),
        Simulation::Mri(args) => simulate_mri(args),
        Simulation::Inpaint(args) => inpaint(args),
        Simulation::Deblur(args) => {
            let image = Image::read(&args.common.input)?;
            let operator = args.blur.operator([image.height, image.width])?;
            let about = json!({ "kernel": named_hash(&args.blur.kernel)?, "boundary": args.blur.boundary });
            measure(
                "simulate deblur",
                &args.common,
                &image,
                &operator,
                &[&args.blur.kernel],
                None,
                about,
            )
        }
        Simulation::Upscale(args) => {
            check_factor(args.factor)?;
            let image = Image::read(&args.common.input)?;
            let size = [image.height, image.width];
            let operator = blame(&args.common.input, Blur::downsampling(size, args.factor))?;
            let about = json!({ "factor": args.factor });
            measure("simulate upscale", &args.common, &image, &operator, &[], None, about)
        }
    }
}

fn inpaint(args: &SimulateInpaintArgs) -> Result<()> {
    if !(args.keep > 0.0 && args.keep <= 1.0) {
        return Err(Error::Usage(format!(
            "--keep {}: want a probability above 0, at most 1",
            args.keep
        )));
    }
    let image = Image::read(&args.common.input)?;
    let size = [image.height, image.width];
    // Uniform in (-1, 1).
    let kept = |u: &f64| f32::from(0.5 * (u + 1.0) < args.keep);
    let mask: Vec<f32> = noise::uniform(args.common.seed, 0, size[0] * size[1])
        .iter()
        .map(kept)
        .collect();
    let operator = Mask::new(size, mask.clone())?;
    let beside = args.common.output.with_extension("mask.npy");
    let write = || Image::gray(size[0], size[1], mask.clone(), Format::NpyU8)?.write(&beside, Format::NpyU8);
    let about = json!({ "keep": args.keep });
    let beside = Beside {
        path: &beside,
        write: &write,
    };
    measure(
        "simulate inpaint",
        &args.common,
        &image,
        &operator,
        &[],
        Some(beside),
        about,
    )
}

/// A file that goes with a measurement.
pub(super) struct Beside<'a> {
    /// Where it goes.
    pub path: &'a Path,
    /// Writes it there.
    pub write: &'a dyn Fn() -> Result<()>,
}

/// Applies the operator to every plane of the image, adds noise (stream `c` for plane `c`) and writes measurement and record.
pub(super) fn measure(
    name: &str,
    args: &SimulateCommon,
    image: &Image,
    operator: &dyn LinearOperator,
    read: &[&Path],
    beside: Option<Beside<'_>>,
    parameters: Value,
) -> Result<()> {
    let console = args.run.console();
    let format = Format::NpyF32.for_output(&args.output)?;
    let record = args.output.with_extension("run.json");
    let written: Vec<&Path> = [args.output.as_path(), &record]
        .into_iter()
        .chain(beside.as_ref().map(|b| b.path))
        .collect();
    check_outputs(&written, &[&[args.input.as_path()], read].concat())?;
    let gpu = args.run.device.open(Some(&record))?;
    let [rows, cols] = operator.range();
    let mut planes = Vec::new();
    for channel in 0..image.channels {
        let mut y = apply(&gpu, operator, image.plane(channel), false)?;
        if let Some(sd) = args.noise {
            let random = noise::gaussian(args.seed, channel as u64, y.len());
            y.iter_mut().zip(random).for_each(|(y, n)| *y += sd as f32 * n);
        }
        planes.extend(y);
    }
    Image::new(image.channels, rows, cols, planes, Format::NpyF32)?.write(&args.output, format)?;
    if let Some(beside) = &beside {
        (beside.write)()?;
    }
    let settings = json!({ "operator": parameters, "noise": args.noise.unwrap_or(0.0), "seed": args.seed });
    let inputs = json!({ "image": named_hash(&args.input)? });
    finish(
        name,
        &gpu,
        (&console, &args.run),
        (&record, &args.output),
        &beside.iter().map(|b| b.path).collect::<Vec<_>>(),
        settings,
        inputs,
    )
}

fn phantom(args: &PhantomArgs) -> Result<()> {
    let console = args.run.console();
    let format = Format::NpyF32.for_output(&args.output)?;
    let record = args.output.with_extension("run.json");
    check_outputs(&[&args.output, &record], &[])?;
    let gpu = args.run.device.open(Some(&record))?;
    let size = args.size as usize;
    let sharp = Phantom::body(args.seed).image(size, size);
    let reach = (4.0 * args.spread).ceil() as i32;
    let bell = |i: i32| (-f64::from(i * i) / (2.0 * args.spread.powi(2))).exp();
    let total: f64 = (-reach..=reach).map(bell).sum::<f64>().powi(2);
    let kernel: Vec<f32> = (-reach..=reach)
        .flat_map(|i| (-reach..=reach).map(move |j| (bell(i) * bell(j) / total) as f32))
        .collect();
    let side = 2 * reach as usize + 1;
    let blur = Blur::new([size, size], kernel, [side, side], Boundary::Zero)?;
    let planes = apply(&gpu, &blur, &sharp, false)?;
    Image::gray(size, size, planes, Format::NpyF32)?.write(&args.output, format)?;
    let settings = json!({ "seed": args.seed, "size": size, "spread": args.spread });
    finish(
        "simulate phantom",
        &gpu,
        (&console, &args.run),
        (&record, &args.output),
        &[],
        settings,
        json!({}),
    )
}

/// Everything can be written, and nothing of it replaces what is read or something else that is written.
pub(super) fn check_outputs(written: &[&Path], read: &[&Path]) -> Result<()> {
    for (n, path) in written.iter().enumerate() {
        check_writable(path)?;
        if read.iter().chain(&written[..n]).any(|other| same_file(other, path)) {
            return Err(Error::output(
                path,
                "it would replace a file that is read or another result; name another with -o",
            ));
        }
    }
    Ok(())
}

/// Writes the record and says what was made.
pub(super) fn finish(
    name: &str,
    gpu: &Gpu,
    (console, run): (&Console, &CommonArgs),
    (record_path, output): (&Path, &Path),
    beside: &[&Path],
    settings: Value,
    inputs: Value,
) -> Result<()> {
    let mut result = json!({ "output": output, "beside": beside, "adapter": gpu.adapter().name });
    run.device.report(gpu, console, &mut result)?;
    let mut record = RunRecord::new(name, gpu, settings);
    record.inputs = inputs;
    record.outputs = json!({
        "measurement": named_hash(output)?,
        "beside": beside.iter().map(|path| named_hash(path)).collect::<Result<Vec<_>>>()?,
    });
    record.results = result.clone();
    record.write(record_path)?;
    let also: String = beside.iter().map(|path| format!(", {}", path.display())).collect();
    console.say(format!("{}{also}", output.display()));
    console.result(&result)
}
