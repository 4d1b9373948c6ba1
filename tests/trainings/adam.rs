//! Adam on the device against its formula in f64.

use crate::common::{EPS, assert_close, gpu, poison, poisoned, turn, values};
use knotwork::train::{Adam, AdamClock, AdamSettings};

const SETTINGS: AdamSettings = AdamSettings {
    beta1: 0.9,
    beta2: 0.99,
    epsilon: 1e-6,
    hold: 4,
    steps: 10,
};

#[test]
fn steps_follow_the_formula_and_stay_in_their_groups() {
    let _turn = turn();
    // Two groups around the workgroup of 64, apart from each other; what lies outside is poisoned.
    let groups = [(3, 65, 0.01), (70, 127, 0.5)];
    let len = 211;
    let inside = |n: usize| groups.iter().find(|g| (g.0..g.0 + g.1).contains(&n)).map(|g| g.2);
    let start: Vec<f32> = (0..len)
        .zip(values(1, len))
        .map(|(n, v)| if inside(n).is_some() { v } else { poison(1)[0] })
        .collect();
    let gradients: Vec<Vec<f32>> = (0..12)
        .map(|step| values(10 + step, len).iter().map(|v| v * v * v).collect())
        .collect();
    let run = || -> Vec<f32> {
        let parameters = gpu().upload("parameters", &start).unwrap();
        let gradient = gpu().buffer("gradients", len).unwrap();
        let adam = Adam::new(gpu(), &SETTINGS, &groups, &parameters, &gradient).unwrap();
        for g in &gradients {
            gpu().write(&gradient, g).unwrap();
            let mut recorder = gpu().record();
            adam.record(&mut recorder);
            recorder.submit();
        }
        gpu().read(&parameters).unwrap()
    };
    let got = run();

    let (beta1, beta2) = (f64::from(SETTINGS.beta1), f64::from(SETTINGS.beta2));
    let (mut want, mut error) = (Vec::new(), Vec::new());
    for n in 0..len {
        let Some(rate) = inside(n) else { continue };
        let (mut x, mut m, mut v) = (f64::from(start[n]), 0.0, 0.0);
        let mut moved = x.abs();
        for (step, g) in gradients.iter().enumerate() {
            let g = f64::from(g[n]);
            let t = step as i32 + 1;
            m = beta1 * m + (1.0 - beta1) * g;
            v = beta2 * v + (1.0 - beta2) * g * g;
            // Full for 4 steps, and in step 10 the last sixth of it; nothing afterwards.
            let left = [
                1.0,
                1.0,
                1.0,
                1.0,
                1.0,
                5.0 / 6.0,
                4.0 / 6.0,
                0.5,
                2.0 / 6.0,
                1.0 / 6.0,
                0.0,
                0.0,
            ][step];
            let unbiased = (m / (1.0 - beta1.powi(t)), v / (1.0 - beta2.powi(t)));
            let change = left * f64::from(rate) * unbiased.0 / (unbiased.1.sqrt() + f64::from(SETTINGS.epsilon));
            x -= change;
            // 1 - beta2^t loses beta2^t / (1 - beta2^t) of relative accuracy, 100 at first; m may cancel.
            let size: f64 = gradients[..=step].iter().map(|g| f64::from(g[n]).abs()).sum();
            moved += left * f64::from(rate) * (size / (unbiased.1.sqrt() + 1e-6)) * 200.0;
        }
        want.push(x);
        error.push(4.0 * EPS * moved);
    }
    let written: Vec<f32> = (0..len).filter(|n| inside(*n).is_some()).map(|n| got[n]).collect();
    assert_close("parameters", &written, &want, |n| error[n]);
    assert!((0..len).all(|n| inside(n).is_some() || poisoned(got[n])));
    let bits = |v: Vec<f32>| v.into_iter().map(f32::to_bits).collect::<Vec<_>>();
    assert_eq!(bits(got), bits(run()));
}

#[test]
fn the_host_can_keep_the_clock_and_clip() {
    let _turn = turn();
    // Gradients times `gain`, clipped by `factor`; without one the device keeps the clock.
    let run = |gain: f32, factor: Option<f32>| -> Vec<u32> {
        let parameters = gpu().upload("parameters", &values(1, 70)).unwrap();
        let gradient = gpu().buffer("gradients", 70).unwrap();
        let adam = Adam::new(gpu(), &SETTINGS, &[(0, 70, 0.1)], &parameters, &gradient).unwrap();
        let mut clock = AdamClock::start();
        for step in 0..4 {
            let g: Vec<f32> = values(10 + step, 70).iter().map(|v| gain * v).collect();
            gpu().write(&gradient, &g).unwrap();
            if let Some(factor) = factor {
                clock = clock.next(&SETTINGS, 1.0, factor);
                adam.set_clock(gpu(), &clock).unwrap();
            }
            let mut recorder = gpu().record();
            match factor {
                Some(_) => adam.record_moves(&mut recorder),
                None => adam.record(&mut recorder),
            }
            recorder.submit();
        }
        gpu()
            .read::<f32>(&parameters)
            .unwrap()
            .iter()
            .map(|v| v.to_bits())
            .collect()
    };
    let device = run(1.0, None);
    assert_eq!(run(1.0, Some(1.0)), device);
    // Powers of 2 are exact; a constant factor would cancel but for epsilon.
    assert_eq!(run(8.0, Some(0.125)), device);
    assert_ne!(run(1.0, Some(0.125)), device);
}

#[test]
fn settings_out_of_range_are_refused() {
    let _turn = turn();
    let buffer = gpu().buffer("parameters", 8).unwrap();
    let new = |settings: AdamSettings, groups: &[(usize, usize, f32)]| {
        Adam::new(gpu(), &settings, groups, &buffer, &buffer)
            .err()
            .map(|e| e.to_string())
    };
    let refused = [
        (AdamSettings { beta1: 1.0, ..SETTINGS }, (0, 8, 0.1), "decays"),
        (
            AdamSettings {
                beta2: -0.1,
                ..SETTINGS
            },
            (0, 8, 0.1),
            "decays",
        ),
        (
            AdamSettings {
                epsilon: 0.0,
                ..SETTINGS
            },
            (0, 8, 0.1),
            "epsilon",
        ),
        (SETTINGS, (0, 9, 0.1), "do not lie in 8"),
        (SETTINGS, (0, 8, f32::NAN), "learning rate"),
    ];
    for (settings, group, why) in refused {
        let message = new(settings, &[group]).unwrap();
        assert!(message.contains(why), "{message}");
    }
}
