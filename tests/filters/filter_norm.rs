//! Filters of norm 1 by construction: against the certificate, and the derivative against difference quotients in f64.

use crate::common::{gpu, poison, values};
use crate::reference::device::turn;
use crate::reference::models::{SLOPES, image, layer, spline};
use crate::reference::parameters::Patches;
use crate::reference::widen;
use knotwork::filters::{ConvLayer, FilterBank, norm};
use knotwork::model::{Border, NormKind, Ridge, Scaling};
use knotwork::spline::Spline;
use knotwork::train::{BatchShape, TrainableRidge};
use knotwork::{Error, Result};

pub fn model(layers: Vec<ConvLayer>) -> Ridge {
    let bank = FilterBank::new(layers).unwrap();
    Ridge {
        activations: vec![spline(3, 9, SLOPES.0, SLOPES.1)],
        scaling: Scaling {
            log: vec![Spline::new(vec![0.0, 0.5], vec![0.1, -0.2]).unwrap()],
            epsilon: 0.01,
        },
        norm_squared: 1.0,
        norm_kind: NormKind::Estimate,
        border: Border::Zero,
        bank,
        slope_bounds: SLOPES,
        sigma_range: (0.0, 0.5),
        name: "raw".into(),
        provenance: serde_json::Value::Null,
    }
}

/// Filters of several layers are used as those of one.
pub fn prepare(model: &Ridge, size: [usize; 2], sigmas: &[f32], zero_mean: bool) -> Result<TrainableRidge> {
    with(model, size, sigmas, [zero_mean, true])
}

fn with(model: &Ridge, size: [usize; 2], sigmas: &[f32], [zero_mean, composed]: [bool; 2]) -> Result<TrainableRidge> {
    let batch = BatchShape {
        patches: sigmas.len(),
        height: size[0],
        width: size[1],
        zero_mean,
        composed,
        unit_norm: true,
        style: None,
    };
    let ridge = TrainableRidge::new(gpu(), model, batch)?;
    ridge.set_sigmas(gpu(), sigmas)?;
    let mut recorder = gpu().record();
    ridge.record_refresh(&mut recorder);
    recorder.submit();
    Ok(ridge)
}

/// The filters, those of the first layer without their means if `zero_mean`, as the filters of one layer.
pub fn centred(layers: &[ConvLayer], zero_mean: bool) -> FilterBank {
    let mut layers = layers.to_vec();
    if zero_mean {
        let taps = layers[0].size.pow(2);
        for filter in layers[0].weights.chunks_mut(taps) {
            let mean = widen(filter).iter().sum::<f64>() / taps as f64;
            filter.iter_mut().for_each(|w| *w = (f64::from(*w) - mean) as f32);
        }
    }
    FilterBank::new(layers).unwrap().collapsed().unwrap()
}

#[test]
fn the_certificate_of_filters_in_training_is_1() {
    let _turn = turn();
    for (seed, channels, size, zero_mean) in [
        (1, 1, 3, false),
        (2, 5, 7, true),
        (3, 24, 7, true),
        (4, 3, 15, false),
        (5, 60, 13, true),
        (6, 2, 1, false),
    ] {
        for gain in [1e-3_f32, 1.0, 300.0] {
            let raw = values(seed, channels * size * size).iter().map(|v| gain * v).collect();
            let raw = ConvLayer::new(1, channels, size, raw).unwrap();
            let ridge = prepare(&model(vec![raw.clone()]), [4, 5], &[0.1], zero_mean).unwrap();
            let used = ridge.to_ridge(gpu()).unwrap();
            let name = format!("{channels} filters of {size}, gain {gain}");
            assert!((used.norm_squared - 1.0).abs() < 4e-6, "{name}: {}", used.norm_squared);
            assert_eq!(used.norm_kind, NormKind::Bound);
            // What is used is what was given, but for mean and norm.
            let want = centred(&[raw], zero_mean);
            let scale = 1.0 / norm::upper_bound(&want).sqrt();
            let want = widen(&want.layers()[0].weights);
            let largest = want.iter().fold(0.0_f64, |m, w| m.max(w.abs())) * scale;
            for (got, want) in used.bank.layers()[0].weights.iter().zip(&want) {
                assert!(
                    (f64::from(*got) - want * scale).abs() < 4e-6 * largest,
                    "{name}: {got} {}",
                    want * scale
                );
            }
        }
    }
}

#[test]
fn filters_of_several_layers_are_those_of_one() {
    let _turn = turn();
    for (layers, zero_mean) in [
        (vec![layer(1, 1, 2, 3), layer(2, 2, 3, 3)], true),
        (vec![layer(1, 1, 1, 1), layer(2, 1, 4, 7)], false),
        (vec![layer(1, 1, 3, 5), layer(2, 3, 1, 1), layer(3, 1, 2, 3)], true),
        // The published shape.
        (vec![layer(1, 1, 4, 5), layer(2, 4, 8, 5), layer(3, 8, 60, 5)], true),
        (
            vec![
                layer(1, 1, 2, 3),
                layer(2, 2, 2, 3),
                layer(3, 2, 3, 3),
                layer(4, 3, 5, 3),
            ],
            false,
        ),
    ] {
        // Parameters that come after the preparation count.
        let before = layers.iter().map(|l| ConvLayer {
            weights: vec![0.5; l.weights.len()],
            ..l.clone()
        });
        let ridge = prepare(&model(before.collect()), [4, 5], &[0.1], zero_mean).unwrap();
        let trained: Vec<f32> = layers.iter().flat_map(|l| l.weights.clone()).collect();
        gpu().write(ridge.weights(), &trained).unwrap();
        let mut recorder = gpu().record();
        ridge.record_refresh(&mut recorder);
        recorder.submit();
        let used = ridge.to_ridge(gpu()).unwrap();
        let want = centred(&layers, zero_mean);
        assert_eq!(used.bank.layers().len(), 1);
        assert_eq!(used.bank.layers()[0].shape(), want.layers()[0].shape());
        assert!((used.norm_squared - 1.0).abs() < 4e-6, "{}", used.norm_squared);
        let scale = 1.0 / norm::upper_bound(&want).sqrt();
        let want: Vec<f64> = want.layers()[0].weights.iter().map(|w| f64::from(*w) * scale).collect();
        let largest = want.iter().fold(0.0_f64, |m, w| m.max(w.abs()));
        for (got, want) in used.bank.layers()[0].weights.iter().zip(&want) {
            assert!(
                (f64::from(*got) - want).abs() < 1e-5 * largest,
                "{got} {want}, largest {largest}"
            );
        }
        assert_eq!(
            gpu().read::<f32>(ridge.weights()).unwrap(),
            trained,
            "training goes on from these"
        );
    }
}

#[test]
fn the_gradient_goes_through_norm_and_composition() {
    let _turn = turn();
    for (raw, zero_mean) in [
        (vec![layer(5, 1, 3, 5)], true),
        (vec![layer(5, 1, 7, 3)], false),
        (vec![layer(5, 1, 2, 3), layer(6, 2, 3, 3)], true),
        (vec![layer(5, 1, 2, 3), layer(6, 2, 4, 5), layer(7, 4, 3, 3)], true),
        (vec![layer(5, 1, 3, 1), layer(6, 3, 2, 5)], false),
    ] {
        let model = model(raw.clone());
        let (shape, sigmas) = ([9, 11], [0.08_f32, 0.31]);
        let x: Vec<_> = (0..2).map(|s| image(s, shape)).collect();
        let q: Vec<_> = (0..2).map(|s| values(70 + s, 99)).collect();
        let ridge = prepare(&model, shape, &sigmas, zero_mean).unwrap();
        let upload = |v: &[Vec<f32>]| gpu().upload("images", &v.concat()).unwrap();
        let gradient = ridge.parameter_gradient(gpu(), &upload(&x), &upload(&q)).unwrap();
        let once = || {
            gpu()
                .write(gradient.weights(), &poison(gradient.weights().len()))
                .unwrap();
            let mut recorder = gpu().record();
            gradient.record(&mut recorder);
            recorder.submit();
            gpu().read::<f32>(gradient.weights()).unwrap()
        };
        let got = once();
        let bits = |v: &[f32]| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&got), bits(&once()));

        let wide = |v: &[Vec<f32>]| v.iter().map(|v| widen(v)).collect();
        let patches = Patches {
            size: shape,
            sigmas: widen(&sigmas),
            x: wide(&x),
            q: wide(&q),
        };
        // S of the normalised filters; those stay f32, whose rounding the step must exceed by far.
        let normalised = |raw: &[ConvLayer]| {
            let bank = centred(raw, zero_mean);
            let bound = norm::upper_bound(&bank);
            Ridge {
                bank: bank.scaled(1.0 / bound.sqrt()),
                ..model.clone()
            }
        };
        let largest = got.iter().fold(0.0_f32, |m, g| m.max(g.abs()));
        let mut checked = 0;
        for (n, &got) in got.iter().enumerate() {
            let at = |step: f32| {
                let mut moved = raw.clone();
                let weight = moved.iter_mut().flat_map(|layer| &mut layer.weights).nth(n).unwrap();
                *weight += step;
                let at = f64::from(*weight);
                (normalised(&moved), at)
            };
            let ((low, from), (high, to)) = (at(-1e-3), at(1e-3));
            let quotient = (patches.value(&high) - patches.value(&low)) / (to - from);
            let allowed = patches.crossed(&low, &high) / (to - from) + 2e-3 * f64::from(largest);
            let error = (f64::from(got) - quotient).abs();
            assert!(error < allowed, "{n}: {got} against {quotient}, allowed {allowed}");
            checked += usize::from(allowed < 0.03 * f64::from(largest));
        }
        assert!(checked > got.len() / 2, "only {checked} of {} say anything", got.len());
        // What is used does not change along the filters of any layer, and means have gone from the gradient of the first.
        let mut rest = got.as_slice();
        for layer in &raw {
            let (own, behind) = rest.split_at(layer.weights.len());
            rest = behind;
            let along: f64 = widen(own)
                .iter()
                .zip(&layer.weights)
                .map(|(g, w)| g * f64::from(*w))
                .sum();
            assert!(
                along.abs() < 1e-4 * f64::from(largest),
                "{along} along the filters, largest {largest}"
            );
        }
    }
}

#[test]
fn sums_at_several_points_add_up() {
    let _turn = turn();
    for layers in [vec![layer(5, 1, 3, 5)], vec![layer(5, 1, 2, 3), layer(6, 2, 3, 3)]] {
        add_up(&model(layers));
    }
}

fn add_up(model: &Ridge) {
    let (shape, sigmas) = ([6, 7], [0.08_f32, 0.31]);
    let ridge = prepare(model, shape, &sigmas, true).unwrap();
    let x = gpu().upload("x", &[image(1, shape), image(2, shape)].concat()).unwrap();
    let q = gpu().upload("q", &values(9, 84)).unwrap();
    let gradient = ridge.parameter_gradient(gpu(), &x, &q).unwrap();
    let groups = [gradient.weights(), gradient.activations(), gradient.scalings()];
    let run = |times: usize| {
        groups.iter().for_each(|g| gpu().write(g, &poison(g.len())).unwrap());
        let mut recorder = gpu().record();
        (0..times).for_each(|n| gradient.record_sums(&mut recorder, n > 0));
        gradient.record_pull(&mut recorder);
        recorder.submit();
        groups.map(|g| gpu().read::<f32>(g).unwrap())
    };
    let (once, thrice) = (run(1), run(3));
    for (once, thrice) in once.iter().zip(&thrice) {
        let largest = once.iter().fold(0.0_f32, |m, g| m.max(g.abs()));
        assert!(largest > 0.0);
        for (a, b) in once.iter().zip(thrice) {
            assert!((3.0 * a - b).abs() < 1e-5 * largest, "{a} three times, got {b}");
        }
    }
}

#[test]
fn what_has_no_certified_norm_is_refused() {
    let _turn = turn();
    let several = || vec![layer(1, 1, 2, 3), layer(2, 2, 3, 3)];
    for (layers, composed) in [
        (several(), false),
        (vec![layer(1, 1, 1, 17)], true),
        (vec![layer(1, 1, 2, 9), layer(2, 2, 3, 9)], true),
    ] {
        let error = with(&model(layers), [4, 4], &[0.1], [true, composed]).unwrap_err();
        assert!(matches!(error, Error::Usage(_)), "{error}");
    }
    assert!(prepare(&model(several()), [4, 4], &[0.1], true).is_ok());
}
