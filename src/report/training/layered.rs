//! The report of a network of layers.

use serde_json::Value;

use super::{curves, decibels, events, html::Page, level, of_kind, step_of};
use crate::Result;
use crate::filters::{ConvLayer, FilterBank};
use crate::io::image::Format;
use crate::layered::Layered;
use crate::report::filters_picture;
use crate::report::plot::{activations_figure, panels_figure, penalties_figure};
use crate::spline::Spline;

/// A page about the training of `model` with these `settings`, from the `records` of its log: a summary, the certificate, the
/// learning curves, the filters of the first layer, the activations of all layers with their knots and, of an unrolled network,
/// their penalties, events and settings. What
/// the records lack is not shown. Equal arguments give equal bytes.
///
/// # Errors
/// [`crate::Error::Data`] for a model without channels.
pub fn layered_report(model: &Layered, records: &[Value], settings: &Value) -> Result<String> {
    let mut page = Page::new(&format!("Training of {}", model.name));
    page.heading("Summary");
    page.table(&["", ""], &summary(model, records));

    page.heading("Certificate");
    let certificate = model.certificate();
    let rows: Vec<Vec<String>> = certificate
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| {
            let value = match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            vec![name.clone(), value]
        })
        .collect();
    page.table(&["", "value"], &rows);

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

    page.heading("Filters of the first layer");
    let first: Vec<ConvLayer> = model.filters.iter().take(1).cloned().collect();
    let picture = filters_picture(&FilterBank::new(first)?)?;
    page.picture(
        &picture.to_bytes(Format::Png8)?,
        "Filters of the first layer",
        "Each scaled for itself: gray is 0, its largest tap is black or white.",
    );

    for (set, activations) in model.activations.iter().enumerate() {
        page.heading(&format!("Activations of layer {set}"));
        let names: Vec<String> = (0..activations.len()).map(|c| format!("φ {c}")).collect();
        let named: Vec<_> = names.iter().map(String::as_str).zip(activations).collect();
        page.figure(
            &activations_figure(&named),
            "Continuous piecewise-linear functions with their knots; beyond the hollow ones the outer segments go on.",
        );
    }

    for (set, penalties) in model.penalties()?.iter().enumerate() {
        page.heading(&format!("Penalties of layer {set}"));
        let names: Vec<String> = (0..penalties.len()).map(|c| format!("g {c}")).collect();
        let named: Vec<_> = names.iter().map(String::as_str).zip(penalties).collect();
        page.figure(
            &penalties_figure(&named),
            "Convex functions with φ(v) = argmin (z − v)²/2 + g(z): quadratic between their nodes, infinite beyond a vertical line. \
            Scaling α and shift b of a channel lie outside: u ↦ φ(α (u + b))/α is the proximal operator of g(α z)/α² − b z. So do \
            the filters: a step Wᵀφ(W x) with |W| ≤ 1 is the proximal operator of another convex function, not of g(W x).",
        );
    }

    let events = events(records);
    if !events.is_empty() {
        page.heading("Events");
        page.table(&["step", "event", "details"], &events);
    }
    page.heading("Settings");
    let text = serde_json::to_string_pretty(settings).map_err(|e| crate::Error::Internal(e.to_string()))?;
    page.preformatted(&text);
    Ok(page.finish())
}

fn summary(model: &Layered, records: &[Value]) -> Vec<Vec<String>> {
    let knots: Vec<usize> = model.activations.iter().flatten().map(Spline::len).collect();
    let (least, most) = (knots.iter().min().unwrap_or(&0), knots.iter().max().unwrap_or(&0));
    let mean = |record: &&Value| record["mean"].as_f64().unwrap_or(f64::NEG_INFINITY);
    let best = of_kind(records, "validation")
        .rev()
        .max_by(|a, b| mean(a).total_cmp(&mean(b)));
    let best = best.map_or("none yet".into(), |best| {
        format!("{} at step {}", decibels(&best["mean"]), step_of(best))
    });
    [
        ("model", model.name.clone()),
        ("steps", records.iter().map(step_of).max().unwrap_or(0).to_string()),
        ("best validation PSNR", best),
        ("noise level", level(model.sigma)),
        ("parameters", model.parameters().to_string()),
        (
            "knots",
            format!(
                "{} in {} activations, {least} to {most} each",
                knots.iter().sum::<usize>(),
                knots.len()
            ),
        ),
    ]
    .map(|(name, value)| vec![name.to_owned(), value])
    .to_vec()
}
