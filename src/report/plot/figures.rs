//! The figures of the project: a fit with its derivative, the activations of a model, and their penalties.

use super::axis::drawable;
use super::{Chart, Figure, LEFT, Panel, RIGHT};
use crate::spline::{Penalty, Samples, SlopeBounds, Spline};

/// Samples drawn at most; more would only make the file large.
const MOST_POINTS: usize = 2000;
/// A slope bound is shown if it lies within this many times the range of the slopes from them.
const BOUND_REACH: f64 = 2.0;
/// Points per piece of a parabola.
const PIECE: usize = 8;

/// A spline fitted to samples as an SVG image: above, the samples and the spline with its knots (the ends, where the
/// slope does not change, hollow); below, its derivative as a step function with the slope bounds dashed and the knots as
/// strokes on the axis.
///
/// Of more than 2000 samples one of each of 2000 equal groups of neighbours is drawn, always the same one, and the legend
/// says so. Bounds far from all slopes are only named. `title` may be any text.
pub fn spline_fit_figure(samples: &Samples, spline: &Spline, bounds: &SlopeBounds, title: &str) -> String {
    const WIDTH: f64 = 640.0;
    const HEIGHT: f64 = 500.0;
    let (t, f) = (spline.knots(), spline.values());
    let shown = subsample(samples.len(), MOST_POINTS);
    let counted = if shown.len() < samples.len() {
        format!("samples ({} of {})", shown.len(), samples.len())
    } else {
        "samples".into()
    };
    let reach = {
        let (x, last) = (samples.x(), t.len() - 1);
        [x[0].min(t[0]), x[x.len() - 1].max(t[last])]
    };
    let curve = std::iter::once(reach[0])
        .chain(t.iter().copied())
        .chain([reach[1]])
        .map(|x| (x, spline.value(x)));
    let upper = Chart::new("", "f(x)")
        .points(&counted, shown.iter().map(|&n| (samples.x()[n], samples.y()[n])))
        .line("spline", curve)
        .knots(&format!("{} knots", t.len()), t.iter().copied().zip(f.iter().copied()));

    // The outer slopes reach over the samples beyond the knots.
    let slopes = spline.slopes();
    let mut edges = t.to_vec();
    (edges[0], edges[t.len() - 1]) = (reach[0], reach[1]);
    let lower = Chart::new("x", "f′(x)").steps("derivative", &edges, &slopes);
    let lower = with_bounds(lower, spline.slope_range(), bounds)
        .rug("knots", t)
        .including_x(reach);

    let mut figure = Figure::titled(WIDTH, HEIGHT, title);
    let panel = Panel {
        at: (LEFT, 58.0),
        size: (WIDTH - LEFT - RIGHT, 250.0),
        font: 11.0,
        ticks: (7, 5),
        x_labels: false,
    };
    figure.draw(&upper, panel);
    let panel = Panel {
        at: (LEFT, 344.0),
        size: (panel.size.0, 104.0),
        ticks: (7, 3),
        x_labels: true,
        ..panel
    };
    figure.draw(&lower, panel);
    figure.finish()
}

/// Adds those slope bounds that exist, and makes the axis reach those that are not far from the slopes.
fn with_bounds(chart: Chart, (low, high): (f64, f64), bounds: &SlopeBounds) -> Chart {
    let finite: Vec<f64> = [bounds.min(), bounds.max()]
        .into_iter()
        .filter(|b| b.is_finite())
        .collect();
    if finite.is_empty() {
        return chart;
    }
    // Of a constant slope, its size takes the place of the range.
    let extent = (high - low).max(0.5 * low.abs().max(high.abs()));
    let near = |bound: &f64| {
        let distance = (bound - high).max(low - bound).max(0.0);
        drawable(*bound) && (distance <= BOUND_REACH * extent || extent == 0.0)
    };
    let visible: Vec<f64> = finite.iter().copied().filter(near).collect();
    let far: Vec<String> = finite.iter().filter(|b| !near(b)).map(|&b| short_number(b)).collect();
    let beyond = match far.is_empty() {
        true => String::new(),
        false => format!(", {} beyond the axis", far.join(" and ")),
    };
    let (opening, closing) = (
        if bounds.min().is_finite() { "[" } else { "(" },
        if bounds.max().is_finite() { "]" } else { ")" },
    );
    let label = format!(
        "slope bounds {opening}{}, {}{closing}{beyond}",
        short_number(bounds.min()),
        short_number(bounds.max())
    );
    chart.including_y(visible.iter().copied()).guides(&label, &visible)
}

/// At most `most` of the indices below `count`, increasing: one from each group of neighbours, not always at the
/// same place of it, since data with a period would then show a false one.
pub(in crate::report) fn subsample(count: usize, most: usize) -> Vec<usize> {
    let groups = count.min(most);
    (0..groups)
        .map(|k| {
            let (start, end) = (k * count / groups, (k + 1) * count / groups);
            // Multiplicative hashing: the upper half of the product is well mixed.
            let mixed = (k as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
            start + (mixed % (end - start) as u64) as usize
        })
        .collect()
}

/// A number with four significant digits at most.
fn short_number(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "∞" } else { "−∞" }.into();
    }
    let size = value.abs();
    let text = if size != 0.0 && !(1e-3..1e5).contains(&size) {
        let text = format!("{value:.3e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        format!("{}e{exponent}", trimmed(mantissa))
    } else {
        let decimals = (3 - size.max(1e-3).log10().floor() as i32).clamp(0, 6);
        trimmed(&format!("{value:.*}", decimals as usize)).to_owned()
    };
    text.replace('-', "−")
}

/// A decimal number without zeros at its end.
fn trimmed(decimal: &str) -> &str {
    match decimal.contains('.') {
        true => decimal.trim_end_matches('0').trim_end_matches('.'),
        false => decimal,
    }
}

/// Many splines as small panels of one SVG image, row by row, each with its name, its knots and their number. Axes are
/// their own: compare numbers, not heights.
pub fn activations_figure(activations: &[(&str, &Spline)]) -> String {
    let charts: Vec<Chart> = activations
        .iter()
        .map(|(name, spline)| {
            let knots = || spline.knots().iter().copied().zip(spline.values().iter().copied());
            Chart::new("", "")
                .titled(name, &format!("{} knots", spline.len()))
                .line("", knots())
                .knots("", knots())
        })
        .collect();
    small_panels_figure(&format!("{} activations", activations.len()), &charts)
}

/// Penalties likewise, with their nodes, a little beyond those; pale vertical lines where a domain ends.
pub fn penalties_figure(penalties: &[(&str, &Penalty)]) -> String {
    let charts: Vec<Chart> = penalties
        .iter()
        .map(|(name, penalty)| {
            let (nodes, (low, high)) = (penalty.nodes(), penalty.domain());
            let beyond = 0.15 * (nodes[nodes.len() - 1] - nodes[0]);
            let from = low.max(nodes[0] - beyond);
            let to = high.min(nodes[nodes.len() - 1] + beyond);
            let mut ends: Vec<f64> = [from].iter().chain(nodes).chain([&to]).copied().collect();
            ends.dedup();
            let inside = ends
                .windows(2)
                .flat_map(|z| (0..PIECE).map(move |k| z[0] + (z[1] - z[0]) * k as f64 / PIECE as f64))
                .chain([to]);
            Chart::new("", "")
                .titled(name, &format!("{} nodes", nodes.len()))
                .moments("", [low, high])
                .line("", inside.map(|z| (z, penalty.value(z))))
                .knots("", nodes.iter().copied().zip(penalty.values().iter().copied()))
        })
        .collect();
    small_panels_figure(&format!("{} penalties", penalties.len()), &charts)
}

/// Charts as small panels of one SVG image, row by row, the smaller the more there are. Names of axes have no room.
/// `title` is for those who cannot see the image.
pub fn small_panels_figure(title: &str, charts: &[Chart]) -> String {
    let few = charts.len() <= 12;
    let (cell, font) = if few {
        ((212.0, 166.0), 10.0)
    } else {
        ((144.0, 120.0), 8.0)
    };
    let columns = match charts.len() {
        0 | 1 => 1,
        n @ 2..=4 => n.min(3),
        5..=12 => 4,
        _ => 8,
    };
    let panel = Panel {
        at: (4.2 * font, 2.2 * font),
        size: (cell.0 - 4.6 * font, cell.1 - 6.0 * font),
        font,
        ticks: (3, 3),
        x_labels: true,
    };
    grid(title, charts, columns, cell, (10.0, 6.0), panel)
}

/// Charts as panels of one SVG image, two in a row, 950 pixels wide, with the names of their axes. `title` is for those who
/// cannot see the image.
pub fn panels_figure(title: &str, charts: &[Chart]) -> String {
    let panel = Panel {
        at: (58.0, 26.0),
        size: (404.0, 168.0),
        font: 10.0,
        ticks: (6, 5),
        x_labels: true,
    };
    grid(title, charts, 2, (472.0, 236.0), (6.0, 0.0), panel)
}

/// The same with square panels, for points of the plane.
pub fn square_panels_figure(title: &str, charts: &[Chart]) -> String {
    let panel = Panel {
        at: (58.0, 26.0),
        size: (404.0, 404.0),
        font: 10.0,
        ticks: (6, 6),
        x_labels: true,
    };
    grid(title, charts, 2, (472.0, 472.0), (6.0, 0.0), panel)
}

/// Charts in cells of one size, row by row; `panel` says where the plot area lies in the first.
fn grid(title: &str, charts: &[Chart], columns: usize, cell: (f64, f64), margin: (f64, f64), panel: Panel) -> String {
    let rows = charts.len().div_ceil(columns).max(1);
    let (width, height) = (cell.0 * columns as f64 + margin.0, cell.1 * rows as f64 + margin.1);
    let mut figure = Figure::new(width, height, title);
    for (index, chart) in charts.iter().enumerate() {
        let corner = (cell.0 * (index % columns) as f64, cell.1 * (index / columns) as f64);
        let at = (corner.0 + panel.at.0, corner.1 + panel.at.1);
        figure.draw(chart, Panel { at, ..panel });
    }
    figure.finish()
}
