//! The denoiser: its minimisers, energies and stopping against float64, and what it refuses.

use crate::common::{EPS, gpu};
use crate::reference::device::{options, turn};
use crate::reference::models::{cosines, image, weakly_convex};
use crate::reference::problem::{Problem, amplification, distance};
use crate::reference::{norm, widen};
use knotwork::Error;
use knotwork::model::{Border, Ridge};
use knotwork::solver::{Denoiser, Method, Outcome, Settings, Stop};

const SIZE: [usize; 2] = [23, 18];
const SIGMA: f64 = 0.1;

fn tight() -> Settings {
    Settings {
        tolerance: 1e-6,
        max_iterations: 3000,
        ..Settings::default()
    }
}

fn run(model: &Ridge, settings: Settings, noisy: &[&[f32]]) -> Vec<Outcome> {
    let denoiser = Denoiser::new(gpu(), model, &options(SIGMA), settings, SIZE, noisy.len()).unwrap();
    denoiser.run(noisy, |_, _, _| {}).unwrap()
}

/// Models with the weight to use: convex, weakly convex, and weakly convex close to the limit.
fn cases() -> Vec<(Ridge, f64)> {
    vec![(cosines(), 1.0), (weakly_convex(), 1.0), (weakly_convex(), 1.9)]
}

#[test]
fn converged_results_are_minimisers_with_the_energy_reported() {
    let _turn = turn();
    for (model, lambda) in cases() {
        let settings = Settings { lambda, ..tight() };
        let noisy = image(1, SIZE);
        let outcome = run(&model, settings, &[&noisy]).remove(0);
        let problem = Problem::new(&model, SIGMA, SIZE, &noisy, &settings);
        let x = widen(&outcome.image);
        let name = format!("{} lambda {lambda}", model.name);
        assert_eq!(outcome.stop, Stop::Converged, "{name}");
        assert!(
            outcome.change <= settings.tolerance && outcome.iterations > 5,
            "{name}: {outcome:?}"
        );

        // grad h(x_{k+1}) <= |x_{k+1} - z_k| / step, with z_k - x_k the step before: a few times the last change. The f32
        // step resolves |x| EPS, and the gradient its own rounding.
        let gradient = problem.ridge.objective_gradient(&x, &problem.y, lambda);
        let rounding = norm(&problem.ridge.gradient(&x).error) * lambda + 4.0 * EPS * norm(&x) / problem.step;
        let allowed = 5.0 * settings.tolerance * norm(&x) / problem.step + rounding;
        let residual = norm(&gradient);
        assert!(
            residual <= allowed,
            "{name}: |grad h| = {residual:e}, allowed {allowed:e}"
        );
        let start = norm(&problem.ridge.objective_gradient(&problem.y, &problem.y, lambda));
        assert!(
            allowed < 0.01 * start,
            "{name}: allowed {allowed:e} of {start:e} at the start"
        );

        // |x - x*| <= |grad h(x)| / mu, against a minimiser found in f64.
        let best = problem.accelerated(600);
        let off = problem.distance_bound(&best);
        let apart = distance(&x, &best);
        assert!(
            apart <= allowed / problem.modulus + off,
            "{name}: {apart:e} from the minimiser"
        );
        assert!(
            off < 1e-3 * distance(&problem.y, &best),
            "{name}: the reference is off by {off:e}"
        );

        let (energy, error) = problem.energy(&x);
        assert!(
            (outcome.energy - energy).abs() <= error,
            "{name}: energy {}, want {energy}",
            outcome.energy
        );
        assert!(
            energy < problem.energy(&problem.y).0,
            "{name}: no better than the input"
        );
    }
}

#[test]
fn plain_steps_reach_the_same_minimiser_more_slowly() {
    let _turn = turn();
    let model = cosines();
    let noisy = image(2, SIZE);
    let plain = Settings {
        method: Method::Plain,
        ..tight()
    };
    let [fast, slow] = [tight(), plain].map(|s| run(&model, s, &[&noisy]).remove(0));
    assert_eq!(
        (fast.stop, slow.stop, slow.restarts),
        (Stop::Converged, Stop::Converged, 0)
    );
    assert!(
        slow.iterations > fast.iterations && fast.restarts > 0,
        "{} {}",
        slow.iterations,
        fast.iterations
    );
    let problem = Problem::new(&model, SIGMA, SIZE, &noisy, &plain);
    let (a, b) = (widen(&fast.image), widen(&slow.image));
    let allowed = problem.distance_bound(&a) + problem.distance_bound(&b);
    let apart = distance(&a, &b);
    assert!(
        apart <= allowed && allowed < 0.05 * distance(&problem.y, &a),
        "{apart:e}, allowed {allowed:e}"
    );
}

#[test]
fn the_first_iterations_are_those_of_the_published_solver() {
    let _turn = turn();
    for (model, lambda) in cases() {
        let noisy = image(3, SIZE);
        for (iterations, accelerate) in [(1, true), (2, true), (3, true), (5, true), (1, false), (4, false)] {
            let settings = Settings {
                lambda,
                max_iterations: iterations,
                method: if accelerate { Method::Accelerated } else { Method::Plain },
                tolerance: 1e-9,
                ..Settings::default()
            };
            let outcome = run(&model, settings, &[&noisy]).remove(0);
            assert_eq!((outcome.stop, outcome.iterations), (Stop::MaxIterations, iterations));
            let problem = Problem::new(&model, SIGMA, SIZE, &noisy, &settings);
            let want = if accelerate {
                problem.accelerated(iterations)
            } else {
                (0..iterations).fold(problem.y.clone(), |x, _| problem.step(&x))
            };
            let one = problem.step * lambda * norm(&problem.ridge.gradient(&want).error) + 8.0 * EPS * norm(&want);
            let allowed = one * amplification(iterations, accelerate);
            let apart = distance(&widen(&outcome.image), &want);
            assert!(
                apart <= allowed,
                "{} iteration {iterations}: {apart:e}, allowed {allowed:e}",
                model.name
            );
            // Without the last iteration the result is another one.
            let moved = distance(&want, &problem.accelerated(iterations - 1));
            assert!(
                allowed < moved,
                "{} iteration {iterations}: moved {moved:e}, allowed {allowed:e}",
                model.name
            );
        }
    }
}

#[test]
fn images_of_a_batch_converge_on_their_own() {
    let _turn = turn();
    for model in [cosines(), weakly_convex()] {
        let images = [
            image(5, SIZE),
            vec![0.0; 23 * 18],
            image(6, SIZE).iter().map(|v| 4.0 * v - 2.0).collect(),
        ];
        let settings = Settings { lambda: 1.9, ..tight() };
        let alone: Vec<_> = images.iter().map(|y| run(&model, settings, &[y]).remove(0)).collect();
        let counts: Vec<_> = alone.iter().map(|o| o.iterations).collect();
        assert!(counts[0] != counts[1], "{counts:?} should differ to test anything");
        for order in [&[0, 1, 2][..], &[2, 0, 1], &[1, 1]] {
            let batch: Vec<&[f32]> = order.iter().map(|&i| images[i].as_slice()).collect();
            let together = run(&model, settings, &batch);
            assert_eq!(together.len(), order.len());
            for (outcome, want) in together.iter().zip(order.iter().map(|&i| &alone[i])) {
                assert_eq!(outcome.iterations, want.iterations, "{order:?}");
                assert_eq!((outcome.restarts, outcome.change), (want.restarts, want.change));
                assert!(outcome.image == want.image, "{order:?}: images differ");
                assert_eq!(outcome.energy, want.energy);
            }
        }
    }
}

/// `plane` mirrored beyond its borders by `by` pixels: walking outwards from any pixel one comes upon them in the order
/// `.. 2 1 0 | 0 1 2 .. n-1 | n-1 n-2 ..`.
fn mirrored(plane: &[f32], [rows, cols]: [usize; 2], by: usize) -> Vec<f32> {
    let order = |side: usize| -> Vec<usize> {
        let there_and_back: Vec<usize> = (0..side).chain((0..side).rev()).collect();
        let forward = there_and_back.iter().copied().cycle().take(side + by);
        let backward: Vec<usize> = there_and_back.iter().rev().copied().cycle().take(by).collect();
        backward.into_iter().rev().chain(forward).collect()
    };
    order(rows)
        .iter()
        .flat_map(|row| order(cols).into_iter().map(move |col| plane[row * cols + col]))
        .collect()
}

#[test]
fn images_go_on_beyond_their_borders_where_the_model_wants_it() {
    let _turn = turn();
    assert_eq!(
        mirrored(&[1.0, 2.0], [1, 2], 3),
        [[2.0, 2.0, 1.0, 1.0, 2.0, 2.0, 1.0, 1.0]; 7].concat()
    );
    let zero = cosines();
    let model = Ridge {
        border: Border::Mirror,
        ..zero.clone()
    };
    let by = 2 * zero.bank.radius();
    for size in [SIZE, [1, 3], [5, 1]] {
        let noisy: Vec<Vec<f32>> = (8..10).map(|seed| image(seed, size)).collect();
        let larger: Vec<Vec<f32>> = noisy.iter().map(|n| mirrored(n, size, by)).collect();
        let [rows, cols] = size.map(|side| side + 2 * by);
        fn slices(planes: &[Vec<f32>]) -> Vec<&[f32]> {
            planes.iter().map(Vec::as_slice).collect()
        }
        let denoise = |model: &Ridge, size: [usize; 2], noisy: &[Vec<f32>]| {
            let denoiser = Denoiser::new(gpu(), model, &options(SIGMA), Settings::default(), size, 2).unwrap();
            denoiser.run(&slices(noisy), |_, _, _| {}).unwrap()
        };
        let got = denoise(&model, size, &noisy);
        let want = denoise(&zero, [rows, cols], &larger);
        let without = denoise(&zero, size, &noisy);
        for ((got, want), without) in got.iter().zip(&want).zip(&without) {
            let inside = |at: usize, side: usize| at >= by && at < side - by;
            let inner = want.image.iter().enumerate();
            let inner = inner.filter(|(n, _)| inside(n / cols, rows) && inside(n % cols, cols));
            assert_eq!(got.image, inner.map(|(_, v)| *v).collect::<Vec<f32>>(), "{size:?}");
            assert_eq!((got.energy, got.error_bound), (want.energy, want.error_bound));
            assert_ne!(got.image, without.image);
        }
    }
    let denoiser = Denoiser::new(gpu(), &model, &options(SIGMA), Settings::default(), SIZE, 1).unwrap();
    let larger = vec![0.0; (SIZE[0] + 2 * by) * (SIZE[1] + 2 * by)];
    assert!(matches!(denoiser.run(&[&larger], |_, _, _| {}), Err(Error::Data(_))));
}

#[test]
fn a_stop_does_not_depend_on_how_many_iterations_a_submission_holds() {
    let _turn = turn();
    let model = cosines();
    let (noisy, settings) = (image(7, SIZE), tight());
    let denoiser = Denoiser::new(gpu(), &model, &options(SIGMA), settings, SIZE, 2).unwrap();
    let mut ends = Vec::new();
    let want = denoiser.run(&[&noisy], |done, _, _| ends.push(done)).unwrap().remove(0);
    let recorded = *ends.last().unwrap();
    assert_eq!(ends[0], 1, "the first submission measures one iteration");
    assert!(
        recorded >= want.iterations && ends.len() < recorded,
        "{ends:?}, stopped at {}",
        want.iterations
    );
    // Ending exactly at, and in the middle of what a submission would hold; and a prepared denoiser used again.
    for most in [want.iterations, want.iterations + 1, want.iterations + 7] {
        let limited = Settings {
            max_iterations: most,
            ..settings
        };
        let got = run(&model, limited, &[&noisy]).remove(0);
        assert_eq!(
            (got.stop, got.iterations),
            (Stop::Converged, want.iterations),
            "at most {most}"
        );
        assert!(got.image == want.image, "at most {most}");
    }
    let short = Settings {
        max_iterations: want.iterations - 1,
        ..settings
    };
    assert_eq!(run(&model, short, &[&noisy])[0].stop, Stop::MaxIterations);
    let again = denoiser
        .run(&[&image(8, SIZE), &noisy], |_, _, _| {})
        .unwrap()
        .remove(1);
    assert!(again.image == want.image && again.iterations == want.iterations);
}

#[test]
fn the_box_is_kept_and_the_result_is_the_constrained_minimiser() {
    let _turn = turn();
    for (model, lambda) in cases() {
        let noisy = image(9, SIZE);
        let limits = (0.3_f32, 0.7_f32);
        let settings = Settings {
            lambda,
            limits: Some(limits),
            ..tight()
        };
        let outcome = run(&model, settings, &[&noisy]).remove(0);
        let clamped = outcome
            .image
            .iter()
            .filter(|v| **v == limits.0 || **v == limits.1)
            .count();
        assert!(outcome.image.iter().all(|v| (limits.0..=limits.1).contains(v)));
        assert!(
            clamped > 10 && clamped < outcome.image.len(),
            "{clamped} pixels at the limits"
        );
        let problem = Problem::new(&model, SIGMA, SIZE, &noisy, &settings);
        let mut slow = problem.y.clone();
        for _ in 0..800 {
            slow = problem.step(&slow);
        }
        let x = widen(&outcome.image);
        let allowed = problem.distance_bound(&x) + problem.distance_bound(&slow);
        let apart = distance(&x, &slow);
        assert!(
            apart <= allowed,
            "{} {lambda}: {apart:e}, allowed {allowed:e}",
            model.name
        );
        let free = run(
            &model,
            Settings {
                limits: None,
                ..settings
            },
            &[&noisy],
        )
        .remove(0);
        let clipped: Vec<f64> = free
            .image
            .iter()
            .map(|v| f64::from(v.clamp(limits.0, limits.1)))
            .collect();
        assert!(
            allowed < 0.5 * distance(&clipped, &slow),
            "{}: clipping afterwards would do",
            model.name
        );
    }
}

#[test]
fn input_that_is_not_finite_is_reported_as_diverged() {
    let _turn = turn();
    let model = cosines();
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for limits in [None, Some((0.0, 1.0))] {
            let settings = Settings { limits, ..tight() };
            let denoiser = Denoiser::new(gpu(), &model, &options(SIGMA), settings, SIZE, 2).unwrap();
            let good = image(1, SIZE);
            let mut broken = good.clone();
            broken[200] = bad;
            let error = denoiser.run(&[&good, &broken], |_, _, _| {}).unwrap_err();
            assert!(
                matches!(&error, Error::Diverged(why) if why.contains("image 1")),
                "{bad}: {error}"
            );
            assert_eq!(error.exit_code(), 8);
            // The denoiser is as good as new.
            assert_eq!(denoiser.run(&[&good], |_, _, _| {}).unwrap()[0].stop, Stop::Converged);
        }
    }
}

#[test]
fn settings_without_guarantee_are_refused() {
    let _turn = turn();
    let model = weakly_convex();
    let refused = |settings: Settings| match Denoiser::new(gpu(), &model, &options(SIGMA), settings, SIZE, 1) {
        Err(Error::Usage(why)) => why,
        Err(other) => panic!("{settings:?}: {other}"),
        Ok(_) => panic!("{settings:?} was accepted"),
    };
    let lambda = |lambda| Settings { lambda, ..tight() };
    // rho = 0.5: the energy is convex up to lambda = 2.
    assert!(
        refused(lambda(2.01)).contains("use at most 2.0"),
        "{}",
        refused(lambda(2.01))
    );
    assert!(Denoiser::new(gpu(), &model, &options(SIGMA), lambda(2.0), SIZE, 1).is_ok());
    for value in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(refused(lambda(value)).contains("lambda"));
    }
    for tolerance in [0.0, -1e-3, f64::NAN] {
        assert!(refused(Settings { tolerance, ..tight() }).contains("tolerance"));
    }
    let none = Settings {
        max_iterations: 0,
        ..tight()
    };
    assert!(refused(none).contains("iteration"));
    let denoiser = Denoiser::new(gpu(), &model, &options(SIGMA), tight(), SIZE, 1).unwrap();
    let (good, small) = (image(1, SIZE), image(1, [23, 17]));
    for wrong in [&[][..], &[&good[..], &good[..]], &[&small[..]]] {
        assert!(matches!(denoiser.run(wrong, |_, _, _| {}), Err(Error::Data(_))));
    }
    let loud = options(1.5);
    assert!(matches!(
        Denoiser::new(gpu(), &model, &loud, tight(), SIZE, 1),
        Err(Error::Data(_))
    ));
}
