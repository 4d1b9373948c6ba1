//! The report of a training: one page of HTML for the screen and for paper, which needs no other file and runs no script.

mod curves;
pub(super) mod html;
mod layered;

pub use layered::layered_report;

use serde_json::Value;

use super::plot::{Chart, activations_figure, panels_figure, small_panels_figure};
use super::{certificate, filters_picture};
use crate::io::image::Format;
use crate::model::Ridge;
use crate::{Error, Result};
use html::Page;

/// Points of a curve that is computed for drawing.
const SAMPLES: usize = 64;
/// Events listed at most.
const MOST_EVENTS: usize = 40;

/// What is said about the entries of the certificate, and in which order.
const CONSTANTS: [(&str, &str); 11] = [
    ("slope_bounds", "bounds that the slopes of all activations keep"),
    ("slopes", "least and largest slope, recomputed in f64"),
    ("norm_squared", "|W|², from which the step follows"),
    ("norm_kind", "a rigorous bound, or an estimate"),
    ("norm_squared_upper_bound", "rigorous upper bound of |W|²"),
    ("gradient_lipschitz", "Lipschitz constant of ∇R"),
    ("weak_convexity", "ρ for which R + ρ/2 |x|² is convex"),
    ("border", "what lies beyond the borders of an image that is denoised"),
    ("energy_convex", "denoising with weight 1 is convex"),
    ("step", "step of the solver at weight 1"),
    ("step_certified", "the step rests on a bound"),
];

/// A page about the training of `model` with these `settings`, from the `records` of its log: a summary, the certificate, the
/// learning curves, the filters, the activations with their knots, the potentials, the scalings over the noise level, what
/// happened besides steps, and the settings. Records may be few or none, of unknown kinds, or lack fields: what is not
/// there is not shown. All texts are escaped. Equal arguments give equal bytes.
///
/// # Errors
/// [`Error::Data`] for a model without channels.
pub fn training_report(model: &Ridge, records: &[Value], settings: &Value) -> Result<String> {
    let mut page = Page::new(&format!("Training of {}", model.name));
    page.heading("Summary");
    page.table(&["", ""], &summary(model, records));

    page.heading("Certificate");
    page.table(&["", "value", "meaning"], &constants(model));

    page.heading("Learning curves");
    let charts = curves::charts(records);
    if charts.is_empty() {
        page.paragraph("The log holds no step and no validation yet.");
    } else {
        page.figure(
            &panels_figure("Learning curves", &charts),
            "Over the steps. Dots are single batches (at most 400 of them), lines are running means over a fortieth of the log.",
        );
    }

    page.heading("Filters");
    let picture = filters_picture(&model.bank)?;
    page.picture(
        &picture.to_bytes(Format::Png8)?,
        &format!("{} filters", model.bank.channels()),
        "Effective filters of all layers, each scaled for itself: gray is 0, its largest tap is black or white.",
    );

    page.heading("Activations");
    let names: Vec<String> = (0..model.activations.len()).map(|c| format!("φ {c}")).collect();
    let named: Vec<_> = names.iter().map(String::as_str).zip(&model.activations).collect();
    page.figure(
        &activations_figure(&named),
        "Continuous piecewise-linear functions with their knots; beyond the hollow ones the outer segments go on.",
    );

    page.heading("Potentials");
    page.figure(
        &small_panels_figure(&format!("{} potentials", names.len()), &potentials(model)),
        "Integrals of the activations from 0.",
    );

    page.heading("Scalings");
    page.figure(
        &panels_figure("Scalings", &scalings(model)),
        "What the responses of every filter are multiplied by before its activation, over the noise level.",
    );

    let events = events(records);
    if !events.is_empty() {
        page.heading("Events");
        page.table(&["step", "event", "details"], &events);
    }

    page.heading("Settings");
    let text = serde_json::to_string_pretty(settings).map_err(|error| Error::Internal(error.to_string()))?;
    page.preformatted(&text);
    Ok(page.finish())
}

/// Records of one kind.
fn of_kind<'r>(records: &'r [Value], event: &'r str) -> impl DoubleEndedIterator<Item = &'r Value> + Clone {
    records.iter().filter(move |record| record["event"] == event)
}

/// The step of a record; 0 where there is none.
fn step_of(record: &Value) -> u64 {
    record["step"].as_u64().unwrap_or(0)
}

/// `25/255` where it is a count of grey levels, a decimal number otherwise.
fn level(sigma: f64) -> String {
    let count = 255.0 * sigma;
    if (count - count.round()).abs() < 1e-6 {
        format!("{}/255", count.round())
    } else {
        format!("{sigma:.4}")
    }
}

fn decibels(record: &Value) -> String {
    record.as_f64().map_or("n/a".into(), |psnr| format!("{psnr:.3} dB"))
}

fn summary(model: &Ridge, records: &[Value]) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let mut row = |name: &str, value: String| rows.push(vec![name.to_owned(), value]);
    row("model", model.name.clone());
    row("steps", records.iter().map(step_of).max().unwrap_or(0).to_string());

    let mean = |record: &&Value| record["mean"].as_f64().unwrap_or(f64::NEG_INFINITY);
    // Of equals the first: a later one is no better.
    let best = of_kind(records, "validation")
        .rev()
        .max_by(|a, b| mean(a).total_cmp(&mean(b)));
    match best {
        None => row("best validation", "none yet".into()),
        Some(best) => {
            let at = format!("{} at step {}", decibels(&best["mean"]), step_of(best));
            row("best validation PSNR, mean", at);
            for entry in best["psnr"].as_array().into_iter().flatten() {
                let sigma = entry["sigma"].as_f64().map_or("?".into(), level);
                row(&format!("at σ = {sigma}"), decibels(&entry["psnr"]));
            }
        }
    }
    let weights: usize = model
        .bank
        .layers()
        .iter()
        .map(|l| l.inputs * l.outputs * l.size * l.size)
        .sum();
    let knots: Vec<usize> = model.activations.iter().map(|a| a.len()).collect();
    let total: usize = knots.iter().sum();
    let scalings: usize = model.scaling.log.iter().map(|s| s.len()).sum();
    row(
        "parameters",
        format!(
            "{} ({weights} filter taps, {total} nodal values, {scalings} of the scalings)",
            weights + total + scalings
        ),
    );
    let (least, most) = (knots.iter().min().unwrap_or(&0), knots.iter().max().unwrap_or(&0));
    row(
        "knots",
        format!("{total} in {} activations, {least} to {most} each", knots.len()),
    );
    row(
        "noise levels",
        format!("{} to {}", level(model.sigma_range.0), level(model.sigma_range.1)),
    );
    rows
}

fn constants(model: &Ridge) -> Vec<Vec<String>> {
    let constants = certificate(model, 1.0);
    CONSTANTS
        .iter()
        .map(|(name, meaning)| {
            let value = match &constants[name] {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            vec![(*name).to_owned(), value, (*meaning).to_owned()]
        })
        .collect()
}

fn potentials(model: &Ridge) -> Vec<Chart> {
    let chart = |(index, activation): (usize, &crate::spline::Spline)| {
        let knots = activation.knots();
        let (first, last) = (knots[0], knots[knots.len() - 1]);
        let points = (0..=SAMPLES).map(|k| {
            let x = first + (last - first) * k as f64 / SAMPLES as f64;
            (x, activation.integral(x))
        });
        Chart::new("", "").titled(&format!("ψ {index}"), "").line("", points)
    };
    model.activations.iter().enumerate().map(chart).collect()
}

/// Over the whole range of levels, and at its lower end, where they may grow without bound, from one sample on.
fn scalings(model: &Ridge) -> Vec<Chart> {
    let (low, high) = model.sigma_range;
    let sampled: Vec<(f64, Vec<f64>)> = (1..=SAMPLES)
        .map(|k| low + (high - low) * k as f64 / SAMPLES as f64)
        .filter_map(|sigma| Some((sigma, model.alphas(sigma).ok()?)))
        .collect();
    let of_channel = |channel: usize, value: &dyn Fn(f64, f64) -> f64| -> Vec<(f64, f64)> {
        sampled
            .iter()
            .map(|(sigma, alphas)| (*sigma, value(*sigma, alphas[channel])))
            .collect()
    };
    let distinct = model.scaling.log.len();
    let mut alphas = Chart::new("σ", "α")
        .logarithmic_y()
        .titled("α(σ)", &format!("{distinct} scalings"));
    let mut products = Chart::new("σ", "α (σ + ε)")
        .logarithmic_y()
        .titled("α(σ) (σ + ε), what was learned", "");
    for channel in 0..distinct {
        alphas = alphas.curve("", of_channel(channel, &|_, alpha| alpha));
        products = products.curve(
            "",
            of_channel(channel, &|sigma, alpha| alpha * (sigma + model.scaling.epsilon)),
        );
    }
    vec![alphas, products]
}

/// What is neither a step nor a validation, the last ones if there are many.
fn events(records: &[Value]) -> Vec<Vec<String>> {
    let others: Vec<&Value> = records
        .iter()
        .filter(|record| record["event"] != "step" && record["event"] != "validation" && record.is_object())
        .collect();
    let left_out = others.len().saturating_sub(MOST_EVENTS);
    let mut rows = Vec::new();
    if left_out > 0 {
        rows.push(vec![
            "".into(),
            "…".into(),
            format!("{left_out} earlier ones are in the log only"),
        ]);
    }
    rows.extend(others[left_out..].iter().map(|record| {
        let details: Vec<String> = record
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(name, _)| *name != "event" && *name != "step")
            .map(|(name, value)| match value {
                Value::String(text) => format!("{name}: {text}"),
                other => format!("{name}: {other}"),
            })
            .collect();
        let event = record["event"].as_str().unwrap_or("?").to_owned();
        vec![step_of(record).to_string(), event, details.join(", ")]
    }));
    rows
}
