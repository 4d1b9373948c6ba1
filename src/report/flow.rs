//! The report of a flow: one page of HTML for the screen and for paper, which needs no other file and runs no script.

use serde_json::Value;

use super::plot::{Chart, panels_figure, small_panels_figure, square_panels_figure};
use super::training::html::Page;
use crate::flow::{DensityGrid, Flow};
use crate::io::image::{Format, Image};
use crate::spline::Spline;
use crate::{Error, Result};

/// Points of an increasing function that is drawn.
const SAMPLES: usize = 96;
/// Bars of a histogram.
const BARS: usize = 60;
/// Colours of densities from none to the largest, evenly apart: dark for rare, lighter and warmer for frequent, so that they
/// stay in order in print.
const COLOURS: [[f32; 3]; 6] = [
    [0.04, 0.04, 0.13],
    [0.22, 0.09, 0.42],
    [0.53, 0.15, 0.45],
    [0.84, 0.28, 0.33],
    [0.98, 0.58, 0.25],
    [0.99, 0.94, 0.65],
];

/// What a report shows of a flow.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowPictures {
    /// Points of the data, (point, coordinate).
    pub data: Vec<f64>,
    /// As many samples of the flow.
    pub samples: Vec<f64>,
    /// Its density.
    pub density: DensityGrid,
    /// The true density on the same grid, where it is known.
    pub truth: Option<DensityGrid>,
}

/// A page about a trained flow, from the `records` of its log: a summary, data against samples, densities, the certificate, the
/// learning curve, the splines with their knots, and the settings. Records may be few or none, of unknown kinds, or lack
/// fields: what is not there is not shown. All texts are escaped. Equal arguments give equal bytes.
///
/// # Errors
/// [`Error::Data`] for pictures that do not fit together.
pub fn flow_report(flow: &Flow, pictures: &FlowPictures, records: &[Value], settings: &Value) -> Result<String> {
    let mut page = Page::new(&format!("Flow {}", flow.name));
    page.heading("Summary");
    page.table(&["", ""], &summary(flow, records));

    page.heading("Data and samples");
    if flow.dims() == 1 {
        page.figure(
            &line_figure(pictures),
            "Histograms of the data and of samples, and densities.",
        );
    } else {
        page.figure(
            &square_panels_figure("Data and samples", &clouds(pictures)),
            "As many points of the data as samples of the flow.",
        );
        page.picture(
            &density_picture(pictures)?.to_bytes(Format::Png8)?,
            "Density of the flow",
            if pictures.truth.is_some() {
                "The true density on the left, that of the flow on the right, in the same colours: the square root of the density, \
                 from none (dark) to the largest true one (light)."
            } else {
                "The density of the flow: its square root, from none (dark) to the largest (light)."
            },
        );
    }

    page.heading("Certificate");
    page.paragraph(
        "Bounds that hold for the stored numbers, computed in double precision: a layer enlarges distances by at most its Lipschitz \
         constant, its inverse by at most the other one.",
    );
    page.table(
        &[
            "layer",
            "slopes of M",
            "slopes of N",
            "|T′|",
            "Lipschitz",
            "of the inverse",
        ],
        &certificate(flow),
    );

    let charts = curves(records);
    if !charts.is_empty() {
        page.heading("Learning curves");
        page.figure(&panels_figure("Learning curves", &charts), "Over the steps, in nats.");
    }

    page.heading("Splines");
    page.figure(
        &small_panels_figure("Slopes and shears", &splines(flow)),
        "Layer by layer: the slopes m = M′ and n = N′ and the shear T with their knots, beyond which they are constant.",
    );
    page.figure(
        &small_panels_figure("Increasing functions", &increasing(flow)),
        "Layer by layer: M and N, the integrals of the slopes from 0.",
    );

    page.heading("Settings");
    let text = serde_json::to_string_pretty(settings).map_err(|error| Error::Internal(error.to_string()))?;
    page.preformatted(&text);
    Ok(page.finish())
}

/// Records of one kind with the step of each and the number at `path`.
fn series(records: &[Value], event: &str, path: &str) -> Vec<(f64, f64)> {
    records
        .iter()
        .filter(|record| record["event"] == event)
        .filter_map(|record| Some((record["step"].as_f64()?, record[path].as_f64()?)))
        .collect()
}

fn entropy(records: &[Value]) -> Option<f64> {
    records.iter().find_map(|record| record["entropy"].as_f64())
}

fn summary(flow: &Flow, records: &[Value]) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let mut row = |name: &str, value: String| rows.push(vec![name.to_owned(), value]);
    row("model", flow.name.clone());
    row("dimensions", flow.dims().to_string());
    row("layers", flow.layers().to_string());
    row("parameters", flow.parameters().to_string());
    row(
        "knots",
        flow.splines().map(Spline::len).sum::<usize>().to_string() + " in all splines",
    );
    let last = records.iter().filter_map(|record| record["step"].as_u64()).max();
    row("steps", last.unwrap_or(0).to_string());
    let validations = series(records, "validation", "nll");
    let best = validations.iter().min_by(|a, b| a.1.total_cmp(&b.1));
    if let Some((step, nll)) = best {
        row(
            "negative log-likelihood of held-out points",
            format!("{nll:.4} nats at step {step}"),
        );
        let divergence = series(records, "validation", "divergence");
        if let Some((_, excess)) = divergence.iter().find(|d| d.0 == *step) {
            row("divergence from the true density", format!("{excess:.4} nats"));
        }
    }
    if let Some(entropy) = entropy(records) {
        row("entropy of the true density", format!("{entropy:.4} nats"));
    }
    for record in records.iter().filter(|record| record["event"] == "knots") {
        if let (Some(before), Some(after)) = (record["before"].as_u64(), record["after"].as_u64()) {
            row(
                "knots removed",
                format!(
                    "{before} to {after}, negative log-likelihood {} to {}",
                    nats(&record["nll_before"]),
                    nats(&record["nll_after"])
                ),
            );
        }
    }
    rows
}

fn nats(value: &Value) -> String {
    value.as_f64().map_or("n/a".into(), |v| format!("{v:.4}"))
}

fn certificate(flow: &Flow) -> Vec<Vec<String>> {
    let constants = flow.certificate();
    let number = |v: f64| format!("{v:.4}");
    let range = |(low, high): &(f64, f64)| format!("{low:.4} to {high:.4}");
    let mut rows: Vec<Vec<String>> = constants
        .layers
        .iter()
        .enumerate()
        .map(|(index, layer)| {
            vec![
                index.to_string(),
                range(&layer.slopes[0]),
                layer.slopes.get(1).map_or("".into(), range),
                number(layer.shear),
                number(layer.lipschitz),
                number(layer.inverse_lipschitz),
            ]
        })
        .collect();
    let (forward, backward) = (constants.lipschitz, constants.inverse_lipschitz);
    let all = ["all, with standardisation", "", "", ""].map(str::to_owned);
    rows.push([&all[..], &[format!("{forward:.3e}"), format!("{backward:.3e}")]].concat());
    rows
}

fn curves(records: &[Value]) -> Vec<Chart> {
    let mut charts = Vec::new();
    let (losses, validations) = (series(records, "step", "loss"), series(records, "validation", "nll"));
    if !losses.is_empty() || !validations.is_empty() {
        let chart = Chart::new("step", "negative log-likelihood [nats]")
            .points("batches", losses)
            .line("held-out points", validations);
        charts.push(match entropy(records) {
            Some(entropy) => chart.guides("entropy", &[entropy]).including_y([entropy]),
            None => chart,
        });
    }
    let divergence = series(records, "validation", "divergence");
    if !divergence.is_empty() {
        charts.push(
            Chart::new("step", "divergence from truth [nats]")
                .logarithmic_y()
                .line("", divergence),
        );
    }
    charts
}

fn clouds(pictures: &FlowPictures) -> Vec<Chart> {
    let ranges = &pictures.density.ranges;
    [("data", &pictures.data), ("samples", &pictures.samples)]
        .into_iter()
        .map(|(name, points)| {
            // Of samples far out the panel says nothing rather than shrink.
            let inside = |p: &(f64, f64)| {
                (ranges[0].0..=ranges[0].1).contains(&p.0) && (ranges[1].0..=ranges[1].1).contains(&p.1)
            };
            let all = points.chunks_exact(2).map(|p| (p[0], p[1]));
            Chart::new("x₁", "x₂")
                .titled(name, &format!("{} points", points.len() / 2))
                .including_x([ranges[0].0, ranges[0].1])
                .including_y([ranges[1].0, ranges[1].1])
                .points("", all.filter(inside))
        })
        .collect()
}

/// Histograms of data and samples with the densities.
fn line_figure(pictures: &FlowPictures) -> String {
    let (low, high) = pictures.density.ranges[0];
    let width = (high - low) / BARS as f64;
    let edges: Vec<f64> = (0..=BARS).map(|k| low + width * k as f64).collect();
    let bars = |points: &[f64]| -> Vec<f64> {
        let mut counts = vec![0.0; BARS];
        for x in points {
            let bar = ((x - low) / width).floor();
            if (0.0..BARS as f64).contains(&bar) {
                counts[bar as usize] += 1.0 / (points.len() as f64 * width);
            }
        }
        counts
    };
    let curve = |grid: &DensityGrid| -> Vec<(f64, f64)> {
        let cells = grid.values.len() as f64;
        let place = |k: usize| low + (high - low) * (k as f64 + 0.5) / cells;
        grid.values.iter().enumerate().map(|(k, v)| (place(k), *v)).collect()
    };
    let stairs = |points: &[f64]| -> Vec<(f64, f64)> {
        let heights = bars(points);
        edges
            .windows(2)
            .zip(heights)
            .flat_map(|(e, v)| [(e[0], v), (e[1], v)])
            .collect()
    };
    let mut chart = Chart::new("x", "density")
        .including_y([0.0])
        .curve("data", stairs(&pictures.data))
        .curve("samples", stairs(&pictures.samples))
        .curve("flow", curve(&pictures.density));
    if let Some(truth) = &pictures.truth {
        chart = chart.curve("truth", curve(truth));
    }
    chart.to_svg("Density of the flow")
}

/// The density of a flow of the plane as a picture, the second coordinate upwards; beside the true one where that is known.
/// Colours follow the square root of the density, so that what is rare can be seen.
///
/// # Errors
/// [`Error::Data`] for a density that is not one of the plane.
pub fn density_picture(pictures: &FlowPictures) -> Result<Image> {
    let grid = &pictures.density;
    let [columns, rows] = grid.cells[..] else {
        return Err(Error::Data("a picture shows a density of the plane".into()));
    };
    let shown: Vec<&DensityGrid> = pictures.truth.iter().chain([grid]).collect();
    let reference = shown[0].values.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    let (gap, count) = (8, shown.len());
    let width = columns * count + gap * (count - 1);
    let mut planes = vec![1.0_f32; 3 * rows * width];
    for (n, grid) in shown.into_iter().enumerate() {
        for row in 0..rows {
            for column in 0..columns {
                let value = (grid.values[(rows - 1 - row) * columns + column] / reference).sqrt();
                let at = row * width + n * (columns + gap) + column;
                for (channel, part) in colour(value as f32).into_iter().enumerate() {
                    planes[channel * rows * width + at] = part;
                }
            }
        }
    }
    Image::new(3, rows, width, planes, Format::Png8)
}

fn colour(value: f32) -> [f32; 3] {
    let steps = COLOURS.len() - 1;
    // A density that is not finite is drawn as none.
    let place = if value.is_finite() { value.clamp(0.0, 1.0) } else { 0.0 } * steps as f32;
    let left = (place as usize).min(steps - 1);
    let part = place - left as f32;
    std::array::from_fn(|c| (1.0 - part) * COLOURS[left][c] + part * COLOURS[left + 1][c])
}

fn splines(flow: &Flow) -> Vec<Chart> {
    let chart = |name: String, spline: &Spline| {
        let knots = || spline.knots().iter().copied().zip(spline.values().iter().copied());
        Chart::new("", "")
            .titled(&name, &format!("{} knots", spline.len()))
            .line("", knots())
            .knots("", knots())
    };
    let mut charts = Vec::new();
    for l in 0..flow.layers() {
        charts.push(chart(format!("m {l}"), &flow.slopes[l]));
        if let Some(shear) = flow.shears.get(l) {
            charts.push(chart(format!("n {l}"), &flow.slopes[flow.layers() + l]));
            charts.push(chart(format!("T {l}"), shear));
        }
    }
    charts
}

fn increasing(flow: &Flow) -> Vec<Chart> {
    let chart = |name: String, slope: &Spline| {
        let t = slope.knots();
        let (first, last) = (t[0], t[t.len() - 1]);
        let points = (0..=SAMPLES).map(|k| {
            let x = first + (last - first) * k as f64 / SAMPLES as f64;
            (x, slope.integral(x))
        });
        Chart::new("", "").titled(&name, "").line("", points)
    };
    let mut charts = Vec::new();
    for l in 0..flow.layers() {
        charts.push(chart(format!("M {l}"), &flow.slopes[l]));
        if flow.dims() == 2 {
            charts.push(chart(format!("N {l}"), &flow.slopes[flow.layers() + l]));
        }
    }
    charts
}
