//! Splines against independent formulas: the ReLU sum, hat functions, Simpson's rule and function composition.

use knotwork::spline::{ReluForm, Spline, prox_of_potential_derivative};
use proptest::prelude::*;

/// Knots with spacings between 1e-4 and 1e2 (ratio 1e6), around 0, and values of moderate slope.
fn spline() -> impl Strategy<Value = Spline> {
    (2_usize..12).prop_flat_map(|n| {
        let spacing = prop::collection::vec((-4.0..2.0_f64).prop_map(|e| 10_f64.powf(e)), n - 1);
        let slope = prop::collection::vec(-3.0..3.0_f64, n - 1);
        (spacing, slope, -5.0..1.0_f64, -2.0..2.0_f64)
            .prop_filter_map("knots distinct in f32", |(h, s, first, value)| {
                Spline::from_slopes(knots_from(first, &h), value, &s).ok()
            })
    })
}

fn increasing(low: f64, high: f64) -> impl Strategy<Value = Spline> {
    spline().prop_filter_map("distinct in f32", move |f| {
        let slopes: Vec<f64> = f
            .slopes()
            .iter()
            .map(|s| low + (high - low) * (s.abs() / 3.0).min(1.0))
            .collect();
        Spline::from_slopes(f.knots().to_vec(), f.values()[0], &slopes).ok()
    })
}

/// Whether all values can be told apart in f32, where they become the knots of an inverse.
fn values_apart(f: &Spline) -> bool {
    f.values().windows(2).all(|v| (v[0] as f32) < v[1] as f32)
}

fn knots_from(first: f64, spacings: &[f64]) -> Vec<f64> {
    let mut knots = vec![first];
    for h in spacings {
        knots.push(knots[knots.len() - 1] + h);
    }
    knots
}

/// f as affine part plus ramps, written from scratch: the independent formula of the value.
fn by_ramps(f: &Spline, x: f64) -> f64 {
    let (t, v) = (f.knots(), f.values());
    let slope = |j: usize| (v[j + 1] - v[j]) / (t[j + 1] - t[j]);
    let mut sum = v[0] + slope(0) * (x - t[0]);
    for (n, knot) in t.iter().enumerate().take(t.len() - 1).skip(1) {
        sum += (slope(n) - slope(n - 1)) * (x - knot).max(0.0);
    }
    sum
}

/// Points in every segment, at every knot and well outside.
fn probes(f: &Spline) -> Vec<f64> {
    let t = f.knots();
    let mut points = vec![t[0] - 7.0, t[0] - 0.1, t[t.len() - 1] + 0.1, t[t.len() - 1] + 7.0, 0.0];
    for pair in t.windows(2) {
        points.extend([pair[0], 0.7 * pair[0] + 0.3 * pair[1], 0.2 * pair[0] + 0.8 * pair[1]]);
    }
    points
}

/// The scale of rounding: values and arguments that enter, times a few epsilons.
fn close(a: f64, b: f64, scale: f64) -> bool {
    (a - b).abs() <= 1e-12 * (1.0 + scale.abs())
}

proptest! {
    #[test]
    fn value_is_the_ramp_sum_and_exact_at_knots(f in spline()) {
        let reach = f.knots().iter().chain(f.values()).fold(10.0_f64, |m, x| m.max(x.abs()));
        for x in probes(&f) {
            prop_assert!(close(f.value(x), by_ramps(&f, x), 40.0 * reach), "{x}");
        }
        for (t, v) in f.knots().iter().zip(f.values()) {
            prop_assert_eq!(f.value(*t), *v);
        }
    }

    #[test]
    fn slope_is_right_continuous_and_extends(f in spline()) {
        let (t, s) = (f.knots(), f.slopes());
        for j in 0..s.len() {
            prop_assert_eq!(f.slope(t[j]), s[j]);
            prop_assert_eq!(f.slope(0.5 * (t[j] + t[j + 1])), s[j]);
        }
        prop_assert_eq!(f.slope(t[0] - 1.0), s[0]);
        prop_assert_eq!(f.slope(t[t.len() - 1]), s[s.len() - 1]);
        let tv2: f64 = s.windows(2).map(|p| (p[1] - p[0]).abs()).sum();
        prop_assert!(close(f.tv2(), tv2, tv2));
    }

    #[test]
    fn integral_is_simpson_between_breakpoints(f in spline()) {
        for x in probes(&f) {
            // Simpson's rule is exact on each linear piece between 0 and x.
            let mut points: Vec<f64> = f.knots().iter().copied().filter(|t| (t * x > 0.0) && t.abs() < x.abs()).collect();
            points.extend([0.0, x]);
            points.sort_by(f64::total_cmp);
            let area: f64 = points
                .windows(2)
                .map(|p| (p[1] - p[0]) / 6.0 * (by_ramps(&f, p[0]) + 4.0 * by_ramps(&f, 0.5 * (p[0] + p[1])) + by_ramps(&f, p[1])))
                .sum();
            let scale = (1.0 + x.abs()) * f.values().iter().fold(100.0_f64, |m, v| m.max(v.abs()));
            prop_assert!(close(f.integral(x), x.signum() * area, scale), "{x}: {} {}", f.integral(x), x.signum() * area);
        }
        for (psi, t) in f.integrals().iter().zip(f.knots()) {
            let scale = (1.0 + t.abs()) * f.values().iter().fold(100.0_f64, |m, v| m.max(v.abs()));
            prop_assert!(close(*psi, f.integral(*t), scale));
        }
        prop_assert_eq!(f.integral(0.0), 0.0);
    }

    #[test]
    fn relu_form_round_trips(f in spline()) {
        let form = f.relu_form();
        let back = Spline::from_relu_form(&form, f.knots()[0], f.knots()[f.len() - 1]).unwrap();
        let reach = f.knots().iter().chain(f.values()).fold(10.0_f64, |m, x| m.max(x.abs()));
        for x in probes(&f) {
            let ramps: f64 = form.knots.iter().zip(&form.slope_changes).map(|(t, a)| a * (x - t).max(0.0)).sum();
            prop_assert!(close(form.b1 + form.b2 * x + ramps, f.value(x), 100.0 * reach));
            prop_assert!(close(back.value(x), f.value(x), 100.0 * reach));
        }
    }

    #[test]
    fn sums_compositions_and_changes_of_variable_are_pointwise(f in spline(), g in spline(), a in 0.1..3.0_f64, b in -2.0..2.0_f64) {
        let sum = f.add(&g).unwrap();
        let composed = f.compose(&g).unwrap();
        let odd = f.antisymmetrise().unwrap();
        let flipped = f.with_affine_input(-a, b);
        let scaled = f.with_affine_output(-a, b).unwrap();
        // Uniting knots within one f32 ulp moves a function by |slope change| times the distance.
        let tolerance = |x: f64| 1e-5 * (1.0 + x.abs() + f.values().iter().chain(g.values()).fold(0.0_f64, |m, v| m.max(v.abs())));
        for x in probes(&f).into_iter().chain(probes(&g)).chain(probes(&composed)) {
            prop_assert!((sum.value(x) - by_ramps(&f, x) - by_ramps(&g, x)).abs() <= tolerance(x));
            prop_assert!((composed.value(x) - by_ramps(&f, by_ramps(&g, x))).abs() <= 10.0 * tolerance(x), "{x}");
            prop_assert!((odd.value(x) - 0.5 * (by_ramps(&f, x) - by_ramps(&f, -x))).abs() <= tolerance(x));
            if let Ok(flipped) = &flipped {
                prop_assert!((flipped.value(x) - by_ramps(&f, b - a * x)).abs() <= tolerance(x));
            }
            prop_assert!((scaled.value(x) - (b - a * by_ramps(&f, x))).abs() <= tolerance(x));
        }
        for n in 0..odd.len() {
            prop_assert_eq!(odd.knots()[n], -odd.knots()[odd.len() - 1 - n]);
            prop_assert_eq!(odd.values()[n], -odd.values()[odd.len() - 1 - n]);
        }
    }

    #[test]
    fn inverse_undoes(f in increasing(0.1, 5.0)) {
        prop_assume!(values_apart(&f));
        let inverse = f.inverse().unwrap();
        let reach = f.knots().iter().chain(f.values()).fold(10.0_f64, |m, x| m.max(x.abs()));
        for x in probes(&f) {
            prop_assert!(close(inverse.value(f.value(x)), x, 100.0 * reach));
        }
    }

    #[test]
    fn inserting_knots_leaves_the_function(f in spline(), u in 0.1..0.9_f64) {
        let mut knots = f.knots().to_vec();
        knots.extend(f.knots().windows(2).map(|p| p[0] + u * (p[1] - p[0])));
        knots.extend([f.knots()[0] - 3.0, f.knots()[f.len() - 1] + 3.0]);
        knots.sort_by(f64::total_cmp);
        // Spacings at the f32 limit cannot be split; that is the constructor's error.
        if let Ok(finer) = f.resampled(&knots) {
            let reach = f.knots().iter().chain(f.values()).fold(10.0_f64, |m, x| m.max(x.abs()));
            for x in probes(&finer) {
                prop_assert!((finer.value(x) - f.value(x)).abs() <= 1e-9 * reach, "{x}");
            }
        }
    }
}

#[test]
fn uniform_grid_is_symmetric_and_ends_are_exact() {
    let f = Spline::uniform(-0.1, 0.1, vec![0.0; 101]).unwrap();
    assert_eq!((f.knots()[0], f.knots()[50], f.knots()[100]), (-0.1, 0.0, 0.1));
    for n in 0..101 {
        assert_eq!(f.knots()[n], -f.knots()[100 - n]);
    }
}

#[test]
fn hand_computed_values() {
    // |x| on [-1, 3]: slopes -1, 1; integral x|x|/2.
    let f = Spline::new(vec![-1.0, 0.0, 3.0], vec![1.0, 0.0, 3.0]).unwrap();
    assert_eq!(f.slopes(), [-1.0, 1.0]);
    assert_eq!(
        (f.tv2(), f.slope_range(), f.slope_changes()),
        (2.0, (-1.0, 1.0), vec![2.0])
    );
    assert_eq!((f.value(-4.0), f.value(5.0), f.slope(0.0)), (4.0, 5.0, 1.0));
    assert_eq!((f.integral(-2.0), f.integral(4.0)), (-2.0, 8.0));
    assert!(f.value(f64::NAN).is_nan());
    // A composition whose breakpoints lie in the extrapolated parts of both: | |x| - 10 |.
    let shifted = f.with_affine_output(1.0, -10.0).unwrap();
    let w = f.compose(&shifted).unwrap();
    for x in [-30.0, -10.0, -5.0, 0.0, 2.0, 10.0, 50.0_f64] {
        assert!((w.value(x) - (x.abs() - 10.0).abs()).abs() < 1e-12, "{x}");
    }
    assert!((w.tv2() - 6.0).abs() < 1e-12);
}

#[test]
fn soft_threshold_is_the_prox_of_the_absolute_value_smoothed() {
    // prox of tau * Huber'(slope 1/delta up to 1): phi = clip(x / delta, -1, 1).
    let (tau, delta) = (0.5, 1e-3);
    let phi = Spline::new(vec![-1.0, -delta, delta, 1.0], vec![-1.0, -1.0, 1.0, 1.0]).unwrap();
    let prox = prox_of_potential_derivative(&phi, tau).unwrap();
    for x in [-3.0, -0.6, 0.6, 0.9, 3.0_f64] {
        assert!((prox.value(x) - x.signum() * (x.abs() - tau)).abs() < 1e-12, "{x}");
    }
    assert!(prox.value(0.4).abs() < delta);
}

#[test]
fn hostile_input_is_named() {
    let message = |r: knotwork::Result<Spline>| r.unwrap_err().to_string();
    assert!(message(Spline::new(vec![0.0], vec![0.0])).contains("at least 2"));
    assert!(message(Spline::new(vec![], vec![])).contains("at least 2"));
    assert!(message(Spline::new(vec![0.0, 1.0], vec![0.0])).contains("2 knots and 1 values"));
    assert!(message(Spline::new(vec![0.0, f64::NAN], vec![0.0, 1.0])).contains("knot 1"));
    assert!(message(Spline::new(vec![0.0, 1.0, 1.0], vec![0.0; 3])).contains("knot 1 is 1e0 and knot 2"));
    assert!(message(Spline::new(vec![0.0, 1.0], vec![f64::INFINITY, 0.0])).contains("value 0"));
    assert!(message(Spline::new(vec![0.0, 1.0], vec![0.0, 1e39])).contains("value 1"));
    assert!(message(Spline::new(vec![0.0, 1e-39], vec![0.0, 1.0])).contains("strictly increasing"));
    assert!(message(Spline::new(vec![-3e38, 3e38], vec![0.0, 1.0])).contains("further apart"));
    // Distinct in f64, equal in f32.
    assert!(message(Spline::new(vec![1.0, 1.0 + 1e-9], vec![0.0; 2])).contains("f32"));
    assert!(message(Spline::uniform(1.0, -1.0, vec![0.0; 3])).contains("strictly increasing"));
    assert!(message(Spline::uniform(f64::NAN, 1.0, vec![0.0; 3])).contains("knot 0"));
    assert!(message(Spline::from_slopes(vec![0.0, 1.0], 0.0, &[])).contains("0 slopes"));
    assert!(message(Spline::from_slopes(vec![0.0, 1.0], 0.0, &[f64::NAN])).contains("slope 0"));
    let f = Spline::new(vec![0.0, 1.0, 2.0], vec![0.0, 1.0, 1.0]).unwrap();
    assert!(message(f.inverse()).contains("segment 1"));
    // Rises in f64, but not in f32, where its values would be knots.
    let flat = Spline::new(vec![0.0, 1.0], vec![300.0, 300.0 + 1e-6]).unwrap();
    assert!(message(flat.inverse()).contains("too flat to be inverted"));
    assert!(message(f.with_affine_input(0.0, 1.0)).contains("a = 0"));
    assert!(
        message(prox_of_potential_derivative(
            &f.with_affine_output(-1.0, 0.0).unwrap(),
            1.0
        ))
        .contains("segment 0")
    );
    assert!(message(prox_of_potential_derivative(&f, f64::NAN)).contains("tau"));
    let form = ReluForm {
        b1: 0.0,
        b2: 1.0,
        knots: vec![0.0],
        slope_changes: vec![],
    };
    assert!(message(Spline::from_relu_form(&form, -1.0, 1.0)).contains("1 knots but 0"));
    let form = ReluForm {
        b1: 0.0,
        b2: 1.0,
        knots: vec![0.0],
        slope_changes: vec![1.0],
    };
    assert!(message(Spline::from_relu_form(&form, 0.0, 1.0)).contains("knot 0"));
}

#[test]
fn coinciding_knots_unite_and_the_outer_slopes_survive() {
    // Two knots one f32 ulp apart are valid but unite in a sum; max(x - 1, 0) must keep its outer slopes.
    let ulp = f64::from(f32::EPSILON);
    let zero = Spline::new(vec![0.0, 1.0], vec![0.0, 0.0]).unwrap();
    let right = Spline::new(vec![-1.0, 1.0, 1.0 + ulp], vec![0.0, 0.0, ulp]).unwrap();
    let left = Spline::new(vec![1.0, 1.0 + ulp, 3.0], vec![0.0, 0.0, 2.0]).unwrap();
    let flat = Spline::new(vec![1.0, 1.0 + ulp], vec![0.0, 0.0]).unwrap();
    for ramp in [right.add(&zero).unwrap(), left.add(&flat).unwrap()] {
        assert!(
            (ramp.value(5.0) - 4.0).abs() < 1e-6 && ramp.value(-5.0).abs() < 1e-6,
            "{ramp:?}"
        );
    }
    // Composition of a function with its inverse: all knots come in coinciding pairs. One of them is 0 up to rounding, where pairs
    // lie far apart in units of their last place.
    for root in [0.0, -1.7e-18, 8.7e-19, 3e-18] {
        let value = |n: usize| match n {
            8 => root,
            _ => ((n as f64 - 10.0) / 10.0).powi(3) + 1e-3 * n as f64,
        };
        let cube = Spline::uniform(-1.0, 1.0, (0..21).map(value).collect()).unwrap();
        let identity = cube.compose(&cube.inverse().unwrap()).unwrap();
        for x in [-2.0, -0.3, 0.0, 0.4, 3.0] {
            assert!((identity.value(x) - x).abs() < 1e-6);
        }
        let (low, high) = identity.slope_range();
        assert!(low > 0.9999 && high < 1.0001, "{root}: {:?}", (low, high));
    }
}
