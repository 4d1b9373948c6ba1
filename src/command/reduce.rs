//! `train reduce`: the same model with fewer knots, or fewer filters.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::Console;
use super::options::parse_count;
use crate::io::atomic::check_writable;
use crate::io::hash::blake3_file;
use crate::model::{KnotBudget, KnotReduction, Ridge, Shipped};
use crate::spline::Spline;
use crate::{Error, Result};

/// Arguments of `train reduce`.
#[derive(Args, Clone, Debug)]
pub struct ReduceArgs {
    /// Model file, or the name of a shipped regularizer
    pub model: PathBuf,
    /// Where the reduced model goes
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Root-mean-square error that knots may cost an activation, as a part of its largest value
    #[arg(long, value_name = "E", default_value_t = KnotBudget::default().max_error, value_parser = parse_error_budget,
        allow_hyphen_values = true)]
    pub max_error: f64,
    /// At most this many knots per activation, whatever the error
    #[arg(long, value_name = "N", value_parser = parse_knots, allow_hyphen_values = true)]
    pub max_knots: Option<usize>,
    /// Keep the N filters that do most to image details, with their activations; what the others did is lost, so evaluate what is left
    #[arg(long, value_name = "N", value_parser = parse_count, allow_hyphen_values = true)]
    pub max_filters: Option<usize>,
    /// Let activations that fall beyond their outermost knots lead outwards instead, so that the regularizer is bounded from
    /// below; trainings end so by themselves. Costs up to two knots
    #[arg(long)]
    pub bounded_below: bool,
    /// Print one JSON object as the last line of stdout
    #[arg(long)]
    pub json: bool,
    /// No messages but errors
    #[arg(short, long)]
    pub quiet: bool,
}

fn parse_error_budget(text: &str) -> std::result::Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(value) if (0.0..1.0).contains(&value) => Ok(value),
        Ok(_) => Err("want a part of the largest value, from 0 to below 1".into()),
        Err(_) => Err("it is no number".into()),
    }
}

fn parse_knots(text: &str) -> std::result::Result<usize, String> {
    match text.trim().parse::<usize>() {
        Ok(value) if value >= 2 => Ok(value),
        _ => Err("want a whole number from 2 up".into()),
    }
}

/// `train reduce`.
///
/// # Errors
/// An unreadable model, an unwritable output.
pub fn reduce_knots(args: &ReduceArgs) -> Result<()> {
    let console = Console::new(args.quiet, args.json);
    check_writable(&args.output)?;
    let read = Shipped::or_file(&args.model)?;
    let original = match args.max_filters {
        None => read,
        Some(filters) => read
            .narrowed(filters)
            .map_err(|e| Error::input(&args.model, e.to_string()))?,
    };
    let (mut model, reductions) = original.reduced(KnotBudget {
        max_error: args.max_error,
        max_knots: args.max_knots,
    })?;
    if args.bounded_below {
        model = model.bounded_below()?;
    }
    if let Some(entry) = model.provenance["reductions"].as_array_mut().and_then(|r| r.last_mut()) {
        entry["model"] = match args.model.exists() {
            true => json!(blake3_file(&args.model)?),
            false => json!(args.model),
        };
        entry["bounded_below"] = json!(args.bounded_below);
    }
    model.write(&args.output)?;

    let sum = |of: fn(&KnotReduction) -> usize| reductions.iter().map(of).sum::<usize>();
    let most = |of: fn(&KnotReduction) -> usize| reductions.iter().map(of).max().unwrap_or(0);
    let worst = |of: fn(&KnotReduction) -> f64| {
        let part = |r: &KnotReduction| if r.scale > 0.0 { of(r) / r.scale } else { 0.0 };
        reductions.iter().map(part).fold(0.0, f64::max)
    };
    let before = sum(|r| r.before);
    // Tails may have added some.
    let after: usize = model.activations.iter().map(Spline::len).sum();
    let most_after = model.activations.iter().map(Spline::len).max().unwrap_or(0);
    let (rms, largest) = (worst(|r| r.rms_error), worst(|r| r.max_error));
    let (low, high) = slope_range(&model);
    console.say(format!(
        "{}: {} filters; {before} knots -> {after} in {} activations, at most {} each; error rms {rms:.2e}, max {largest:.2e} of the \
         largest value; slopes in [{low:.4}, {high:.4}] within [{}, {}]",
        args.output.display(),
        model.bank.channels(),
        reductions.len(),
        most_after,
        model.slope_bounds.0,
        model.slope_bounds.1,
    ));
    console.result(&json!({
        "output": args.output,
        "model": model.name,
        "filters": model.bank.channels(),
        "activations": reductions.len(),
        "knots_before": before,
        "knots_after": after,
        "most_knots_before": most(|r| r.before),
        "most_knots_after": most_after,
        "rms_error": rms,
        "max_error": largest,
        "slope_range": [low, high],
        "slope_bounds": model.slope_bounds,
    }))
}

/// The smallest and the largest slope of all activations.
fn slope_range(model: &Ridge) -> (f64, f64) {
    model
        .activations
        .iter()
        .map(|f| f.slope_range())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), (min, max)| {
            (low.min(min), high.max(max))
        })
}
