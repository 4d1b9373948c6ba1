//! The distance to the minimiser that denoising promises: against minimisers in float64, and its kernel by its formula.

use crate::common::{EPS, gpu, poison, poisoned, values};
use crate::program::Place;
use crate::reference::device::{options, turn};
use crate::reference::models::{cosines, image, many_cosines, weakly_convex};
use crate::reference::problem::{Problem, distance};
use crate::reference::{norm, widen};
use knotwork::filters::POINT_AMPLIFICATION;
use knotwork::gpu::{Buffer, KernelStyle, Products};
use knotwork::model::device::RunOptions;
use knotwork::model::{NormKind, Ridge};
use knotwork::solver::{AgdParams, Denoiser, Outcome, Settings};

const SIZE: [usize; 2] = [23, 18];
const SIGMA: f64 = 0.1;

fn run(model: &Ridge, settings: Settings, noisy: &[&[f32]]) -> Vec<Outcome> {
    let denoiser = Denoiser::new(gpu(), model, &options(SIGMA), settings, SIZE, noisy.len()).unwrap();
    denoiser.run(noisy, |_, _, _| {}).unwrap()
}

#[test]
fn the_minimiser_is_within_the_bound_and_the_bound_is_no_excuse() {
    let _turn = turn();
    for (model, lambda) in [(cosines(), 1.0), (weakly_convex(), 0.7), (weakly_convex(), 1.9)] {
        for limits in [None, Some((0.1, 0.6))] {
            let images = [image(1, SIZE), image(6, SIZE).iter().map(|v| 4.0 * v - 2.0).collect()];
            let noisy: Vec<&[f32]> = images.iter().map(Vec::as_slice).collect();
            let problem = |y: &[f32]| {
                let settings = Settings {
                    lambda,
                    limits,
                    ..Settings::default()
                };
                Problem::new(&model, SIGMA, SIZE, y, &settings)
            };
            let best: Vec<Vec<f64>> = images.iter().map(|y| problem(y).accelerated(900)).collect();
            // From a single step to as far as f32 goes.
            for (iterations, tolerance) in [(1, 1.0), (4, 1e-9), (3000, 1e-3), (3000, 1e-6)] {
                let settings = Settings {
                    lambda,
                    limits,
                    tolerance,
                    max_iterations: iterations,
                    ..Settings::default()
                };
                for ((outcome, y), best) in run(&model, settings, &noisy).iter().zip(&images).zip(&best) {
                    let (problem, x) = (problem(y), widen(&outcome.image));
                    let off = problem.distance_bound(best);
                    let bound = outcome.error_bound.expect("a bound");
                    let apart = distance(&x, best);
                    let name = format!("{} lambda {lambda} {limits:?} {iterations} {tolerance}", model.name);
                    assert!(
                        apart <= bound + off,
                        "{name}: {apart:e} from the minimiser, promised {bound:e}"
                    );
                    // The least subgradient in f64, with which the bound would be as good as it can be.
                    let gradient = problem.ridge.objective_gradient(&x, &problem.y, lambda);
                    let (low, high) = problem.limits;
                    let least: Vec<f64> = x
                        .iter()
                        .zip(&gradient)
                        .map(|(&x, &g)| match x {
                            x if x <= low => g.min(0.0),
                            x if x >= high => g.max(0.0),
                            _ => g,
                        })
                        .collect();
                    let exact = norm(&least) / problem.modulus;
                    assert!(bound >= exact, "{name}: {bound:e} is less than {exact:e}");
                    // Rounding adds no more than the few roundings of every sum of |W| |W'| |x|, at most 24 here.
                    let added = 2000.0 * EPS * (norm(&x) + 24.0 * (x.len() as f64).sqrt());
                    assert!(
                        bound <= 1.001 * exact + added / problem.modulus,
                        "{name}: {bound:e}, exactly {exact:e}"
                    );
                }
            }
        }
    }
}

#[test]
fn rounding_at_points_counts() {
    let _turn = turn();
    let (model, noisy) = (many_cosines(), image(1, SIZE));
    let settings = Settings {
        tolerance: 1e-6,
        max_iterations: 3000,
        ..Settings::default()
    };
    let [taps, points] = [Products::Taps, Products::Points].map(|products| {
        let style = Some(KernelStyle {
            products,
            ..KernelStyle::SOFTWARE
        });
        let options = RunOptions {
            style,
            ..options(SIGMA)
        };
        let denoiser = Denoiser::new(gpu(), &model, &options, settings, SIZE, 1).unwrap();
        denoiser.run(&[&noisy], |_, _, _| {}).unwrap()[0].error_bound.unwrap()
    });
    // Most of it is the adjoint's: 80 planes of 81 taps, or of 9 rows with 2 segments and 24 roundings more, amplified; two per term.
    let grown = POINT_AMPLIFICATION * (80.0 * 18.0 + 26.0) / (80.0 * 81.0 + 2.0);
    assert!(
        points > 0.9 * grown * taps && points < 1.2 * grown * taps,
        "{points:e} against {taps:e}"
    );
}

#[test]
fn nothing_is_promised_where_nothing_is_certain() {
    let _turn = turn();
    let noisy = image(1, SIZE);
    let bound = |model: &Ridge, lambda: f64| {
        let settings = Settings {
            lambda,
            ..Settings::default()
        };
        run(model, settings, &[&noisy])[0].error_bound
    };
    // The norm of these filters is 1 and the least slope -1/2: lambda 2 leaves no strong convexity.
    assert!(bound(&weakly_convex(), 1.99).is_some());
    assert_eq!(bound(&weakly_convex(), 2.0), None);
    let mut estimated = weakly_convex();
    estimated.norm_kind = NormKind::Estimate;
    assert_eq!(bound(&estimated, 1.0), None);
}

#[test]
fn residuals_are_those_of_the_formula() {
    let _turn = turn();
    for pixels in [1_usize, 255, 4095, 4096, 4097, 9001] {
        let (slots, images, groups) = (2, 3, pixels.div_ceil(4096));
        // Image 2 is in slot 0 and image 0 in slot 1; some pixels are at the ends of the box.
        let active = [2_u32, 0];
        let y = values(1, images * pixels);
        let x: Vec<f32> = values(2, images * pixels).iter().map(|v| v.clamp(-0.3, 0.45)).collect();
        let gradient = values(3, slots * pixels);
        let params = AgdParams {
            pixels: pixels as u32,
            groups: groups as u32,
            lambda: 0.7,
            low: -0.3,
            high: 0.45,
            ..AgdParams::default()
        };
        let once = || -> Vec<f32> {
            let table = gpu().params(&[params]).unwrap();
            let upload = |name: &str, v: &[f32]| -> Buffer { gpu().upload(name, v).unwrap() };
            let (y, x, gradient) = (upload("y", &y), upload("x", &x), upload("gradient", &gradient));
            let active = gpu().upload("active", &active).unwrap();
            let partials = upload("partials", &poison(4 * slots * groups + 20));
            let memory = [
                ("params", table.binding()),
                ("active_images", (&active).into()),
                ("y", (&y).into()),
                ("x", (&x).into()),
                ("gradient", (&gradient).into()),
                ("partials", (&partials).into()),
            ];
            let bound = gpu().kernel("agd_residual", &[]).unwrap().bind(gpu(), &memory).unwrap();
            let mut recorder = gpu().record();
            recorder.dispatch(&bound, [groups as u32, slots as u32, 1], 0);
            recorder.submit();
            gpu().read(&partials).unwrap()
        };
        let (got, again) = (once(), once());
        let bits = |v: &[f32]| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&got), bits(&again), "{pixels}");
        assert!(got[4 * slots * groups..].iter().all(|v| poisoned(*v)));
        let (lambda, low, high) = (f64::from(0.7_f32), f64::from(-0.3_f32), f64::from(0.45_f32));
        for slot in 0..slots {
            for group in 0..groups {
                let (mut want, mut tolerance) = ([0.0; 4], [0.0; 4]);
                for pixel in group * 4096..pixels.min((group + 1) * 4096) {
                    let at = active[slot] as usize * pixels + pixel;
                    let (x, y) = (f64::from(x[at]), f64::from(y[at]));
                    let prior = lambda * f64::from(gradient[slot * pixels + pixel]);
                    let g = x - y + prior;
                    let v = if x <= low {
                        g.min(0.0)
                    } else if x >= high {
                        g.max(0.0)
                    } else {
                        g
                    };
                    let terms = [v * v, (x - y).powi(2), prior * prior, x * x];
                    // v carries three roundings of what it is the sum of.
                    let rounded = 3.0 * EPS * ((x - y).abs() + prior.abs());
                    for n in 0..4 {
                        want[n] += terms[n];
                        tolerance[n] += 40.0 * EPS * terms[n];
                    }
                    tolerance[0] += 2.0 * rounded * v.abs() + rounded * rounded;
                }
                let at = 4 * (slot * groups + group);
                for n in 0..4 {
                    let error = (f64::from(got[at + n]) - want[n]).abs();
                    assert!(
                        error <= tolerance[n],
                        "{pixels} pixels, slot {slot}, group {group}, sum {n}: off by {error:e}, allowed {:e}",
                        tolerance[n]
                    );
                }
            }
        }
    }
}

#[test]
fn the_command_tells_the_bound_of_all_channels() {
    let place = Place::new();
    let planes: Vec<f32> = (0..3).flat_map(|c| image(c, SIZE)).collect();
    knotwork::io::image::Image::new(3, SIZE[0], SIZE[1], planes, knotwork::io::image::Format::NpyF32)
        .unwrap()
        .write(place.path("y.npy"), knotwork::io::image::Format::NpyF32)
        .unwrap();
    let run = |options: &str| {
        let line = format!("denoise y.npy --sigma 0.1 -o x.npy --json -q {options}");
        place.run(&line).success(&line).json()
    };
    let all = run("--model crr-32")["error_bound"].as_f64().unwrap();
    let slices = run("--model crr-32 --stack");
    let each: f64 = (0..3)
        .map(|k| slices["slices"][k]["error_bound"].as_f64().unwrap().powi(2))
        .sum();
    assert!((all / each.sqrt() - 1.0).abs() < 1e-12, "{all}");
    assert!((slices["error_bound"].as_f64().unwrap() / all - 1.0).abs() < 1e-12);
    // Farther with fewer iterations, and nothing for a network, which minimises nothing.
    let farther = run("--model crr-32 --max-iter 2")["error_bound"].as_f64().unwrap();
    assert!(farther > 3.0 * all, "{farther} {all}");
    assert!(run("--model denoiser-25")["error_bound"].is_null());
    let record = std::fs::read_to_string(place.path("x.run.json")).unwrap();
    assert!(record.contains("\"error_bound\""));
}
