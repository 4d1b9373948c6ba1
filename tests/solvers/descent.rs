//! Reconstruction from linear measurements: critical points, descent in every step, minimisers of total variation, all
//! against float64.

use super::linear::{SIGMA, SIZE, cases, measure, problem};
use crate::common::{EPS, gpu, turn, values};
use crate::reference::device::options;
use crate::reference::models::{cosines, image, weakly_convex};
use crate::reference::operators::{Dense, total_variation};
use crate::reference::problem::distance;
use crate::reference::{norm, widen};
use knotwork::Error;
use knotwork::model::{Border, Ridge};
use knotwork::operator::Mask;
use knotwork::solver::{Denoiser, Method, Outcome, Reconstructor, Regularizer, Settings, Stop};

#[test]
fn converged_images_are_critical_and_have_the_energy_reported() {
    let _turn = turn();
    // The last weight makes the energy non-convex: lambda rho = 10 against |H|^2 of about 1 for the mask.
    for (model, lambda) in [(cosines(), 0.5), (weakly_convex(), 1.0), (weakly_convex(), 20.0)] {
        for case in cases() {
            for limits in [None, Some((0.0, 0.8))] {
                // The random activations fall for ever: where H does not see everything, only the box bounds the energy.
                if limits.is_none() && model.weak_convexity() > 0.0 {
                    continue;
                }
                let settings = Settings {
                    lambda,
                    limits,
                    tolerance: 1e-6,
                    max_iterations: 4000,
                    method: Method::Accelerated,
                    noise_tolerance: None,
                };
                let name = format!("{} {} lambda {lambda} {limits:?}", case.name, model.name);
                let y = measure(case.operator.as_ref(), &image(3, SIZE));
                let regularizer = Regularizer::Ridge(&model, options(SIGMA));
                let solver = Reconstructor::new(gpu(), case.operator.as_ref(), regularizer, settings).unwrap();
                let start = vec![0.3; 154];
                let outcome = solver.run(&y, &start, |_, _| {}).unwrap();
                assert_eq!(outcome.stop, Stop::Converged, "{name}: {outcome:?}");
                let constants = solver.constants();
                assert!(constants.step_certified && constants.lipschitz > lambda * model.gradient_lipschitz());
                let (a, b) = (
                    cases().into_iter().find(|c| c.name == case.name).unwrap(),
                    constants.lipschitz,
                );
                let problem = problem(a, &model, &settings, &y, b);
                let x = widen(&outcome.image);
                // |x' - z| is a few times the last change; f32 adds its rounding of x and of the gradient.
                let gradient = norm(&problem.gradient(&x));
                let residual = distance(&problem.step(&x), &x);
                let allowed =
                    5.0 * settings.tolerance * norm(&x) + 64.0 * EPS * (norm(&x) + gradient / problem.lipschitz);
                let at_start = distance(&problem.step(&widen(&start)), &widen(&start));
                assert!(
                    residual <= allowed,
                    "{name}: residual {residual:e}, allowed {allowed:e}"
                );
                assert!(
                    allowed < 0.02 * at_start,
                    "{name}: allowed {allowed:e} of {at_start:e} at the start"
                );
                let (energy, error) = problem.energy(&x);
                assert!(
                    (outcome.energy - energy).abs() <= error,
                    "{name}: energy {}, want {energy}",
                    outcome.energy
                );
            }
        }
    }
}

#[test]
fn short_steps_alone_do_not_end_it() {
    let _turn = turn();
    let model = cosines();
    for case in cases() {
        let mut settings = Settings {
            lambda: 100.0,
            limits: Some((0.0, 0.8)),
            max_iterations: 4000,
            method: Method::Accelerated,
            noise_tolerance: None,
            ..Settings::default()
        };
        let (name, copy) = (case.name, cases().into_iter().find(|c| c.name == case.name).unwrap());
        let y = measure(case.operator.as_ref(), &image(3, SIZE));
        let solver = |settings: Settings| {
            let regularizer = Regularizer::Ridge(&model, options(SIGMA));
            Reconstructor::new(gpu(), case.operator.as_ref(), regularizer, settings).unwrap()
        };
        let constants = solver(settings).constants();
        let problem = problem(copy, &model, &settings, &y, constants.lipschitz);
        let moved = |from: &[f64]| distance(&problem.step(from), from) / norm(from);
        let start = vec![0.3; 154];
        settings.tolerance = 1.1 * moved(&widen(&start));
        let outcome = solver(settings).run(&y, &start, |_, _| {}).unwrap();
        assert_eq!(outcome.stop, Stop::Converged, "{name}");
        // A step of a convex energy moves two points no further apart: the next one, from x', is no longer than that from z.
        let scale = constants.lipschitz / constants.operator.squared;
        let left = scale * moved(&widen(&outcome.image));
        let rounding = 16.0 * EPS * scale;
        assert!(left <= settings.tolerance + rounding, "{name}: {left:e} is left");
        assert!(rounding < 0.1 * settings.tolerance, "{name}: rounding {rounding:e}");
    }
}

#[test]
fn every_step_descends_by_what_is_promised() {
    let _turn = turn();
    let model = weakly_convex();
    let (mut restarts, mut clear) = (0, 0);
    for case in cases() {
        let y = measure(case.operator.as_ref(), &image(4, SIZE));
        let settings = Settings {
            lambda: 5.0,
            limits: Some((0.0, 1.0)),
            tolerance: 1e-9,
            max_iterations: 1,
            method: Method::Accelerated,
            noise_tolerance: None,
        };
        let start = values(5, 154).iter().map(|v| 0.5 + 0.4 * v).collect::<Vec<f32>>();
        let run = |iterations: usize| -> (Outcome, f64) {
            let settings = Settings {
                max_iterations: iterations,
                ..settings
            };
            let regularizer = Regularizer::Ridge(&model, options(SIGMA));
            let solver = Reconstructor::new(gpu(), case.operator.as_ref(), regularizer, settings).unwrap();
            (solver.run(&y, &start, |_, _| {}).unwrap(), solver.constants().lipschitz)
        };
        let lipschitz = run(1).1;
        let copy = cases().into_iter().find(|c| c.name == case.name).unwrap();
        let problem = problem(copy, &model, &settings, &y, lipschitz);
        let mut before = widen(&start);
        let mut refused = 0;
        // The iteration as its formula says, from the device's iterates: z, t and beta follow from the decisions so far.
        let (mut z, mut t, mut beta) = (before.clone(), 1.0_f64, 0.0);
        for iterations in 1..60 {
            let (outcome, _) = run(iterations);
            assert_eq!(outcome.iterations, iterations);
            let x = widen(&outcome.image);
            let promised = lipschitz * distance(&x, &before).powi(2) / 2000.0;
            let fall = problem.energy(&before).0 - problem.energy(&x).0;
            // x is rounded to f32 after the step was judged: the energy moves by |grad F| |x| EPS, and L/2 of its square.
            let rounding = 4.0 * EPS * norm(&x);
            let slack = norm(&problem.gradient(&x)) * rounding + lipschitz * rounding * rounding;
            assert!(
                fall >= promised - slack,
                "{} step {iterations}: {fall:e}, promised {promised:e}",
                case.name
            );
            // The bound D is rarely tight, so energies alone do not show whether a step was refused: x stays then.
            if outcome.restarts > refused {
                assert_eq!(x, before, "{} step {iterations}: taken although refused", case.name);
            }
            let taken = outcome.restarts == refused;
            let bound = problem.descent_bound(&before, &z, model.weak_convexity());
            if beta > 0.0 && (bound.0 - bound.1).abs() > 1e-3 * bound.2 {
                let name = case.name;
                assert_eq!(taken, bound.0 <= bound.1, "{name} step {iterations}: {bound:?}");
                clear += 1;
            }
            let next = 0.5 * (1.0 + (1.0 + 4.0 * t * t).sqrt());
            (t, beta) = if taken { (next, (t - 1.0) / next) } else { (1.0, 0.0) };
            z = x.iter().zip(&before).map(|(x, b)| x + beta * (x - b)).collect();
            refused = outcome.restarts;
            restarts = restarts.max(refused);
            before = x;
        }
    }
    assert!(restarts > 0, "the safeguard was never needed, so nothing was tested");
    assert!(clear > 100, "only {clear} decisions were clear");
}

#[test]
fn with_everything_measured_it_is_the_denoiser() {
    let _turn = turn();
    let model = cosines();
    let noisy = image(6, SIZE);
    let settings = Settings {
        tolerance: 1e-6,
        max_iterations: 3000,
        ..Settings::default()
    };
    let denoiser = Denoiser::new(gpu(), &model, &options(SIGMA), settings, SIZE, 1).unwrap();
    let want = denoiser.run(&[&noisy], |_, _, _| {}).unwrap().remove(0);
    let everything = Mask::new(SIZE, vec![1.0; 154]).unwrap();
    let regularizer = Regularizer::Ridge(&model, options(SIGMA));
    let solver = Reconstructor::new(gpu(), &everything, regularizer, settings).unwrap();
    let got = solver.run(&noisy, &noisy, |_, _| {}).unwrap();
    // Both are within a few tolerances / (s mu) of the one minimiser, mu = 1 and s = 1 / L.
    let (a, b) = (widen(&got.image), widen(&want.image));
    let allowed = 2.0 * 5.0 * settings.tolerance * norm(&a) * solver.constants().lipschitz;
    assert!(
        distance(&a, &b) <= allowed,
        "{:e}, allowed {allowed:e}",
        distance(&a, &b)
    );
    assert!((got.energy - want.energy).abs() <= 1e-5 * want.energy);
    // The same bits again, whatever ran before.
    let other = solver.run(&image(7, SIZE), &noisy, |_, _| {}).unwrap();
    assert!(other.image != got.image);
    assert_eq!(solver.run(&noisy, &noisy, |_, _| {}).unwrap().image, got.image);
}

/// Chambolle-Pock and Condat's primal-dual iteration in f64, another method than the device's.
fn primal_dual(dense: &Dense, y: &[f64], lambda: f64, (low, high): (f64, f64), iterations: usize) -> Vec<f64> {
    let [rows, cols] = SIZE;
    let norm = 1.001 * dense.norm_squared();
    let (tau, sigma) = (0.9 / norm, norm / 16.0);
    let mut x = vec![0.3_f64; rows * cols];
    let mut u = vec![[0.0_f64; 2]; rows * cols];
    for _ in 0..iterations {
        let residual: Vec<f64> = dense.apply(&x, false).0.iter().zip(y).map(|(a, b)| a - b).collect();
        let data = dense.apply(&residual, true).0;
        let mut next = vec![0.0; rows * cols];
        for i in 0..rows * cols {
            let above = if i >= cols { u[i - cols][0] } else { 0.0 };
            let left = if i % cols > 0 { u[i - 1][1] } else { 0.0 };
            next[i] = (x[i] - tau * (data[i] + above + left - u[i][0] - u[i][1])).clamp(low, high);
        }
        let ahead: Vec<f64> = next.iter().zip(&x).map(|(n, x)| 2.0 * n - x).collect();
        for i in 0..rows * cols {
            let down = if i + cols < rows * cols {
                ahead[i + cols] - ahead[i]
            } else {
                0.0
            };
            let right = if i % cols + 1 < cols {
                ahead[i + 1] - ahead[i]
            } else {
                0.0
            };
            let v = [u[i][0] + sigma * down, u[i][1] + sigma * right];
            let shrink = (lambda / v[0].hypot(v[1])).min(1.0);
            u[i] = v.map(|v| v * shrink);
        }
        x = next;
    }
    x
}

#[test]
fn total_variation_reaches_the_minimum_of_another_method() {
    let _turn = turn();
    for case in cases() {
        let y = measure(case.operator.as_ref(), &image(8, SIZE));
        for (lambda, limits) in [(0.05, None), (0.02, Some((0.25, 0.75)))] {
            let settings = Settings {
                lambda,
                limits,
                tolerance: 1e-6,
                max_iterations: 4000,
                method: Method::Accelerated,
                noise_tolerance: None,
            };
            let solver =
                Reconstructor::new(gpu(), case.operator.as_ref(), Regularizer::TotalVariation, settings).unwrap();
            let start = vec![0.4; 154];
            let outcome = solver.run(&y, &start, |_, _| {}).unwrap();
            assert_eq!(outcome.stop, Stop::Converged, "{}", case.name);
            let box_ = limits.map_or((-1e30, 1e30), |(a, b)| (f64::from(a), f64::from(b)));
            assert!(outcome.image.iter().all(|v| (box_.0..=box_.1).contains(&f64::from(*v))));
            let energy = |x: &[f64]| {
                let off = case.dense.apply(x, false).0;
                let square: f64 = off.iter().zip(&y).map(|(a, b)| (a - f64::from(*b)).powi(2)).sum();
                0.5 * square + lambda * total_variation(x, SIZE)
            };
            let best = energy(&primal_dual(&case.dense, &widen(&y), lambda, box_, 20_000));
            let got = energy(&widen(&outcome.image));
            let name = format!("{} lambda {lambda} {limits:?}", case.name);
            assert!(
                (outcome.energy - got).abs() <= 1e-5 * got,
                "{name}: {} reported, {got}",
                outcome.energy
            );
            assert!(
                (got - best).abs() <= 1e-4 * best,
                "{name}: energy {got}, other method {best}"
            );
            assert!(best < 0.5 * energy(&widen(&start)));
        }
    }
}

#[test]
fn two_pixels_of_total_variation_by_hand() {
    // Differences (4, 3), (-3, 0), (0, -4), (0, 0) down and to the right.
    assert_eq!(total_variation(&[0.0, 3.0, 4.0, 0.0], [2, 2]), 12.0);
    let _turn = turn();
    let both = Mask::new([1, 2], vec![1.0; 2]).unwrap();
    for (y, want) in [([0.0, 1.0], [0.2, 0.8]), ([0.7, 0.4], [0.55, 0.55])] {
        let settings = Settings {
            lambda: 0.2,
            tolerance: 1e-7,
            ..Settings::default()
        };
        let solver = Reconstructor::new(gpu(), &both, Regularizer::TotalVariation, settings).unwrap();
        let got = solver.run(&y, &[0.0, 0.0], |_, _| {}).unwrap();
        assert!(
            got.image
                .iter()
                .zip(want)
                .all(|(g, w): (&f32, f32)| (g - w).abs() < 1e-5),
            "{got:?}"
        );
    }
}

#[test]
fn what_cannot_be_reconstructed_is_refused() {
    let _turn = turn();
    let model = cosines();
    let mask = Mask::new(SIZE, vec![1.0; 154]).unwrap();
    let regularizer = Regularizer::Ridge(&model, options(SIGMA));
    for settings in [
        Settings {
            lambda: 0.0,
            ..Settings::default()
        },
        Settings {
            tolerance: f64::NAN,
            ..Settings::default()
        },
        Settings {
            max_iterations: 0,
            ..Settings::default()
        },
    ] {
        assert!(matches!(
            Reconstructor::new(gpu(), &mask, regularizer, settings),
            Err(Error::Usage(_))
        ));
    }
    for regularizer in [regularizer, Regularizer::TotalVariation] {
        let settings = Settings {
            limits: Some((0.0, 1.0)),
            ..Settings::default()
        };
        let solver = Reconstructor::new(gpu(), &mask, regularizer, settings).unwrap();
        let good = image(1, SIZE);
        for (y, start) in [(&good[1..], &good[..]), (&good[..], &good[2..])] {
            assert!(matches!(solver.run(y, start, |_, _| {}), Err(Error::Data(_))));
        }
        let mut broken = good.clone();
        broken[77] = f32::NAN;
        let error = solver.run(&broken, &good, |_, _| {}).unwrap_err();
        assert!(matches!(error, Error::Diverged(_)), "{error}");
        assert_eq!(solver.run(&good, &good, |_, _| {}).unwrap().stop, Stop::Converged);
    }
}

#[test]
fn images_go_on_beyond_their_borders_where_the_model_wants_it() {
    let _turn = turn();
    for model in [cosines(), weakly_convex()] {
        let by = 2 * model.bank.radius();
        let [rows, cols] = SIZE;
        let larger = [rows + 2 * by, cols + 2 * by];
        let y: Vec<f32> = values(6, rows * cols).iter().map(|v| 0.5 + 0.4 * v).collect();
        let start: Vec<f32> = values(7, rows * cols).iter().map(|v| 0.5 + 0.4 * v).collect();
        let mask: Vec<f32> = values(8, rows * cols).iter().map(|v| f32::from(*v > -0.3)).collect();
        // Positions of the larger image and the pixels of the smaller one that they mirror, the outermost twice.
        let mirrored = |at: usize, side: usize| {
            let at = (at + 2 * side * by - by) % (2 * side);
            if at < side { at } else { 2 * side - 1 - at }
        };
        let position = |n: usize| [n / larger[1], n % larger[1]];
        let is_inner = |n: usize| {
            let [row, col] = position(n);
            (by..by + rows).contains(&row) && (by..by + cols).contains(&col)
        };
        let pixel = |n: usize| mirrored(position(n)[0], rows) * cols + mirrored(position(n)[1], cols);
        let all = || 0..larger[0] * larger[1];
        let inner_only = |of: &[f32]| {
            all()
                .map(|n| if is_inner(n) { of[pixel(n)] } else { 0.0 })
                .collect::<Vec<_>>()
        };

        let settings = Settings {
            lambda: 0.6,
            limits: Some((0.0, 0.9)),
            tolerance: 1e-5,
            max_iterations: 60,
            ..Settings::default()
        };
        let run = |border: Border, mask: Mask, y: &[f32], start: &[f32]| {
            let model = Ridge {
                border,
                ..model.clone()
            };
            let regularizer = Regularizer::Ridge(&model, options(SIGMA));
            let solver = Reconstructor::new(gpu(), &mask, regularizer, settings).unwrap();
            solver.run(y, start, |_, _| {}).unwrap()
        };
        let got = run(Border::Mirror, Mask::new(SIZE, mask.clone()).unwrap(), &y, &start);
        // The same as a larger image of which the border was not measured.
        let outer_start: Vec<f32> = all().map(|n| start[pixel(n)]).collect();
        let outer_mask = Mask::new(larger, inner_only(&mask)).unwrap();
        let want = run(Border::Zero, outer_mask, &inner_only(&y), &outer_start);
        let inner: Vec<f32> = all().filter(|n| is_inner(*n)).map(|n| want.image[n]).collect();
        assert_eq!(got.image, inner, "{}", model.name);
        assert_eq!(got.iterations, want.iterations);
        assert!(
            (got.energy / want.energy - 1.0).abs() < 1e-5,
            "{} {}",
            got.energy,
            want.energy
        );
        let without = run(Border::Zero, Mask::new(SIZE, mask).unwrap(), &y, &start);
        assert_ne!(
            got.image, without.image,
            "what lies beyond the borders has a part in it"
        );
    }
}
