//! Plug-and-play: the solutions of LASSO problems where the denoiser is a soft threshold, single iterations, residuals that never
//! grow, constants that hold and are refused where they do not, all against float64.

use crate::common::{EPS, assert_close, gpu, turn, values};
use crate::reference::models::image;
use crate::reference::pnp::{Case, PIXELS, Reference, SIZE, cases, lasso, mild_blur};
use crate::reference::pointwise::{PointwiseNetwork, reflected_threshold, wavy};
use crate::reference::problem::distance;
use crate::reference::{norm, widen};
use knotwork::Error;
use knotwork::model::NormKind;
use knotwork::operator::{Boundary, LinearOperator, OperatorNorm, apply};
use knotwork::solver::{Algorithm, PlugAndPlay, PnpConstants, PnpOutcome, PnpSettings, Stop, composed};
use knotwork::spline::Spline;

fn measure(operator: &dyn LinearOperator, truth: &[f32]) -> Vec<f32> {
    let exact = apply(gpu(), operator, truth, false).unwrap();
    let noise = values(9, exact.len());
    exact.iter().zip(noise).map(|(v, n)| v + 0.02 * n).collect()
}

/// The constants in use and the outcome.
fn run(case: &Case, spline: &Spline, settings: PnpSettings, y: &[f32], start: &[f32]) -> (PnpConstants, PnpOutcome) {
    let norm = case.operator.norm_squared(gpu()).unwrap();
    let network = PointwiseNetwork::new(gpu(), spline, SIZE, 1.0);
    let solver = PlugAndPlay::new(gpu(), case.operator.as_ref(), norm, network, settings).unwrap();
    (solver.constants(), solver.run(y, start, |_, _| {}).unwrap())
}

#[test]
fn soft_thresholds_solve_lasso_problems() {
    let _turn = turn();
    // Some pixels stay at zero, some below it.
    let truth: Vec<f32> = image(3, SIZE)
        .iter()
        .map(|v| if (*v - 0.5).abs() < 0.2 { 0.0 } else { v - 0.5 })
        .collect();
    let threshold = 0.05;
    for boundary in [Boundary::Circular, Boundary::Zero] {
        let case = mild_blur(boundary);
        let y = measure(case.operator.as_ref(), &truth);
        for (algorithm, step, strength, limits) in [
            (Algorithm::Fbs, 1.0, 1.0, None),
            (Algorithm::Fbs, 1.9, 0.5, None),
            (Algorithm::Fbs, 0.6, 2.0, Some((0.0, f32::MAX))),
            (Algorithm::Admm, 1.0, 1.0, None),
            (Algorithm::Admm, 8.0, 3.0, None),
            (Algorithm::Admm, 1.5, 0.5, Some((-0.1, 0.2))),
        ] {
            let name = format!("{boundary:?} {algorithm:?} step {step} strength {strength} {limits:?}");
            let settings = PnpSettings {
                algorithm,
                step,
                strength,
                limits,
                tolerance: 1e-6,
                max_iterations: 2000,
                ..PnpSettings::default()
            };
            let start = vec![0.7; PIXELS];
            let (constants, outcome) = run(&case, &reflected_threshold(threshold), settings, &y, &start);
            assert_eq!(outcome.stop, Stop::Converged, "{name}: {}", outcome.change);
            assert!(outcome.change <= 1e-6);
            let lambda = strength * threshold / constants.gamma;
            // Forward-backward projects in every iteration, ADMM in the end.
            let low = match algorithm {
                Algorithm::Fbs => limits.map_or(f64::NEG_INFINITY, |(low, _)| f64::from(low)),
                Algorithm::Admm => f64::NEG_INFINITY,
            };
            let want = lasso(&case.dense, &widen(&y), lambda, low);
            let reference = Reference::new(&case, &reflected_threshold(threshold), &y, constants.gamma, settings);
            let want: Vec<f64> = want.into_iter().map(|v| reference.clamp(v)).collect();
            let zeros = want.iter().filter(|v| v.abs() < 1e-9).count();
            assert!((20..PIXELS - 20).contains(&zeros), "{name}: {zeros} zeros");
            // The map of forward-backward contracts by c, since 0.2^2 <= H'H <= 1; an image that it moves by m is within m / (1 - c)
            // of the solution. ADMM's x is moved by |w - x|, and its proximal operator is 1e-6 off.
            let contraction = (1.0 - 0.04 * constants.gamma).abs().max((1.0 - constants.gamma).abs());
            let contraction = if algorithm == Algorithm::Fbs {
                contraction
            } else {
                1.0 - 0.04
            };
            let x = widen(&outcome.image);
            let size = norm(&x) + constants.gamma * norm(&widen(&y));
            let inner = if algorithm == Algorithm::Fbs { 0.0 } else { 2e-6 * size };
            let allowed = (1e-6 * norm(&x) + reference.rounding(&x) + inner) / (1.0 - contraction);
            let off = distance(&x, &want);
            assert!(off <= allowed, "{name}: {off:e}, allowed {allowed:e}");
            assert!(
                allowed < 0.01 * distance(&widen(&start), &want),
                "{name}: {allowed:e} says nothing"
            );
        }
    }
}

#[test]
fn iterations_are_those_of_the_formulas() {
    let _turn = turn();
    let start = values(5, PIXELS).iter().map(|v| 0.5 + 0.4 * v).collect::<Vec<f32>>();
    for case in cases() {
        let y = measure(case.operator.as_ref(), &image(4, SIZE));
        for (averaging, strength, limits) in [(0.5, 1.0, None), (0.3, 0.7, Some((0.1, 0.8))), (0.45, 2.0, None)] {
            for algorithm in [Algorithm::Fbs, Algorithm::Admm] {
                let name = format!("{} {algorithm:?} {averaging} {strength}", case.name);
                let settings = |max_iterations: usize| PnpSettings {
                    algorithm,
                    averaging,
                    strength,
                    limits,
                    step: 1.7,
                    tolerance: 1e-12,
                    max_iterations,
                };
                let (constants, outcome) = run(&case, &wavy(), settings(5), &y, &start);
                assert_eq!((outcome.iterations, outcome.stop), (5, Stop::MaxIterations));
                let reference = Reference::new(&case, &wavy(), &y, constants.gamma, settings(5));
                let mut iterate = widen(&start);
                let mut error = 0.0;
                let mut result = Vec::new();
                for (n, [moved, size]) in outcome.history.iter().enumerate() {
                    let (from, to, next) = if algorithm == Algorithm::Fbs {
                        let next = reference.map(&iterate);
                        (iterate.clone(), next.clone(), next)
                    } else {
                        let [next, x, w] = reference.reflect(&iterate);
                        (x, w, next)
                    };
                    // Neither map expands a distance: errors add up. In the second, the error of the proximal operator, 1e-6 of
                    // its value and rounding, goes into z by x and twice by w.
                    let local = reference.rounding(&from);
                    error += match algorithm {
                        Algorithm::Fbs => local,
                        Algorithm::Admm => 3.0 * (local + 1e-6 * norm(&from)),
                    };
                    let sums = 32.0 * EPS;
                    let (want_moved, want_size) = (distance(&to, &from), norm(&from));
                    let slack = 2.0 * error + sums * want_moved;
                    assert!(
                        (f64::from(*moved) - want_moved).abs() <= slack,
                        "{name} {n}: moved {moved}, want {want_moved}, allowed {slack:e}"
                    );
                    assert!(
                        (f64::from(*size) - want_size).abs() <= error + sums * want_size,
                        "{name} {n}: size {size}, want {want_size}"
                    );
                    assert!(
                        slack < 0.1 * want_moved,
                        "{name} {n}: {slack:e} of {want_moved:e} says nothing"
                    );
                    iterate = next;
                    result = to;
                }
                let want: Vec<f64> = result.into_iter().map(|v| reference.clamp(v)).collect();
                assert_close(&name, &outcome.image, &want, |_| error);
            }
        }
    }
}

#[test]
fn residuals_never_grow_and_runs_repeat_bit_by_bit() {
    let _turn = turn();
    let start = values(6, PIXELS);
    let mut fell = 0;
    for case in cases() {
        let y = measure(case.operator.as_ref(), &image(7, SIZE));
        for (algorithm, averaging, step) in [
            (Algorithm::Fbs, 0.5, 1.0),
            (Algorithm::Fbs, 0.9, 1.95),
            (Algorithm::Admm, 0.5, 1.0),
            (Algorithm::Admm, 0.2, 4.0),
        ] {
            let settings = PnpSettings {
                algorithm,
                averaging,
                step,
                limits: Some((0.0, 1.0)),
                tolerance: 1e-12,
                max_iterations: 150,
                ..PnpSettings::default()
            };
            let name = format!("{} {algorithm:?} {averaging} {step}", case.name);
            let (constants, outcome) = run(&case, &wavy(), settings, &y, &start);
            let reference = Reference::new(&case, &wavy(), &y, constants.gamma, settings);
            // Two neighbouring iterates are rounded by themselves: the map passes that on to their distance.
            let largest = outcome.history.iter().map(|h| f64::from(h[1])).fold(0.0, f64::max);
            let bright = vec![largest / (PIXELS as f64).sqrt(); PIXELS];
            let slack = 4.0 * reference.rounding(&bright);
            for (n, pair) in outcome.history.windows(2).enumerate() {
                let [before, after] = [f64::from(pair[0][0]), f64::from(pair[1][0])];
                assert!(
                    after <= before * (1.0 + 32.0 * EPS) + slack,
                    "{name} {n}: {before:e} grew to {after:e}, slack {slack:e}"
                );
            }
            let (first, last) = (outcome.history[0][0], outcome.history[outcome.iterations - 1][0]);
            fell += usize::from(f64::from(last) < 1e-3 * f64::from(first));
            assert!(
                slack < 0.01 * f64::from(first),
                "{name}: {slack:e} of {first:e} says nothing"
            );

            let (_, again) = run(&case, &wavy(), settings, &y, &start);
            assert_eq!(again.image, outcome.image, "{name}");
            assert_eq!(again.history, outcome.history, "{name}");
        }
    }
    assert!(fell >= 6, "only {fell} runs came to rest");
}

#[test]
fn what_ran_before_and_how_often_the_device_is_asked_change_nothing() {
    let _turn = turn();
    let case = mild_blur(Boundary::Reflect);
    let norm = case.operator.norm_squared(gpu()).unwrap();
    let y = measure(case.operator.as_ref(), &image(8, SIZE));
    for algorithm in [Algorithm::Fbs, Algorithm::Admm] {
        let settings = PnpSettings {
            algorithm,
            tolerance: 1e-5,
            ..PnpSettings::default()
        };
        let network = || PointwiseNetwork::new(gpu(), &reflected_threshold(0.02), SIZE, 1.0);
        let solver = PlugAndPlay::new(gpu(), case.operator.as_ref(), norm, network(), settings).unwrap();
        let start = vec![0.5; PIXELS];
        let mut heard = Vec::new();
        let first = solver
            .run(&y, &start, |done, change| heard.push((done, change)))
            .unwrap();
        assert_eq!(first.stop, Stop::Converged);
        assert_eq!(heard.last(), Some(&(first.iterations, first.change)));
        let other = solver.run(&values(4, PIXELS), &y, |_, _| {}).unwrap();
        assert!(other.image != first.image);
        assert_eq!(solver.run(&y, &start, |_, _| {}).unwrap().image, first.image);
        // As many iterations as it took are enough, one fewer is not; the image does not run on behind the last.
        let exactly = |max_iterations: usize| {
            let settings = PnpSettings {
                max_iterations,
                ..settings
            };
            let solver = PlugAndPlay::new(gpu(), case.operator.as_ref(), norm, network(), settings).unwrap();
            solver.run(&y, &start, |_, _| {}).unwrap()
        };
        let enough = exactly(first.iterations);
        assert_eq!((enough.stop, &enough.image), (Stop::Converged, &first.image));
        let fewer = exactly(first.iterations - 1);
        assert_eq!(fewer.stop, Stop::MaxIterations);
        assert_eq!(fewer.history[..], first.history[..first.iterations - 1]);
    }
}

#[test]
fn maps_are_averaged_with_the_constant_stated() {
    assert!((composed(0.5, 0.5) - 2.0 / 3.0).abs() < 1e-15);
    assert_eq!((composed(0.3, 0.0), composed(0.0, 0.3)), (0.3, 0.3));
    let _turn = turn();
    for case in cases() {
        let operator = case.operator.norm_squared(gpu()).unwrap();
        let y = measure(case.operator.as_ref(), &image(4, SIZE));
        for (algorithm, averaging, step) in [
            (Algorithm::Fbs, 0.5, 1.0),
            (Algorithm::Fbs, 0.9, 1.99),
            (Algorithm::Admm, 0.5, 5.0),
        ] {
            let settings = PnpSettings {
                algorithm,
                averaging,
                step,
                limits: (algorithm == Algorithm::Fbs).then_some((0.0, 1.0)),
                ..PnpSettings::default()
            };
            let constants = settings.constants(operator, 1.0).unwrap();
            let a = constants.averagedness;
            assert!(a < 1.0);
            let reference = Reference::new(&case, &wavy(), &y, constants.gamma, settings);
            let map = |x: &[f64]| match algorithm {
                Algorithm::Fbs => reference.map(x),
                Algorithm::Admm => {
                    let [next, ..] = reference.reflect(x);
                    next
                }
            };
            let mut needed = 0.0_f64;
            for seed in 0..12 {
                let pair = [10, 100].map(|n| widen(&values(n + seed, PIXELS)));
                let images = pair.each_ref().map(|x| map(x));
                let left: Vec<f64> = (0..PIXELS)
                    .map(|i| (pair[0][i] - images[0][i]) - (pair[1][i] - images[1][i]))
                    .collect();
                // |T x - T y|^2 <= |x - y|^2 - (1 - a) / a |(x - T x) - (y - T y)|^2, solved for the least a.
                let (apart, left) = (distance(&pair[0], &pair[1]).powi(2), norm(&left).powi(2));
                needed = needed.max(left / (apart + left - distance(&images[0], &images[1]).powi(2)));
            }
            assert!(
                needed <= a * (1.0 + 1e-12),
                "{} {settings:?}: {needed}, stated {a}",
                case.name
            );
            assert!(needed > 0.4 * a, "{} {settings:?}: {needed} of {a}", case.name);
        }
    }
}

#[test]
fn what_need_not_converge_is_refused_with_the_remedy() {
    let bound = |squared: f64| OperatorNorm {
        squared,
        kind: NormKind::Bound,
    };
    let good = PnpSettings::default();
    let admm = PnpSettings {
        algorithm: Algorithm::Admm,
        ..good
    };
    assert_eq!(good.constants(bound(4.0), 1.0).unwrap().gamma, 0.25);
    // The last bits of an f32 certificate are no reason.
    assert!(good.constants(bound(4.0), 1.0 + 1e-7).is_ok() && good.constants(bound(4.0), 0.0).is_ok());
    let with = |base: PnpSettings, change: fn(&mut PnpSettings)| {
        let mut settings = base;
        change(&mut settings);
        settings
    };
    assert!(
        with(good, |s| s.step = 2.0_f64.next_down())
            .constants(bound(1.0), 1.0)
            .is_ok()
    );
    assert!(with(admm, |s| s.step = 50.0).constants(bound(1.0), 1.0).is_ok());
    let refused: [(PnpSettings, OperatorNorm, f64, &[&str]); 19] = [
        (good, bound(1.0), 1.01, &["1.01", "train denoiser"]),
        (admm, bound(1.0), 1.01, &["1.01", "train denoiser"]),
        (good, bound(1.0), f64::NAN, &["NaN"]),
        (good, bound(1.0), -0.5, &["-0.5"]),
        (
            with(good, |s| s.step = 2.0),
            bound(4.0),
            1.0,
            &["2 / |H|^2", "1.9", "5.0000e-1"],
        ),
        (with(good, |s| s.step = 2.5), bound(1.0), 1.0, &["2.5", "ADMM"]),
        (with(good, |s| s.step = 0.0), bound(1.0), 1.0, &["step of 0"]),
        (with(good, |s| s.step = f64::NAN), bound(1.0), 1.0, &["NaN"]),
        (with(admm, |s| s.step = -1.0), bound(1.0), 1.0, &["-1"]),
        (with(admm, |s| s.step = f64::INFINITY), bound(1.0), 1.0, &["inf"]),
        (
            with(good, |s| s.averaging = 1.0),
            bound(1.0),
            1.0,
            &["averaging of 1", "0.5"],
        ),
        (with(good, |s| s.averaging = 0.0), bound(1.0), 1.0, &["averaging of 0"]),
        (
            with(admm, |s| s.averaging = 0.6),
            bound(1.0),
            1.0,
            &["0.6", "firmly", "forward-backward"],
        ),
        (with(good, |s| s.strength = 0.0), bound(1.0), 1.0, &["strength 0"]),
        (with(good, |s| s.strength = 1e300), bound(1.0), 1.0, &["strength"]),
        (with(good, |s| s.tolerance = 0.0), bound(1.0), 1.0, &["tolerance 0"]),
        (
            with(good, |s| s.max_iterations = 0),
            bound(1.0),
            1.0,
            &["one iteration"],
        ),
        (
            with(good, |s| s.limits = Some((1.0, 0.0))),
            bound(1.0),
            1.0,
            &["box 1,0"],
        ),
        (good, bound(f64::NAN), 1.0, &["|H|^2"]),
    ];
    for (settings, norm, network, expected) in refused {
        let Err(Error::Usage(line)) = settings.constants(norm, network) else {
            panic!("not refused: {settings:?} {norm:?} {network}");
        };
        assert!(!line.contains('\n'));
        for part in expected {
            assert!(line.contains(part), "no '{part}' in: {line}");
        }
    }
    let estimate = OperatorNorm {
        squared: 1.0,
        kind: NormKind::Estimate,
    };
    assert!(matches!(good.constants(estimate, 1.0), Err(Error::Usage(_))));
}

#[test]
fn mistakes_are_errors_before_or_after_the_first_iteration() {
    let _turn = turn();
    let case = mild_blur(Boundary::Zero);
    let norm = case.operator.norm_squared(gpu()).unwrap();
    let settings = PnpSettings::default();
    let network = |size, lipschitz| PointwiseNetwork::new(gpu(), &wavy(), size, lipschitz);
    let solver = |network, settings| PlugAndPlay::new(gpu(), case.operator.as_ref(), norm, network, settings);
    assert!(matches!(solver(network(SIZE, 1.01), settings), Err(Error::Usage(_))));
    assert!(matches!(solver(network([11, 13], 1.0), settings), Err(Error::Data(_))));
    let far = PnpSettings {
        algorithm: Algorithm::Admm,
        step: 1e9,
        ..settings
    };
    assert!(matches!(solver(network(SIZE, 1.0), far), Err(Error::Usage(_))));
    for algorithm in [Algorithm::Fbs, Algorithm::Admm] {
        let settings = PnpSettings { algorithm, ..settings };
        let solver = solver(network(SIZE, 1.0), settings).unwrap();
        let fine = vec![0.5; PIXELS];
        assert!(matches!(solver.run(&fine[1..], &fine, |_, _| {}), Err(Error::Data(_))));
        assert!(matches!(solver.run(&fine, &fine[1..], |_, _| {}), Err(Error::Data(_))));
        for bad in [f32::NAN, f32::INFINITY] {
            let mut broken = fine.clone();
            broken[77] = bad;
            assert!(matches!(solver.run(&broken, &fine, |_, _| {}), Err(Error::Diverged(_))));
            assert!(matches!(solver.run(&fine, &broken, |_, _| {}), Err(Error::Diverged(_))));
        }
        // And then it works as ever, from an image that is all zero too.
        let outcome = solver.run(&fine, &[0.0; PIXELS], |_, _| {}).unwrap();
        assert_eq!(outcome.stop, Stop::Converged);
    }
}
