//! `train sample` and `train flow-evaluate`: what a trained flow is used for.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::CommonArgs;
use crate::flow::{DensityGrid, Distribution, Evaluator, Flow, bounding_box, pictures, score};
use crate::io::atomic::{check_writable, same_file, write_atomically};
use crate::io::image::Format;
use crate::io::npy::{Array, Values};
use crate::io::points::PointTable;
use crate::report::density_picture;
use crate::{Error, Result};

/// Points drawn from a known distribution.
const KNOWN_POINTS: usize = 100_000;
/// Latent points, and how far out, whose images enclose all but 4e-6 of the mass of a flow of the plane.
const RIM_POINTS: usize = 720;
const RIM: f64 = 5.0;
/// Cells of the grid over which the density is integrated, on the line and per coordinate of the plane.
const LINE_CELLS: usize = 200_000;
const PLANE_CELLS: usize = 1500;

/// Arguments of `train sample`.
#[derive(Args, Clone, Debug)]
pub struct SampleArgs {
    /// Model file of a flow, or one of the shipped ones: flow-moons, flow-ring, flow-hills
    pub model: PathBuf,
    /// How many samples
    #[arg(short = 'n', long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub count: u64,
    /// Where they go: .csv as text, anything else as NPY, (sample, coordinate) in f32
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Seed; a sample depends on it and on its number only
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Messages and device
    #[command(flatten)]
    pub common: CommonArgs,
}

/// `train sample`.
///
/// # Errors
/// An unusable model, an unwritable output, a device error.
pub fn sample_flow(args: &SampleArgs) -> Result<()> {
    let console = args.common.console();
    let flow = Flow::shipped_or_file(&args.model)?;
    check_output(&args.output, &[&args.model])?;
    let gpu = args.common.device.open(Some(&args.output))?;
    let count = args.count as usize;
    let samples = Evaluator::new(&gpu, &flow, count)?.sample(args.seed, count)?;
    write_numbers(&args.output, &samples, flow.dims())?;
    console.say(format!("{}: {count} samples of {}", args.output.display(), flow.name));
    let mut result = json!({
        "model": flow.name, "count": count, "dims": flow.dims(), "seed": args.seed, "output": args.output,
        "adapter": gpu.adapter().name,
    });
    args.common.device.report(&gpu, &console, &mut result)?;
    console.result(&result)
}

/// Arguments of `train flow-evaluate`.
#[derive(Args, Clone, Debug)]
pub struct FlowEvaluateArgs {
    /// Model file of a flow, or one of the shipped ones: flow-moons, flow-ring, flow-hills
    pub model: PathBuf,
    /// Points (CSV or NPY), or moons, ring or hills for 100000 new points of these
    #[arg(long, value_name = "FILE|NAME")]
    pub data: String,
    /// Where the log-density of every point goes, in nats: .csv as text, anything else as NPY, (point,) in f32
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Where a picture (PNG) of the density goes, beside the true one where that is known; of flows of the plane
    #[arg(long, value_name = "FILE")]
    pub picture: Option<PathBuf>,
    /// Seed of the points of a known distribution
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Messages and device
    #[command(flatten)]
    pub common: CommonArgs,
}

/// `train flow-evaluate`: the negative log-likelihood of points, how well the inverse inverts, and the integral of the density.
///
/// # Errors
/// An unusable model, unusable points, an unwritable output, a device error.
pub fn evaluate_flow(args: &FlowEvaluateArgs) -> Result<()> {
    let console = args.common.console();
    let flow = Flow::shipped_or_file(&args.model)?;
    let known = Distribution::named(&args.data);
    let (points, dims) = match known {
        // A stream that training does not use.
        Some(distribution) => (
            distribution.points(args.seed, u64::MAX >> 8, KNOWN_POINTS),
            distribution.dims(),
        ),
        None => {
            let table = PointTable::read(&args.data)?;
            (table.points, table.dims)
        }
    };
    if dims != flow.dims() {
        let why = format!(
            "{dims} coordinates, but the flow is one of {}; choose another model or other points",
            flow.dims()
        );
        return Err(match known {
            Some(_) => Error::Usage(format!("points of {} have {why}", args.data)),
            None => Error::input(&args.data, format!("points have {why}")),
        });
    }
    for output in args.output.iter().chain(&args.picture) {
        check_output(output, &[&args.model, Path::new(&args.data)])?;
    }
    if let Some(picture) = &args.picture {
        if dims == 1 {
            return Err(Error::Usage(
                "--picture shows flows of the plane, but this is one of the line".into(),
            ));
        }
        if args.output.as_deref().is_some_and(|output| same_file(output, picture)) {
            return Err(Error::output(picture, "-o has this name; name another with --picture"));
        }
    }
    let gpu = args.common.device.open(args.output.as_deref())?;
    let evaluator = Evaluator::new(&gpu, &flow, points.len() / dims)?;
    let found = score(&evaluator, &points, known)?;
    let entropy = known.map(Distribution::entropy);
    let round_trip = flow.round_trip(&points)?;
    let integral = integral(&evaluator)?;
    if let Some(output) = &args.output {
        let logarithms: Vec<f64> = evaluator.log_density(&points)?.iter().map(|l| f64::from(*l)).collect();
        write_numbers(output, &logarithms, 1)?;
    }
    if let Some(picture) = &args.picture {
        density_picture(&pictures(&gpu, &flow, &points, known)?)?.write(picture, Format::Png8)?;
    }
    console.say(format!(
        "{}: {:.4} nats per point (standard error {:.4}){}",
        flow.name,
        found.nll,
        found.standard_error,
        match (entropy, found.divergence) {
            (Some(entropy), Some(divergence)) =>
                format!(", entropy {entropy:.4}, divergence from the true density {divergence:.4}"),
            _ => String::new(),
        }
    ));
    console.say(format!(
        "largest |x - F^-1(F(x))|: {round_trip:.2e}; integral of the density: {integral:.6}"
    ));
    let mut result = json!({
        "model": flow.name, "data": args.data, "points": points.len() / dims, "nll": found.nll,
        "standard_error": found.standard_error, "entropy": entropy, "divergence": found.divergence,
        "round_trip": round_trip, "integral": integral, "certificate": flow.certificate(),
        "output": args.output, "picture": args.picture, "adapter": gpu.adapter().name,
    });
    args.common.device.report(&gpu, &console, &mut result)?;
    console.result(&result)
}

/// The integral of the density over a box around the images of latent points far out.
fn integral(evaluator: &Evaluator<'_>) -> Result<f64> {
    let dims = evaluator.flow().dims();
    let rim: Vec<f64> = if dims == 1 {
        vec![-RIM, RIM]
    } else {
        (0..RIM_POINTS)
            .flat_map(|k| {
                let angle = 2.0 * std::f64::consts::PI * k as f64 / RIM_POINTS as f64;
                [RIM * angle.cos(), RIM * angle.sin()]
            })
            .collect()
    };
    let ranges = bounding_box(&evaluator.flow().inverse(&rim)?, dims, 0.02);
    let cells = if dims == 1 {
        vec![LINE_CELLS]
    } else {
        vec![PLANE_CELLS; 2]
    };
    Ok(DensityGrid::new(evaluator, &ranges, &cells)?.integral())
}

/// An output must be writable and replace no input.
fn check_output(output: &Path, inputs: &[&Path]) -> Result<()> {
    check_writable(output)?;
    if inputs.iter().any(|input| same_file(input, output)) {
        return Err(Error::output(
            output,
            "it would replace a file that is read; name another with -o",
        ));
    }
    Ok(())
}

/// Rows of `columns` numbers as text or NPY.
fn write_numbers(path: &Path, numbers: &[f64], columns: usize) -> Result<()> {
    if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("csv")) {
        return write_atomically(path, |file| {
            for row in numbers.chunks_exact(columns) {
                let fields: Vec<String> = row.iter().map(|v| (*v as f32).to_string()).collect();
                writeln!(file, "{}", fields.join(","))?;
            }
            Ok(())
        });
    }
    let rows = numbers.len() / columns;
    let shape = if columns == 1 { vec![rows] } else { vec![rows, columns] };
    Array::new(shape, Values::F32(numbers.iter().map(|v| *v as f32).collect()))?.write(path)
}
