//! The ridge regularizer with parameters on the device: packing, passes, and the derivative of `<q, grad R>` with respect to all
//! parameters, against float64 and against difference quotients.

use crate::common::{EPS, assert_close, gpu, poison, poisoned, values};
use crate::reference::device::turn;
use crate::reference::models::{SLOPES, image, layer, many_cosines, spline};
use crate::reference::parameters::Patches;
use crate::reference::{norm as length, widen};
use knotwork::filters::{ConvLayer, ConvPlan, FilterBank, PackedBank, norm};
use knotwork::gpu::{Buffer, KernelStyle, Recorder};
use knotwork::model::{Border, NormKind, Ridge, Scaling};
use knotwork::spline::Spline;
use knotwork::train::{BatchShape, TrainableRidge};

/// `bank` with splines and scalings of its own for every channel, or with one of each for all.
fn model(name: &str, layers: Vec<ConvLayer>, shared: bool) -> Ridge {
    let bank = FilterBank::new(layers).unwrap();
    let count = if shared { 1 } else { bank.channels() };
    let norm_squared = norm::upper_bound(&bank);
    let model = Ridge {
        activations: (0..count)
            .map(|c| spline(20 + c as u64, [9, 2, 5, 17, 24][c % 5], SLOPES.0, SLOPES.1))
            .collect(),
        scaling: Scaling {
            log: (0..count)
                .map(|c| {
                    let knots = [0.0, 0.05, 0.15, 0.5].map(|t| t * (1.0 + 0.1 * c as f64));
                    let random = values(40 + c as u64, 4);
                    Spline::new(knots.to_vec(), random.iter().map(|v| 0.4 * f64::from(*v)).collect()).unwrap()
                })
                .collect(),
            epsilon: 0.01,
        },
        bank,
        slope_bounds: SLOPES,
        sigma_range: (0.0, 0.5),
        norm_squared,
        norm_kind: NormKind::Bound,
        border: Border::Zero,
        name: name.into(),
        provenance: serde_json::Value::Null,
    };
    model.normalised(norm_squared, NormKind::Bound)
}

fn one_layer() -> Ridge {
    model("one layer, one spline", vec![layer(1, 1, 5, 7)], true)
}

fn three_layers() -> Ridge {
    let layers = vec![layer(2, 1, 2, 3), layer(3, 2, 3, 5), layer(4, 3, 4, 3)];
    model("three layers, own splines", layers, false)
}

fn batch(patches: usize, [height, width]: [usize; 2], zero_mean: bool) -> BatchShape {
    BatchShape {
        patches,
        height,
        width,
        zero_mean,
        composed: false,
        unit_norm: false,
        style: None,
    }
}

fn run(record: impl Fn(&mut Recorder<'_>)) {
    let mut recorder = gpu().record();
    record(&mut recorder);
    recorder.submit();
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

fn read(buffer: &Buffer) -> Vec<f32> {
    gpu().read(buffer).unwrap()
}

/// What a trainable ridge computes with: filters as used, splines as rounded.
fn used(ridge: &TrainableRidge, model: &Ridge) -> Ridge {
    Ridge {
        bank: ridge.to_ridge(gpu()).unwrap().bank,
        activations: ridge.activations().splines(gpu()).unwrap(),
        scaling: Scaling {
            log: ridge.scalings().splines(gpu()).unwrap(),
            epsilon: f64::from(model.scaling.epsilon as f32),
        },
        ..model.clone()
    }
}

/// Patches, directions and results on the device.
struct Bench {
    patches: Patches,
    x: Buffer,
    q: Buffer,
    out: Buffer,
}

const GUARD: usize = 67;

/// Bounds of errors, which assume the worst of every rounding, must stay below this part of what they bound.
const WORST: f64 = 0.04;

impl Bench {
    fn new(size: [usize; 2], sigmas: &[f32]) -> Self {
        let x: Vec<_> = (0..sigmas.len()).map(|s| image(s as u64, size)).collect();
        let q: Vec<_> = (0..sigmas.len())
            .map(|s| values(70 + s as u64, size[0] * size[1]))
            .collect();
        let wide = |v: &[Vec<f32>]| v.iter().map(|v| widen(v)).collect();
        Self {
            x: gpu().upload("x", &x.concat()).unwrap(),
            q: gpu().upload("q", &q.concat()).unwrap(),
            out: gpu().buffer("out", x.concat().len() + GUARD).unwrap(),
            patches: Patches {
                size,
                sigmas: widen(sigmas),
                x: wide(&x),
                q: wide(&q),
            },
        }
    }

    /// Poisons the result, records, and returns the images; what follows them must stay untouched.
    fn result(&self, record: impl Fn(&mut Recorder<'_>)) -> Vec<f32> {
        gpu().write(&self.out, &poison(self.out.len())).unwrap();
        run(record);
        let mut all = read(&self.out);
        let rest = all.split_off(all.len() - GUARD);
        assert!(rest.iter().all(|v| poisoned(*v)), "written behind the last patch");
        all
    }
}

/// A ridge with the noise levels set and everything refreshed.
fn prepare(model: &Ridge, bench: &Bench, zero_mean: bool) -> TrainableRidge {
    let sigmas: Vec<f32> = bench.patches.sigmas.iter().map(|s| *s as f32).collect();
    let ridge = TrainableRidge::new(gpu(), model, batch(sigmas.len(), bench.patches.size, zero_mean)).unwrap();
    ridge.set_sigmas(gpu(), &sigmas).unwrap();
    run(|r| ridge.record_refresh(r));
    ridge
}

/// Trained weights, the model that is read back, and its packed weights as the host and the device make them.
fn packed(model: &Ridge, style: KernelStyle, zero_mean: bool) -> (Vec<f32>, Ridge, [Vec<f32>; 2]) {
    let setup = BatchShape {
        style: Some(style),
        ..batch(1, [5, 6], zero_mean)
    };
    let ridge = TrainableRidge::new(gpu(), model, setup).unwrap();
    let trained = values(9, ridge.weights().len());
    gpu().write(ridge.weights(), &trained).unwrap();
    let packed = ridge.packed().buffer();
    gpu().write(packed, &poison(packed.len())).unwrap();
    run(|r| ridge.record_refresh(r));
    let back = ridge.to_ridge(gpu()).unwrap();
    let host = PackedBank::new(gpu(), back.bank.layers(), style).unwrap();
    let both = [host.buffer(), packed].map(|b| read(b)[..host.elements()].to_vec());
    (trained, back, both)
}

#[test]
fn packing_on_the_device_is_packing_on_the_host() {
    let _turn = turn();
    for (style, zero_mean) in [
        (KernelStyle::SOFTWARE, false),
        (KernelStyle::HARDWARE, false),
        (KernelStyle::SOFTWARE, true),
    ] {
        let (trained, back, [want, got]) = packed(&three_layers(), style, zero_mean);
        let count = trained.len();
        assert_eq!(count, 18 + 150 + 108);
        assert_eq!(bits(&want), bits(&got), "{style:?}");

        let effective: Vec<f32> = back.bank.layers().iter().flat_map(|l| l.weights.clone()).collect();
        if zero_mean {
            // Means of nine, and a difference.
            let mean = |n: usize| trained[n / 9 * 9..][..9].iter().map(|w| f64::from(*w)).sum::<f64>() / 9.0;
            let of = |n: usize| f64::from(trained[n]) - if n < 18 { mean(n) } else { 0.0 };
            let want: Vec<f64> = (0..count).map(of).collect();
            assert_close("centred", &effective, &want, |n| if n < 18 { 12.0 * EPS } else { 0.0 });
        } else {
            assert_eq!(bits(&effective), bits(&trained));
        }
    }
}

#[test]
fn points_are_packed_on_the_device_as_on_the_host() {
    let _turn = turn();
    let style = KernelStyle::SOFTWARE;
    let at_points = |[inputs, outputs]: [usize; 2]| ConvPlan::new(style, inputs, outputs, 9).held.is_some();
    assert!(at_points([1, 80]) && at_points([80, 1]));
    let (_, _, [want, got]) = packed(&many_cosines(), style, false);
    // Sums of five weights below 1 with factors that add up to less than 1.4, in f64 on the host.
    assert_close("packed", &got, &widen(&want), |_| 10.0 * EPS);
}

#[test]
fn gradient_and_hessian_of_every_patch_agree_with_float64() {
    let _turn = turn();
    for model in [one_layer(), three_layers()] {
        for (size, sigmas) in [
            ([1, 1], &[0.3_f32][..]),
            ([13, 11], &[0.02, 0.4, 0.1]),
            ([7, 18], &[0.25, 0.05]),
        ] {
            let bench = Bench::new(size, sigmas);
            let ridge = prepare(&model, &bench, false);
            let gradient = ridge.gradient(gpu(), &bench.x, &bench.out).unwrap();
            let hessian = ridge.hessian(gpu(), &bench.x, &bench.q, &bench.out).unwrap();
            let count = sigmas.len() as u32;
            let gradients = bench.result(|r| gradient.record(r, count));
            let products = bench.result(|r| {
                hessian.record_point(r, count);
                hessian.record_product(r, count);
            });
            // A second product rests on the same point.
            assert_eq!(
                bits(&products),
                bits(&bench.result(|r| hessian.record_product(r, count)))
            );
            let used = used(&ridge, &model);
            let pixels = size[0] * size[1];
            for p in 0..sigmas.len() {
                let truth = bench.patches.reference(&used, p);
                let name = format!("{} {size:?} patch {p}", model.name);
                let part = p * pixels..(p + 1) * pixels;
                let want = truth.gradient(&bench.patches.x[p]);
                assert_close(
                    &format!("{name}: gradient"),
                    &gradients[part.clone()],
                    &want.value,
                    |i| want.error[i],
                );
                let (error, size) = (length(&want.error), length(&want.value));
                assert!(
                    error < WORST * size,
                    "{name}: a bound of {error:e} for {size:e} says nothing"
                );
                let want = truth.hessian(&bench.patches.x[p], &bench.patches.q[p], 0.0);
                assert_close(&format!("{name}: Hessian"), &products[part], &want.value, |i| {
                    want.error[i]
                });
            }
        }
    }
}

/// The derivative on the device, twice, outputs poisoned.
fn derivative(ridge: &TrainableRidge, bench: &Bench) -> [Vec<f32>; 3] {
    let gradient = ridge.parameter_gradient(gpu(), &bench.x, &bench.q).unwrap();
    let groups = [gradient.weights(), gradient.activations(), gradient.scalings()];
    let once = || {
        groups.iter().for_each(|g| gpu().write(g, &poison(g.len())).unwrap());
        run(|r| gradient.record(r));
        groups.map(read)
    };
    let (first, again) = (once(), once());
    assert!(
        first.each_ref().map(|g| bits(g)) == again.each_ref().map(|g| bits(g)),
        "two runs differ"
    );
    first
}

#[test]
fn the_parameter_gradient_agrees_with_float64() {
    let _turn = turn();
    for model in [one_layer(), three_layers()] {
        for (size, sigmas, zero_mean) in [
            ([1, 1], &[0.3_f32][..], false),
            ([13, 11], &[0.02, 0.4, 0.1], true),
            ([7, 18], &[0.25, 0.05], false),
            ([33, 5], &[0.5], true),
        ] {
            let bench = Bench::new(size, sigmas);
            let ridge = prepare(&model, &bench, zero_mean);
            let got = derivative(&ridge, &bench);
            let want = bench.patches.derivatives(&used(&ridge, &model), zero_mean);
            for (group, got, want) in [
                ("weights", &got[0], &want.weights),
                ("activations", &got[1], &want.activations),
                ("scalings", &got[2], &want.scalings),
            ] {
                let name = format!("{} {size:?}: {group}", model.name);
                assert_close(&name, got, &want.value, |n| want.error[n] + 1e-30);
                if size[0] > 1 {
                    let (error, size) = (length(&want.error), length(&want.value));
                    assert!(
                        error < WORST * size,
                        "{name}: a bound of {error:e} for {size:e} says nothing"
                    );
                }
            }
        }
    }
}

/// `model` with parameter `n` of `group` moved by `by`, and where it then is.
fn moved(model: &Ridge, group: usize, n: usize, by: f64) -> (Ridge, f64) {
    let mut other = model.clone();
    if group == 0 {
        let mut layers = model.bank.layers().to_vec();
        let mut n = n;
        let layer = layers.iter_mut().find(|l| {
            let here = n < l.weights.len();
            n -= if here { 0 } else { l.weights.len() };
            here
        });
        let weight = &mut layer.unwrap().weights[n];
        *weight += by as f32;
        let at = f64::from(*weight);
        other.bank = FilterBank::new(layers).unwrap();
        return (other, at);
    }
    let splines = if group == 1 {
        &mut other.activations
    } else {
        &mut other.scaling.log
    };
    let mut n = n;
    let spline = splines.iter_mut().find(|s| {
        let here = n < s.len();
        n -= if here { 0 } else { s.len() };
        here
    });
    let spline = spline.unwrap();
    let mut f = spline.values().to_vec();
    f[n] += by;
    let at = f[n];
    *spline = Spline::new(spline.knots().to_vec(), f).unwrap();
    (other, at)
}

#[test]
fn the_parameter_gradient_is_the_derivative() {
    let _turn = turn();
    for model in [one_layer(), three_layers()] {
        let bench = Bench::new([9, 11], &[0.08, 0.31]);
        let ridge = prepare(&model, &bench, false);
        let got = derivative(&ridge, &bench);
        let used = used(&ridge, &model);
        let bounds = bench.patches.derivatives(&used, false);
        let bounds = [bounds.weights, bounds.activations, bounds.scalings];
        for (group, (got, bound)) in got.iter().zip(&bounds).enumerate() {
            let largest = got.iter().fold(0.0_f64, |m, g| m.max(f64::from(*g).abs()));
            let mut checked = 0;
            for n in (0..got.len()).step_by(1 + got.len() / 40) {
                let quotient = |step: f64| {
                    let ((low, from), (high, to)) = (moved(&used, group, n, -step), moved(&used, group, n, step));
                    let rise = bench.patches.value(&high) - bench.patches.value(&low);
                    (rise / (to - from), bench.patches.crossed(&low, &high) / (to - from))
                };
                let step = 1e-4;
                let ((fine, crossed), (coarse, _)) = (quotient(step), quotient(2.0 * step));
                // Rounding of f64 over the step; a third of the difference is the next term of the quotient's series.
                let rounding = 1e-13 * bench.patches.value(&used).abs().max(largest) / step;
                let allowed = bound.error[n] + crossed + rounding + (fine - coarse).abs();
                let error = (f64::from(got[n]) - fine).abs();
                assert!(
                    error <= allowed,
                    "{} group {group}, parameter {n}: {} against {fine}, allowed {allowed:e}",
                    model.name,
                    got[n]
                );
                checked += usize::from(allowed < 0.02 * largest);
            }
            assert!(
                checked >= got.len().min(20) / 2,
                "{} group {group}: {checked} checked",
                model.name
            );
        }
    }
}

#[test]
fn models_come_back_as_they_went() {
    let _turn = turn();
    let model = three_layers();
    let ridge = TrainableRidge::new(gpu(), &model, batch(2, [8, 8], false)).unwrap();
    let back = ridge.to_ridge(gpu()).unwrap();
    assert_eq!(back.bank, model.bank);
    for (a, b) in [
        (&back.activations, &model.activations),
        (&back.scaling.log, &model.scaling.log),
    ] {
        for (a, b) in a.iter().zip(b) {
            let size = b.values().iter().fold(1.0_f64, |m, v| m.max(v.abs()));
            let close = |(a, b): (&f64, &f64)| (a - b).abs() <= 40.0 * EPS * size;
            assert!(a.values().iter().zip(b.values()).all(close), "{a:?} {b:?}");
        }
    }
    assert!((back.norm_squared - model.norm_squared).abs() < 1e-5);

    let mut far = read(ridge.activations().values());
    far[1] += 1.0;
    gpu().write(ridge.activations().values(), &far).unwrap();
    let error = ridge.to_ridge(gpu()).unwrap_err().to_string();
    assert!(error.contains("activation 0") && error.contains("SlopeClip"), "{error}");
}

#[test]
fn impossible_batches_and_noise_levels_are_refused() {
    let _turn = turn();
    let model = one_layer();
    for (setup, reason) in [
        (batch(0, [8, 8], true), "empty"),
        (batch(20_000, [1, 1], true), "65535"),
    ] {
        let error = TrainableRidge::new(gpu(), &model, setup).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
    let ridge = TrainableRidge::new(gpu(), &model, batch(2, [8, 8], true)).unwrap();
    for (sigmas, reason) in [
        (&[0.1_f32][..], "1 noise levels for 2"),
        (&[0.1, 0.7], "outside the range"),
    ] {
        let error = ridge.set_sigmas(gpu(), sigmas).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
}
