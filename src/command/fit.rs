//! `train fit`: samples of a function in, a spline with adaptive knots out.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use serde_json::{Value, json};

use super::CommonArgs;
use super::options::named_hash;
use crate::fit::{FitSettings, Fitted, Knots, fit_path};
use crate::io::atomic::{check_writable, write_atomically};
use crate::io::table::SampleTable;
use crate::model::SplineModel;
use crate::report::RunRecord;
use crate::report::plot::spline_fit_figure;
use crate::spline::{Loss, Samples, SlopeBounds, fit_tv2};
use crate::{Error, Result};

/// Up to this many distinct x the exact optimum is computed, too.
const EXACT_SAMPLES: usize = 2000;

/// The certified gap up to which the host's solution counts as the optimum. It is smaller by far but for spacings whose
/// ratio exceeds what f64 can carry through the method.
const TRUSTED: f64 = 1e-7;

/// The smallest objective to which a gap is related, as a part of the squared deviation of y from its mean (or the absolute
/// one): at an interpolating spline the objective is 0.
const FLOOR: f64 = 1e-10;

/// Arguments of `train fit`.
#[derive(Args, Clone, Debug)]
pub struct FitArgs {
    /// Samples x, y and perhaps a weight: a CSV file (comma, semicolon, tab or space; a header is recognised) or an NPY
    /// array (M,2) or (M,3)
    pub samples: PathBuf,
    /// Where the model goes (safetensors)
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Weight of TV2, the sum of the absolute slope changes
    #[arg(long, value_name = "L", required_unless_present = "lambda_path", conflicts_with = "lambda_path",
          value_parser = parse_number, allow_hyphen_values = true)]
    pub lambda: Option<f64>,
    /// Several weights, fitted one after the other; the model is that of the last
    #[arg(long, value_name = "L,L,..", value_delimiter = ',', value_parser = parse_number, allow_hyphen_values = true)]
    pub lambda_path: Option<Vec<f64>>,
    /// Slope bounds: lipschitz, firm, monotone, invertible:EPS, weakly-convex:RHO, MIN,MAX or none
    #[arg(long, value_name = "B", default_value = "none", allow_hyphen_values = true)]
    pub bounds: SlopeBounds,
    /// Loss: squared, huber:DELTA (in units of y) or l1
    #[arg(long, value_name = "LOSS", default_value = "squared", value_parser = parse_loss)]
    pub loss: Loss,
    /// Where knots may be: auto, or uniform:N for N evenly spaced points
    #[arg(long, value_name = "K", default_value = "auto", value_parser = parse_knots)]
    pub knots: Knots,
    /// Most knots: with more, lambda is raised until there are no more
    #[arg(long, value_name = "N")]
    pub max_knots: Option<usize>,
    /// Where the figure goes [default: OUTPUT with .svg]
    #[arg(long, value_name = "FILE")]
    pub figure: Option<PathBuf>,
    /// Where the record of the run goes [default: OUTPUT with .run.json]
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Messages and device
    #[command(flatten)]
    pub common: CommonArgs,
}

fn parse_number(text: &str) -> std::result::Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(value) if value >= 0.0 && value.is_finite() => Ok(value),
        Ok(_) => Err("lambda must be finite and not negative".into()),
        Err(_) => Err("it is no number".into()),
    }
}

fn parse_loss(text: &str) -> std::result::Result<Loss, String> {
    match text.split_once(':') {
        None if text == "squared" => Ok(Loss::Squared),
        None if text == "l1" => Ok(Loss::Absolute),
        Some(("huber", delta)) => match delta.trim().parse::<f64>() {
            Ok(delta) if delta > 0.0 && delta.is_finite() => Ok(Loss::Huber(delta)),
            _ => Err("the threshold of huber must be a number above 0".into()),
        },
        _ => Err("want squared, huber:DELTA or l1".into()),
    }
}

fn parse_knots(text: &str) -> std::result::Result<Knots, String> {
    match text.split_once(':') {
        None if text == "auto" => Ok(Knots::Adaptive),
        Some(("uniform", count)) => match count.trim().parse::<usize>() {
            Ok(count) if count >= 2 => Ok(Knots::Uniform(count)),
            _ => Err("a uniform grid needs 2 points or more".into()),
        },
        _ => Err("want auto or uniform:N".into()),
    }
}

/// The name of a loss as the command line takes it.
fn loss_name(loss: Loss) -> String {
    match loss {
        Loss::Squared => "squared".into(),
        Loss::Huber(delta) => format!("huber:{delta}"),
        Loss::Absolute => "l1".into(),
    }
}

/// `train fit`.
///
/// # Errors
/// Everything a user can get wrong, as one line; nothing is written unless the whole run succeeded.
pub fn fit(args: &FitArgs) -> Result<()> {
    let console = args.common.console();
    let table = SampleTable::read(&args.samples)?;
    let samples = Samples::new(&table.x, &table.y, table.weights.as_deref())
        .map_err(|e| Error::input(&args.samples, e.to_string()))?;
    let figure = args.figure.clone().unwrap_or_else(|| args.output.with_extension("svg"));
    let record = args
        .record
        .clone()
        .unwrap_or_else(|| args.output.with_extension("run.json"));
    check_outputs(args, &[&args.output, &figure, &record])?;
    let warnings = remarks(&samples, args);
    for warning in &warnings {
        console.say(format!("warning: {warning}"));
    }
    let lambdas = match (&args.lambda_path, args.lambda) {
        (Some(path), _) => path.clone(),
        (None, Some(lambda)) => vec![lambda],
        (None, None) => return Err(Error::Usage("name a weight with --lambda".into())),
    };
    let settings = FitSettings {
        loss: args.loss,
        lambda: 0.0,
        bounds: args.bounds,
        knots: args.knots,
        max_knots: args.max_knots,
    };

    let gpu = args.common.device.open(Some(&record))?;
    let start = Instant::now();
    let fits = fit_path(&gpu, &samples, &settings, &lambdas)?;
    let seconds = start.elapsed().as_secs_f64();
    let mut summaries = Vec::with_capacity(fits.len());
    for (fitted, &asked) in fits.iter().zip(&lambdas) {
        let summary = summary(&samples, args.loss, &args.bounds, fitted, asked)?;
        console.say(line(&summary));
        summaries.push(summary);
    }
    let (Some(last), Some(mut result)) = (fits.last(), summaries.last().cloned()) else {
        return Err(Error::Usage("--lambda-path names no weight".into()));
    };

    let provenance = json!({
        "command": "train fit", "samples": samples.len(), "loss": loss_name(args.loss), "lambda": last.lambda,
        "objective": last.objective,
    });
    let model = SplineModel {
        spline: last.spline.clone(),
        bounds: args.bounds,
        provenance,
    };
    let title = format!(
        "{} samples, {} knots, lambda {}",
        samples.len(),
        last.knots(),
        last.lambda
    );
    let picture = spline_fit_figure(&samples, &last.spline, &args.bounds, &title);
    model.write(&args.output)?;
    write_atomically(&figure, |file| std::io::Write::write_all(file, picture.as_bytes()))?;

    result["seconds"] = json!(seconds);
    result["output"] = json!(args.output);
    result["figure"] = json!(figure);
    result["adapter"] = json!(gpu.adapter().name);
    result["samples"] = json!(samples.len());
    result["merged"] = json!(samples.merged());
    result["largest_conflict"] = json!(samples.largest_conflict());
    result["warnings"] = json!(warnings);
    if summaries.len() > 1 {
        result["path"] = json!(summaries);
    }
    args.common.device.report(&gpu, &console, &mut result)?;
    let mut run = RunRecord::new(
        "fit",
        &gpu,
        json!({
            "lambda": lambdas, "bounds": args.bounds.to_string(), "loss": loss_name(args.loss),
            "knots": match args.knots { Knots::Adaptive => "auto".into(), Knots::Uniform(n) => format!("uniform:{n}") },
            "max_knots": args.max_knots,
        }),
    );
    run.inputs = json!({ "samples": named_hash(&args.samples)? });
    run.outputs = json!({ "model": named_hash(&args.output)?, "figure": named_hash(&figure)? });
    result["spline"] = json!({ "knots": last.spline.knots(), "values": last.spline.values(), "slopes": last.slopes });
    run.results = result.clone();
    run.write(&record)?;
    console.say(format!("{} and {}", args.output.display(), figure.display()));
    console.result(&result)
}

/// Outputs must be writable, differ, and replace no input.
fn check_outputs(args: &FitArgs, outputs: &[&PathBuf]) -> Result<()> {
    for (n, output) in outputs.iter().enumerate() {
        check_writable(output)?;
        if **output == args.samples || outputs[..n].contains(output) {
            return Err(Error::output(
                output,
                "it would replace another file of this run; name the outputs apart with -o, --figure and --record",
            ));
        }
    }
    Ok(())
}

/// What a user should know about the data before trusting the fit.
fn remarks(samples: &Samples, args: &FitArgs) -> Vec<String> {
    let mut remarks = Vec::new();
    if samples.merged() > 0 {
        let conflict = samples.largest_conflict();
        let how = if conflict == 0.0 {
            "with equal y".into()
        } else {
            format!("by their mean, y differing by up to {conflict:.3e}")
        };
        remarks.push(format!(
            "{} samples share their x (rounded to f32) with another and were merged {how}",
            samples.merged()
        ));
        if args.loss != Loss::Squared && conflict > 0.0 {
            remarks.push("for this loss the mean is not what unmerged samples would give".into());
        }
    }
    let trend = trend(samples);
    if args.bounds.clip(trend) != trend {
        remarks.push(format!(
            "the data rise by {trend:.4} per unit of x over all, which the bounds {} exclude; the fit will keep the bounds",
            args.bounds
        ));
    }
    remarks
}

/// The slope of the regression line.
fn trend(samples: &Samples) -> f64 {
    let total: f64 = samples.weights().iter().sum();
    let mean = |of: &[f64]| {
        samples
            .weights()
            .iter()
            .zip(of)
            .map(|(w, v)| w / total * v)
            .sum::<f64>()
    };
    let (x_mean, y_mean) = (mean(samples.x()), mean(samples.y()));
    let (mut covariance, mut variance) = (0.0, 0.0);
    for ((x, y), w) in samples.x().iter().zip(samples.y()).zip(samples.weights()) {
        covariance += w * (x - x_mean) * (y - y_mean);
        variance += w * (x - x_mean).powi(2);
    }
    covariance / variance
}

/// The numbers of one fit. The objective counts every sample, also those that were merged.
fn summary(samples: &Samples, loss: Loss, bounds: &SlopeBounds, fitted: &Fitted, asked: f64) -> Result<Value> {
    let merged = if loss == Loss::Squared {
        samples.merge_cost()
    } else {
        0.0
    };
    let mut summary = json!({
        "lambda": fitted.lambda,
        "lambda_asked": asked,
        "objective": fitted.objective + merged,
        "exact_objective": null,
        "relative_gap": fitted.certified_gap,
        "gap_kind": if fitted.certified_gap.is_some() { "certified" } else { "none" },
        "knots": fitted.knots(),
        "tv2": fitted.tv2(),
        "slope_min": fitted.slopes.iter().fold(f64::INFINITY, |m, s| m.min(*s)),
        "slope_max": fitted.slopes.iter().fold(f64::NEG_INFINITY, |m, s| m.max(*s)),
        "iterations": fitted.steps,
        "nodes": fitted.nodes,
    });
    let supported = loss == Loss::Squared || bounds.min() < bounds.max();
    if samples.len() <= EXACT_SAMPLES && supported {
        let start = Instant::now();
        let exact = fit_tv2(samples, loss, fitted.lambda, bounds)?;
        if exact.relative_gap > TRUSTED {
            return Ok(summary);
        }
        let mean = samples
            .y()
            .iter()
            .zip(samples.weights())
            .map(|(y, w)| y * w)
            .sum::<f64>()
            / samples.weights().iter().sum::<f64>();
        let constant: f64 = (0..samples.len())
            .map(|n| loss.value(samples.weights()[n], samples.y()[n] - mean))
            .sum();
        let scale = (exact.objective + merged).max(FLOOR * constant);
        let excess = fitted.objective - exact.objective;
        summary["exact_objective"] = json!(exact.objective + merged);
        summary["relative_gap"] = json!(if excess == 0.0 { 0.0 } else { excess / scale });
        summary["gap_kind"] = json!("exact");
        summary["exact_knots"] = json!(exact.sparsest()?.len() - 2);
        summary["exact_seconds"] = json!(start.elapsed().as_secs_f64());
    }
    Ok(summary)
}

/// A number for a person: four decimals, or four digits where those would be too many or none.
fn short(x: f64) -> String {
    if x == 0.0 || (1e-3..1e5).contains(&x.abs()) {
        format!("{x:.4}")
    } else {
        format!("{x:.3e}")
    }
}

/// One line for a person.
fn line(summary: &Value) -> String {
    let number = |name: &str| summary[name].as_f64().unwrap_or(f64::NAN);
    let gap = match summary["gap_kind"].as_str() {
        Some("exact") => format!(", {:.1e} above the exact optimum", number("relative_gap")),
        Some("certified") => format!(", at most {:.1e} above the optimum", number("relative_gap")),
        _ => String::new(),
    };
    format!(
        "lambda {}: {} knots, objective {:.6e}{gap}, TV2 {}, slopes {} to {}",
        short(number("lambda")),
        summary["knots"],
        number("objective"),
        short(number("tv2")),
        short(number("slope_min")),
        short(number("slope_max")),
    )
}
