//! Penalties of proximal operators against a search for the minimiser that knows nothing of splines.

use std::path::Path;

use knotwork::layered::Layered;
use knotwork::spline::{Penalty, Spline, prox_of_potential_derivative};
use proptest::prelude::*;

/// The minimiser of a convex function on an interval, by golden sections.
fn minimiser(function: impl Fn(f64) -> f64, (mut low, mut high): (f64, f64)) -> f64 {
    let ratio = 0.5 * (5.0_f64.sqrt() - 1.0);
    for _ in 0..200 {
        let [left, right] = [high - ratio * (high - low), low + ratio * (high - low)];
        if function(left) <= function(right) {
            high = right;
        } else {
            low = left;
        }
    }
    0.5 * (low + high)
}

/// `argmin_z (z - v)^2 / 2 + g(z)`, from values of `g` alone.
fn proximal_point(g: &Penalty, v: f64, reach: f64) -> f64 {
    let (low, high) = g.domain();
    minimiser(
        |z| 0.5 * (z - v).powi(2) + g.value(z),
        (low.max(-reach), high.min(reach)),
    )
}

/// Points in every segment, at every knot and outside.
fn probes(phi: &Spline) -> Vec<f64> {
    let (t, last) = (phi.knots(), phi.len() - 1);
    let between = t
        .windows(2)
        .flat_map(|p| [p[0], 0.7 * p[0] + 0.3 * p[1], 0.1 * p[0] + 0.9 * p[1]]);
    between
        .chain([t[0] - 3.0, t[0] - 0.1, t[last], t[last] + 0.1, t[last] + 3.0])
        .collect()
}

/// Checks `phi = prox_g` at many points, and all that the penalty says about itself.
fn check(phi: &Spline) {
    let g = Penalty::of_prox(phi).unwrap();
    let reach = 50.0
        + phi
            .knots()
            .iter()
            .chain(phi.values())
            .fold(0.0_f64, |m, x| m.max(x.abs()));
    for v in probes(phi) {
        // A search by values finds the place up to the root of their rounding.
        let (found, want) = (proximal_point(&g, v, reach), phi.value(v));
        assert!(
            (found - want).abs() < 1e-6 * reach,
            "prox({v}) is {found}, not {want}: {phi:?} {g:?}"
        );
    }
    let (nodes, (low, high)) = (g.nodes(), g.domain());
    assert!(nodes.windows(2).all(|z| z[0] < z[1]));
    assert!(low == nodes[0] || low == f64::NEG_INFINITY);
    assert!(high == nodes[nodes.len() - 1] || high == f64::INFINITY);
    assert!(low.is_infinite() || g.value(low - 1e-9 * reach) == f64::INFINITY);
    assert!(high.is_infinite() || g.value(high + 1e-9 * reach) == f64::INFINITY);
    let steps = || (0..=2000).map(|n| nodes[0] + (nodes[nodes.len() - 1] - nodes[0]) * f64::from(n) / 2000.0);
    let least = steps().map(|z| g.value(z)).fold(f64::INFINITY, f64::min);
    assert!((-1e-12 * reach..1e-3 * reach).contains(&least), "{least} {g:?}");
    // One-sided derivatives are where difference quotients tend to, from both sides.
    for ((z, value), (left, right)) in nodes.iter().zip(g.values()).zip(g.derivatives()) {
        assert_eq!(g.value(*z), *value);
        assert!(left <= right);
        for (derivative, side) in [(left, -1.0), (right, 1.0)] {
            let quotient = |h: f64| (g.value(z + side * h) - value) / (side * h);
            if derivative.is_infinite() {
                assert_eq!(quotient(1e-6), derivative);
                continue;
            }
            // g'(z + h / 2) on a parabola: what is left goes to 0 with h.
            let (near, far) = (quotient(1e-6 * reach), quotient(2e-6 * reach));
            let limit = 2.0 * near - far;
            let curved = nodes.iter().any(|n| n != z && (n - z).abs() < 4e-6 * reach);
            assert!(
                curved || (limit - derivative).abs() < 1e-6 * reach,
                "{limit} {derivative} at {z}: {g:?}"
            );
        }
    }
}

/// Segments from 0.05 to 3 long, a third of them flat, a third of slope 1, the others of any slope between.
fn nondecreasing() -> impl Strategy<Value = Spline> {
    let slope = prop_oneof![Just(0.0), Just(1.0), 0.05..1.0_f64];
    let segments = prop::collection::vec((0.05..3.0_f64, slope), 1..9);
    (segments, -5.0..1.0_f64, -2.0..2.0_f64).prop_map(|(segments, first, value)| {
        let mut knots = vec![first];
        knots.extend(segments.iter().scan(first, |t, (h, _)| {
            *t += h;
            Some(*t)
        }));
        let slopes: Vec<f64> = segments.iter().map(|(_, s)| *s).collect();
        Spline::from_slopes(knots, value, &slopes).unwrap()
    })
}

proptest! {
    #[test]
    fn the_minimiser_is_the_value_of_the_spline(phi in nondecreasing()) {
        check(&phi);
    }

    #[test]
    fn potentials_come_back_from_their_proximal_operators(phi in nondecreasing(), tau in 0.1..2.0_f64) {
        // prox_{tau psi} with psi' = phi, which has slopes in (0, 1]: its penalty is tau psi.
        let g = Penalty::of_prox(&prox_of_potential_derivative(&phi, tau).unwrap()).unwrap();
        let from = g.nodes()[0];
        for z in probes(&phi) {
            let want = tau * (phi.integral(z) - phi.integral(from));
            let found = g.value(z) - g.value(from);
            prop_assert!((found - want).abs() < 1e-9 * (1.0 + want.abs()), "{found} {want} at {z}");
        }
    }
}

#[test]
fn penalties_known_by_heart() {
    // Soft thresholding belongs to |z| / 2, projection to an interval, the identity to 0, a constant to a point.
    let soft = Spline::new(vec![-2.0, -0.5, 0.5, 2.0], vec![-1.5, 0.0, 0.0, 1.5]).unwrap();
    let g = Penalty::of_prox(&soft).unwrap();
    assert_eq!((g.nodes(), g.values()), (&[-1.5, 0.0, 1.5][..], &[0.75, 0.0, 0.75][..]));
    assert_eq!(g.derivatives().nth(1), Some((-0.5, 0.5)));
    assert_eq!((g.value(-7.0), g.value(0.25), g.value(4.0)), (3.5, 0.125, 2.0));
    assert_eq!(g.domain(), (f64::NEG_INFINITY, f64::INFINITY));
    let clip = Spline::new(vec![-3.0, -1.0, 2.0, 3.0], vec![-1.0, -1.0, 2.0, 2.0]).unwrap();
    let g = Penalty::of_prox(&clip).unwrap();
    assert_eq!(
        (g.domain(), g.nodes(), g.values()),
        ((-1.0, 2.0), &[-1.0, 2.0][..], &[0.0, 0.0][..])
    );
    assert_eq!(
        (g.value(0.3), g.value(2.1), g.value(-1.1)),
        (0.0, f64::INFINITY, f64::INFINITY)
    );
    assert!(g.derivatives().eq([(f64::NEG_INFINITY, 0.0), (0.0, f64::INFINITY)]));
    let identity = Penalty::of_prox(&Spline::new(vec![0.0, 1.0], vec![0.0, 1.0]).unwrap()).unwrap();
    assert_eq!((identity.value(-9.0), identity.value(9.0)), (0.0, 0.0));
    let constant = Penalty::of_prox(&Spline::new(vec![0.0, 1.0], vec![0.25, 0.25]).unwrap()).unwrap();
    assert_eq!((constant.domain(), constant.value(0.25)), ((0.25, 0.25), 0.0));
    // Half the argument belongs to z^2 / 2; a shift to a straight line that falls for ever.
    let half = Penalty::of_prox(&Spline::new(vec![-1.0, 1.0], vec![-0.5, 0.5]).unwrap()).unwrap();
    assert_eq!((half.values(), half.value(3.0)), (&[0.125, 0.125][..], 4.5));
    let shift = Penalty::of_prox(&Spline::new(vec![0.0, 1.0], vec![-1.0, 0.0]).unwrap()).unwrap();
    assert_eq!((shift.values(), shift.value(-5.0)), (&[0.0, 1.0][..], -4.0));
    assert!(shift.value(f64::NAN).is_nan());
    for (values, segment) in [(vec![0.0, 0.1, 0.0], "segment 1"), (vec![0.0, 1.1, 1.1], "segment 0")] {
        let message = Penalty::of_prox(&Spline::new(vec![0.0, 1.0, 2.0], values).unwrap())
            .unwrap_err()
            .to_string();
        assert!(message.contains(segment), "{message}");
    }
    // What a model on file may exceed its bounds by.
    check(&Spline::new(vec![0.0, 1.0, 2.0], vec![0.0, 1.0 + 1e-9, 1.0]).unwrap());
}

#[test]
fn activations_of_the_shipped_network_are_proximal_operators_of_their_penalties() {
    let model = Layered::shipped_or_file(Path::new("deblur-8")).unwrap();
    let count: usize = model.activations.iter().map(Vec::len).sum();
    assert!(count >= 25);
    model.activations.iter().flatten().for_each(check);
    // What a channel applies, with its scaling and its shift.
    for (set, penalties) in model.penalties().unwrap().iter().enumerate() {
        for (channel, g) in penalties.iter().enumerate() {
            let phi = &model.activations[set][channel];
            let [a, b] = [model.scalings[set][channel], model.shifts[set][channel]].map(f64::from);
            let (low, high) = g.domain();
            let within = (low.max(-9.0) / a, high.min(9.0) / a);
            for u in [-1.0, -0.2, -0.01, 0.0, 0.03, 0.4, 1.5] {
                let found = minimiser(|z| 0.5 * (z - u).powi(2) + g.value(a * z) / (a * a) - b * z, within);
                let want = phi.value(a * (u + b)) / a;
                assert!(
                    (found - want).abs() < 1e-6,
                    "channel {channel} at {u}: {found} against {want}"
                );
            }
        }
    }
}
