//! Training and knot adaptation on the device.

use crate::common::{EPS, gpu, turn};
use knotwork::network::adapt::adapt;
use knotwork::network::targets::Target;
use knotwork::network::{
    Adaptation, Architecture, Ensemble, EnsembleSettings, Experiment, Knots, LearningRates, Member, Schedule, Shape,
    State, train,
};
use knotwork::spline::{SlopeBounds, Spline, clip_slopes};
use knotwork::train::AdamSettings;

const SAMPLES: usize = 96;

fn ensemble(slots: usize) -> Ensemble<'static> {
    let settings = EnsembleSettings {
        architecture: Architecture::new(&[1, 5, 5, 1]).unwrap(),
        slots,
        bounds: SlopeBounds::lipschitz(),
        iterations: 20,
        project: true,
        rates: LearningRates {
            weights: 1e-2,
            values: 3e-3,
            alphas: 5e-3,
        },
        adam: AdamSettings {
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            hold: 100,
            steps: 200,
        },
    };
    let members: Vec<Member> = (1..=2)
        .map(|seed| Member::random(&settings.architecture, seed, Shape::Absolute, 9, 0.5, 0.3).unwrap())
        .collect();
    let x: Vec<f32> = (0..SAMPLES).map(|n| n as f32 / 48.0 - 1.0).collect();
    let y: Vec<f32> = x.iter().map(|x| (5.0 * x).cos() / 5.0).collect();
    Ensemble::new(gpu(), &settings, &members, (&x.repeat(2), &y.repeat(2)), &[1e-7, 1e-5]).unwrap()
}

fn steps(ensemble: &Ensemble<'_>, count: usize) -> Vec<f32> {
    let mut recorder = gpu().record();
    for _ in 0..count {
        ensemble.record_step(&mut recorder);
    }
    recorder.submit();
    drop(recorder);
    ensemble.losses().unwrap()
}

fn losses(ensemble: &Ensemble<'_>) -> Vec<f32> {
    let mut recorder = gpu().record();
    ensemble.record_gradient(&mut recorder);
    recorder.submit();
    drop(recorder);
    ensemble.losses().unwrap()
}

/// The splines that the layers evaluate.
fn splines(ensemble: &Ensemble<'_>, state: &State) -> Vec<Spline> {
    (0..ensemble.layout().splines())
        .map(|s| {
            let count = state.counts[s] as usize;
            let (slot, first) = (s * ensemble.layout().slots, ensemble.layout().values(s));
            let widen = |v: &[f32]| v.iter().map(|v| f64::from(*v)).collect();
            let raw = Spline::new(
                widen(&state.positions[slot..slot + count]),
                widen(&state.parameters[first..first + count]),
            );
            clip_slopes(&raw.unwrap(), &SlopeBounds::lipschitz()).unwrap()
        })
        .collect()
}

#[test]
fn inserted_knots_leave_the_function_and_carry_the_moments() {
    let _turn = turn();
    let ensemble = ensemble(16);
    steps(&ensemble, 20);
    // In this order: evaluation projects the weights.
    let loss = losses(&ensemble);
    let before = ensemble.state().unwrap();
    let insertion = Adaptation {
        max_knots: 14,
        insert: 4,
        max_error: 0.0,
    };
    let event = adapt(&ensemble, &insertion, 20).unwrap();
    let after = ensemble.state().unwrap();
    assert!(event.inserted > ensemble.layout().splines(), "{event:?}");
    assert_eq!(event.knots as u32, after.counts.iter().sum::<u32>());
    assert_eq!(event.largest as u32, *after.counts.iter().max().unwrap());
    assert!(event.largest <= 14);
    let (old, new) = (splines(&ensemble, &before), splines(&ensemble, &after));
    for (s, (old, new)) in old.iter().zip(&new).enumerate() {
        let (first, slots) = (ensemble.layout().values(s), ensemble.layout().slots);
        for (n, t) in new.knots().iter().enumerate() {
            // Knots are rounded to f32 after interpolation: a unit in the last place of t times slopes of at most 1, and
            // one of the value.
            let tolerance = 4.0 * EPS * (t.abs() + old.value(*t).abs() + 0.5);
            assert!(
                (new.values()[n] - old.value(*t)).abs() <= tolerance,
                "spline {s} at {t}"
            );
            // A knot that stayed keeps its moments; a new one lies between its neighbours.
            let moment = after.moments[first + n];
            if let Some(k) = old.knots().iter().position(|k| k == t) {
                assert_eq!(moment, before.moments[first + k]);
            } else {
                let right = old.knots().partition_point(|k| k < t);
                let ends = [before.moments[first + right - 1], before.moments[first + right]];
                let span = 1e-6 * (ends[0][1].abs() + ends[1][1].abs());
                let (low, high) = (ends[0][1].min(ends[1][1]) - span, ends[0][1].max(ends[1][1]) + span);
                assert!((low..=high).contains(&moment[1]) && moment[1] >= 0.0);
            }
        }
        assert!(
            after.moments[first + new.len()..first + slots]
                .iter()
                .all(|m| *m == [0.0; 2])
        );
    }
    // Everything but the splines is as it was.
    let dense = ensemble.layout().values(0);
    assert_eq!(before.parameters[..dense], after.parameters[..dense]);
    for (a, b) in loss.iter().zip(losses(&ensemble)) {
        // 11 units move by about 1e-7 each, the loss by twice its root times that.
        assert!((a - b).abs() <= 4e-6 * a.sqrt(), "{a} {b}");
    }
    // New knots are used: their gradients are not all zero.
    let gradient = ensemble.gradient().unwrap();
    let used = new.iter().enumerate().filter(|(s, new)| {
        (0..new.len())
            .any(|n| !old[*s].knots().contains(&new.knots()[n]) && gradient[ensemble.layout().values(*s) + n] != 0.0)
    });
    assert!(used.count() > ensemble.layout().splines() / 2);
}

#[test]
fn removal_stays_within_its_error_and_makes_room() {
    let _turn = turn();
    let ensemble = ensemble(16);
    steps(&ensemble, 30);
    // In this order: evaluation projects the weights.
    let loss = losses(&ensemble);
    let before = ensemble.state().unwrap();
    let removal = Adaptation {
        max_knots: 16,
        insert: 0,
        max_error: 1e-4,
    };
    let event = adapt(&ensemble, &removal, 30).unwrap();
    assert!(
        event.removed > 0 && event.inserted == 0 && event.rms_error <= 1e-4,
        "{event:?}"
    );
    let after = ensemble.state().unwrap();
    for spline in splines(&ensemble, &after) {
        let (low, high) = spline.slope_range();
        assert!(low >= -1.0 - 1e-4 && high <= 1.0 + 1e-4);
    }
    for (a, b) in loss.iter().zip(losses(&ensemble)) {
        // 10 units move by 1e-4 in the root mean square, and no layer amplifies: the output moves by at most 10 times that.
        assert!((a.sqrt() - b.sqrt()).abs() <= 1e-3, "{a} {b}");
    }
    // However large the error: never more than max_knots.
    ensemble.set_state(&before).unwrap();
    losses(&ensemble);
    let tight = Adaptation {
        max_knots: 5,
        insert: 1,
        max_error: 0.0,
    };
    assert!(adapt(&ensemble, &tight, 30).unwrap().largest <= 5);
}

#[test]
fn training_reduces_the_loss_and_reports_every_adaptation() {
    let _turn = turn();
    let ensemble = ensemble(12);
    let start = losses(&ensemble);
    let schedule = Schedule {
        steps: 200,
        adaptation: Some(Adaptation {
            max_knots: 12,
            insert: 2,
            max_error: 1e-5,
        }),
        interval: 30,
        last_adaptation: 140,
    };
    let mut reported = Vec::new();
    let events = train(&ensemble, &schedule, |progress| {
        reported.extend(progress.event);
        assert_eq!(progress.losses.len(), 2);
    })
    .unwrap();
    assert_eq!(events, reported);
    assert_eq!(
        events.iter().map(|e| e.step).collect::<Vec<_>>(),
        [30, 60, 90, 120, 150]
    );
    assert!(events.iter().all(|e| e.largest <= 12));
    let end = losses(&ensemble);
    assert!(start.iter().zip(&end).all(|(a, b)| *b < 0.1 * a), "{start:?} {end:?}");

    let never = Schedule {
        interval: 0,
        ..schedule
    };
    assert!(train(&ensemble, &never, |_| {}).is_err());
    // A parameter that is no number is an error, not a result.
    let mut state = ensemble.state().unwrap();
    state.parameters[0] = f32::NAN;
    ensemble.set_state(&state).unwrap();
    let error = train(&ensemble, &schedule, |_| {}).unwrap_err();
    assert_eq!(error.exit_code(), 8, "{error}");
}

#[test]
fn what_is_tested_is_the_certified_network() {
    let _turn = turn();
    let ensemble = ensemble(16);
    steps(&ensemble, 25);
    let want = losses(&ensemble);
    let networks = ensemble.networks().unwrap();
    let x: Vec<f32> = (0..SAMPLES).map(|n| n as f32 / 48.0 - 1.0).collect();
    let y: Vec<f32> = x.iter().map(|x| (5.0 * x).cos() / 5.0).collect();
    let evaluate = |networks: &[_]| ensemble.evaluate(networks, &x.repeat(2), &y.repeat(2)).unwrap();
    // The same function, but for slopes that are computed in f64 from rounded values.
    for (a, b) in want.iter().zip(evaluate(&networks)) {
        assert!((a - b).abs() <= 4e-6 * a.sqrt(), "{a} {b}");
    }
    let other: Vec<_> = networks.iter().rev().cloned().collect();
    let swapped = evaluate(&other);
    for (a, b) in want.iter().rev().zip(&swapped) {
        assert!((a - b).abs() <= 4e-6 * a.sqrt(), "{a} {b}");
    }
    assert!(ensemble.evaluate(&networks[..1], &x, &y).is_err());
    assert!(ensemble.evaluate(&networks, &x, &y[1..]).is_err());
}

#[test]
fn adaptive_knots_fit_a_zigzag_within_their_limit() {
    let _turn = turn();
    let experiment = Experiment {
        functions: vec![Target::F1],
        lambdas: vec![1e-7],
        seeds: 2,
        steps: 300,
        samples: 64,
        shape: Shape::Absolute,
        rates: [1e-2, 5e-2, 5e-3],
        hold: 0.5,
        adaptations: 5,
        insert: 2,
        max_error: 1e-5,
    };
    let run = || experiment.run(gpu(), Knots::Adaptive(16), |_| {}).unwrap();
    let (outcomes, events) = run();
    assert_eq!(outcomes.len(), 2);
    assert!(events.len() >= 5 && events.iter().all(|e| e.largest <= 16));
    for outcome in &outcomes {
        assert!(outcome.network.most_knots() <= 16);
        assert!(outcome.network.certificate().lipschitz <= 1.0);
        // The function's own mean square is about 2e-3.
        assert!(outcome.test < 1e-3 && outcome.training < 1e-3, "{}", outcome.test);
    }
    let again: Vec<u32> = run().0.iter().map(|o| o.test.to_bits()).collect();
    assert_eq!(outcomes.iter().map(|o| o.test.to_bits()).collect::<Vec<_>>(), again);
}
