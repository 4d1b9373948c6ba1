//! Unrolled networks whose steps share their parameters, and plug-and-play with their proximal operator: the same iteration.

use super::layered::{self, config, image, parts};
use crate::common::{gpu, values};
use crate::reference::device::turn;
use crate::reference::layered::Network;
use crate::reference::widen;
use knotwork::layered::{Architecture, Kind, Layered, LayeredRunner};
use knotwork::operator::{Blur, Boundary, LinearOperator};
use knotwork::solver::{Algorithm, PlugAndPlay, PnpSettings, Stop};

/// Both networks with steps that share their parameters, of 8 x 9 pixels; the second blurs with a kernel without any symmetry.
fn tied() -> [(Layered, Network); 2] {
    let mut config = config(Kind::Unrolled);
    config.network.tied = true;
    [0.0, 0.6].map(|blur| {
        config.network.blur = blur;
        let (mut raw, logs) = layered::moved(&config);
        if let Architecture::Unrolled { blur, .. } = &mut raw.architecture {
            blur.iter_mut()
                .zip(values(8, 25))
                .for_each(|(w, v)| *w *= f64::from(1.0 + 0.5 * v));
        }
        let model = parts(&raw, &logs).read(gpu(), &raw, true).unwrap();
        (model, Network::new(&raw, &logs))
    })
}

fn with_steps(model: &Layered, steps: usize) -> Layered {
    let mut own = model.clone();
    if let Architecture::Unrolled { steps: all, .. } = &mut own.architecture {
        *all = steps;
    }
    own
}

fn furthest(got: &[f32], want: &[f64]) -> f64 {
    let apart = got.iter().zip(want).map(|(g, w)| (f64::from(*g) - w).abs());
    apart.fold(0.0, f64::max)
}

/// `T` steps of the network, `T` iterations of the formula, and of plug-and-play by forward-backward with the network's proximal
/// operator, its step and its blur, from the measurement and without a box.
#[test]
fn an_unrolled_run_is_the_iteration_of_its_solver() {
    let _turn = turn();
    let (size, y) = ([8, 9], image(3, 72));
    for (model, network) in tied() {
        let Architecture::Unrolled { step, .. } = model.architecture else {
            panic!("{:?}", model.architecture)
        };
        let (kernel, side) = match model.blur().unwrap() {
            Some(blur) => (blur.weights, blur.size),
            None => (vec![1.0], 1),
        };
        let operator = Blur::new(size, kernel, [side; 2], Boundary::Zero).unwrap();
        let norm = operator.norm_squared(gpu()).unwrap();
        let filters = network.filters();
        let mut x = widen(&y);
        for steps in 1..=8 {
            let before = x.clone();
            x = network.iterate(0, &filters[0], step, &x, &widen(&y), size);
            let run = LayeredRunner::new(gpu(), &with_steps(&model, steps), 1, size).unwrap();
            let got = run.run(gpu(), &y).unwrap();
            assert!(furthest(&got, &x) < 2e-5, "{steps} steps: {}", furthest(&got, &x));

            let settings = PnpSettings {
                step: step * norm.squared,
                tolerance: 1e-12,
                max_iterations: steps,
                ..PnpSettings::default()
            };
            let plugged = LayeredRunner::plugged(gpu(), &model, 1, size).unwrap();
            let solver = PlugAndPlay::new(gpu(), &operator, norm, plugged, settings).unwrap();
            assert!((solver.constants().gamma - step).abs() < 1e-12);
            let outcome = solver.run(&y, &y, |_, _| {}).unwrap();
            assert_eq!(outcome.iterations, steps);
            let apart = furthest(&outcome.image, &widen(&got));
            assert!(apart < 2e-6, "{steps} steps and iterations are {apart} apart");
            let moved = furthest(&got, &before);
            assert!(moved > 1e-5, "step {steps} moves by {moved} only");
        }
    }
}

/// `N = 2 P - Id`, and where the iterations of forward-backward and ADMM with it end: at the same image.
#[test]
fn a_proximal_operator_is_a_denoiser_for_plug_and_play() {
    let _turn = turn();
    let size = [8, 9];
    let (model, network) = tied()[1].clone();
    let y = image(3, 72);
    let plugged = LayeredRunner::plugged(gpu(), &model, 1, size).unwrap();
    assert!(plugged.lipschitz() <= 1.0 + 1e-7 && plugged.lipschitz() > 0.99);
    // With its own step and noise it runs as it is: sqrt(gamma) n / level = 1.
    assert!((0.6_f64.sqrt() * model.sigma / model.plugged_level() - 1.0).abs() < 1e-12);
    let mut p = network.clone();
    (p.blur, p.architecture) = (None, with_steps(&model, 1).architecture);
    let want: Vec<f64> = p
        .run(&widen(&y), size)
        .iter()
        .zip(&y)
        .map(|(p, y)| 2.0 * p - f64::from(*y))
        .collect();
    let got = plugged.run(gpu(), &y).unwrap();
    assert!(furthest(&got, &want) < 1e-5);

    let blur = model.blur().unwrap().unwrap();
    let operator = Blur::new(size, blur.weights, [blur.size; 2], Boundary::Zero).unwrap();
    let norm = operator.norm_squared(gpu()).unwrap();
    let images = [Algorithm::Fbs, Algorithm::Admm].map(|algorithm| {
        let settings = PnpSettings {
            algorithm,
            tolerance: 1e-7,
            max_iterations: 5000,
            ..PnpSettings::default()
        };
        let plugged = LayeredRunner::plugged(gpu(), &model, 1, size).unwrap();
        let solver = PlugAndPlay::new(gpu(), &operator, norm, plugged, settings).unwrap();
        let outcome = solver.run(&y, &y, |_, _| {}).unwrap();
        assert_eq!(outcome.stop, Stop::Converged, "{algorithm:?}: {}", outcome.change);
        outcome.image
    });
    let apart = furthest(&images[0], &widen(&images[1]));
    let moved = furthest(&images[0], &widen(&y));
    assert!(apart < 1e-4 && moved > 0.1, "{apart} apart, {moved} from the start");

    let (raw, logs) = layered::moved(&config(Kind::Unrolled));
    let untied = parts(&raw, &logs).read(gpu(), &raw, true).unwrap();
    let error = LayeredRunner::plugged(gpu(), &untied, 1, size).unwrap_err().to_string();
    assert!(error.contains("tied = true"), "{error}");
}
