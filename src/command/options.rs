//! Options and small duties that the commands of reconstruction share.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::{CommonArgs, Console, StackArgs};
use crate::io::atomic::{check_writable, same_file};
use crate::io::hash::blake3_file;
use crate::io::image::Image;
use crate::model::{Ridge, Shipped};
use crate::report::metrics;
use crate::solver::{Method, Settings};
use crate::{Error, Result};

/// What goes with a reconstruction besides its input and its solver.
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// Clean image or stack to compare with: prints PSNR and SSIM
    #[arg(long, value_name = "FILE")]
    pub clean: Option<PathBuf>,
    /// Where the record of the run goes [default: OUTPUT with .run.json]
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Stacks of slices
    #[command(flatten)]
    pub stack: StackArgs,
    /// Messages and device
    #[command(flatten)]
    pub common: CommonArgs,
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

/// Iterations at most, unless there is another number.
pub(super) const MAX_ITERATIONS: usize = 1000;

/// Refuses options that were given with the network `name`, which is applied to the image and minimises nothing.
///
/// # Errors
/// [`Error::Usage`] naming the first of them.
pub(super) fn refuse_for_network(name: &str, options: &[(&'static str, bool)]) -> Result<()> {
    match options.iter().find(|(_, given)| *given) {
        Some((option, _)) => Err(Error::Usage(format!(
            "'{name}' is a network, which is applied once and minimises nothing, so that {option} has no part in it; leave it out"
        ))),
        None => Ok(()),
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

/// Model and solver.
#[derive(Args, Clone, Debug)]
pub struct SolverArgs {
    /// Model file, or one of the shipped models: wcrr-64, wcrr-48, wcrr-small, crr-48, crr-44, crr-32, dct5, wcrr-phantom [default: one that suits the problem]
    #[arg(long, value_name = "FILE")]
    pub model: Option<PathBuf>,
    /// Stop when the relative change of an iteration falls to this, and that of a step 1 / |H|^2 along the gradient where measurements are reconstructed [default: 1e-4, or 0.03 times the noise if that is less where pixels are measured; denoising by splitting: a change of 0.002 sigma]
    #[arg(long, value_name = "T", value_parser = parse_positive, allow_hyphen_values = true)]
    pub tol: Option<f64>,
    /// Stop after this many iterations, of each regularizer where a convex one comes first [default: 1000]
    #[arg(long, value_name = "N", value_parser = parse_count)]
    pub max_iter: Option<usize>,
    /// Keep pixels in LOW,HIGH (0,1 for images) or nonnegative (0,inf)
    #[arg(long = "box", value_name = "LOW,HIGH", value_parser = parse_box, allow_hyphen_values = true)]
    pub limits: Option<(f32, f32)>,
    /// Iteration: splitting is for denoising only, everything else takes the accelerated one instead [default: splitting]
    #[arg(long, value_enum, value_name = "NAME")]
    pub solver: Option<Method>,
    /// Side of the tiles in pixels [default: the largest that fit]; the result does not depend on it
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u64).range(8..))]
    pub tile: Option<u64>,
}

impl SolverArgs {
    /// Iterations at most.
    pub(super) fn max_iter(&self) -> usize {
        self.max_iter.unwrap_or(MAX_ITERATIONS)
    }

    /// The options that only an iteration to a tolerance has, and whether they were given.
    pub(super) fn of_iterations(&self) -> [(&'static str, bool); 4] {
        [
            ("--tol", self.tol.is_some()),
            ("--max-iter", self.max_iter.is_some()),
            ("--solver", self.solver.is_some()),
            ("--tile", self.tile.is_some()),
        ]
    }

    /// What they say to a solver.
    pub(super) fn settings(&self, lambda: f64) -> Settings {
        let settings = Settings {
            lambda,
            max_iterations: self.max_iter(),
            limits: self.limits,
            method: self.solver.unwrap_or(Method::Splitting),
            ..Settings::default()
        };
        settings.stopping_at(self.tol)
    }
}

/// `0.1` or `25/255`, in any unit.
pub(super) fn parse_noise(text: &str) -> std::result::Result<f64, String> {
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
    Ok(value)
}

/// The same in units of the image range.
pub(super) fn parse_level(text: &str) -> std::result::Result<f64, String> {
    let value = parse_noise(text)?;
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

/// The model named, a file or a shipped one, or the `choice` if that is right for noise of `sigma`.
pub(super) fn load_model(
    path: Option<&Path>,
    choice: impl FnOnce() -> Result<&'static Shipped>,
    sigma: f64,
) -> Result<Ridge> {
    match path {
        Some(path) => Shipped::or_file(path),
        None => Shipped::for_level(choice()?, sigma),
    }
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
