//! Networks of layers: passes and gradients against f64 formulas, models that are refused, norms of layers.

use crate::common::{gpu, values};
use crate::reference;
use crate::reference::device::turn;
use crate::reference::layered::Network;
use crate::reference::{norm, widen};
use knotwork::layered::{
    Architecture, Held, Kind, Layered, LayeredConfig, LayeredDenoiser, LayeredRunner, LayeredSettings, LossGradient,
    Parts, start_model,
};
use knotwork::spline::{SlopeBounds, Spline, clip_slopes};
use knotwork::train::data::DataSettings;
use knotwork::train::{ImageLoss, KnotAdaptation, Schedule};

pub(super) fn config(kind: Kind) -> LayeredConfig {
    LayeredConfig {
        batch: 3,
        network: LayeredSettings {
            kind,
            channels: 10,
            depth: 3,
            start_knots: 7,
            range: 0.8,
            step: 0.6,
            ..LayeredSettings::default()
        },
        data: DataSettings {
            patch: 11,
            sigma: (0.1, 0.1),
            ..DataSettings::default()
        },
        adaptation: KnotAdaptation {
            every: 4,
            max_knots: 9,
            ..KnotAdaptation::default()
        },
        schedule: Schedule {
            steps: 12,
            warm_up: 2,
            ..Schedule::default()
        },
        validation: Held { every: 4, images: 1 },
        ..LayeredConfig::of_kind(kind)
    }
}

/// All variants: a denoiser, unrolled networks with own and with shared parameters, without and with blur.
fn variants() -> Vec<LayeredConfig> {
    let mut tied = config(Kind::Unrolled);
    tied.network.tied = true;
    let mut blurred = config(Kind::Unrolled);
    blurred.network.blur = 0.6;
    let mut both = tied.clone();
    both.network.blur = 0.6;
    vec![config(Kind::Denoiser), config(Kind::Unrolled), tied, blurred, both]
}

/// The start with everything moved away from the identity: filters, shifts, scalings, bent splines inside the bounds.
pub(super) fn moved(config: &LayeredConfig) -> (Layered, Vec<Vec<f32>>) {
    let mut model = start_model(config).unwrap();
    for (n, layer) in model.filters.iter_mut().enumerate() {
        let noise = values(50 + n as u64, layer.weights.len());
        layer.weights.iter_mut().zip(noise).for_each(|(w, v)| *w += 0.05 * v);
    }
    let (low, high) = model.slope_bounds;
    // Room for rounding values to f32.
    let bounds = SlopeBounds::new((low + 1e-4).min(0.0), high - 1e-4).unwrap();
    let mut logs = Vec::new();
    for (set, activations) in model.activations.iter_mut().enumerate() {
        let channels = activations.len();
        for (channel, spline) in activations.iter_mut().enumerate() {
            let bends = values(70 + (set * 100 + channel) as u64, spline.len());
            let bent = spline.values().iter().zip(bends).map(|(f, v)| f + 0.2 * f64::from(v));
            let bent = clip_slopes(&Spline::new(spline.knots().to_vec(), bent.collect()).unwrap(), &bounds).unwrap();
            let rounded = bent.values().iter().map(|f| f64::from(*f as f32)).collect();
            *spline = Spline::new(spline.knots().to_vec(), rounded).unwrap();
        }
        model.shifts[set] = values(90 + set as u64, channels).iter().map(|v| 0.1 * v).collect();
        let own: Vec<f32> = values(95 + set as u64, channels).iter().map(|v| 0.3 * v).collect();
        model.scalings[set] = own.iter().map(|l| l.exp()).collect();
        logs.push(own);
    }
    (model, logs)
}

pub(super) fn image(seed: u64, pixels: usize) -> Vec<f32> {
    values(seed, pixels).iter().map(|v| 0.5 + 0.4 * v).collect()
}

/// The parameters on the device, with the logarithms of the scalings exactly as given.
pub(super) fn parts(model: &Layered, logs: &[Vec<f32>]) -> Parts {
    let parts = Parts::new(gpu(), model, true).unwrap();
    let mut all: Vec<f32> = gpu().read(parts.logs()).unwrap();
    for (set, own) in logs.iter().enumerate() {
        let (first, count) = parts.range(set);
        all[first..first + count].copy_from_slice(own);
    }
    gpu().write(parts.logs(), &all).unwrap();
    let mut recorder = gpu().record();
    parts.record_refresh(&mut recorder);
    recorder.submit();
    drop(recorder);
    parts
}

#[test]
fn networks_agree_with_their_formulas() {
    let _turn = turn();
    for config in variants() {
        let (raw, logs) = moved(&config);
        let parts = parts(&raw, &logs);
        let model = parts.read(gpu(), &raw, true).unwrap();
        model.check().unwrap();
        let network = Network::new(&raw, &logs);
        for (layer, want) in model.filters.iter().zip(network.filters()) {
            for (got, want) in layer.weights.iter().zip(want) {
                assert!((f64::from(*got) - want).abs() < 2e-6, "{got} against {want}");
            }
        }
        let size = [9, 14];
        let runner = LayeredRunner::new(gpu(), &model, 2, size).unwrap();
        let images = image(1, 2 * size[0] * size[1]);
        gpu().write(runner.output(), &vec![f32::NAN; images.len()]).unwrap();
        let got = runner.run(gpu(), &images).unwrap();
        assert_eq!(got, runner.run(gpu(), &images).unwrap(), "two runs differ");
        for (got, image) in got.chunks_exact(126).zip(images.chunks_exact(126)) {
            let want = network.run(&widen(image), size);
            for (got, want) in got.iter().zip(&want) {
                assert!((f64::from(*got) - want).abs() < 2e-5, "{got} against {want}");
            }
        }
    }
}

/// Moves one parameter.
type Nudge = Box<dyn Fn(&mut Network, f64)>;

/// Every group of parameters, two entries per layer of each, against central differences of the loss in f64.
#[test]
fn gradients_are_the_derivatives_of_the_loss() {
    let _turn = turn();
    for (variant, config) in variants().into_iter().enumerate() {
        let losses: &[ImageLoss] = if variant == 0 {
            &[ImageLoss::L2, ImageLoss::L1]
        } else {
            &[ImageLoss::L2]
        };
        for &loss in losses {
            let (raw, logs) = moved(&config);
            let parts = parts(&raw, &logs);
            let (slots, size) = (2, [6, 5]);
            let pixels = size[0] * size[1];
            let gradient = LossGradient::new(gpu(), &parts, &raw, loss, slots, size).unwrap();
            let (noisy, clean) = (image(5, slots * pixels), image(6, slots * pixels));
            let weights = [0.7_f32, 0.2];
            for buffer in [gradient.weights(), gradient.shifts(), gradient.scalings()] {
                gpu().write(buffer, &vec![f32::NAN; buffer.len()]).unwrap();
            }
            let (got, squared) = gradient.run(gpu(), &noisy, &clean, &weights, false).unwrap().unwrap();

            let network = Network::new(&raw, &logs);
            let of = |network: &Network| {
                let filters = network.filters();
                let mut total = 0.0;
                for (slot, weight) in weights.iter().enumerate() {
                    let own = slot * pixels..(slot + 1) * pixels;
                    let out = network.run_with(&filters, &widen(&noisy[own.clone()]), size);
                    for (x, c) in out.iter().zip(&clean[own]) {
                        let d = x - f64::from(*c);
                        let value = if loss == ImageLoss::L1 { d.abs() } else { 0.5 * d * d };
                        total += f64::from(*weight) * value;
                    }
                }
                total
            };
            assert!((got / of(&network) - 1.0).abs() < 1e-5, "loss {got}");
            assert!(squared > 0.0);
            let check = |name: &str, at: usize, got: f32, scale: f64, nudge: Nudge| {
                let step = 1e-5;
                let side = |s: f64| {
                    let mut moved = network.clone();
                    nudge(&mut moved, s * step);
                    of(&moved)
                };
                let want = (side(1.0) - side(-1.0)) / (2.0 * step);
                assert!(
                    (f64::from(got) - want).abs() < 2e-4 * scale + 2e-4 * want.abs(),
                    "variant {variant}, {loss:?}, {name} {at}: {got} against {want}, largest {scale}"
                );
            };
            let largest = |v: &[f32]| v.iter().fold(0.0_f64, |m, g| m.max(f64::from(g.abs())));

            let all: Vec<f32> = gpu().read(gradient.weights()).unwrap();
            let mut first = 0;
            for layer in 0..raw.filters.len() {
                let count = raw.filters[layer].weights.len();
                let own = &all[first..first + count];
                for at in [3, count / 2 + 1, count - 2] {
                    check(
                        "weight",
                        at,
                        own[at],
                        0.1 * largest(own),
                        Box::new(move |n, s| n.raw[layer][at] += s),
                    );
                }
                first += count;
            }
            let shifts: Vec<f32> = gpu().read(gradient.shifts()).unwrap();
            let scalings: Vec<f32> = gpu().read(gradient.scalings()).unwrap();
            for set in 0..raw.activations.len() {
                let (start, count) = parts.range(set);
                for at in [0, count - 1] {
                    let own = &shifts[start..start + count];
                    check(
                        "shift",
                        at,
                        own[at],
                        0.1 * largest(own),
                        Box::new(move |n, s| n.shifts[set][at] += s),
                    );
                    let own = &scalings[start..start + count];
                    check(
                        "scaling",
                        at,
                        own[at],
                        0.1 * largest(own),
                        Box::new(move |n, s| n.logs[set][at] += s),
                    );
                }
                let own: Vec<f32> = gpu().read(gradient.values(set).unwrap()).unwrap();
                let knots = raw.activations[set][0].len();
                for (channel, knot) in [(0, 3), (4, 2), (9, 5)] {
                    let at = channel * knots + knot;
                    let nudge = move |n: &mut Network, s: f64| n.values[set][channel][knot] += s;
                    check("value", at, own[at], 0.1 * largest(&own), Box::new(nudge));
                }
            }
        }
    }
}

#[test]
fn models_outside_their_bounds_are_refused() {
    let (mut model, _) = moved(&config(Kind::Denoiser));
    let refused = |model: &Layered, word: &str| {
        let error = model.check().unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    };
    // The filters of `moved` are those before their norm is divided out.
    refused(&model, "norm");
    model = start_model(&config(Kind::Denoiser)).unwrap();
    model.filters[1] = start_model(&config(Kind::Denoiser)).unwrap().filters[1].clone();
    model.filters[1].weights.iter_mut().for_each(|w| *w *= 0.5);
    model.filters[0].weights.iter_mut().for_each(|w| *w *= 0.99);
    model.filters[2].weights.iter_mut().for_each(|w| *w *= 0.99);
    for spline in model.activations.iter_mut().flatten() {
        let values = spline.values().iter().map(|f| 0.99 * f).collect();
        *spline = Spline::new(spline.knots().to_vec(), values).unwrap();
    }
    model.check().unwrap();
    let good = model.clone();
    model.activations[0][3] = Spline::new(vec![-1.0, 0.0, 1.0], vec![-1.0, 0.0, 1.01]).unwrap();
    refused(&model, "slopes");
    model = good.clone();
    model.architecture = Architecture::Denoiser { averaging: 0.0 };
    refused(&model, "averaging");
    model = good.clone();
    model.shifts[1].pop();
    refused(&model, "channels");
    model = good.clone();
    model.scalings[1][0] = 0.0;
    refused(&model, "scaling");
    model = good.clone();
    model.filters.pop();
    refused(&model, "chain");
    let good_again = good.clone();
    model = good;
    model.slope_bounds = (-1.5, 1.0);
    refused(&model, "slope bounds");
    model = good_again.clone();
    model.shifts.pop();
    refused(&model, "sets");
    model = good_again;
    model.sigma = 1e-300;
    refused(&model, "noise");
    let mut unrolled = start_model(&config(Kind::Unrolled)).unwrap();
    unrolled
        .filters
        .iter_mut()
        .for_each(|l| l.weights.iter_mut().for_each(|w| *w *= 0.9));
    for spline in unrolled.activations.iter_mut().flatten() {
        let values = spline.values().iter().map(|f| 0.99 * f).collect();
        *spline = Spline::new(spline.knots().to_vec(), values).unwrap();
    }
    unrolled.check().unwrap();
    unrolled.architecture = Architecture::Unrolled {
        steps: 3,
        step: 2.0,
        blur: vec![],
    };
    refused(&unrolled, "step");
    unrolled.architecture = Architecture::Unrolled {
        steps: 1,
        step: 0.5,
        blur: vec![0.0; 9],
    };
    unrolled.filters.truncate(1);
    unrolled.activations.truncate(1);
    unrolled.shifts.truncate(1);
    unrolled.scalings.truncate(1);
    refused(&unrolled, "step");
    unrolled.architecture = Architecture::Unrolled {
        steps: 1_000_000_000,
        step: 0.5,
        blur: vec![],
    };
    refused(&unrolled, "steps");
}

/// Channels that hardly couple and differ in size: what the device makes of them is certified all the same.
#[test]
fn the_norm_bound_of_a_layer_is_tight_for_what_training_makes() {
    let _turn = turn();
    let mut config = config(Kind::Denoiser);
    config.network.depth = 4;
    let mut raw = start_model(&config).unwrap();
    for layer in &mut raw.filters {
        let (inputs, taps) = (layer.inputs, layer.size * layer.size);
        for (n, w) in layer.weights.iter_mut().enumerate() {
            *w = *w * (1.7_f32).powi((n / taps % inputs) as i32 % 5 - 2) + 1e-4;
        }
    }
    let parts = Parts::new(gpu(), &raw, true).unwrap();
    let used = parts.read(gpu(), &raw, true).unwrap();
    for (layer, norm) in used.norms().into_iter().enumerate() {
        assert!((0.99..1.0 + 1e-5).contains(&norm), "layer {layer}: {norm}");
    }
}

/// The bound against the largest singular value of the layer as a dense matrix, which it must not undercut.
#[test]
fn the_norm_bound_of_a_layer_is_never_too_small() {
    for (seed, inputs, outputs) in [(1, 1, 4), (2, 3, 3), (3, 5, 2), (4, 4, 1)] {
        let layer = reference::models::layer(seed, inputs, outputs, 3);
        let side = 9;
        let pixels = side * side;
        let mut x = vec![0.0; inputs * pixels];
        x.iter_mut().enumerate().for_each(|(n, v)| *v = 1.0 + (n % 7) as f64);
        let mut norm_squared = 0.0;
        for _ in 0..200 {
            let size = [side, side];
            let y = reference::correlate(&layer, &reference::Bounded::exact(&x), size);
            let z = reference::scatter(&layer, &reference::Bounded::exact(&y.value), size).value;
            norm_squared = norm(&z) / norm(&x);
            let length = norm(&z);
            x = z.iter().map(|v| v / length).collect();
        }
        let bound = knotwork::filters::norm::row_sum_bound(&layer);
        assert!(bound >= norm_squared * (1.0 - 1e-9), "{bound} below {norm_squared}");
        assert!(bound < 40.0 * norm_squared, "{bound} says nothing about {norm_squared}");
    }
}

#[test]
fn the_settings_and_models_that_come_along_are_valid_and_belong_together() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("assets");
    for (kind, settings, name) in [
        (Kind::Denoiser, "denoiser", "denoiser-25"),
        (Kind::Unrolled, "unrolled", "deblur-8"),
        (Kind::Unrolled, "unrolled-denoise", "unrolled-25"),
    ] {
        let config = LayeredConfig::read(&folder.join(format!("configs/{settings}.toml")), kind).unwrap();
        let model = Layered::shipped_or_file(std::path::Path::new(name)).unwrap();
        assert_eq!(config.name, name);
        assert_eq!(model.provenance["config"], serde_json::to_value(&config).unwrap());
        // Trained to the end; the model is that of the best validation.
        let log = std::fs::read_to_string(folder.join(format!("models/{name}.log.jsonl"))).unwrap();
        let last: serde_json::Value = serde_json::from_str(log.lines().next_back().unwrap()).unwrap();
        assert_eq!(
            (&last["event"], &last["step"]),
            (&"validation".into(), &config.schedule.steps.into()),
            "{name}"
        );
        let best = log.lines().rfind(|line| line.contains("\"best\":true")).unwrap();
        let best: serde_json::Value = serde_json::from_str(best).unwrap();
        assert_eq!(model.provenance["steps"], best["step"], "{name}");
        assert!(model.lipschitz() <= 1.0 + 1e-8);
        let file = Layered::read(&folder.join(format!("models/{name}.safetensors"))).unwrap();
        assert_eq!(file, model);
    }
}

/// `D_s(x) = (1 - a) x + a s N(x / s)` with `s = sigma / sigma_0`.
#[test]
fn a_network_runs_scaled_for_other_noise_levels() {
    let _turn = turn();
    let mut config = config(Kind::Denoiser);
    config.network.averaging = 0.3;
    let (raw, logs) = moved(&config);
    let model = parts(&raw, &logs).read(gpu(), &raw, true).unwrap();
    let network = Network::new(&raw, &logs);
    let (size, y) = ([6, 7], image(4, 42));
    let denoiser = LayeredDenoiser::new(gpu(), &model, size).unwrap();
    for scale in [1.0, 0.5, 3.0] {
        let got = denoiser.run(gpu(), &y, 0.1 * scale).unwrap();
        let scaled: Vec<f64> = y.iter().map(|v| f64::from(*v) / scale).collect();
        let out = network.run(&scaled, size);
        for ((got, y), n) in got.iter().zip(&y).zip(&out) {
            let want = 0.7 * f64::from(*y) + 0.3 * scale * n;
            assert!(
                (f64::from(*got) - want).abs() < 3e-5,
                "scale {scale}: {got} against {want}"
            );
        }
    }
    assert!(denoiser.run(gpu(), &y, 0.0).is_err() && denoiser.run(gpu(), &y[1..], 0.1).is_err());
}
