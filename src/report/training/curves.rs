//! Learning curves: what a log says over the steps.

use serde_json::Value;

use super::super::plot::{Chart, subsample};
use super::{level, of_kind};

/// Points of a curve at most; a page has no more pixels.
const MOST_POINTS: usize = 400;
/// Running means are over this part of a log.
const WINDOWS: usize = 40;

type Points = Vec<(f64, f64)>;

/// A panel for everything of which the log says something.
pub(super) fn charts(records: &[Value]) -> Vec<Chart> {
    let adaptations = || of_kind(records, "knots").filter_map(|record| record["step"].as_f64());
    let step = |path: &str| -> Points {
        of_kind(records, "step")
            .filter_map(|record| Some((record["step"].as_f64()?, record.pointer(path)?.as_f64()?)))
            .collect()
    };
    let noisy = |chart: Chart, path: &str| {
        let points = step(path);
        chart
            .points(
                "batch",
                subsample(points.len(), MOST_POINTS).into_iter().map(|n| points[n]),
            )
            .line("mean", thinned(&running_mean(&points)))
    };
    let losses = step("/loss");
    let mut charts = Vec::new();
    if !losses.is_empty() {
        charts.push(noisy(Chart::new("step", "loss").logarithmic_y(), "/loss"));
    }
    if !step("/psnr").is_empty() {
        charts.push(noisy(Chart::new("step", "PSNR of batches [dB]"), "/psnr"));
    }
    let validations = validations(records);
    if !validations.is_empty() {
        let chart = Chart::new("step", "validation PSNR [dB]");
        charts.push(validations.iter().fold(chart, |chart, (sigma, points)| {
            chart.curve(&format!("σ {}", level(*sigma)), thinned(points))
        }));
    }
    if !step("/rate").is_empty() {
        let chart = Chart::new("step", "learning rate").logarithmic_y();
        charts.push(chart.line("", thinned(&step("/rate"))));
    }
    let groups = ["filters", "values", "scalings"].map(|name| (name, step(&format!("/gradient_norms/{name}"))));
    if groups.iter().any(|(_, points)| !points.is_empty()) {
        let chart = Chart::new("step", "gradient norm, mean").logarithmic_y();
        charts.push(
            groups
                .iter()
                .filter(|(_, points)| !points.is_empty())
                .fold(chart, |chart, (name, points)| {
                    chart.curve(name, thinned(&running_mean(points)))
                }),
        );
    }
    if !step("/iterations").is_empty() {
        let chart = Chart::new("step", "iterations, mean").including_y([0.0]);
        let mean = |path: &str| thinned(&running_mean(&step(path)));
        charts.push(
            chart
                .curve("solver", mean("/iterations"))
                .curve("adjoint", mean("/adjoint_iterations")),
        );
    }
    if !step("/knots").is_empty() {
        let chart = Chart::new("step", "knots")
            .including_y([0.0])
            .moments("adapted", adaptations());
        charts.push(chart.line("all activations", thinned(&step("/knots"))));
    }
    if !step("/tv2").is_empty() {
        let chart = Chart::new("step", "TV2 of all activations").including_y([0.0]);
        charts.push(chart.moments("adapted", adaptations()).line("", thinned(&step("/tv2"))));
    }
    charts
}

/// Validation PSNR over the steps, for every noise level in the order of the levels.
fn validations(records: &[Value]) -> Vec<(f64, Points)> {
    let mut found: Vec<(f64, Points)> = Vec::new();
    for record in of_kind(records, "validation") {
        let Some(step) = record["step"].as_f64() else { continue };
        for entry in record["psnr"].as_array().into_iter().flatten() {
            let (Some(sigma), Some(psnr)) = (entry["sigma"].as_f64(), entry["psnr"].as_f64()) else {
                continue;
            };
            match found.iter_mut().find(|(at, _)| *at == sigma) {
                Some((_, points)) => points.push((step, psnr)),
                None => found.push((sigma, vec![(step, psnr)])),
            }
        }
    }
    found.sort_by(|a, b| a.0.total_cmp(&b.0));
    found
}

/// Means of as many neighbours as make up a part of the log. Near the ends the window is cut on both sides, so that a trend
/// is not shifted, and where less than a quarter of it would be left, which is noise rather than a mean, there is none.
fn running_mean(points: &[(f64, f64)]) -> Points {
    let full = points.len() / (2 * WINDOWS);
    (0..points.len())
        .filter_map(|n| {
            let reach = full.min(n).min(points.len() - 1 - n);
            let window = &points[n - reach..=n + reach];
            let mean = || window.iter().map(|p| p.1).sum::<f64>() / window.len() as f64;
            (reach >= full / 4).then(|| (points[n].0, mean()))
        })
        .collect()
}

/// At most [`MOST_POINTS`] of the points, evenly, with both ends.
fn thinned(points: &[(f64, f64)]) -> Points {
    if points.len() <= MOST_POINTS {
        return points.to_vec();
    }
    let last = points.len() - 1;
    (0..MOST_POINTS).map(|k| points[k * last / (MOST_POINTS - 1)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_follow_a_trend_to_its_ends() {
        let line: Points = (0..1000).map(|n| (f64::from(n), 3.0 * f64::from(n) - 7.0)).collect();
        let means = running_mean(&line);
        // The full window has 12 neighbours on either side; 3 are the least.
        assert_eq!(means.len(), 994);
        for (got, want) in means.iter().zip(&line[3..]) {
            assert_eq!(got.0, want.0);
            assert!((got.1 - want.1).abs() <= 1e-9, "{got:?} for {want:?}");
        }
        let spread = |points: &[(f64, f64)]| points.iter().map(|p| p.1.abs()).sum::<f64>() / points.len() as f64;
        let zigzag: Points = (0..1000)
            .map(|n| (f64::from(n), if n % 2 == 0 { 1.0 } else { -1.0 }))
            .collect();
        // 7 to 25 neighbours of alternating sign leave a 7th to a 25th.
        assert!(spread(&running_mean(&zigzag)) < 0.1 && spread(&zigzag) == 1.0);
        assert!(running_mean(&[]).is_empty());
        assert_eq!(running_mean(&line[..1]), line[..1]);
    }

    #[test]
    fn few_points_stay_and_many_keep_their_ends() {
        let line: Points = (0..10_001).map(|n| (f64::from(n), 0.0)).collect();
        assert_eq!(thinned(&line[..400]), line[..400]);
        let few = thinned(&line);
        assert_eq!((few.len(), few[0].0, few[399].0), (400, 0.0, 10_000.0));
        assert!(few.windows(2).all(|p| (25.0..=26.0).contains(&(p[1].0 - p[0].0))));
    }
}
