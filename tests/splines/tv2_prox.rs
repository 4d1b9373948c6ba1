//! The TV2-prox kernels against the exact host solution: objective, slope bounds, knots, determinism.

use crate::common;
use crate::common::{gpu, poison, poisoned, turn, values};
use knotwork::spline::device::tv2::{MAX_NODES, OPTIMAL};
use knotwork::spline::device::{NodalProx, Tv2Problem};
use knotwork::spline::{Loss, Samples, SlopeBounds, fit_tv2, lambda_max};

const BOUNDS: [&str; 8] = [
    "none",
    "lipschitz",
    "firm",
    "monotone",
    "invertible:0.125",
    "weakly-convex:0.5",
    "-1,2",
    "-inf,-0.25",
];

/// A problem with its exact solution.
struct Case {
    name: String,
    samples: Samples,
    lambda: f64,
    bounds: SlopeBounds,
}

/// Samples of a bent or smooth function with noise, spacings of ratio up to `10^spread`, weights up to `10^weights`.
fn samples(seed: u64, count: usize, noise: f64, spread: f64, weights: f64) -> Samples {
    let random = |stream: u64| -> Vec<f64> {
        let all = values(seed * 8 + stream, count);
        all.iter().map(|v| f64::from(*v)).collect()
    };
    let mut x = vec![0.0];
    for r in &random(0)[1..] {
        x.push(x[x.len() - 1] + 10_f64.powf(0.5 * spread * (r - 1.0)));
    }
    let span = x[count - 1];
    let x: Vec<f64> = x.iter().map(|x| 2.0 * x / span - 1.0).collect();
    let noise: Vec<f64> = random(1).iter().map(|r| noise * r).collect();
    let shape = |x: f64| match seed % 3 {
        0 => (4.0 * x).sin(),
        1 => (2.0 * x).abs() - 1.5 * (x - 0.3).abs(),
        _ => (5.0 * x).tanh() + 0.3 * x * x,
    };
    let y: Vec<f64> = x.iter().zip(&noise).map(|(x, n)| shape(*x) + n).collect();
    let w: Vec<f64> = random(2).iter().map(|r| 10_f64.powf(0.5 * weights * r)).collect();
    Samples::new(&x, &y, Some(&w)).unwrap()
}

fn cases(spread: f64, weights: f64) -> Vec<Case> {
    let mut cases = Vec::new();
    for (set, count) in [2, 3, 4, 5, 9, 16, 17, 33, 64, 101, 127, 250].into_iter().enumerate() {
        let noise = [0.0, 0.01, 0.1, 0.3][set % 4];
        let samples = samples(set as u64, count, noise, spread, weights);
        for text in BOUNDS {
            let bounds: SlopeBounds = text.parse().unwrap();
            let largest = lambda_max(&samples, &bounds);
            for part in [1.5, 0.3, 1e-1, 1e-2, 1e-3] {
                // Where the affine fit interpolates, any lambda has it as its solution.
                let lambda = f64::from((part * if largest > 1e-9 { largest } else { 1.0 }) as f32);
                cases.push(Case {
                    name: format!("{count} nodes, {text}, {part} lambda_max"),
                    samples: samples.clone(),
                    lambda,
                    bounds,
                });
            }
        }
    }
    cases
}

/// What the device made of the cases: per case the problem, slopes and values.
fn solve(cases: &[Case]) -> Vec<(Tv2Problem, Vec<f32>, Vec<f32>)> {
    let (mut knots, mut targets, mut problems) = (Vec::new(), Vec::new(), Vec::new());
    for case in cases {
        problems.push(Tv2Problem::new(
            knots.len(),
            case.samples.len(),
            case.lambda,
            &case.bounds,
        ));
        knots.extend(case.samples.x().iter().map(|x| *x as f32));
        for (y, w) in case.samples.y().iter().zip(case.samples.weights()) {
            targets.extend([*y as f32, *w as f32]);
        }
    }
    let targets = gpu().upload("targets", &targets).unwrap();
    let prox = NodalProx::new(gpu(), &knots, &problems, &targets).unwrap();
    let solver = prox.solver();
    for buffer in [solver.values(), solver.slopes()] {
        gpu().write(buffer, &poison(buffer.len())).unwrap();
    }
    let mut recorder = gpu().record();
    prox.record(&mut recorder);
    recorder.submit();
    let solved: Vec<Tv2Problem> = gpu().read(solver.problems()).unwrap();
    let slopes: Vec<f32> = gpu().read(solver.slopes()).unwrap();
    let values: Vec<f32> = gpu().read(solver.values()).unwrap();
    solved
        .into_iter()
        .map(|p| {
            let (first, count) = (p.first as usize, p.count as usize);
            // Every problem has one segment less than nodes; that entry stays untouched.
            assert!(poisoned(slopes[first + count - 1]), "a slope behind the last segment");
            let own = |all: &[f32], n: usize| all[first..first + n].to_vec();
            (p, own(&slopes, count - 1), own(&values, count))
        })
        .collect()
}

/// The objective of the function with the first value and slopes given, in f64.
fn objective(case: &Case, first: f64, slopes: &[f64]) -> f64 {
    let (x, y, w) = (case.samples.x(), case.samples.y(), case.samples.weights());
    let mut value = first;
    let mut sum = 0.5 * w[0] * (value - y[0]).powi(2);
    for (m, s) in slopes.iter().enumerate() {
        value += s * (x[m + 1] - x[m]);
        sum += 0.5 * w[m + 1] * (value - y[m + 1]).powi(2);
    }
    sum + case.lambda * slopes.windows(2).map(|s| (s[1] - s[0]).abs()).sum::<f64>()
}

/// Checks every case; `objectives` is the relative excess of the objective that is allowed.
fn check(cases: &[Case], objectives: f64) {
    for (case, (problem, slopes, values)) in cases.iter().zip(solve(cases)) {
        let name = &case.name;
        assert_eq!(problem.status, OPTIMAL, "{name}: {problem:?}");
        let exact = fit_tv2(&case.samples, Loss::Squared, case.lambda, &case.bounds).unwrap();
        let (low, high) = (case.bounds.min() as f32, case.bounds.max() as f32);
        assert!(
            slopes.iter().all(|s| (low..=high).contains(s)),
            "{name}: a slope is outside the bounds"
        );
        let wide: Vec<f64> = slopes.iter().map(|s| f64::from(*s)).collect();
        let got = objective(case, f64::from(problem.value_first), &wide);
        // What f32 cannot resolve: an error of eps |y| in every residual.
        let size = case.samples.y().iter().fold(0.0_f64, |m, y| m.max(y.abs()));
        let floor: f64 = case.samples.weights().iter().sum::<f64>() * (4.0 * common::EPS * size).powi(2);
        let excess = got - exact.objective - exact.gap;
        assert!(
            excess <= objectives * exact.objective + floor,
            "{name}: objective {got:e}, exact {:e}, excess {excess:e}, floor {floor:e}, {} steps",
            exact.objective,
            problem.steps
        );
        // The data term is strictly convex: |f - f*|_w^2 / 2 <= excess (and values carry the rounding of their sum).
        let distance: f64 = (0..values.len())
            .map(|n| {
                let exact = exact.spline.values()[n];
                0.5 * case.samples.weights()[n] * (f64::from(values[n]) - exact).powi(2)
            })
            .sum();
        let rounding = floor * (values.len() as f64 + 4.0);
        assert!(
            distance <= 4.0 * objectives * exact.objective + rounding,
            "{name}: distance {distance:e}"
        );
    }
}

#[test]
fn solutions_are_exact_for_all_bounds_and_lambdas() {
    let _turn = turn();
    check(&cases(1.0, 0.0), 1e-6);
}

#[test]
fn uneven_spacings_and_weights() {
    let _turn = turn();
    check(&cases(4.0, 3.0), 1e-5);
}

/// One step of the largest problem must stay within what the driver allows of loop iterations.
#[test]
fn the_largest_problem() {
    let _turn = turn();
    let samples = samples(3, MAX_NODES, 0.1, 1.0, 0.0);
    let bounds = SlopeBounds::lipschitz();
    let lambda = f64::from((0.02 * lambda_max(&samples, &bounds)) as f32);
    let name = format!("{MAX_NODES} nodes");
    check(
        &[Case {
            name,
            samples,
            lambda,
            bounds,
        }],
        1e-6,
    );
}

#[test]
fn two_runs_give_the_same_bits() {
    let _turn = turn();
    let some: Vec<Case> = cases(1.0, 1.0).into_iter().step_by(7).collect();
    let bits = |all: &[f32]| all.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    for ((a, a_slopes, a_values), (b, b_slopes, b_values)) in solve(&some).into_iter().zip(solve(&some)) {
        assert_eq!(a, b);
        assert_eq!(bits(&a_slopes), bits(&b_slopes));
        assert_eq!(bits(&a_values), bits(&b_values));
    }
}

#[test]
fn problems_off_their_knots_or_too_large_are_refused() {
    let _turn = turn();
    let targets = gpu().buffer("targets", 8).unwrap();
    let none = SlopeBounds::none();
    let refused = |knots: usize, problem: Tv2Problem| {
        let knots: Vec<f32> = (0..knots).map(|n| n as f32).collect();
        NodalProx::new(gpu(), &knots, &[problem], &targets)
            .unwrap_err()
            .to_string()
    };
    let beyond = refused(4, Tv2Problem::new(2, 3, 1.0, &none));
    assert!(beyond.contains("does not lie on its knots"), "{beyond}");
    let single = refused(4, Tv2Problem::new(2, 1, 1.0, &none));
    assert!(single.contains("does not lie on its knots"), "{single}");
    let large = refused(MAX_NODES + 1, Tv2Problem::new(0, MAX_NODES + 1, 1.0, &none));
    assert!(large.contains(&format!("at most {MAX_NODES}")), "{large}");
}
