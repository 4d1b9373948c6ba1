//! `train reduce` as a user meets it: a smaller model with the same guarantees, and one line for every mistake.

use crate::model_files::{bad_models, small_model};
use crate::program::{Ended, Place, TRAIN};
use knotwork::filters::norm::upper_bound;
use knotwork::filters::{ConvLayer, FilterBank};
use knotwork::model::{Ridge, Scaling};
use knotwork::spline::Spline;
use serde_json::json;

/// A model whose two activations have slopes in [-0.5, 1] on fine grids: an antisymmetric smooth one, and one without
/// symmetry that has four knots where its slope changes.
fn fine_model() -> Ridge {
    let smooth = (0..81)
        .map(|n| f64::from(n - 40) / 20.0)
        .map(|x| x / (1.0 + x * x))
        .collect();
    let bent = Spline::new(vec![-2.0, -1.0, 0.5, 1.5, 2.0], vec![0.3, -0.1, 0.6, 0.4, 0.4]).unwrap();
    let grid: Vec<f64> = (0..=80).map(|n| f64::from(n) / 20.0 - 2.0).collect();
    Ridge {
        activations: vec![
            Spline::uniform(-2.0, 2.0, smooth).unwrap(),
            bent.resampled(&grid).unwrap(),
        ],
        ..small_model()
    }
}

fn place() -> Place {
    let place = Place::new();
    fine_model().write(&place.path("m.safetensors")).unwrap();
    place
}

fn reduce(place: &Place, line: &str) -> Ended {
    let arguments: Vec<&str> = std::iter::once("reduce").chain(line.split(' ')).collect();
    place.run_with(TRAIN, &[], &arguments)
}

/// The root-mean-square difference over the knots and a quarter of their range on either side, by a midpoint rule.
fn rms_by_sampling(f: &Spline, g: &Spline) -> f64 {
    let count = 60_000;
    let squares = (0..count).map(|k| {
        let x = -3.0 + 6.0 * (f64::from(k) + 0.5) / f64::from(count);
        (f.value(x) - g.value(x)).powi(2)
    });
    (squares.sum::<f64>() / f64::from(count)).sqrt()
}

fn largest(f: &Spline) -> f64 {
    f.values().iter().fold(0.0, |m, v| v.abs().max(m))
}

/// A shipped model is reduced by its name, and the result says which it came from.
#[test]
fn shipped_models_are_known_by_name() {
    let place = place();
    reduce(&place, "crr-48 -o r.safetensors --max-filters 33").success("reduce");
    let reduced = Ridge::read(&place.path("r.safetensors")).unwrap();
    assert_eq!(reduced.bank.channels(), 33);
    let last = reduced.provenance["reductions"].as_array().unwrap().last().unwrap();
    assert_eq!(last["model"], "crr-48");
}

#[test]
fn the_model_gets_smaller_and_keeps_its_promises() {
    let place = place();
    let result = reduce(&place, "m.safetensors -o r.safetensors --max-error 0.01 --json")
        .success("reduce")
        .json();
    let (full, reduced) = (fine_model(), Ridge::read(&place.path("r.safetensors")).unwrap());
    assert_eq!(result["knots_before"], 162);
    let counts: Vec<usize> = reduced.activations.iter().map(Spline::len).collect();
    assert_eq!(result["knots_after"], counts.iter().sum::<usize>());
    assert_eq!(result["most_knots_after"], *counts.iter().max().unwrap());
    assert_eq!(result["output"], "r.safetensors");
    assert!(counts[0] < 20 && counts[1] <= 5, "{counts:?}");

    let parts = |of: &dyn Fn(&Spline, &Spline) -> f64| {
        let pairs = full.activations.iter().zip(&reduced.activations);
        pairs.map(|(f, g)| of(f, g) / largest(f)).fold(0.0, f64::max)
    };
    let rms = result["rms_error"].as_f64().unwrap();
    assert!(rms <= 0.01 && (rms - parts(&rms_by_sampling)).abs() < 1e-6, "{rms}");
    let max = parts(&|f, g| {
        let at_knots = f.knots().iter().map(|&t| (f.value(t) - g.value(t)).abs());
        at_knots.fold(0.0, f64::max)
    });
    assert!((result["max_error"].as_f64().unwrap() - max).abs() < 1e-12, "{max}");

    let (low, high) = full.slope_bounds;
    let range = reduced.activations.iter().map(Spline::slope_range);
    let (lowest, highest) = range.fold((f64::MAX, f64::MIN), |(a, b), (c, d)| (a.min(c), b.max(d)));
    assert!(
        low - 1e-12 <= lowest && highest <= high + 1e-12,
        "[{lowest}, {highest}]"
    );
    assert_eq!(result["slope_range"], serde_json::json!([lowest, highest]));
    assert_eq!(result["slope_bounds"], serde_json::json!([low, high]));

    let odd = &reduced.activations[0];
    for numbers in [odd.knots(), odd.values()] {
        assert!(
            numbers.iter().zip(numbers.iter().rev()).all(|(a, b)| *a == -b),
            "{odd:?}"
        );
    }
    // Nothing else changed, and the file says what was done.
    let entry = &reduced.provenance["reductions"][0];
    assert_eq!(entry["max_error"], 0.01);
    assert_eq!(entry["knots_after"], result["knots_after"]);
    let hash = knotwork::io::hash::blake3_file(place.path("m.safetensors")).unwrap();
    assert_eq!(entry["model"], serde_json::json!(hash));
    assert_eq!(reduced.provenance["made_by"], full.provenance["made_by"]);
    assert_eq!(
        reduced,
        Ridge {
            activations: reduced.activations.clone(),
            provenance: reduced.provenance.clone(),
            ..full
        }
    );
}

#[test]
fn runs_repeat_bit_for_bit_and_are_listed() {
    let place = place();
    let bytes = |name: &str| std::fs::read(place.path(name)).unwrap();
    reduce(&place, "m.safetensors -o a.safetensors").success("first");
    reduce(&place, "m.safetensors -o b.safetensors").success("second");
    assert_eq!(bytes("a.safetensors"), bytes("b.safetensors"));
    // In place, with a second entry; a model that is small already stays as it is.
    let before = Ridge::read(&place.path("a.safetensors")).unwrap();
    reduce(&place, "a.safetensors -o a.safetensors --max-error 0").success("in place");
    let after = Ridge::read(&place.path("a.safetensors")).unwrap();
    assert_eq!(after.provenance["reductions"].as_array().unwrap().len(), 2);
    for (f, g) in before.activations.iter().zip(&after.activations) {
        assert_eq!(f.len(), g.len());
        assert!(f.knots().iter().all(|&t| (f.value(t) - g.value(t)).abs() < 1e-12));
    }
}

#[test]
fn provenance_of_any_kind_survives() {
    let place = place();
    for (given, kept) in [
        (serde_json::json!("by hand"), "original"),
        (serde_json::json!({ "reductions": 3 }), "original"),
        (serde_json::json!(null), "reductions"),
        (serde_json::json!({ "made_by": "x" }), "made_by"),
    ] {
        let model = Ridge {
            provenance: given.clone(),
            ..fine_model()
        };
        model.write(&place.path("p.safetensors")).unwrap();
        reduce(&place, "p.safetensors -o q.safetensors").success("reduce");
        let provenance = Ridge::read(&place.path("q.safetensors")).unwrap().provenance;
        assert_eq!(provenance["reductions"].as_array().unwrap().len(), 1, "{provenance}");
        assert!(provenance.get(kept).is_some(), "{provenance}");
        if kept == "original" {
            assert_eq!(provenance["original"], given);
        }
    }
}

#[test]
fn knots_are_limited_whatever_the_error() {
    let place = place();
    for limit in [2, 3, 5, 8] {
        reduce(&place, &format!("m.safetensors -o r.safetensors --max-knots {limit}")).success("reduce");
        let reduced = Ridge::read(&place.path("r.safetensors")).unwrap();
        assert!(reduced.activations.iter().all(|f| f.len() <= limit), "{limit}");
    }
    // Without an error to spend, only knots go at which the slope does not change: one of the smooth activation, at the
    // origin of its symmetry, and all but five of the other.
    let said = reduce(&place, "m.safetensors -o r.safetensors --max-error 0")
        .success("reduce")
        .stderr;
    assert!(
        said.contains("162 knots -> 85 in 2 activations, at most 80 each"),
        "{said}"
    );
    let reduced = Ridge::read(&place.path("r.safetensors")).unwrap();
    for (f, g) in fine_model().activations.iter().zip(&reduced.activations) {
        assert!(rms_by_sampling(f, g) < 1e-12);
    }
    let quiet = reduce(&place, "m.safetensors -o r.safetensors --quiet").success("quiet");
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""));
}

/// Differences along rows, columns and the two diagonals, the second much smaller than the others, the third with a weak activation.
fn four_filters() -> Ridge {
    let weights = [(5, 0.5_f32), (7, 0.04), (8, 0.5), (6, 0.4)].map(|(other, size)| {
        let mut taps = [0.0; 9];
        (taps[4], taps[other]) = (-size, size);
        taps
    });
    let small = small_model();
    let activation = |scale: f64| small.activations[0].with_affine_output(scale, 0.0).unwrap();
    let log = |level: f64| Spline::new(vec![0.0, 0.5], vec![level, level]).unwrap();
    let bank = FilterBank::new(vec![ConvLayer::new(1, 4, 3, weights.concat()).unwrap()]).unwrap();
    Ridge {
        norm_squared: upper_bound(&bank),
        bank,
        activations: [0.9, 1.0, 0.01, 0.8].map(activation).to_vec(),
        scaling: Scaling {
            log: [0.1, 0.0, 0.2, 0.3].map(log).to_vec(),
            ..small.scaling.clone()
        },
        ..small
    }
}

#[test]
fn the_filters_that_do_most_stay() {
    let place = Place::new();
    let model = four_filters();
    model.write(&place.path("m.safetensors")).unwrap();
    let keep = |count: usize| {
        let line = format!("m.safetensors -o r.safetensors --max-error 0 --max-filters {count} --json");
        let result = reduce(&place, &line).success("reduce").json();
        let kept = Ridge::read(&place.path("r.safetensors")).unwrap();
        assert_eq!(result["filters"], kept.bank.channels());
        kept
    };
    // What each does to a detail like its filter, from the gradient in f64 of a model that has nothing else.
    let detail = |channel: usize| {
        let taps = &model.bank.layers()[0].weights[9 * channel..][..9];
        let norm = taps.iter().map(|w| f64::from(*w).powi(2)).sum::<f64>().sqrt();
        let alpha = model.alphas(0.25).unwrap()[channel];
        // W_c of 0.1 w / |w|, then W_c' of what the activation makes of it, at the middle of the detail.
        let response: f64 = taps.iter().map(|w| f64::from(*w) * 0.1 * f64::from(*w) / norm).sum();
        (model.activations[channel].value(alpha * response) / alpha * norm).abs()
    };
    for (strength, channel) in model.strengths().unwrap().iter().zip(0..) {
        assert!((strength / detail(channel) - 1.0).abs() < 1e-6, "{channel}: {strength}");
    }
    for (count, left) in [(1, &[0][..]), (2, &[0, 3]), (3, &[0, 2, 3])] {
        let kept = keep(count);
        let taps = left
            .iter()
            .flat_map(|c| model.bank.layers()[0].weights[9 * c..][..9].to_vec());
        assert_eq!(kept.bank.layers()[0].weights, taps.collect::<Vec<_>>(), "{left:?}");
        let of_left = |all: &[Spline]| left.iter().map(|c| all[*c].clone()).collect::<Vec<_>>();
        assert_eq!(kept.scaling.log, of_left(&model.scaling.log));
        for (f, g) in kept.activations.iter().zip(of_left(&model.activations)) {
            assert!(g.knots().iter().all(|&t| (f.value(t) - g.value(t)).abs() < 1e-12));
        }
        assert_eq!(kept.norm_squared, upper_bound(&kept.bank));
        let entry = &kept.provenance["reductions"][0];
        assert_eq!(
            (&entry["filters_before"], &entry["filters_after"]),
            (&json!(4), &json!(count))
        );
    }
    assert_eq!(keep(9).bank, model.bank);
    let shared = Ridge {
        activations: model.activations[..1].to_vec(),
        ..model.clone()
    };
    shared.write(&place.path("m.safetensors")).unwrap();
    let of_all = keep(2).activations;
    assert!(of_all.len() == 1 && rms_by_sampling(&of_all[0], &shared.activations[0]) < 1e-12);

    let layers = [(1, 2), (2, 4)].map(|(i, o)| ConvLayer::new(i, o, 3, vec![0.1; 9 * i * o]).unwrap());
    let deep = Ridge {
        bank: FilterBank::new(layers.to_vec()).unwrap(),
        ..model.clone()
    };
    deep.write(&place.path("deep.safetensors")).unwrap();
    let line = [
        "reduce",
        "deep.safetensors",
        "-o",
        "r.safetensors",
        "--max-filters",
        "2",
    ];
    place.refuses(
        TRAIN,
        &[],
        &line,
        3,
        &["deep.safetensors", "one layer, not of 2", "--collapse"],
    );
}

#[test]
fn mistakes_are_one_line_each() {
    let place = place();
    let refuses = |line: &str, code: i32, expected: &[&str]| {
        let arguments: Vec<&str> = std::iter::once("reduce").chain(line.split(' ')).collect();
        place.refuses(TRAIN, &[], &arguments, code, expected);
    };
    for (option, expected) in [
        ("--max-error -1", "from 0 to below 1"),
        ("--max-error 1", "from 0 to below 1"),
        ("--max-error nan", "from 0 to below 1"),
        ("--max-error much", "no number"),
        ("--max-knots 1", "from 2 up"),
        ("--max-knots -3", "from 2 up"),
        ("--max-knots 2.5", "from 2 up"),
        ("--max-knots 99999999999999999999999", "from 2 up"),
        ("--max-filters 0", "above 0"),
        ("--max-filters -1", "above 0"),
    ] {
        refuses(&format!("m.safetensors -o r.safetensors {option}"), 2, &[expected]);
    }
    refuses("m.safetensors", 2, &["--output"]);
    refuses(
        "m.safetensors -o none/r.safetensors",
        2,
        &["cannot write", "does not exist"],
    );
    refuses(
        "missing.safetensors -o r.safetensors",
        3,
        &["missing.safetensors", "no such file"],
    );
    std::fs::create_dir(place.path("folder")).unwrap();
    refuses("folder -o r.safetensors", 3, &["folder", "is a folder"]);
    refuses("m.safetensors -o folder", 2, &["cannot write", "folder"]);
    for (_, bytes, expected) in bad_models() {
        std::fs::write(place.path("bad.safetensors"), bytes).unwrap();
        refuses("bad.safetensors -o r.safetensors", 3, &["bad.safetensors", expected]);
    }
}

#[test]
fn potentials_become_bounded_from_below_where_that_is_asked_for() {
    let place = Place::new();
    let falling = Spline::new(vec![-1.0, -0.2, 0.2, 1.0], vec![0.2, -0.2, 0.2, -0.2]).unwrap();
    let model = Ridge {
        activations: vec![falling.clone()],
        ..small_model()
    };
    model.write(&place.path("m.safetensors")).unwrap();
    let result = reduce(
        &place,
        "m.safetensors -o b.safetensors --max-error 0 --bounded-below --json",
    )
    .success("reduce")
    .json();
    assert_eq!(result["knots_before"], 4);
    assert_eq!(result["knots_after"], 6);
    assert_eq!(result["most_knots_after"], 6);
    let bounded = Ridge::read(&place.path("b.safetensors")).unwrap();
    for f in &bounded.activations {
        assert!(
            [1.5, 3.0, 50.0]
                .iter()
                .all(|x| f.slope(*x) >= 0.0 && f.slope(-x) >= 0.0)
        );
        assert!(f.value(3.0) > 0.0 && f.value(-3.0) < 0.0);
        assert!(
            [-1.0, -0.4, 0.1, 1.0]
                .iter()
                .all(|x| (f.value(*x) - falling.value(*x)).abs() < 1e-12)
        );
    }
    assert_eq!(bounded.provenance["reductions"][0]["bounded_below"], true);
}
