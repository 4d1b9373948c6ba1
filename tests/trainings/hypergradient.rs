//! The gradient of the loss of a batch against difference quotients of the converged loss in f64, for every group of
//! parameters and every objective.

use crate::common::{gpu, poison, values};
use crate::reference::device::turn;
use crate::reference::models::{image, layer, spline};
use crate::reference::parameters::Patches;
use crate::reference::{norm as length, widen};
use knotwork::Error;
use knotwork::filters::{ConvLayer, FilterBank, norm};
use knotwork::model::{Border, NormKind, Ridge, Scaling};
use knotwork::spline::Spline;
use knotwork::train::{
    BatchResult, BatchShape, Hypergradient, HypergradientSettings, ImageLoss, Objective, TrainableRidge,
};

const SLOPES: (f64, f64) = (-0.8, 6.0);
const SIZE: [usize; 2] = [7, 9];
const SIGMAS: [f32; 2] = [0.31, 0.08];
const WEIGHTS: [f32; 2] = [0.7, 1.9];

fn raw() -> Ridge {
    Ridge {
        bank: FilterBank::new(vec![layer(5, 1, 3, 3)]).unwrap(),
        activations: (0..3).map(|c| spline(20 + c, 9, SLOPES.0, SLOPES.1)).collect(),
        scaling: Scaling {
            log: vec![Spline::new(vec![0.0, 0.2, 0.5], vec![0.1, -0.2, 0.3]).unwrap()],
            epsilon: 0.0078125,
        },
        norm_squared: 1.0,
        norm_kind: NormKind::Estimate,
        border: Border::Zero,
        slope_bounds: SLOPES,
        sigma_range: (0.0, 0.5),
        name: "raw".into(),
        provenance: serde_json::Value::Null,
    }
}

/// The model as training uses it: filters without means, of norm 1.
fn used(raw: &Ridge) -> Ridge {
    let layer = &raw.bank.layers()[0];
    let centred = layer.weights.chunks(9).flat_map(|w| {
        let mean = widen(w).iter().sum::<f64>() / 9.0;
        widen(w).into_iter().map(move |w| (w - mean) as f32)
    });
    let bank = FilterBank::new(vec![ConvLayer::new(1, 3, 3, centred.collect()).unwrap()]).unwrap();
    let scale = 1.0 / norm::upper_bound(&bank).sqrt();
    Ridge {
        bank: bank.scaled(scale),
        ..raw.clone()
    }
}

fn ridge(patches: usize, [height, width]: [usize; 2]) -> TrainableRidge {
    let batch = BatchShape {
        patches,
        height,
        width,
        zero_mean: true,
        composed: false,
        unit_norm: true,
        style: None,
    };
    TrainableRidge::new(gpu(), &raw(), batch).unwrap()
}

/// The pixels of a patch further than `margin` from its border.
fn inner<T: Copy>(patch: &[T], margin: usize) -> impl Iterator<Item = T> {
    let [height, width] = SIZE;
    (margin..height - margin).flat_map(move |row| patch[row * width + margin..(row + 1) * width - margin].to_vec())
}

/// A batch on host and device.
struct Problem {
    noisy: Vec<Vec<f32>>,
    clean: Vec<Vec<f32>>,
}

impl Problem {
    fn new() -> Self {
        let clean: Vec<_> = (0..2).map(|s| image(s, SIZE)).collect();
        let noisy = clean.iter().zip(SIGMAS).enumerate();
        let noisy = noisy
            .map(|(s, (c, sigma))| {
                c.iter()
                    .zip(values(70 + s as u64, 63))
                    .map(|(c, n)| c + sigma * n)
                    .collect()
            })
            .collect();
        Self { noisy, clean }
    }

    /// The loss in f64, from denoised images that `start` holds and that are improved there.
    fn loss(&self, model: &Ridge, settings: &HypergradientSettings, start: &mut [Vec<f64>]) -> f64 {
        let noisy: Vec<_> = self.noisy.iter().map(|n| widen(n)).collect();
        let patches = Patches {
            size: SIZE,
            sigmas: widen(&SIGMAS),
            x: noisy.clone(),
            q: noisy.clone(),
        };
        let largest = 1.0 + SLOPES.1 * (1.0 + 1e-5);
        let unrolled = settings.objective == Objective::Unrolled;
        let (steps, step) = if unrolled {
            start.clone_from_slice(&noisy);
            (settings.iterations, (2.0 - 1e-3) / largest)
        } else {
            (20_000, 1.0 / largest)
        };
        let mut loss = 0.0;
        for (s, x) in start.iter_mut().enumerate() {
            let truth = patches.reference(model, s);
            for _ in 0..steps {
                let gradient = truth.gradient(x).value;
                let mut moved = 0.0_f64;
                for ((x, y), g) in x.iter_mut().zip(&noisy[s]).zip(gradient) {
                    let change = step * (*x - y + g);
                    *x -= change;
                    moved = moved.max(change.abs());
                }
                if !unrolled && moved < 1e-13 {
                    break;
                }
            }
            let terms = inner(x, settings.margin)
                .zip(inner(&self.clean[s], settings.margin))
                .map(|(x, c)| match settings.loss {
                    ImageLoss::L1 => (x - f64::from(c)).abs(),
                    ImageLoss::L2 => 0.5 * (x - f64::from(c)).powi(2),
                });
            loss += f64::from(WEIGHTS[s]) * terms.sum::<f64>();
        }
        loss
    }

    fn on_device(&self, settings: &HypergradientSettings) -> (BatchResult, [Vec<f32>; 3], TrainableRidge) {
        let ridge = ridge(2, SIZE);
        ridge.set_sigmas(gpu(), &SIGMAS).unwrap();
        let mut recorder = gpu().record();
        ridge.record_refresh(&mut recorder);
        recorder.submit();
        drop(recorder);
        let lipschitz = SLOPES.1;
        let hypergradient = Hypergradient::new(gpu(), &ridge, lipschitz, settings).unwrap();
        let parameters = hypergradient.gradient();
        let groups = [parameters.weights(), parameters.activations(), parameters.scalings()];
        let run = || {
            groups.iter().for_each(|g| gpu().write(g, &poison(g.len())).unwrap());
            let result = hypergradient
                .run(gpu(), &self.noisy.concat(), &self.clean.concat(), &SIGMAS, &WEIGHTS)
                .unwrap();
            (result, groups.map(|g| gpu().read::<f32>(g).unwrap()))
        };
        let (first, again) = (run(), run());
        let bits = |g: &[Vec<f32>; 3]| g.iter().flatten().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(first.0, again.0);
        assert_eq!(bits(&first.1), bits(&again.1), "two runs differ");
        (first.0, first.1, ridge)
    }
}

/// `raw` with parameter `n` of `group` moved by `by`, and where it then is.
fn moved(raw: &Ridge, group: usize, n: usize, by: f64) -> (Ridge, f64) {
    let mut other = raw.clone();
    if group == 0 {
        let mut weights = raw.bank.layers()[0].weights.clone();
        weights[n] += by as f32;
        let at = f64::from(weights[n]);
        other.bank = FilterBank::new(vec![ConvLayer::new(1, 3, 3, weights).unwrap()]).unwrap();
        return (other, at);
    }
    let splines = if group == 1 {
        &mut other.activations
    } else {
        &mut other.scaling.log
    };
    let (mut n, mut s) = (n, 0);
    while n >= splines[s].len() {
        n -= splines[s].len();
        s += 1;
    }
    let mut f = splines[s].values().to_vec();
    f[n] += by;
    let at = f[n];
    splines[s] = Spline::new(splines[s].knots().to_vec(), f).unwrap();
    (other, at)
}

const SETTINGS: HypergradientSettings = HypergradientSettings {
    objective: Objective::Bilevel,
    loss: ImageLoss::L2,
    margin: 0,
    tolerance: 1e-7,
    iterations: 3000,
    adjoint_tolerance: 1e-6,
    adjoint_iterations: 200,
};

fn check(settings: &HypergradientSettings, allowed: f64) {
    let problem = Problem::new();
    let (result, got, ridge) = problem.on_device(settings);
    assert!(result.finite && result.unfinished == 0, "{result:?}");
    if settings.objective == Objective::Bilevel {
        // What conjugate gradients take here; with half of beta it is 15.5, and the result is the same.
        assert!(result.adjoint_iterations <= 14.0, "{} steps", result.adjoint_iterations);
    }
    // Splines and scalings as f32 holds them.
    let raw = Ridge {
        activations: ridge.activations().splines(gpu()).unwrap(),
        scaling: Scaling {
            log: ridge.scalings().splines(gpu()).unwrap(),
            epsilon: raw().scaling.epsilon,
        },
        ..raw()
    };
    let mut base: Vec<_> = problem.noisy.iter().map(|n| widen(n)).collect();
    let loss = problem.loss(&used(&raw), settings, &mut base);
    assert!(
        (result.loss - loss).abs() < 1e-5 * loss,
        "loss {} against {loss}",
        result.loss
    );
    for (s, x) in base.iter().enumerate() {
        let squares: Vec<_> = inner(x, settings.margin)
            .zip(inner(&problem.clean[s], settings.margin))
            .map(|(x, c)| (x - f64::from(c)).powi(2))
            .collect();
        let error = squares.iter().sum::<f64>() / squares.len() as f64;
        assert!((result.squared_errors[s] - error).abs() < 1e-4 * error);
    }
    for (group, got) in got.iter().enumerate() {
        let mut want = Vec::new();
        for n in 0..got.len() {
            let at = |by: f64| {
                let (model, at) = moved(&raw, group, n, by);
                (problem.loss(&used(&model), settings, &mut base.clone()), at)
            };
            let ((low, from), (high, to)) = (at(-5e-4), at(5e-4));
            want.push((high - low) / (to - from));
        }
        let off: Vec<f64> = got.iter().zip(&want).map(|(g, w)| f64::from(*g) - w).collect();
        let relative = length(&off) / length(&want);
        assert!(length(&want) > 1e-3, "group {group} has no gradient");
        assert!(
            relative < allowed,
            "group {group}: off by {relative:.2e} of {}",
            length(&want)
        );
    }
}

#[test]
fn implicit_differentiation_is_the_derivative_of_the_converged_loss() {
    let _turn = turn();
    check(&SETTINGS, 1e-3);
}

#[test]
fn the_absolute_loss_is_differentiated_too() {
    let _turn = turn();
    check(
        &HypergradientSettings {
            loss: ImageLoss::L1,
            ..SETTINGS
        },
        1e-3,
    );
}

#[test]
fn borders_may_be_left_out() {
    let _turn = turn();
    check(&HypergradientSettings { margin: 2, ..SETTINGS }, 1e-3);
}

#[test]
fn unrolled_steps_are_differentiated_exactly() {
    let _turn = turn();
    for iterations in [1, 6, 11] {
        let settings = HypergradientSettings {
            objective: Objective::Unrolled,
            iterations,
            ..SETTINGS
        };
        check(&settings, 1e-3);
    }
}

#[test]
fn without_jacobian_the_direction_is_similar() {
    let _turn = turn();
    let problem = Problem::new();
    let (_, exact, _) = problem.on_device(&SETTINGS);
    let settings = HypergradientSettings {
        objective: Objective::JacobianFree,
        ..SETTINGS
    };
    let (result, cheap, _) = problem.on_device(&settings);
    assert_eq!(result.adjoint_iterations, 0.0);
    let cosines: Vec<f64> = exact
        .iter()
        .zip(&cheap)
        .map(|(a, b)| {
            let (a, b) = (widen(a), widen(b));
            let dot: f64 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
            dot / (length(&a) * length(&b))
        })
        .collect();
    assert!(cosines.iter().all(|c| *c > 0.3), "{cosines:?}");
    assert!(cosines.iter().any(|c| *c < 0.99), "{cosines:?}: biased it should be");
}

#[test]
fn a_patch_that_is_not_finite_is_reported_and_the_others_are_not_lost() {
    let _turn = turn();
    let mut problem = Problem::new();
    problem.noisy[1][5] = f32::NAN;
    let settings = HypergradientSettings {
        iterations: 40,
        ..SETTINGS
    };
    let ridge = ridge(2, SIZE);
    let hypergradient = Hypergradient::new(gpu(), &ridge, SLOPES.1, &settings).unwrap();
    let run = || {
        hypergradient.run(
            gpu(),
            &problem.noisy.concat(),
            &problem.clean.concat(),
            &SIGMAS,
            &WEIGHTS,
        )
    };
    assert!(!run().unwrap().finite);
    problem.noisy[1][5] = 0.5;
    let run = || {
        hypergradient.run(
            gpu(),
            &problem.noisy.concat(),
            &problem.clean.concat(),
            &SIGMAS,
            &WEIGHTS,
        )
    };
    assert!(run().unwrap().finite);
}

#[test]
fn settings_out_of_range_are_refused() {
    let _turn = turn();
    let ridge = ridge(1, [3, 3]);
    for settings in [
        HypergradientSettings {
            iterations: 0,
            ..SETTINGS
        },
        HypergradientSettings {
            tolerance: 0.0,
            ..SETTINGS
        },
        HypergradientSettings {
            adjoint_tolerance: f64::NAN,
            ..SETTINGS
        },
        HypergradientSettings {
            adjoint_iterations: 0,
            ..SETTINGS
        },
        HypergradientSettings { margin: 2, ..SETTINGS },
        HypergradientSettings {
            objective: Objective::Unrolled,
            iterations: 101,
            ..SETTINGS
        },
    ] {
        let error = Hypergradient::new(gpu(), &ridge, 1.0, &settings).unwrap_err();
        assert!(matches!(error, Error::Usage(_)), "{error}");
    }
    let fine = Hypergradient::new(gpu(), &ridge, 1.0, &SETTINGS).unwrap();
    assert!(matches!(
        fine.run(gpu(), &[0.0; 8], &[0.0; 9], &[0.1], &[1.0]),
        Err(Error::Data(_))
    ));
}

#[test]
fn minimisers_are_found_by_splitting_alone() {
    let _turn = turn();
    let problem = Problem::new();
    let model = used(&raw());
    for (tolerance, most) in [(1e-2, 20.0), (1e-3, 35.0), (1e-4, 50.0)] {
        let settings = HypergradientSettings { tolerance, ..SETTINGS };
        let mut minimisers = problem.noisy.iter().map(|n| widen(n)).collect::<Vec<_>>();
        let want = problem.loss(&model, &settings, &mut minimisers);
        let (result, ..) = problem.on_device(&settings);
        let off = (result.loss - want).abs() / want;
        assert!(
            off < 10.0 * tolerance,
            "{tolerance}: loss {} against {want}",
            result.loss
        );
        // Nothing is left to the accelerated gradient.
        assert!(
            result.unfinished == 0 && result.iterations < most,
            "{tolerance}: {} iterations",
            result.iterations
        );
    }
}
