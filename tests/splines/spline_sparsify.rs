//! Knot removal and insertion: fits keep their optimum with the fewest knots, activations their function.

use knotwork::spline::{
    Budget, Loss, Samples, SlopeBounds, Spline, divide_segments, fit_tv2, insert_knots, lambda_max, propose_knots,
    reduce, sparsest,
};
use proptest::prelude::*;

/// The activation that the published WCRR weights contain, on their grid of 101 uniform knots over +-0.1: slope e^mu - 1
/// within +-0.002, -1 outside, flat in the two end segments (method.md 2.7; equal to `spline_phi` of the reference data
/// to 1e-9).
fn published_activation() -> Spline {
    let grid = Spline::uniform(-0.1, 0.1, vec![0.0; 101]).unwrap();
    let slopes: Vec<f64> = (0..100)
        .map(|j| match j {
            0 | 99 => 0.0,
            49 | 50 => 48.031_700_47,
            _ => -1.0,
        })
        .collect();
    let f = Spline::from_slopes(grid.knots().to_vec(), 0.0, &slopes).unwrap();
    f.with_affine_output(1.0, -f.value(0.0)).unwrap()
}

/// The largest difference at many points, the tails included.
fn difference(f: &Spline, g: &Spline) -> f64 {
    let (first, last) = (f.knots()[0], f.knots()[f.len() - 1]);
    (0..=3000)
        .map(|n| first + (n as f64 / 1000.0 - 1.0) * (last - first))
        .chain(f.knots().iter().copied())
        .map(|x| (f.value(x) - g.value(x)).abs())
        .fold(0.0, f64::max)
}

fn budget(max_error: f64, max_knots: usize) -> Budget {
    Budget { max_error, max_knots }
}

#[test]
fn the_published_activation_has_six_knots() {
    let f = published_activation();
    let merged = sparsest(&f, 1e-6).unwrap();
    assert!(merged.len() == 6 && difference(&f, &merged) < 1e-10, "{merged:?}");
    let bounds = SlopeBounds::weakly_convex(1.0, 49.0).unwrap();
    for weights in [None, Some(vec![1.0; 102])] {
        let reduced = reduce(&f, &bounds, weights.as_deref(), budget(1e-9, 101)).unwrap();
        assert!(reduced.spline.len() <= 6, "{} knots", reduced.spline.len());
        assert!(difference(&f, &reduced.spline) < 1e-8 && reduced.rms_error < 1e-9 && reduced.max_error < 1e-8);
        assert!(bounds.contains(&reduced.spline, 1e-9));
    }
}

#[test]
fn fits_keep_their_optimum_with_few_knots() {
    let mut state = 9_u64;
    let mut uniform = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    for count in [20, 100, 500] {
        let x: Vec<f64> = (0..count).map(|_| 4.0 * uniform()).collect();
        let y: Vec<f64> = x.iter().map(|x| (2.0 * x).sin() + 0.2 * (uniform() - 0.5)).collect();
        let samples = Samples::new(&x, &y, None).unwrap();
        for bounds in ["none", "lipschitz", "firm", "-1,2"] {
            let bounds: SlopeBounds = bounds.parse().unwrap();
            for factor in [1e-5, 1e-3, 0.1] {
                let fit = fit_tv2(&samples, Loss::Squared, factor * lambda_max(&samples, &bounds), &bounds).unwrap();
                let sparse = fit.sparsest().unwrap();
                for (x, f) in samples.x().iter().zip(fit.spline.values()) {
                    assert!((sparse.value(*x) - f).abs() < 1e-9);
                }
                let tv2: f64 = fit.slopes.windows(2).map(|s| (s[1] - s[0]).abs()).sum();
                assert!(
                    (sparse.tv2() - tv2).abs() <= 1e-8 * (1.0 + tv2),
                    "{} {tv2}",
                    sparse.tv2()
                );
                assert!(bounds.contains(&sparse, 1e-8));
                assert!(sparse.len() <= samples.len());
                // No two neighbouring knots of equal sign remain unless a sample lies between or on them.
                let active = fit.slopes.windows(2).filter(|s| s[0] != s[1]).count();
                assert!(sparse.len() <= active + 2);
            }
        }
    }
}

#[test]
fn runs_merge_in_pairs() {
    // A parabola's chord polygon: 7 equal slope changes of the same sign become ceil(7 / 2) = 4 knots.
    let f = Spline::uniform(0.0, 8.0, (0..9).map(|n| 0.5 * (n * n) as f64).collect()).unwrap();
    let g = sparsest(&f, 0.0).unwrap();
    assert_eq!(g.knots(), [0.0, 1.5, 3.5, 5.5, 7.0, 8.0]);
    for n in 0..9 {
        assert!((g.value(n as f64) - f.value(n as f64)).abs() < 1e-14);
    }
    assert!((g.tv2() - f.tv2()).abs() < 1e-14);
    // Unequal slope changes meet at their barycentre; opposite signs and collinear samples do not merge.
    let f = Spline::new(
        vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
        vec![0.0, 0.0, 1.0, 5.0, 9.0, 9.0, 9.0],
    )
    .unwrap();
    assert_eq!(sparsest(&f, 0.0).unwrap().knots(), [0.0, 1.75, 4.0, 6.0]);
    let f = Spline::new(vec![0.0, 1.0, 2.0, 3.0, 4.0], vec![0.0, 0.0, 1.0, 2.0, 4.0]).unwrap();
    assert_eq!(sparsest(&f, 0.0).unwrap().knots(), [0.0, 1.0, 3.0, 4.0]);
    assert!(sparsest(&f, f64::NAN).is_err() && sparsest(&f, -1.0).is_err());
}

/// The integrated squared difference by a fine midpoint rule, tails of a quarter of the range included.
fn rms_by_sampling(f: &Spline, g: &Spline, weights: &[f64]) -> f64 {
    let t = f.knots();
    let reach = 0.25 * (t[t.len() - 1] - t[0]);
    let mut ends = vec![t[0] - reach];
    ends.extend_from_slice(t);
    ends.push(t[t.len() - 1] + reach);
    let (mut sum, mut total) = (0.0, 0.0);
    for (ends, w) in ends.windows(2).zip(weights) {
        for k in 0..2000 {
            let x = ends[0] + (ends[1] - ends[0]) * (k as f64 + 0.5) / 2000.0;
            sum += w / 2000.0 * (f.value(x) - g.value(x)).powi(2);
        }
        total += w;
    }
    (sum / total).sqrt()
}

fn wave() -> (Spline, Vec<f64>) {
    let f = Spline::uniform(-1.0, 1.0, (0..41).map(|n| ((n as f64 - 20.0) * 0.2).sin()).collect()).unwrap();
    let weights = (0..42).map(|n| (-(n as f64 - 20.0).powi(2) / 50.0).exp()).collect();
    (f, weights)
}

#[test]
fn reduction_keeps_budget_and_bounds_and_reports_the_true_error() {
    let (f, weights) = wave();
    for (max_error, bounds) in [(1e-3, "none"), (1e-2, "none"), (1e-2, "-3.5,4"), (1e-2, "-1,3")] {
        let bounds: SlopeBounds = bounds.parse().unwrap();
        let reduced = reduce(&f, &bounds, Some(&weights), budget(max_error, 41)).unwrap();
        let sampled = rms_by_sampling(&f, &reduced.spline, &weights);
        assert!(
            (reduced.rms_error - sampled).abs() < 1e-5 * (1.0 + sampled),
            "{} {sampled}",
            reduced.rms_error
        );
        assert!(
            bounds.contains(&reduced.spline, 1e-9),
            "{:?}",
            bounds.violation(&reduced.spline)
        );
        if bounds.contains(&f, 0.0) {
            assert!(
                reduced.rms_error <= max_error && reduced.spline.len() < 30,
                "{}",
                reduced.spline.len()
            );
        }
    }
    let strict = reduce(&f, &SlopeBounds::none(), Some(&weights), budget(1e-3, 41)).unwrap();
    let loose = reduce(&f, &SlopeBounds::none(), Some(&weights), budget(1e-2, 41)).unwrap();
    assert!(loose.spline.len() < strict.spline.len());
    let forced = reduce(&f, &SlopeBounds::none(), Some(&weights), budget(0.0, 5)).unwrap();
    assert_eq!(forced.spline.len(), 5);
    let line = reduce(&f, &SlopeBounds::none(), None, budget(0.0, 2)).unwrap();
    assert_eq!(line.spline.len(), 2);
}

#[test]
fn a_reduction_without_an_error_to_spend_never_adds_knots() {
    let (f, weights) = wave();
    for spline in [
        &f,
        &Spline::new(vec![0.0, 1.0], vec![0.0, 1.0]).unwrap(),
        &published_activation(),
    ] {
        let weights = (spline.len() == f.len()).then_some(&weights[..]);
        let reduced = reduce(spline, &SlopeBounds::none(), weights, budget(0.0, usize::MAX)).unwrap();
        assert!(reduced.spline.len() <= spline.len(), "{}", reduced.spline.len());
        assert!(difference(spline, &reduced.spline) < 1e-12);
    }
}

#[test]
fn antisymmetric_splines_stay_so_bit_for_bit() {
    let (odd_count, _) = wave();
    let even_count = Spline::uniform(
        -1.0,
        1.0,
        (0..40).map(|n| ((f64::from(n) - 19.5) * 0.2).sin()).collect(),
    )
    .unwrap();
    // Off by rounding, as knots and values from elsewhere are.
    let shaken = odd_count.with_affine_output(1.0, 1e-14).unwrap();
    for f in [&odd_count, &even_count, &shaken] {
        let last = f.len() as f64;
        let weights: Vec<f64> = (0..=f.len())
            .map(|n| (-(n as f64 - 0.5 * last).powi(2) / 50.0).exp())
            .collect();
        for (max_error, max_knots, bounds) in [
            (1e-3, 99, "none"),
            (1e-2, 99, "none"),
            (1e-2, 99, "-1,3"),
            (0.0, 9, "none"),
            (0.0, 8, "none"),
            (0.0, 2, "none"),
        ] {
            let bounds: SlopeBounds = bounds.parse().unwrap();
            let reduced = reduce(f, &bounds, Some(&weights), budget(max_error, max_knots)).unwrap();
            for numbers in [reduced.spline.knots(), reduced.spline.values()] {
                let mirrored = numbers.iter().zip(numbers.iter().rev());
                assert!(mirrored.into_iter().all(|(a, b)| *a == -b), "{:?}", reduced.spline);
            }
            assert!(reduced.spline.len() <= max_knots, "{}", reduced.spline.len());
            assert!(bounds.contains(&reduced.spline, 1e-9));
            let sampled = rms_by_sampling(f, &reduced.spline, &weights);
            assert!(
                (reduced.rms_error - sampled).abs() < 1e-5 * (1.0 + sampled),
                "{} {sampled}",
                reduced.rms_error
            );
            if max_error > 0.0 && bounds.contains(f, 0.0) {
                assert!(reduced.rms_error <= max_error && reduced.spline.len() < f.len() - 4);
            }
        }
    }
}

#[test]
fn the_refit_is_a_least_squares_optimum() {
    // No move of a single value of the reduced spline may lower the sampled error.
    let (f, weights) = wave();
    let reduced = reduce(&f, &SlopeBounds::none(), Some(&weights), budget(0.0, 6))
        .unwrap()
        .spline;
    let best = rms_by_sampling(&f, &reduced, &weights);
    for n in 0..reduced.len() {
        for step in [1e-3, -1e-3] {
            let mut values = reduced.values().to_vec();
            values[n] += step;
            let moved = Spline::new(reduced.knots().to_vec(), values).unwrap();
            assert!(
                rms_by_sampling(&f, &moved, &weights) > best,
                "value {n} moves by {step}"
            );
        }
    }
}

#[test]
fn the_refit_under_bounds_beats_feasible_neighbours() {
    // Where bounds bite, every admissible convex combination with other admissible splines must be worse.
    let (f, weights) = wave();
    let bounds = SlopeBounds::new(-1.0, 3.0).unwrap();
    let reduced = reduce(&f, &bounds, Some(&weights), budget(0.0, 8)).unwrap().spline;
    let best = rms_by_sampling(&f, &reduced, &weights);
    for n in 0..reduced.len() {
        for step in [0.1, -0.1] {
            let mut values = reduced.values().to_vec();
            values[n] += step;
            let other = Spline::new(reduced.knots().to_vec(), values).unwrap();
            let admissible = knotwork::spline::project(&other, &vec![1.0; other.len()], &bounds).unwrap();
            let values = admissible
                .values()
                .iter()
                .zip(reduced.values())
                .map(|(a, b)| b + 1e-2 * (a - b))
                .collect();
            let moved = Spline::new(reduced.knots().to_vec(), values).unwrap();
            assert!(
                rms_by_sampling(&f, &moved, &weights) >= best * (1.0 - 1e-7),
                "value {n} by {step}"
            );
        }
    }
}

proptest! {
    #[test]
    fn insertion_keeps_the_function(
        values in prop::collection::vec(-1.0..1.0_f64, 2..10),
        new in prop::collection::vec(-2.0..2.0_f64, 0..20),
        demand in prop::collection::vec(0.0..1.0_f64, 9),
    ) {
        let f = Spline::uniform(-1.0, 1.0, values).unwrap();
        let inserted = insert_knots(&f, &new).unwrap();
        prop_assert!(difference(&f, &inserted) < 1e-9 * 1e3);
        prop_assert!(inserted.len() <= f.len() + new.len());
        let proposed = divide_segments(&f, &demand[..f.len() - 1], 7).unwrap();
        prop_assert_eq!(proposed.len(), if demand[..f.len() - 1].iter().any(|d| *d > 0.0) { 7 } else { 0 });
        let divided = insert_knots(&f, &proposed).unwrap();
        prop_assert_eq!(divided.len(), f.len() + 7);
    }
}

#[test]
fn new_knots_go_where_the_residuals_are() {
    let f = Spline::uniform(0.0, 4.0, vec![0.0; 5]).unwrap();
    // A kink at 2.3: the data are a hat on [2, 3] with its peak there, plus noise elsewhere.
    let x: Vec<f64> = (0..400).map(|n| 0.01 * n as f64).collect();
    let hat = |x: f64| if x < 2.3 { (x - 2.0) / 0.3 } else { (3.0 - x) / 0.7 }.max(0.0);
    let r: Vec<f64> = x.iter().map(|&x| hat(x) + if x < 1.0 { 1e-3 } else { 0.0 }).collect();
    let proposed = propose_knots(&f, &x, &r, &[1.0; 400], 3).unwrap();
    assert_eq!(proposed.len(), 2);
    assert!((proposed[0] - 2.4).abs() < 0.11 && proposed[1] < 1.0, "{proposed:?}");
    assert_eq!(propose_knots(&f, &x, &r, &[1.0; 400], 1).unwrap().len(), 1);
    // Mirror images in two segments: the slightly larger residuals win, whichever side of the hat they lie on.
    let mirrored: Vec<f64> = x
        .iter()
        .map(|x| {
            if (0.5..1.0).contains(x) {
                1.0
            } else if (1.0..1.5).contains(x) {
                0.999
            } else {
                0.0
            }
        })
        .collect();
    assert!(propose_knots(&f, &x, &mirrored, &[1.0; 400], 1).unwrap()[0] < 1.0);
    // Demand 9 : 1 divides the first segment into three before it touches the second.
    let two = Spline::uniform(0.0, 2.0, vec![0.0; 3]).unwrap();
    let divided = divide_segments(&two, &[9.5, 1.0], 3).unwrap();
    assert_eq!(divided.len(), 3);
    for (t, expected) in divided.iter().zip([0.25, 0.5, 0.75]) {
        assert!((t - expected).abs() < 1e-15);
    }
    let divided = divide_segments(&two, &[3.5, 1.0], 2).unwrap();
    assert_eq!(divided, [0.5, 1.5]);
}

#[test]
fn hostile_input_is_named() {
    let f = Spline::uniform(0.0, 1.0, vec![0.0, 1.0, 0.0]).unwrap();
    let none = SlopeBounds::none();
    assert!(
        reduce(&f, &none, None, budget(-1.0, 5))
            .unwrap_err()
            .to_string()
            .contains("budget")
    );
    assert!(reduce(&f, &none, None, budget(f64::NAN, 5)).is_err() && reduce(&f, &none, None, budget(0.0, 1)).is_err());
    assert!(
        reduce(&f, &none, Some(&[1.0; 2]), budget(0.0, 2))
            .unwrap_err()
            .to_string()
            .contains("histogram")
    );
    assert!(reduce(&f, &none, Some(&[1.0, 1.0, -1.0, 1.0]), budget(0.0, 2)).is_err());
    // Bins without inputs are fine.
    assert!(
        reduce(&f, &none, Some(&[0.0, 1.0, 0.0, 0.0]), budget(1e-3, 9))
            .unwrap()
            .rms_error
            <= 1e-3
    );
    assert!(
        insert_knots(&f, &[f64::NAN])
            .unwrap_err()
            .to_string()
            .contains("new knot 0")
    );
    assert!(propose_knots(&f, &[0.0], &[0.0, 1.0], &[1.0], 1).is_err());
    assert!(
        propose_knots(&f, &[0.0], &[f64::NAN], &[1.0], 1)
            .unwrap_err()
            .to_string()
            .contains("sample 0")
    );
    assert!(divide_segments(&f, &[1.0], 1).is_err() && divide_segments(&f, &[1.0, -1.0], 1).is_err());
    // A segment that f32 cannot divide is left alone.
    let tight = Spline::new(vec![1.0, 1.0 + 2e-7, 2.0], vec![0.0; 3]).unwrap();
    assert!(divide_segments(&tight, &[1e9, 0.0], 3).unwrap().is_empty());
    assert_eq!(insert_knots(&tight, &[1.0, 1.0 + 1e-7, 2.0]).unwrap(), tight);
}
