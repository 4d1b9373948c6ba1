//! Slope bounds and the two projections: brute force over all active sets, dense Jacobians by finite differences, and
//! the properties that define a projection.

use knotwork::spline::{SlopeBounds, Spline, clip_slopes, clip_slopes_vjp, project, projection_residual};
use proptest::prelude::*;

/// A spline with spacings between 1e-5 and 10 (ratio 1e6), slopes in +-5 so that bounds bite, and weights in 0.03..30.
fn problem(max_len: usize) -> impl Strategy<Value = (Spline, Vec<f64>)> {
    (2_usize..max_len).prop_flat_map(|n| {
        let spacing = prop::collection::vec((-5.0..1.0_f64).prop_map(|e| 10_f64.powf(e)), n - 1);
        let jump = prop::collection::vec((-5.0..5.0_f64, prop::bool::ANY, -1.0..1.0_f64), n - 1);
        let weights = prop::collection::vec((-1.5..1.5_f64).prop_map(|e| 10_f64.powf(e)), n);
        (spacing, jump, weights).prop_filter_map("knots distinct in f32", |(h, jump, weights)| {
            let (mut knots, mut values) = (vec![0.0], vec![0.3]);
            for (h, (slope, noisy, noise)) in h.iter().zip(&jump) {
                knots.push(knots[knots.len() - 1] + h);
                values.push(values[values.len() - 1] + if *noisy { *noise } else { slope * h });
            }
            Some((Spline::new(knots, values).ok()?, weights))
        })
    })
}

fn any_bounds() -> impl Strategy<Value = SlopeBounds> {
    prop_oneof![
        Just(SlopeBounds::lipschitz()),
        Just(SlopeBounds::firm()),
        Just("monotone".parse().unwrap()),
        Just(SlopeBounds::weakly_convex(0.3, 2.0).unwrap()),
        Just(SlopeBounds::invertible(0.5, 3.0).unwrap()),
        Just(SlopeBounds::new(f64::NEG_INFINITY, 0.7).unwrap()),
        Just(SlopeBounds::new(0.4, 0.4).unwrap()),
        Just(SlopeBounds::none()),
    ]
}

fn distance(weights: &[f64], a: &[f64], b: &[f64]) -> f64 {
    weights
        .iter()
        .zip(a.iter().zip(b))
        .map(|(w, (a, b))| w * (a - b).powi(2))
        .sum::<f64>()
        .sqrt()
}

/// The projection by trying every assignment of (free, at s_min, at s_max) to the segments: for each, the blocks of
/// joined nodes take their weighted means; the best assignment whose free segments are admissible wins.
fn brute_force(f: &Spline, weights: &[f64], bounds: &SlopeBounds) -> Vec<f64> {
    let (t, y) = (f.knots(), f.values());
    let segments = t.len() - 1;
    let mut best = (f64::INFINITY, vec![]);
    for code in 0..3_usize.pow(segments as u32) {
        let state = |j: usize| code / 3_usize.pow(j as u32) % 3;
        let fixed = |j: usize| [f64::NAN, bounds.min(), bounds.max()][state(j)] * (t[j + 1] - t[j]);
        if (0..segments).any(|j| state(j) > 0 && !fixed(j).is_finite()) {
            continue;
        }
        let mut v = vec![];
        while v.len() <= segments {
            let first = v.len();
            let mut offsets = vec![0.0];
            while first + offsets.len() <= segments && state(first + offsets.len() - 1) > 0 {
                offsets.push(offsets[offsets.len() - 1] + fixed(first + offsets.len() - 1));
            }
            let w = &weights[first..first + offsets.len()];
            let mean = w
                .iter()
                .zip(&offsets)
                .enumerate()
                .map(|(n, (w, o))| w * (y[first + n] - o))
                .sum::<f64>()
                / w.iter().sum::<f64>();
            v.extend(offsets.iter().map(|o| mean + o));
        }
        let admissible = (0..segments).all(|j| {
            let (rise, h) = (v[j + 1] - v[j], t[j + 1] - t[j]);
            state(j) > 0 || (rise >= bounds.min() * h - 1e-13 && rise <= bounds.max() * h + 1e-13)
        });
        let cost = distance(weights, &v, y);
        if admissible && cost < best.0 {
            best = (cost, v);
        }
    }
    best.1
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn projection_is_the_brute_force_optimum((f, weights) in problem(7), bounds in any_bounds()) {
        let projected = project(&f, &weights, &bounds).unwrap();
        let expected = brute_force(&f, &weights, &bounds);
        let scale = f.values().iter().fold(1.0_f64, |m, v| m.max(v.abs()));
        for (a, b) in projected.values().iter().zip(&expected) {
            prop_assert!((a - b).abs() <= 1e-10 * scale, "{:?} {expected:?}", projected.values());
        }
    }

    #[test]
    fn projection_is_optimal_idempotent_and_admissible((f, weights) in problem(200), bounds in any_bounds()) {
        let projected = project(&f, &weights, &bounds).unwrap();
        let residual = projection_residual(&f, &weights, &bounds, &projected).unwrap();
        prop_assert!(residual <= 1e-12, "residual {residual:e}");
        let twice = project(&projected, &weights, &bounds).unwrap();
        let scale = f.values().iter().fold(1.0_f64, |m, v| m.max(v.abs()));
        for n in 0..f.len() {
            prop_assert!((twice.values()[n] - projected.values()[n]).abs() <= 1e-13 * scale);
        }
        let rounding = |j: usize| 1e-15 * scale / (f.knots()[j + 1] - f.knots()[j]);
        for (j, s) in projected.slopes().into_iter().enumerate() {
            prop_assert!(s >= bounds.min() - rounding(j) - 1e-14 && s <= bounds.max() + rounding(j) + 1e-14);
        }
    }

    #[test]
    fn projection_is_non_expansive((f, weights) in problem(40), shift in prop::collection::vec(-1.0..1.0_f64, 40), bounds in any_bounds()) {
        let moved = f.values().iter().zip(&shift).map(|(v, d)| v + d).collect();
        let g = Spline::new(f.knots().to_vec(), moved).unwrap();
        let (p, q) = (project(&f, &weights, &bounds).unwrap(), project(&g, &weights, &bounds).unwrap());
        let before = distance(&weights, f.values(), g.values());
        let after = distance(&weights, p.values(), q.values());
        prop_assert!(after <= before * (1.0 + 1e-10) + 1e-10);
    }

    #[test]
    fn clipping_is_idempotent_admissible_and_keeps_the_mean((f, _) in problem(40), bounds in any_bounds()) {
        let clipped = clip_slopes(&f, &bounds).unwrap();
        let scale = f.values().iter().fold(1.0_f64, |m, v| m.max(v.abs()));
        for (j, s) in clipped.slopes().into_iter().enumerate() {
            let expected = f.slopes()[j].clamp(bounds.min(), bounds.max());
            prop_assert!((s - expected).abs() <= 1e-14 + 1e-14 * scale / (f.knots()[j + 1] - f.knots()[j]));
        }
        let mean = |g: &Spline| g.values().iter().sum::<f64>() / g.len() as f64;
        prop_assert!((mean(&clipped) - mean(&f)).abs() <= 1e-13 * scale);
    }

    #[test]
    fn clipping_vjp_is_the_transpose_of_finite_differences(
        slopes in prop::collection::vec(-2.0..2.0_f64, 1..9),
        spacing in prop::collection::vec(0.1..2.0_f64, 9),
        gradient in prop::collection::vec(-1.0..1.0_f64, 10),
        bounds in any_bounds(),
    ) {
        let mut knots = vec![-1.0];
        for h in &spacing[..slopes.len()] {
            knots.push(knots[knots.len() - 1] + h);
        }
        let f = Spline::from_slopes(knots, 0.2, &slopes).unwrap();
        let gradient = &gradient[..f.len()];
        // The map is piecewise linear: away from kinks central differences are exact up to rounding.
        let step = 1e-6;
        let kink = f.slopes().iter().any(|s| (s - bounds.min()).abs() < 1e-3 || (s - bounds.max()).abs() < 1e-3);
        prop_assume!(!kink);
        let loss = |n: usize, d: f64| {
            let mut values = f.values().to_vec();
            values[n] += d;
            let clipped = clip_slopes(&Spline::new(f.knots().to_vec(), values).unwrap(), &bounds).unwrap();
            clipped.values().iter().zip(gradient).map(|(v, g)| v * g).sum::<f64>()
        };
        let vjp = clip_slopes_vjp(&f, &bounds, gradient).unwrap();
        for (n, product) in vjp.iter().enumerate() {
            let difference = (loss(n, step) - loss(n, -step)) / (2.0 * step);
            prop_assert!((product - difference).abs() <= 1e-8, "{n}: {product} {difference}");
        }
    }
}

#[test]
fn slopes_on_the_bound_pass_their_gradient() {
    // The identity under [-1, 1]: the Jacobian must be the identity, not the mean.
    let f = Spline::uniform(-1.0, 1.0, vec![-1.0, 0.0, 1.0]).unwrap();
    let vjp = clip_slopes_vjp(&f, &SlopeBounds::lipschitz(), &[1.0, 2.0, -4.0]).unwrap();
    for (a, b) in vjp.iter().zip([1.0, 2.0, -4.0]) {
        assert!((a - b).abs() < 1e-15);
    }
}

#[test]
fn zero_weights_have_no_pull() {
    // The middle node asks for a spike but has no weight; the outer ones are compatible with slope 1.
    let f = Spline::new(vec![0.0, 1.0, 2.0, 3.0], vec![0.0, 9.0, 1.0, 0.5]).unwrap();
    let weights = [1.0, 0.0, 2.0, 0.0];
    let v = project(&f, &weights, &SlopeBounds::lipschitz()).unwrap();
    for (n, expected) in [0.0, 1.0, 1.0, 0.5].into_iter().enumerate() {
        if n != 1 {
            assert!((v.values()[n] - expected).abs() < 1e-14, "{v:?}");
        }
    }
    assert!(projection_residual(&f, &weights, &SlopeBounds::lipschitz(), &v).unwrap() < 1e-14);
}

#[test]
fn alternating_spikes_stay_exact_and_fast() {
    // Growing opposite spikes make the root pass every piece again and again: the worst case of the stacks.
    let count = 2000;
    let values = (0..count)
        .map(|n| if n % 2 == 0 { n as f64 } else { -(n as f64) })
        .collect();
    let f = Spline::uniform(0.0, 1.0, values).unwrap();
    let weights: Vec<f64> = (0..count).map(|n| 1.0 + n as f64).collect();
    let start = std::time::Instant::now();
    let v = project(&f, &weights, &SlopeBounds::weakly_convex(100.0, 300.0).unwrap()).unwrap();
    assert!(start.elapsed().as_secs_f64() < 2.0);
    let residual = projection_residual(&f, &weights, &SlopeBounds::weakly_convex(100.0, 300.0).unwrap(), &v).unwrap();
    assert!(residual < 1e-12, "{residual:e}");
}

#[test]
fn bounds_parse_and_print() {
    let bounds = |text: &str| text.parse::<SlopeBounds>().unwrap();
    let inf = f64::INFINITY;
    for (text, min, max) in [
        ("lipschitz", -1.0, 1.0),
        ("firm", 0.0, 1.0),
        ("monotone", 0.0, inf),
        ("invertible:0.001", 0.001, inf),
        ("weakly-convex:0.5", -0.5, inf),
        ("-2,3.5", -2.0, 3.5),
        (" -inf, 1 ", -inf, 1.0),
        ("none", -inf, inf),
    ] {
        assert_eq!((bounds(text).min(), bounds(text).max()), (min, max), "{text}");
        assert_eq!(bounds(&bounds(text).to_string()), bounds(text));
    }
    for text in [
        "",
        "lipschits",
        "1,0",
        "nan,1",
        "invertible:0",
        "invertible:x",
        "weakly-convex:-inf",
        "1,2,3",
        "inf,inf",
    ] {
        assert!(text.parse::<SlopeBounds>().is_err(), "{text}");
    }
    assert!(
        "3,2"
            .parse::<SlopeBounds>()
            .unwrap_err()
            .to_string()
            .contains("s_min is 3 and s_max is 2")
    );
    assert!(SlopeBounds::monotone(-1.0).is_err() && SlopeBounds::weakly_convex(-1.0, 0.5).is_err());
}

#[test]
fn violations_are_located() {
    let f = Spline::new(vec![0.0, 1.0, 2.0], vec![0.0, -1.5, 1.5]).unwrap();
    let worst = SlopeBounds::lipschitz().violation(&f).unwrap();
    assert_eq!((worst.segment, worst.slope, worst.excess), (1, 3.0, 2.0));
    assert!(SlopeBounds::lipschitz().contains(&f, 2.0) && !SlopeBounds::lipschitz().contains(&f, 1.9));
    assert!(SlopeBounds::none().violation(&f).is_none());
}

#[test]
fn hostile_weights_are_named() {
    let f = Spline::new(vec![0.0, 1.0], vec![0.0, 9.0]).unwrap();
    let message = |weights: &[f64]| project(&f, weights, &SlopeBounds::lipschitz()).unwrap_err().to_string();
    assert!(message(&[1.0]).contains("2 weights"));
    assert!(message(&[1.0, -1.0]).contains("weight 1"));
    assert!(message(&[f64::NAN, 1.0]).contains("weight 0"));
    assert!(message(&[0.0, 0.0]).contains("all weights"));
    assert!(clip_slopes_vjp(&f, &SlopeBounds::none(), &[1.0]).is_err());
    let other = Spline::new(vec![0.0, 2.0], vec![0.0, 1.0]).unwrap();
    assert!(projection_residual(&f, &[1.0, 1.0], &SlopeBounds::none(), &other).is_err());
    // The residual must see an inadmissible, a shifted and a too conservative candidate.
    let wrong = |values: Vec<f64>| {
        let g = Spline::new(vec![0.0, 1.0], values).unwrap();
        projection_residual(&f, &[1.0, 1.0], &SlopeBounds::lipschitz(), &g).unwrap()
    };
    assert!(wrong(vec![4.0, 5.0]) < 1e-15);
    assert!(wrong(vec![0.0, 9.0]) > 0.1 && wrong(vec![4.5, 5.5]) > 0.01 && wrong(vec![4.25, 4.75]) > 0.01);
}
