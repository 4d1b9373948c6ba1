//! The training of ridge regularizers as a whole: what steps depend on, what resuming restores, what knots do to the function.

use crate::common::{gpu, turn, values};
use crate::patches as patches_of_folders;
use knotwork::filters::{ConvLayer, FilterBank, norm};
use knotwork::model::{Border, Ridge, Scaling};
use knotwork::spline::Spline;
use knotwork::train::data::{Batch, Corpus, DataSettings};
use knotwork::train::{
    KnotAdaptation, ModelSettings, ObjectiveSettings, OptimiserSettings, RidgeConfig, Run, Schedule, Trainer, Training,
    TrainingState, Validation, start_model,
};
use knotwork::{Error, Result};

fn config() -> RidgeConfig {
    RidgeConfig {
        name: "tiny".into(),
        batch: 3,
        model: ModelSettings {
            filters: 5,
            size: 5,
            mu: 12.0,
            start_knots: 8,
            ..ModelSettings::default()
        },
        data: DataSettings {
            patch: 13,
            ..DataSettings::default()
        },
        objective: ObjectiveSettings::default(),
        optimiser: OptimiserSettings {
            filters: 1e-2,
            values: 1e-2,
            scalings: 1e-2,
            ..OptimiserSettings::default()
        },
        schedule: Schedule {
            steps: 40,
            warm_up: 3,
            ..Schedule::default()
        },
        adaptation: KnotAdaptation {
            max_knots: 10,
            ..KnotAdaptation::default()
        },
        validation: Validation::default(),
    }
}

/// The same with filters of 7x7 that are made of three layers.
fn layered() -> RidgeConfig {
    let mut config = config();
    (config.model.hidden, config.model.size) = (vec![2, 3], 3);
    config.model.filters = 5;
    config
}

/// Step edges with noise: something that a regularizer can learn.
fn patches(config: &RidgeConfig, step: u64) -> Batch {
    let side = config.data.patch;
    let sigmas: Vec<f32> = (0..config.batch).map(|s| 0.02 + 0.03 * s as f32).collect();
    let clean: Vec<f32> = (0..config.batch)
        .flat_map(|s| {
            let turn = values(900 + 7 * step + s as u64, 3);
            (0..side * side).map(move |n| {
                let (row, col) = ((n / side) as f32 - 6.0, (n % side) as f32 - 6.0);
                if turn[0] * row + turn[1] * col > 3.0 * turn[2] {
                    0.8
                } else {
                    0.2
                }
            })
        })
        .collect();
    let noise = values(30 + step, clean.len());
    let noisy = clean
        .iter()
        .zip(noise)
        .enumerate()
        .map(|(n, (c, v))| c + 1.7 * sigmas[n / (side * side)] * v)
        .collect();
    Batch {
        clean,
        noisy,
        sigmas,
        first_sample: step * config.batch as u64,
    }
}

fn start(config: &RidgeConfig) -> TrainingState {
    TrainingState::start(config, "edges", &start_model(config).unwrap())
}

/// Steps `from .. to`, knots adapted behind every fourth.
fn run(state: &TrainingState, from: u64, to: u64) -> Result<TrainingState> {
    let mut trainer = Trainer::new(gpu(), state)?;
    for step in from..to {
        let report = trainer.step(&patches(&state.config, step))?;
        assert!(report.taken.is_some() && report.loss.is_finite(), "{report:?}");
        if (step + 1) % 4 == 0 {
            trainer.adapt()?;
        }
    }
    trainer.state()
}

fn without_time(mut state: TrainingState) -> TrainingState {
    state.progress.seconds = 0.0;
    state
}

#[test]
fn a_resumed_training_continues_bit_by_bit() {
    let _turn = turn();
    [config(), layered()].iter().for_each(resumed);
}

fn resumed(config: &RidgeConfig) {
    let whole = run(&start(config), 0, 10).unwrap();
    // Through the bytes of a checkpoint, at a step that moved knots and at one that did not.
    for cut in [4, 7] {
        let half = run(&start(config), 0, cut).unwrap();
        let half = TrainingState::from_bytes(&half.to_bytes().unwrap()).unwrap();
        let resumed = run(&half, cut, 10).unwrap();
        assert_eq!(
            without_time(resumed).to_bytes().unwrap(),
            without_time(whole.clone()).to_bytes().unwrap()
        );
    }
    assert_ne!(whole.weights, start(config).weights);
}

#[test]
fn training_lowers_the_loss_and_keeps_every_bound() {
    let _turn = turn();
    // Layers that are random at first have not come as far.
    for (mut config, rho, shared, part) in [
        (config(), 1.0, false, 0.8),
        (config(), 0.0, true, 0.8),
        (layered(), 1.0, false, 0.9),
    ] {
        (config.model.rho, config.model.shared) = (rho, shared);
        let mut trainer = Trainer::new(gpu(), &start(&config)).unwrap();
        let mut losses = Vec::new();
        for step in 0..40 {
            // The same three batches again and again.
            losses.push(trainer.step(&patches(&config, step % 3)).unwrap().loss);
            let model = trainer.model().unwrap();
            model.check().unwrap();
            assert_eq!(model.bank.layers().len(), 1);
            assert!((model.norm_squared - 1.0).abs() < 1e-5 && norm::upper_bound(&model.bank) == model.norm_squared);
            for spline in &model.activations {
                let (low, high) = spline.slope_range();
                assert!(low >= -rho - 1e-12 && high <= 12.0 + 1e-12, "slopes {low} to {high}");
                assert!(
                    spline
                        .values()
                        .iter()
                        .zip(spline.values().iter().rev())
                        .all(|(a, b)| *a == -b)
                );
            }
            if step == 19 {
                trainer.adapt().unwrap();
            }
        }
        let mean = |l: &[f64]| l.iter().sum::<f64>() / l.len() as f64;
        let (first, last) = (mean(&losses[..3]), mean(&losses[37..]));
        assert!(last < part * first, "rho {rho}: from {first} to {last}");
    }
}

#[test]
fn moving_knots_keeps_the_function_and_the_count() {
    let _turn = turn();
    let config = config();
    let before = run(&start(&config), 0, 3).unwrap();
    let mut trainer = Trainer::new(gpu(), &before).unwrap();
    trainer.step(&patches(&config, 3)).unwrap();
    let before = trainer.state().unwrap();
    let event = trainer.adapt().unwrap();
    let after = trainer.state().unwrap();
    assert!(event.inserted > 0 && event.removed > 0, "{event:?}");
    let knots = |s: &TrainingState| s.activations.iter().map(Spline::len).sum::<usize>();
    assert_eq!(knots(&after), knots(&before) + event.inserted - event.removed);
    assert_eq!(knots(&after), event.knots);
    assert!(event.rms_error <= config.adaptation.max_error || event.largest == config.adaptation.max_knots);
    for (a, b) in before.activations.iter().zip(&after.activations) {
        assert!(b.len() <= config.adaptation.max_knots && b.len() % 2 == 0);
        assert!(b.knots().iter().zip(b.knots().iter().rev()).all(|(l, r)| *l == -r));
        let size = a.values().iter().fold(0.0_f64, |m, f| m.max(f.abs()));
        // New knots leave the function as it is, removed ones within the error; responses decide where it counts, so look
        // between the innermost knots, where most of them are.
        for n in -20..=20 {
            let t = f64::from(n) * 0.002;
            assert!(
                (a.value(t) - b.value(t)).abs() < 0.02 * size,
                "at {t}: {} and {}",
                a.value(t),
                b.value(t)
            );
        }
    }
    assert_eq!(after.moments[1].len(), event.knots);
    assert!(after.moments[1].iter().all(|m| m[1] > 0.0));
    assert_eq!(
        (&after.weights, &after.moments[0]),
        (&before.weights, &before.moments[0])
    );
    assert_eq!(after.progress, before.progress);
}

#[test]
fn steps_that_are_not_finite_are_refused_and_end_the_training_in_the_end() {
    let _turn = turn();
    let config = config();
    let mut trainer = Trainer::new(gpu(), &start(&config)).unwrap();
    trainer.step(&patches(&config, 0)).unwrap();
    let before = trainer.state().unwrap();
    let mut bad = patches(&config, 1);
    bad.noisy[20] = f32::INFINITY;
    let report = trainer.step(&bad).unwrap();
    assert!(report.taken.is_none());
    let after = trainer.state().unwrap();
    assert_eq!(
        (&after.weights, &after.activations, &after.moments),
        (&before.weights, &before.activations, &before.moments)
    );
    assert_eq!((after.progress.step, after.progress.refused), (2, 1));
    trainer.step(&patches(&config, 2)).unwrap();
    // The step in between was taken, so that ten more are borne, the tenth with an error.
    for _ in 0..9 {
        assert!(trainer.step(&bad).unwrap().taken.is_none());
    }
    assert!(matches!(trainer.step(&bad), Err(Error::Diverged(_))));
    assert_eq!(trainer.progress().refused, 11);
}

#[test]
fn damaged_checkpoints_are_refused() {
    let _turn = turn();
    let state = start(&config());
    let bytes = state.to_bytes().unwrap();
    assert_eq!(TrainingState::from_bytes(&bytes).unwrap(), state);
    assert!(matches!(
        TrainingState::from_bytes(&bytes[..bytes.len() - 5]),
        Err(Error::Data(_))
    ));
    let refused = |change: &dyn Fn(&mut TrainingState), why: &str| {
        let mut other = state.clone();
        change(&mut other);
        let error = TrainingState::from_bytes(&other.to_bytes().unwrap())
            .unwrap_err()
            .to_string();
        assert!(error.contains(why), "{error}");
    };
    refused(&|s| s.moments[2].truncate(3), "do not fit");
    refused(&|s| s.activations.truncate(2), "do not fit");
    refused(&|s| s.moments[1][4][0] = f32::NAN, "not finite");
    refused(&|s| s.weights.truncate(7), "weights");
    refused(&|s| s.weights.push(0.5), "weights");
    refused(&|s| s.config.model.hidden = vec![2], "weights");
    refused(&|s| s.config.model.rho = 2.0, "rho");
    refused(&|s| s.config.model.fresh = 0.0, "fresh");
    refused(&|s| s.config.model.fresh = 1.5, "fresh");
    let model = start_model(&config()).unwrap().to_bytes().unwrap();
    let error = TrainingState::from_bytes(&model).unwrap_err().to_string();
    assert!(error.contains("checkpoint of a training"), "{error}");
    let (new, old) = (b"moments.cosines", b"moments.filters");
    let at = bytes.windows(new.len()).position(|w| w == new).unwrap();
    let mut before = bytes.clone();
    before[at..at + old.len()].copy_from_slice(old);
    let error = TrainingState::from_bytes(&before).unwrap_err().to_string();
    assert!(error.contains("[model] start"), "{error}");
}

#[test]
fn rates_warm_up_and_fall() {
    let schedule = Schedule {
        steps: 100,
        warm_up: 10,
        last: 0.1,
        checkpoint: 1,
    };
    let rates: Vec<f64> = (0..=100).map(|s| schedule.rate(s)).collect();
    assert!((rates[0] - 0.1).abs() < 1e-12 && (rates[10] - 1.0).abs() < 1e-12);
    assert!((rates[55] - 0.55).abs() < 1e-12 && (rates[100] - 0.1).abs() < 1e-12);
    assert!(rates[..10].is_sorted() && rates[10..].windows(2).all(|r| r[0] > r[1]));
}

#[test]
fn models_trained_without_borders_want_mirrored_images() {
    let _turn = turn();
    let mut config = config();
    assert_eq!(start(&config).raw_model().unwrap().border, Border::Zero);
    config.objective.margin = 2;
    config.check().unwrap();
    let trainer = Trainer::new(gpu(), &start(&config)).unwrap();
    assert_eq!(trainer.model().unwrap().border, Border::Mirror);
    config.objective.margin = config.data.patch.div_ceil(2);
    assert!(config.check().unwrap_err().to_string().contains("margin"));
}

#[test]
fn the_settings_that_come_along_are_valid_and_stay_below_the_published_size() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/configs");
    let mut seen = 0;
    for file in std::fs::read_dir(&folder).unwrap() {
        let path = file.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap();
        // The others are those of networks and flows.
        if !stem.starts_with("crr") && !stem.starts_with("wcrr") {
            continue;
        }
        let config = RidgeConfig::read(&path).unwrap();
        let further = stem.strip_prefix(config.name.as_str()).unwrap();
        assert!(further.is_empty() || further.starts_with('-'), "{stem}");
        // What starts from results of another training says which: of settings that are here, too.
        match config.model.start.strip_suffix("/model.safetensors") {
            Some(before) => assert!(
                folder.join(format!("{before}.toml")).exists() && before != stem,
                "{before}"
            ),
            None => {
                assert!(knotwork::train::parameters(&start(&config)) <= 13_800, "{stem}");
                seen += 1;
            }
        }
        // The results of the others are reduced afterwards.
        let most = match stem {
            "crr" | "crr-32" | "wcrr" | "wcrr-small" | "wcrr-phantom" => 12,
            _ => 16,
        };
        assert!(config.adaptation.max_knots <= most, "{stem}");
        seen += 1;
    }
    assert_eq!(seen, 26);
}

/// A model as a training might have left it, in a file.
fn trained(folder: &std::path::Path) -> (Ridge, String) {
    let mut model = start_model(&config()).unwrap();
    let layer = &model.bank.layers()[0];
    let weights = values(31, layer.weights.len());
    model.bank = FilterBank::new(vec![ConvLayer::new(1, 5, 5, weights).unwrap()]).unwrap();
    for (channel, activation) in model.activations.iter_mut().enumerate() {
        *activation = activation.with_affine_output(0.5 + 0.1 * channel as f64, 0.0).unwrap();
    }
    for (channel, log) in model.scaling.log.iter_mut().enumerate() {
        *log = Spline::new(vec![0.0, 0.03, 0.2], vec![0.1, -0.2, 0.3 * channel as f64]).unwrap();
    }
    model.scaling.epsilon = 2e-3;
    let path = folder.join("trained.safetensors");
    model.write(&path).unwrap();
    (model, path.to_str().unwrap().to_owned())
}

#[test]
fn a_training_goes_on_from_another_model() {
    let folder = tempfile::tempdir().unwrap();
    let (old, start) = trained(folder.path());
    let mut larger = config();
    larger.model = ModelSettings {
        start,
        filters: 7,
        size: 9,
        scaling_knots: 5,
        fresh: 0.3,
        ..larger.model
    };
    let new = start_model(&larger).unwrap();
    new.check().unwrap();
    // Its filters stand in the middle, and the others are as large beside them as the settings say.
    let (old_layer, new_layer) = (&old.bank.layers()[0], &new.bank.layers()[0]);
    let mut rest = new_layer.weights.clone();
    for (n, weight) in old_layer.weights.iter().enumerate() {
        let at = n / 25 * 81 + (n / 5 % 5 + 2) * 9 + n % 5 + 2;
        assert_eq!(std::mem::take(&mut rest[at]).to_bits(), weight.to_bits());
    }
    let square = |weights: &[f32]| weights.iter().map(|w| f64::from(*w).powi(2)).sum::<f64>();
    assert!(rest[..5 * 81].iter().all(|w| *w == 0.0));
    let typical = square(&old_layer.weights) / 5.0;
    for filter in rest[5 * 81..].chunks(81) {
        assert!((square(filter) / typical - 0.09).abs() < 1e-6);
        assert!(filter.iter().sum::<f32>().abs() < 1e-5, "a filter with a mean");
    }
    // Its activations keep their knots; its scalings hold where they are sampled.
    assert_eq!(new.activations[..5], old.activations[..]);
    assert_eq!((new.activations.len(), new.scaling.log.len()), (7, 7));
    let alpha = |scaling: &Scaling, channel: usize, sigma: f64| {
        scaling.log[channel].value(sigma).exp() / (sigma + scaling.epsilon)
    };
    for (channel, knot) in (0..5).flat_map(|c| new.scaling.log[c].knots().iter().map(move |k| (c, *k))) {
        let (a, b) = (alpha(&old.scaling, channel, knot), alpha(&new.scaling, channel, knot));
        assert!((a / b - 1.0).abs() < 1e-9, "{a} and {b} at {knot}");
    }
}

#[test]
fn slopes_beyond_the_bounds_of_a_training_are_clipped_at_its_start() {
    let folder = tempfile::tempdir().unwrap();
    let (mut old, start) = trained(folder.path());
    // Off centre and not 0 at 0, so that what stays where says something.
    for activation in &mut old.activations {
        let knots = [-0.5, -0.1, 0.05, 0.2, 0.6].to_vec();
        *activation = Spline::new(knots, vec![0.2, -0.1, 1.1, 2.0, 1.7]).unwrap();
    }
    old.write(std::path::Path::new(&start)).unwrap();
    let mut convex = config();
    convex.model = ModelSettings {
        start,
        rho: 0.0,
        mu: 7.0,
        ..convex.model
    };
    let new = start_model(&convex).unwrap();
    new.check().unwrap();
    assert_eq!(new.slope_bounds, (0.0, 7.0));
    for (f, g) in old.activations.iter().zip(&new.activations) {
        assert_eq!(f.knots(), g.knots());
        for (before, after) in f.slopes().iter().zip(g.slopes()) {
            assert!(
                (before.clamp(0.0, 7.0) - after).abs() < 1e-12,
                "{before} became {after}"
            );
        }
        assert!((f.value(0.0) - g.value(0.0)).abs() < 1e-12);
        assert!(f.slope_range().0 < 0.0 && f.slope_range().1 > 7.0);
    }
}

#[test]
fn what_settings_have_no_room_for_is_no_start() {
    let folder = tempfile::tempdir().unwrap();
    let (old, start) = trained(folder.path());
    let refusal = |change: &dyn Fn(&mut ModelSettings)| {
        let mut config = config();
        config.model.start.clone_from(&start);
        change(&mut config.model);
        match start_model(&config) {
            Err(error @ Error::Input { .. }) => error.to_string(),
            other => panic!("{other:?}"),
        }
    };
    assert!(refusal(&|m| m.filters = 4).contains("5 filters of 5x5"));
    assert!(refusal(&|m| (m.filters, m.size) = (5, 3)).contains("5 filters of 5x5"));
    assert!(refusal(&|m| m.shared = true).contains("shared"));
    assert!(refusal(&|m| m.hidden = vec![2]).contains("several layers start from nothing"));
    assert!(refusal(&|m| m.start = "nowhere.safetensors".into()).contains("nowhere.safetensors"));
    let layers = [(1, 2), (2, 5)].map(|(i, o)| ConvLayer::new(i, o, 3, values(5, 9 * i * o)).unwrap());
    let deep = Ridge {
        bank: FilterBank::new(layers.to_vec()).unwrap(),
        ..old
    };
    deep.write(std::path::Path::new(&start)).unwrap();
    assert!(refusal(&|_| ()).contains("2 layers"));
}

#[test]
fn layers_that_make_no_filters_are_refused() {
    let refusal = |hidden: &[usize], size: usize| {
        let mut config = layered();
        (config.model.hidden, config.model.size) = (hidden.to_vec(), size);
        config.check().map_err(|error| error.to_string())
    };
    assert_eq!(layered().model.layers(), [[1, 2], [2, 3], [3, 5]]);
    assert_eq!(layered().model.side(), 7);
    assert_eq!(refusal(&[4, 8], 5), Ok(()));
    assert!(refusal(&[4, 8], 7).unwrap_err().contains("at most 15"));
    assert!(refusal(&[2, 0], 3).unwrap_err().contains("1 to 64"));
    assert!(refusal(&[2, 65], 3).unwrap_err().contains("1 to 64"));
    assert!(refusal(&[9], 3).unwrap_err().contains("size squared"));
    assert_eq!(refusal(&[8], 3), Ok(()));
}

#[test]
fn a_folder_with_a_training_is_not_started_in() {
    let _turn = turn();
    let mut config = config();
    config.data = patches_of_folders::plain(config.data.patch, 5);
    let images = patches_of_folders::folder(&[(15, 15), (15, 20), (20, 15)]);
    let corpus = std::sync::Arc::new(Corpus::read(images.path(), &config.data, 1).unwrap());
    let start = |folder: &std::path::Path| {
        Run::<Trainer<'_>, _>::start(gpu(), &config, std::sync::Arc::clone(&corpus), folder).map(drop)
    };
    for name in ["last.safetensors", "best.safetensors", "model.safetensors", "log.jsonl"] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(name), b"dear to somebody").unwrap();
        assert!(matches!(start(folder.path()), Err(Error::Output { .. })), "{name}");
        let files: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(files.len(), 1, "{name}: something was written");
    }
    start(&tempfile::tempdir().unwrap().path().join("new")).unwrap();
}
