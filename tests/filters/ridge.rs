//! The ridge regularizer on the device: energy, gradient and Hessian against float64, tiling, batches, determinism.

use crate::common::{assert_close, gpu, relative_l2, values};
use crate::reference::device::{Bench, options, turn};
use crate::reference::models::{cosines, image, many_cosines, weakly_convex};
use crate::reference::{RidgeReference, dot, norm, widen};
use knotwork::filters::{ConvLayer, ConvPlan};
use knotwork::gpu::{Gpu, GpuOptions, KernelStyle, Products};
use knotwork::model::Ridge;
use knotwork::model::device::RunOptions;

const SIZES: [[usize; 2]; 6] = [[1, 1], [1, 17], [19, 1], [13, 29], [33, 32], [31, 65]];

fn models() -> [Ridge; 2] {
    [weakly_convex(), cosines()]
}

/// The same, and one whose layer is multiplied at points in the style that suits this software driver.
fn all_models() -> Vec<Ridge> {
    models().into_iter().chain([many_cosines()]).collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

#[test]
fn energy_gradient_hessian_and_gram_agree_with_float64() {
    let _turn = turn();
    for model in all_models() {
        for (case, size) in SIZES.into_iter().enumerate() {
            let name = format!("{} {size:?}", model.name);
            let sigma = [0.02, 0.1, 0.4][case % 3];
            let x = image(case as u64, size);
            let v = values(100 + case as u64, x.len());
            let bench = Bench::new(gpu(), size, std::slice::from_ref(&x), std::slice::from_ref(&v), &[0]);
            let prepared = bench.prepare(&model, &options(sigma));
            let truth = RidgeReference::new(&model, sigma, size);
            let (x, v) = (widen(&x), widen(&v));

            let want = truth.gradient(&x);
            assert_close(
                &format!("{name} gradient"),
                &bench.gradient(&prepared, 1),
                &want.value,
                |i| want.error[i],
            );
            let want = truth.hessian(&x, &v, 0.0);
            assert_close(
                &format!("{name} Hessian"),
                &bench.hessian(&prepared),
                &want.value,
                |i| want.error[i],
            );
            let (energy, error) = truth.energy(&x);
            assert_close(
                &format!("{name} energy"),
                &bench.energy(&prepared, 1),
                &[energy],
                |_| error,
            );
            let want = truth.adjoint(truth.responses(&x));
            assert_close(&format!("{name} Gram"), &bench.gram(&prepared), &want.value, |i| {
                want.error[i]
            });
            if size[0] * size[1] > 1 {
                assert!(
                    error < 1e-3 * energy.abs(),
                    "{name}: an error bound of {error:e} says nothing"
                );
            }
        }
    }
}

#[test]
fn the_gradient_is_the_derivative_of_the_energy() {
    let _turn = turn();
    let size = [13, 29];
    for model in models() {
        let x = image(3, size);
        let bench = Bench::new(gpu(), size, std::slice::from_ref(&x), std::slice::from_ref(&x), &[0]);
        let got = widen(&bench.gradient(&bench.prepare(&model, &options(0.1)), 1));
        let truth = RidgeReference::new(&model, 0.1, size);
        let x = widen(&x);
        let bound = truth.gradient(&x).error;
        let step = 1e-6;
        for seed in 0..4 {
            let d = widen(&values(seed, x.len()));
            let at = |t: f64| {
                truth
                    .energy(&x.iter().zip(&d).map(|(x, d)| x + t * d).collect::<Vec<_>>())
                    .0
            };
            let difference = (at(step) - at(-step)) / (2.0 * step);
            // The gradient is Lipschitz with L = model.gradient_lipschitz(); the energies cancel to f64 rounding.
            let bend = step * model.gradient_lipschitz() * dot(&d, &d);
            let cancelled = 1e-14 * at(0.0).abs() / step;
            let allowed = bend + cancelled + d.iter().zip(&bound).map(|(d, e)| d.abs() * e).sum::<f64>();
            let slope = dot(&got, &d);
            assert!(
                (slope - difference).abs() <= allowed,
                "{}: {slope} but {difference}",
                model.name
            );
            assert!(
                allowed < 0.01 * norm(&got) * norm(&d),
                "{}: allowed {allowed:e}",
                model.name
            );
        }
    }
}

#[test]
fn the_hessian_is_the_derivative_of_the_gradient() {
    let _turn = turn();
    let size = [13, 29];
    for model in models() {
        let (x, v) = (image(4, size), values(5, size[0] * size[1]));
        let bench = Bench::new(gpu(), size, std::slice::from_ref(&x), std::slice::from_ref(&v), &[0]);
        let got = bench.hessian(&bench.prepare(&model, &options(0.1)));
        let truth = RidgeReference::new(&model, 0.1, size);
        let (x, v) = (widen(&x), widen(&v));
        let step = 1e-7;
        let at = |t: f64| {
            truth
                .gradient(&x.iter().zip(&v).map(|(x, v)| x + t * v).collect::<Vec<_>>())
                .value
        };
        let (above, below) = (at(step), at(-step));
        let want: Vec<f64> = above.iter().zip(&below).map(|(a, b)| (a - b) / (2.0 * step)).collect();
        // An argument that crosses a knot within the step has no one slope: the reference widens its bound there.
        let bound = truth.hessian(&x, &v, step).error;
        let cancelled = 1e-14 * norm(&above) / step;
        assert_close(&format!("{} Hessian", model.name), &got, &want, |i| {
            bound[i] + cancelled
        });
        let decided = bound.iter().filter(|e| **e < 1e-3).count();
        assert!(decided > x.len() / 2, "only {decided} pixels away from knots");
    }
}

#[test]
fn tiles_change_nothing_but_rounding_at_points() {
    let _turn = turn();
    let styles = [Products::Taps, Products::Points].map(|products| KernelStyle {
        products,
        ..KernelStyle::SOFTWARE
    });
    for (model, style) in all_models().iter().flat_map(|m| styles.map(|s| (m, s))) {
        let products = style.products;
        let mut rounded = false;
        for (size, sides) in [
            ([23, 41], [1, 7, 16, 23]),
            ([1, 37], [5, 8, 13, 36]),
            ([40, 19], [10, 17, 20, 39]),
        ] {
            let images = [image(1, size), image(2, size)];
            let directions = [values(3, size[0] * size[1]), values(4, size[0] * size[1])];
            let bench = Bench::new(gpu(), size, &images, &directions, &[1, 0]);
            let run = |tile| {
                let options = RunOptions {
                    tile,
                    style: Some(style),
                    ..options(0.1)
                };
                let prepared = bench.prepare(model, &options);
                let tiles = prepared.tiling().tiles.len();
                let pixels = [bench.gradient(&prepared, 2), bench.hessian(&prepared)].map(|g| bits(&g));
                (tiles, pixels, bench.energy(&prepared, 2))
            };
            let (_, whole, energies) = run(None);
            for side in sides.into_iter().filter(|s| size[0] * size[1] / (s * s) < 200) {
                let (tiles, cut, sums) = run(Some(side));
                assert!(tiles > 1, "{size:?} side {side}");
                match products {
                    Products::Taps => assert!(cut == whole, "{} {size:?}: tiles of {side} differ", model.name),
                    // Blocks of four columns begin elsewhere.
                    Products::Points => {
                        for (cut, whole) in cut.iter().zip(&whole) {
                            let whole: Vec<f64> = whole.iter().map(|v| f64::from(f32::from_bits(*v))).collect();
                            let cut: Vec<f32> = cut.iter().map(|v| f32::from_bits(*v)).collect();
                            let apart = relative_l2(&cut, &whole);
                            assert!(
                                apart <= 3e-6,
                                "{} {size:?}: tiles of {side} differ by {apart:e}",
                                model.name
                            );
                            rounded |= apart > 0.0;
                        }
                    }
                }
                for (a, b) in sums.iter().zip(&energies) {
                    assert!(
                        (a - b).abs() <= 1e-6 * b.abs(),
                        "{size:?} side {side}: energy {a}, whole {b}"
                    );
                }
            }
        }
        let points = |l: &ConvLayer| ConvPlan::new(style, l.inputs, l.outputs, l.size).held.is_some();
        assert_eq!(rounded, model.bank.layers().iter().any(points), "{}", model.name);
    }
}

#[test]
fn images_of_a_batch_do_not_see_each_other() {
    let _turn = turn();
    let size = [21, 18];
    for model in models() {
        let images: Vec<_> = (0..3).map(|s| image(s, size)).collect();
        let directions: Vec<_> = (7..10).map(|s| values(s, size[0] * size[1])).collect();
        let alone: Vec<_> = (0..3)
            .map(|i| {
                let bench = Bench::new(gpu(), size, &images[i..=i], &directions[i..=i], &[0]);
                let prepared = bench.prepare(&model, &options(0.1));
                [
                    bits(&bench.gradient(&prepared, 1)),
                    bits(&bench.hessian(&prepared)),
                    bits(&bench.energy(&prepared, 1)),
                ]
            })
            .collect();
        for active in [&[0, 1, 2][..], &[2, 0, 1], &[1, 2], &[2]] {
            let bench = Bench::new(gpu(), size, &images, &directions, active);
            let prepared = bench.prepare(&model, &options(0.1));
            let want = |part: usize, slots: usize| -> Vec<u32> {
                active[..slots]
                    .iter()
                    .flat_map(|&i| alone[i as usize][part].clone())
                    .collect()
            };
            for slots in 1..=active.len() {
                assert!(
                    bits(&bench.gradient(&prepared, slots)) == want(0, slots),
                    "{active:?} {slots}"
                );
                assert_eq!(
                    bits(&bench.energy(&prepared, slots)),
                    want(2, slots),
                    "{active:?} {slots}"
                );
            }
            assert!(
                bits(&bench.hessian(&prepared)) == want(1, active.len()),
                "{active:?} Hessian"
            );
        }
    }
}

#[test]
fn runs_are_repeatable_and_independent_of_style_and_limits() {
    let _turn = turn();
    let size = [33, 30];
    let limited = Gpu::open(GpuOptions {
        default_limits: true,
        ..GpuOptions::default()
    })
    .unwrap();
    // A device whose invocations cannot pass weights on.
    let alone = Gpu::open(GpuOptions {
        withheld: wgpu::Features::SUBGROUP,
        ..GpuOptions::default()
    })
    .unwrap();
    assert_eq!(alone.lanes(), None);
    for model in models() {
        let (x, v) = (image(8, size), values(9, size[0] * size[1]));
        let run = |device: &Gpu, style| {
            let bench = Bench::new(device, size, std::slice::from_ref(&x), std::slice::from_ref(&v), &[0]);
            let prepared = bench.prepare(&model, &RunOptions { style, ..options(0.2) });
            let results = [bench.gradient(&prepared, 1), bench.energy(&prepared, 1)];
            let again = [bench.gradient(&prepared, 1), bench.energy(&prepared, 1)];
            assert!(
                results.clone().map(|r| bits(&r)) == again.map(|r| bits(&r)),
                "a second run differs"
            );
            results
        };
        let usual = run(gpu(), None);
        assert!(
            usual.clone().map(|r| bits(&r)) == run(&limited, None).map(|r| bits(&r)),
            "limits matter"
        );
        assert!(
            usual.clone().map(|r| bits(&r)) == run(&alone, None).map(|r| bits(&r)),
            "subgroups matter"
        );
        let truth = RidgeReference::new(&model, 0.2, size);
        let (want, (energy, error)) = (truth.gradient(&widen(&x)), truth.energy(&widen(&x)));
        for style in KernelStyle::ALL {
            let [gradient, sums] = run(gpu(), Some(style));
            assert_close(&format!("{style:?} gradient"), &gradient, &want.value, |i| {
                want.error[i]
            });
            assert_close(&format!("{style:?} energy"), &sums, &[energy], |_| error);
        }
    }
}
