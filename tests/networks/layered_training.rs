//! Trainings of networks of layers: what a step follows, bit by bit after a pause, inside every bound.

use super::layered::{config, image, moved};
use crate::common::{gpu, values};
use crate::reference::device::turn;
use crate::reference::layered::Network;
use crate::reference::widen;
use knotwork::Result;
use knotwork::layered::{ActivationKind, Kind, Layered, LayeredConfig, LayeredRunner, LayeredState, LayeredTrainer};
use knotwork::train::ImageLoss;
use knotwork::train::data::Batch;

/// Edges with noise.
fn patches(config: &LayeredConfig, step: u64) -> Batch {
    let (count, side) = (config.batch, config.data.patch);
    let clean: Vec<f32> = (0..count)
        .flat_map(|slot| {
            let turn = values(step * 31 + slot as u64, 2);
            (0..side * side).map(move |n| {
                let (row, col) = ((n / side) as f32 - 5.0, (n % side) as f32 - 5.0);
                if turn[0] * row + turn[1] * col > 0.0 { 0.8 } else { 0.2 }
            })
        })
        .collect();
    let noise = values(900 + step, clean.len());
    Batch {
        noisy: clean.iter().zip(noise).map(|(c, v)| c + 0.17 * v).collect(),
        clean,
        sigmas: vec![0.1; count],
        first_sample: step * count as u64,
    }
}

fn run(state: &LayeredState, from: u64, to: u64) -> Result<LayeredState> {
    let mut trainer = LayeredTrainer::new(gpu(), state)?;
    for step in from..to {
        let batch = patches(&state.config, step);
        let report = trainer.step(&batch)?;
        assert!(report.taken.is_some() && report.loss.is_finite(), "{report:?}");
        if (step + 1) % 4 == 0 {
            trainer.adapt(&batch)?;
        }
    }
    let mut state = trainer.state()?;
    state.progress.seconds = 0.0;
    Ok(state)
}

#[test]
fn a_resumed_training_continues_bit_by_bit() {
    let _turn = turn();
    for config in [config(Kind::Denoiser), config(Kind::Unrolled)] {
        let start = LayeredState::start(&config, "edges").unwrap();
        let whole = run(&start, 0, 9).unwrap();
        for cut in [4, 6] {
            let half = run(&start, 0, cut).unwrap();
            let half = LayeredState::from_bytes(&half.to_bytes().unwrap()).unwrap();
            assert_eq!(
                run(&half, cut, 9).unwrap().to_bytes().unwrap(),
                whole.to_bytes().unwrap()
            );
        }
    }
}

#[test]
fn training_denoises_moves_knots_and_keeps_every_bound() {
    let _turn = turn();
    let kinds = [
        ActivationKind::Spline,
        ActivationKind::Relu,
        ActivationKind::Prelu,
        ActivationKind::Abs,
    ];
    for (kind, activation) in [Kind::Denoiser, Kind::Unrolled]
        .into_iter()
        .flat_map(|k| kinds.map(|a| (k, a)))
        .filter(|(k, a)| *k == Kind::Denoiser || *a == ActivationKind::Spline)
    {
        let mut config = config(kind);
        config.network.activation = activation;
        config.schedule.steps = 60;
        let mut trainer = LayeredTrainer::new(gpu(), &LayeredState::start(&config, "edges").unwrap()).unwrap();
        let (mut first, mut last) = (0.0, 0.0);
        for step in 0..60 {
            let batch = patches(&config, step);
            let report = trainer.step(&batch).unwrap();
            if step < 10 {
                first += report.psnr / 10.0;
            }
            if step >= 50 {
                last += report.psnr / 10.0;
            }
            if activation == ActivationKind::Spline && (step == 19 || step == 39) {
                let before = trainer.model().unwrap();
                let event = trainer.adapt(&batch).unwrap();
                let after = trainer.model().unwrap();
                assert!(event.inserted > 0 && event.largest <= 9, "{event:?}");
                let y = image(2, 100);
                let of = |model| {
                    LayeredRunner::new(gpu(), &model, 1, [10, 10])
                        .unwrap()
                        .run(gpu(), &y)
                        .unwrap()
                };
                let change = of(before)
                    .iter()
                    .zip(of(after))
                    .map(|(a, b)| (a - b).abs())
                    .fold(0.0, f32::max);
                assert!(change < 5e-3, "moving knots changed the result by {change}");
            }
        }
        assert!(
            last > first + 0.5,
            "{kind:?} {activation:?}: {first:.2} dB, then {last:.2} dB"
        );
        let model = trainer.model().unwrap();
        model.check().unwrap();
        let back = Layered::from_bytes(&model.to_bytes().unwrap()).unwrap();
        assert_eq!(back, model);
    }
}

#[test]
fn a_step_that_is_not_finite_is_refused_and_changes_nothing() {
    let _turn = turn();
    let config = config(Kind::Denoiser);
    let mut trainer = LayeredTrainer::new(gpu(), &LayeredState::start(&config, "edges").unwrap()).unwrap();
    trainer.step(&patches(&config, 0)).unwrap();
    let before = trainer.state().unwrap();
    let mut bad = patches(&config, 1);
    bad.noisy[7] = f32::NAN;
    assert!(trainer.step(&bad).unwrap().taken.is_none());
    let after = trainer.state().unwrap();
    assert_eq!(after.raw, before.raw);
    assert_eq!(after.moments, before.moments);
    assert_eq!(after.progress.refused, 1);
}

/// Of `D = (1 - a) Id + a N`, which is what is trained: the loss that a step reports, and the gradients, as Adam's first moments show
/// them after the first step, against central differences in f64.
#[test]
fn averaged_denoisers_are_trained_as_such() {
    let _turn = turn();
    for loss in [ImageLoss::L2, ImageLoss::L1] {
        let mut config = config(Kind::Denoiser);
        config.network.averaging = 0.3;
        config.loss = loss;
        config.rates.tv2 = 0.0;
        let a = config.network.averaging;
        let (raw, logs) = moved(&config);
        let mut state = LayeredState::start(&config, "edges").unwrap();
        (state.raw, state.logs) = (raw.clone(), logs.clone());
        let batch = patches(&config, 3);
        let mut trainer = LayeredTrainer::new(gpu(), &state).unwrap();
        let report = trainer.step(&batch).unwrap();

        let network = Network::new(&raw, &logs);
        let side = config.data.patch;
        let count = batch.clean.len() as f64;
        let errors = |network: &Network| -> Vec<f64> {
            let filters = network.filters();
            let slots = batch
                .noisy
                .chunks_exact(side * side)
                .zip(batch.clean.chunks_exact(side * side));
            slots
                .flat_map(|(y, c)| {
                    let (y, c) = (widen(y), widen(c));
                    let out = network.run_with(&filters, &y, [side; 2]);
                    (0..c.len())
                        .map(|n| (1.0 - a) * y[n] + a * out[n] - c[n])
                        .collect::<Vec<_>>()
                })
                .collect()
        };
        let of = |network: &Network| {
            let each = errors(network).into_iter();
            let total: f64 = match loss {
                ImageLoss::L2 => each.map(|d| 0.5 * d * d).sum(),
                ImageLoss::L1 => each.map(f64::abs).sum(),
            };
            total / count
        };
        assert!(
            (report.loss / of(&network) - 1.0).abs() < 1e-5,
            "{loss:?}: {} against {}",
            report.loss,
            of(&network)
        );
        let squared = errors(&network).iter().map(|d| d * d).sum::<f64>() / count;
        assert!(
            (report.psnr + 10.0 * squared.log10()).abs() < 1e-4,
            "{loss:?}: {} dB",
            report.psnr
        );

        let moments = trainer.state().unwrap().moments;
        let gradient = |group: usize| -> Vec<f64> {
            let rest = 1.0 - config.rates.decays[0];
            moments[group].iter().map(|m| f64::from(m[0]) / rest).collect()
        };
        let check = |name: &str, group: usize, at: usize, nudge: &dyn Fn(&mut Network, f64)| {
            let all = gradient(group);
            let largest = all.iter().fold(0.0_f64, |m, g| m.max(g.abs()));
            let side = |s: f64| {
                let mut moved = network.clone();
                nudge(&mut moved, s);
                of(&moved)
            };
            let want = (side(1e-5) - side(-1e-5)) / 2e-5;
            assert!(
                (all[at] - want).abs() < 1e-3 * largest,
                "{loss:?}, {name} {at}: {} against {want}, largest {largest}",
                all[at]
            );
        };
        for at in [4, 40, 88] {
            check("weight", 0, at, &|n, s| n.raw[0][at] += s);
        }
        for at in [0, 5, 9] {
            check("shift", 1, at, &|n, s| n.shifts[0][at] += s);
            check("scaling", 2, at, &|n, s| n.logs[0][at] += s);
        }
        for at in [2, 3, 10] {
            check("value", 3, at, &|n, s| n.values[0][at / 7][at % 7] += s);
        }
    }
}
