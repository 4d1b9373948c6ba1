//! Fits on the device against the exact host solution: the objective, the slope bounds, the number of knots.

use crate::common::{gpu, turn, values};
use knotwork::fit::{FitSettings, Fitted, Knots, fit, fit_path};
use knotwork::spline::{Loss, Samples, SlopeBounds, fit_tv2, lambda_max};

const BOUNDS: [&str; 8] = [
    "none",
    "lipschitz",
    "firm",
    "monotone",
    "invertible:0.1",
    "weakly-convex:0.5",
    "-1,2",
    "-0.9,0.1",
];

/// Random x in [-1, 1], a function of three kinds, uniform noise; sizes from 20 to 500.
fn data_set(set: usize) -> Samples {
    let count = [20, 31, 50, 83, 120, 200, 301, 500][set % 8];
    noisy(set, count)
}

fn noisy(set: usize, count: usize) -> Samples {
    let random = |stream: usize| -> Vec<f64> {
        let all = values((set * 4 + stream) as u64, count);
        all.iter().map(|v| f64::from(*v)).collect()
    };
    let noise = [0.0, 0.01, 0.1, 0.4][(set / 2) % 4];
    let frequency = 2.0 + 5.0 * random(0)[0].abs();
    let x = random(1);
    let y: Vec<f64> = x
        .iter()
        .zip(random(2))
        .map(|(x, n)| {
            let f = match set % 3 {
                0 => (frequency * x).sin(),
                1 => (frequency * x).abs() - 2.0 * (x - 0.2).abs(),
                _ => (3.0 * x).tanh() + 0.3 * x * x,
            };
            f + noise * n
        })
        .collect();
    Samples::new(&x, &y, None).unwrap()
}

fn settings(loss: Loss, lambda: f64, bounds: SlopeBounds) -> FitSettings {
    FitSettings {
        loss,
        lambda,
        bounds,
        knots: Knots::Adaptive,
        max_knots: None,
    }
}

/// The objective from the spline alone: independent of how the fit keeps it.
fn objective(samples: &Samples, loss: Loss, lambda: f64, fitted: &Fitted) -> f64 {
    let data: f64 = (0..samples.len())
        .map(|n| {
            let (w, r) = (
                samples.weights()[n],
                fitted.spline.value(samples.x()[n]) - samples.y()[n],
            );
            match loss {
                Loss::Huber(delta) if r.abs() > delta => w * delta * (r.abs() - 0.5 * delta),
                Loss::Absolute => w * r.abs(),
                _ => 0.5 * w * r * r,
            }
        })
        .sum();
    data + lambda * fitted.spline.tv2()
}

/// What a fit promises whatever the problem.
fn check_spline(name: &str, samples: &Samples, loss: Loss, bounds: &SlopeBounds, fitted: &Fitted) {
    let own = objective(samples, loss, fitted.lambda, fitted);
    assert!(
        (own - fitted.objective).abs() <= 1e-9 * own,
        "{name}: objective {own} of the spline, {} reported",
        fitted.objective
    );
    for (j, s) in fitted.slopes.iter().enumerate() {
        assert_eq!(bounds.clip(*s), *s, "{name}: slope {j}");
        assert_eq!(f64::from(*s as f32), *s, "{name}: slope {j} is no f32");
    }
    // The slopes of the stored values differ from those by f64 rounding: far below an ulp of f32.
    let ulp = |s: f64| f64::from(f32::EPSILON) * s.abs().max(f64::from(f32::MIN_POSITIVE));
    for (s, stored) in fitted.spline.slopes().iter().zip(&fitted.slopes) {
        assert!(
            (s - stored).abs() <= 0.5 * ulp(*stored) + 1e-12,
            "{name}: {s} against {stored}"
        );
    }
    assert!(
        fitted.spline.knots().iter().all(|t| f64::from(*t as f32) == *t),
        "{name}"
    );
}

#[test]
fn twenty_data_sets_all_bounds_several_lambdas() {
    let _turn = turn();
    for set in 0..20 {
        let samples = data_set(set);
        for text in BOUNDS {
            let bounds: SlopeBounds = text.parse().unwrap();
            let largest = lambda_max(&samples, &bounds);
            for part in [0.5, 1e-1, 1e-2, 1e-3, 1e-4] {
                // Where the affine fit interpolates, any lambda has it as its solution.
                let lambda = part * if largest > 0.0 { largest } else { 1.0 };
                let name = format!("set {set}, {} samples, {text}, {part} lambda_max", samples.len());
                let fitted = fit(gpu(), &samples, &settings(Loss::Squared, lambda, bounds)).unwrap();
                check_spline(&name, &samples, Loss::Squared, &bounds, &fitted);
                let exact = fit_tv2(&samples, Loss::Squared, lambda, &bounds).unwrap();
                assert!(
                    exact.relative_gap <= 1e-9,
                    "{name}: the oracle is off by {}",
                    exact.relative_gap
                );
                let gap = (fitted.objective - exact.objective) / exact.objective;
                assert!(gap <= 1e-7, "{name}: relative gap {gap:e}");
                // A certificate that promises more than is true would be worthless.
                let certified = fitted.certified_gap.unwrap();
                assert!(certified >= gap - 1e-7, "{name}: certified {certified:e}, true {gap:e}");
                let sparsest = exact.sparsest().unwrap().len() - 2;
                let knots = fitted.knots();
                assert!(
                    knots.abs_diff(sparsest) <= 1,
                    "{name}: {knots} knots, sparsest {sparsest}"
                );
                assert!(knots <= samples.len() - 2, "{name}");
            }
        }
    }
}

/// The absolute loss has a kink at 0, where its optima put many residuals: rounding an f32 slope costs in first order there.
#[test]
fn robust_losses() {
    let _turn = turn();
    for set in [2, 5, 7, 14] {
        let samples = data_set(set);
        for text in ["none", "lipschitz", "monotone"] {
            let bounds: SlopeBounds = text.parse().unwrap();
            let largest = lambda_max(&samples, &bounds);
            for (part, loss) in [
                (1e-1, Loss::Huber(0.05)),
                (1e-2, Loss::Huber(0.05)),
                (1e-1, Loss::Absolute),
                (1e-2, Loss::Absolute),
            ] {
                let name = format!("set {set}, {text}, {part} lambda_max, {loss:?}");
                let lambda = part * largest;
                let fitted = fit(gpu(), &samples, &settings(loss, lambda, bounds)).unwrap();
                check_spline(&name, &samples, loss, &bounds, &fitted);
                let exact = fit_tv2(&samples, loss, lambda, &bounds).unwrap();
                assert!(
                    exact.relative_gap <= 1e-8,
                    "{name}: the oracle is off by {}",
                    exact.relative_gap
                );
                let gap = (fitted.objective - exact.objective) / exact.objective;
                let limit = if loss == Loss::Absolute { 1e-4 } else { 1e-7 };
                assert!(gap <= limit, "{name}: relative gap {gap:e}");
            }
        }
    }
}

/// With lambda = 0 the exact answer is the projection of the data onto the bounds.
#[test]
fn without_penalty() {
    let _turn = turn();
    for set in [0, 1, 2, 3, 5] {
        let samples = data_set(set);
        for text in BOUNDS {
            let bounds: SlopeBounds = text.parse().unwrap();
            let name = format!("set {set}, {text}");
            let fitted = fit(gpu(), &samples, &settings(Loss::Squared, 0.0, bounds)).unwrap();
            check_spline(&name, &samples, Loss::Squared, &bounds, &fitted);
            let exact = fit_tv2(&samples, Loss::Squared, 0.0, &bounds).unwrap();
            let excess = fitted.objective - exact.objective;
            let constant: f64 = samples.y().iter().map(|y| 0.5 * y * y).sum();
            assert!(
                excess <= 1e-7 * exact.objective + 1e-7 * constant,
                "{name}: excess {excess:e}"
            );
        }
    }
}

/// More samples than nodes: the exchange must find the knots, and the certificate must say so.
#[test]
fn many_samples() {
    let _turn = turn();
    for (set, count) in [(6, 5000), (7, 5000), (6, 60_000)] {
        let samples = noisy(set, count);
        for text in ["none", "-1,2"] {
            let bounds: SlopeBounds = text.parse().unwrap();
            for part in [1e-2, 1e-4] {
                let lambda = part * lambda_max(&samples, &bounds);
                let name = format!("{count} samples, {text}, {part} lambda_max");
                let fitted = fit(gpu(), &samples, &settings(Loss::Squared, lambda, bounds)).unwrap();
                check_spline(&name, &samples, Loss::Squared, &bounds, &fitted);
                assert!(fitted.nodes < count / 2, "{name}: {} nodes", fitted.nodes);
                let certified = fitted.certified_gap.unwrap();
                assert!(certified <= 1e-4, "{name}: certified {certified:e}");
                let exact = fit_tv2(&samples, Loss::Squared, lambda, &bounds).unwrap();
                let gap = (fitted.objective - exact.objective) / exact.objective;
                assert!(gap <= 1e-6, "{name}: relative gap {gap:e}");
            }
        }
    }
}

/// Samples so dense that f32 cannot tell many of them apart in units of their range: nodes must not coincide.
#[test]
fn samples_closer_than_f32_resolves() {
    let _turn = turn();
    let random = values(77, 40_000);
    // Cubes crowd around 0, where f32 holds numbers that differ by far less than an ulp of the range.
    let x: Vec<f64> = random.iter().map(|v| f64::from(*v).powi(9)).collect();
    let noise = values(78, 40_000);
    let y: Vec<f64> = x
        .iter()
        .zip(noise)
        .map(|(x, n)| x.abs().powf(0.2) + 0.1 * f64::from(n))
        .collect();
    let samples = Samples::new(&x, &y, None).unwrap();
    for (part, limit) in [(1e-2, 1e-4), (1e-4, 1e-2)] {
        let lambda = part * lambda_max(&samples, &SlopeBounds::none());
        let fitted = fit(gpu(), &samples, &settings(Loss::Squared, lambda, SlopeBounds::none())).unwrap();
        let certified = fitted.certified_gap.unwrap();
        assert!(certified <= limit, "{part} lambda_max: certified {certified:e}");
    }
}

#[test]
fn a_number_of_knots() {
    let _turn = turn();
    let samples = data_set(6);
    for text in ["none", "-1,2"] {
        let bounds: SlopeBounds = text.parse().unwrap();
        let lambda = 1e-4 * lambda_max(&samples, &bounds);
        let free = fit(gpu(), &samples, &settings(Loss::Squared, lambda, bounds)).unwrap();
        for most in [0, 1, 3, 5] {
            let few = FitSettings {
                max_knots: Some(most),
                ..settings(Loss::Squared, lambda, bounds)
            };
            let fitted = fit(gpu(), &samples, &few).unwrap();
            let name = format!("{text}, at most {most} knots");
            assert!(fitted.knots() <= most, "{name}: {}", fitted.knots());
            if free.knots() <= most {
                assert_eq!(fitted, free, "{name}");
                continue;
            }
            // It is the optimum at the lambda that it reports, and a little less lambda would have had too many knots.
            check_spline(&name, &samples, Loss::Squared, &bounds, &fitted);
            let exact = fit_tv2(&samples, Loss::Squared, fitted.lambda, &bounds).unwrap();
            assert!(fitted.objective <= exact.objective * (1.0 + 1e-6), "{name}");
            let less = fit_tv2(&samples, Loss::Squared, fitted.lambda / 1.05, &bounds).unwrap();
            assert!(
                less.sparsest().unwrap().len() - 2 > most,
                "{name}: lambda is larger than needed"
            );
        }
    }
}

#[test]
fn a_path_is_as_good_as_single_fits() {
    let _turn = turn();
    let samples = data_set(6);
    let bounds = SlopeBounds::lipschitz();
    let largest = lambda_max(&samples, &SlopeBounds::none());
    let lambdas = [1e-1, 1e-3, 1e-2].map(|part| part * largest);
    let path = fit_path(gpu(), &samples, &settings(Loss::Squared, 0.0, bounds), &lambdas).unwrap();
    for (lambda, fitted) in lambdas.into_iter().zip(path) {
        let exact = fit_tv2(&samples, Loss::Squared, lambda, &bounds).unwrap();
        assert_eq!(fitted.lambda, lambda);
        assert!(fitted.objective <= exact.objective * (1.0 + 1e-6), "lambda {lambda}");
    }
}

/// On a uniform grid no oracle is at hand: no admissible change of one nodal value or of a tail may lower the objective.
#[test]
fn uniform_knots_are_optimal_on_their_grid() {
    let _turn = turn();
    let samples = noisy(7, 400);
    for text in ["none", "-1,2"] {
        let bounds: SlopeBounds = text.parse().unwrap();
        for (points, part) in [(2, 1e-2), (9, 1e-2), (41, 1e-3)] {
            let lambda = part * lambda_max(&samples, &SlopeBounds::none());
            let settings = FitSettings {
                knots: Knots::Uniform(points),
                ..settings(Loss::Squared, lambda, bounds)
            };
            let fitted = fit(gpu(), &samples, &settings).unwrap();
            let name = format!("{points} points, {text}");
            assert_eq!(fitted.spline.len(), points, "{name}");
            check_spline(&name, &samples, Loss::Squared, &bounds, &fitted);
            let spacing = fitted.spline.knots()[1] - fitted.spline.knots()[0];
            let mut tried = 0;
            for step in [1e-3, 1e-4] {
                for n in 0..points {
                    for change in [step, -step] {
                        for tail in [false, true] {
                            let mut values = fitted.spline.values().to_vec();
                            let end = if tail { points } else { n + 1 };
                            values[n..end].iter_mut().for_each(|v| *v += change * spacing);
                            let knots = fitted.spline.knots().to_vec();
                            let other = knotwork::spline::Spline::new(knots, values).unwrap();
                            if !bounds.contains(&other, 1e-9) {
                                continue;
                            }
                            tried += 1;
                            let slopes = other.slopes();
                            let moved = Fitted {
                                spline: other,
                                slopes,
                                ..fitted.clone()
                            };
                            let other = objective(&samples, Loss::Squared, lambda, &moved);
                            assert!(
                                other >= fitted.objective * (1.0 - 1e-9),
                                "{name}: node {n} by {change} lowers {} to {other}",
                                fitted.objective
                            );
                        }
                    }
                }
            }
            assert!(tried > points, "{name}: only {tried} changes were admissible");
        }
    }
}

#[test]
fn impossible_settings_are_refused() {
    let _turn = turn();
    let samples = data_set(0);
    let good = settings(Loss::Squared, 1.0, SlopeBounds::none());
    let refused = |settings: FitSettings| {
        let error = fit(gpu(), &samples, &settings).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{error}");
        error.to_string()
    };
    for lambda in [-1.0, f64::NAN, f64::INFINITY] {
        let message = refused(FitSettings { lambda, ..good });
        assert!(message.contains("lambda"), "{message}");
    }
    for delta in [0.0, -1.0, f64::NAN] {
        let loss = Loss::Huber(delta);
        assert!(refused(FitSettings { loss, ..good }).contains("threshold"));
    }
    for points in [0, 1, 1_000_000] {
        let knots = Knots::Uniform(points);
        assert!(refused(FitSettings { knots, ..good }).contains("uniform grid"));
    }
}
