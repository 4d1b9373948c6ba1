//! The distance to the minimiser that reconstructions promise, against minimisers in float64; least eigenvalues; the kernel by its formula.

use super::linear::{Case, SIGMA, SIZE, measure, problem};
use crate::common::{EPS, gpu, poison, poisoned, turn, values};
use crate::reference::device::options;
use crate::reference::models::{cosines, image, weakly_convex};
use crate::reference::operators;
use crate::reference::problem::distance;
use crate::reference::{norm, widen};
use knotwork::model::{NormKind, Ridge};
use knotwork::operator::{Blur, Boundary, Geometry, LinearOperator, Mask, Mri, Radon, coil_maps};
use knotwork::solver::{DescentParams, Outcome, Reconstructor, Regularizer, Settings};

const PIXELS: usize = SIZE[0] * SIZE[1];

/// A blur that no wave is lost in, and not symmetric.
fn blur(size: [usize; 2], boundary: Boundary) -> Blur {
    let kernel = vec![0.02, 0.1, -0.03, 0.08, 0.7, 0.05];
    Blur::new(size, kernel, [2, 3], boundary).unwrap()
}

fn everything() -> Mask {
    Mask::new(SIZE, vec![1.0; PIXELS]).unwrap()
}

fn scanner(mask: Vec<f32>) -> Mri {
    let maps = coil_maps(2, SIZE).unwrap();
    let maps = maps.into_iter().map(|[re, im]| [0.9 * re, 0.9 * im]).collect();
    Mri::new(SIZE, mask, Some(maps)).unwrap()
}

fn cases() -> Vec<Case> {
    let (mask, blur, mri) = (everything(), blur(SIZE, Boundary::Circular), scanner(vec![1.0; PIXELS]));
    vec![
        Case {
            name: "mask",
            dense: operators::mask(&mask),
            operator: Box::new(mask),
        },
        Case {
            name: "blur",
            dense: operators::blur(&blur, SIZE),
            operator: Box::new(blur),
        },
        Case {
            name: "mri",
            dense: operators::mri(&mri, SIZE),
            operator: Box::new(mri),
        },
    ]
}

#[test]
fn least_eigenvalues_are_those_of_waves_and_pixels() {
    for size in [SIZE, [12, 5], [3, 3]] {
        let blur = blur(size, Boundary::Circular);
        let dense = operators::blur(&blur, size);
        let mut least = f64::INFINITY;
        for wave in 0..size[0] * size[1] {
            let turns = |pixel: usize| {
                let (row, col) = (pixel / size[1], pixel % size[1]);
                (wave / size[1] * row) as f64 / size[0] as f64 + (wave % size[1] * col) as f64 / size[1] as f64
            };
            let part = |of: &dyn Fn(f64) -> f64| -> Vec<f64> {
                (0..size[0] * size[1])
                    .map(|p| of(std::f64::consts::TAU * turns(p)))
                    .collect()
            };
            let (cosine, sine) = (part(&f64::cos), part(&f64::sin));
            let seen = |x: &[f64]| norm(&dense.apply(x, false).0).powi(2);
            least = least.min((seen(&cosine) + seen(&sine)) / (size[0] * size[1]) as f64);
        }
        let told = blur.least_squared().unwrap();
        assert!(told <= least * (1.0 + 1e-12), "{size:?}: {told} above {least}");
        assert!(told >= least - 1e-12, "{size:?}: {told}, exactly {least}");
    }
    assert_eq!(everything().least_squared(), Some(1.0));
    let mri = scanner(vec![1.0; PIXELS]);
    let seen = |p: usize| -> f64 {
        let coils = (0..2).map(|c| mri.maps()[c * PIXELS + p].map(f64::from));
        coils.map(|[re, im]| re * re + im * im).sum()
    };
    let least = (0..PIXELS).map(seen).fold(f64::INFINITY, f64::min);
    let told = mri.least_squared().unwrap();
    assert!(
        told <= least && told >= least * (1.0 - 1e-12),
        "{told}, exactly {least}"
    );

    // What is not seen, or not known to be.
    let missing = |n: usize| (0..PIXELS).map(|p| f32::from(u8::from(p != n))).collect::<Vec<_>>();
    assert_eq!(Mask::new(SIZE, missing(PIXELS - 1)).unwrap().least_squared(), None);
    assert_eq!(scanner(missing(40)).least_squared(), None);
    for boundary in [Boundary::Reflect, Boundary::Zero] {
        assert_eq!(blur(SIZE, boundary).least_squared(), None);
    }
    let pair = |cols: usize| Blur::new([4, cols], vec![0.5, 0.5], [1, 2], Boundary::Circular).unwrap();
    assert_eq!(pair(6).least_squared(), None);
    assert!(pair(7).least_squared().is_some());
    assert_eq!(Blur::downsampling([12, 12], 2).unwrap().least_squared(), None);
    let radon = Radon::new(Geometry {
        rows: 4,
        cols: 4,
        ..Geometry::equispaced(4, 20, 20)
    });
    assert_eq!(radon.unwrap().least_squared(), None);
}

#[test]
fn the_minimiser_is_within_the_bound_and_the_bound_is_no_excuse() {
    let _turn = turn();
    for (model, lambda) in [(cosines(), 0.5), (weakly_convex(), 0.3)] {
        for case in cases() {
            for limits in [None, Some((0.2, 0.6))] {
                let y = measure(case.operator.as_ref(), &image(3, SIZE));
                let run = |iterations: usize, tolerance: f64| -> (Outcome, f64) {
                    let settings = Settings {
                        lambda,
                        limits,
                        tolerance,
                        max_iterations: iterations,
                        ..Settings::default()
                    };
                    let regularizer = Regularizer::Ridge(&model, options(SIGMA));
                    let solver = Reconstructor::new(gpu(), case.operator.as_ref(), regularizer, settings).unwrap();
                    assert_eq!(solver.no_error_bound(), None, "{}", case.name);
                    (
                        solver.run(&y, &[0.3; PIXELS], |_, _| {}).unwrap(),
                        solver.constants().lipschitz,
                    )
                };
                let lipschitz = run(1, 1.0).1;
                let settings = Settings {
                    lambda,
                    limits,
                    ..Settings::default()
                };
                let copy = cases().into_iter().find(|c| c.name == case.name).unwrap();
                let problem = problem(copy, &model, &settings, &y, lipschitz);
                let modulus = case.operator.least_squared().unwrap() - lambda * model.weak_convexity();
                // Plain steps in f64: each comes closer by 1 - m / L.
                let mut best = vec![0.3; PIXELS];
                for _ in 0..(16.0 * lipschitz / modulus) as usize {
                    best = problem.step(&best);
                }
                let off = 2.0 * lipschitz / modulus * distance(&problem.step(&best), &best);
                for (iterations, tolerance) in [(1, 1.0), (5, 1e-9), (3000, 1e-6)] {
                    let outcome = run(iterations, tolerance).0;
                    let (x, bound) = (widen(&outcome.image), outcome.error_bound.expect("a bound"));
                    let apart = distance(&x, &best);
                    let name = format!("{} {} {limits:?} {iterations}", case.name, model.name);
                    assert!(
                        apart <= bound + off,
                        "{name}: {apart:e} from the minimiser, promised {bound:e}"
                    );
                    let (low, high) = problem.limits;
                    let gradient = problem.gradient(&x);
                    let least = x.iter().zip(&gradient).map(|(&x, &g)| match x {
                        x if x <= low => g.min(0.0),
                        x if x >= high => g.max(0.0),
                        _ => g,
                    });
                    let exact = norm(&least.collect::<Vec<_>>()) / modulus;
                    assert!(bound >= exact, "{name}: {bound:e} is less than {exact:e}");
                    let added = 2000.0 * EPS * (norm(&x) + norm(&widen(&y)) + 24.0 * (PIXELS as f64).sqrt());
                    assert!(
                        bound <= 1.001 * exact + added / modulus,
                        "{name}: {bound:e}, exactly {exact:e}, added {added:e}"
                    );
                }
            }
        }
    }
}

#[test]
fn nothing_is_promised_where_nothing_is_certain() {
    let _turn = turn();
    let y = image(1, SIZE);
    let settings = |lambda: f64| Settings {
        lambda,
        limits: Some((0.0, 1.0)),
        max_iterations: 5,
        ..Settings::default()
    };
    let run = |operator: &dyn LinearOperator, model: Option<&Ridge>, lambda: f64| {
        let regularizer = match model {
            Some(model) => Regularizer::Ridge(model, options(SIGMA)),
            None => Regularizer::TotalVariation,
        };
        let solver = Reconstructor::new(gpu(), operator, regularizer, settings(lambda)).unwrap();
        let bound = solver.run(&y, &y, |_, _| {}).unwrap().error_bound;
        assert_eq!(bound.is_none(), solver.no_error_bound().is_some());
        solver.no_error_bound()
    };
    // The norm of these filters is 1 and the least slope -1/2: lambda 2 leaves no strong convexity.
    let model = weakly_convex();
    assert_eq!(run(&everything(), Some(&model), 1.99), None);
    assert!(run(&everything(), Some(&model), 2.0).unwrap().contains("convex"));
    let mut estimated = weakly_convex();
    estimated.norm_kind = NormKind::Estimate;
    assert!(run(&everything(), Some(&estimated), 1.0).unwrap().contains("estimate"));
    assert!(
        run(&blur(SIZE, Boundary::Zero), Some(&model), 0.1)
            .unwrap()
            .contains("operator")
    );
    assert!(run(&everything(), None, 0.1).unwrap().contains("variation"));
}

#[test]
fn residuals_are_those_of_the_formula() {
    let _turn = turn();
    for (pixels, images) in [(1_usize, 1), (255, 3), (4096, 2), (4097, 1), (9001, 2)] {
        let groups = pixels.div_ceil(4096);
        let x: Vec<f32> = values(2, images * pixels).iter().map(|v| v.clamp(-0.3, 0.45)).collect();
        let (data, prior) = (values(1, images * pixels), values(3, images * pixels));
        let params = DescentParams {
            pixels: pixels as u32,
            groups: groups as u32,
            lambda: 0.7,
            low: -0.3,
            high: 0.45,
            ..DescentParams::default()
        };
        let table = gpu().params(&[params]).unwrap();
        let upload = |name: &str, v: &[f32]| gpu().upload(name, v).unwrap();
        let partials = upload("partials", &poison(4 * images * groups + 20));
        let (on_x, on_data, on_prior) = (upload("x", &x), upload("data", &data), upload("prior", &prior));
        let memory = [
            ("params", table.binding()),
            ("data", (&on_data).into()),
            ("prior", (&on_prior).into()),
            ("x", (&on_x).into()),
            ("partials", (&partials).into()),
        ];
        let kernel = gpu().kernel("descent_residual", &[]).unwrap();
        let bound = kernel.bind(gpu(), &memory).unwrap();
        let mut recorder = gpu().record();
        recorder.dispatch(&bound, [groups as u32, images as u32, 1], 0);
        recorder.submit();
        drop(recorder);
        let got: Vec<f32> = gpu().read(&partials).unwrap();
        assert!(got[4 * images * groups..].iter().all(|v| poisoned(*v)));
        let (lambda, low, high) = (f64::from(0.7_f32), f64::from(-0.3_f32), f64::from(0.45_f32));
        for group in 0..images * groups {
            let (mut want, mut tolerance) = ([0.0; 4], [0.0; 4]);
            let (image, first) = (group / groups, group % groups * 4096);
            for pixel in first..pixels.min(first + 4096) {
                let at = image * pixels + pixel;
                let (x, data) = (f64::from(x[at]), f64::from(data[at]));
                let prior = lambda * f64::from(prior[at]);
                let v = match x {
                    x if x <= low => (data + prior).min(0.0),
                    x if x >= high => (data + prior).max(0.0),
                    _ => data + prior,
                };
                let rounded = 3.0 * EPS * (data.abs() + prior.abs());
                for (n, term) in [v * v, data * data, prior * prior, x * x].into_iter().enumerate() {
                    want[n] += term;
                    tolerance[n] += 40.0 * EPS * term;
                }
                tolerance[0] += 2.0 * rounded * v.abs() + rounded * rounded;
            }
            for n in 0..4 {
                let error = (f64::from(got[4 * group + n]) - want[n]).abs();
                assert!(
                    error <= tolerance[n],
                    "{pixels} pixels, group {group}, sum {n}: off by {error:e}"
                );
            }
        }
    }
}
