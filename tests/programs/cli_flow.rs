//! `train flow`, `train sample` and `train flow-evaluate` as a user runs them.

use crate::common;
use crate::program;
use crate::program::{Place, TRAIN};
use knotwork::flow::{Flow, FlowConfig, FlowState};
use knotwork::io::image::Image;
use knotwork::io::npy::Array;
use serde_json::Value;
use std::path::Path;

const CONFIG: &str = r#"
name = "tiny"
data = "moons"
batch = 128
[model]
layers = 2
knots = 8
[schedule]
steps = 150
checkpoint = 40
[validation]
every = 50
points = 500
"#;

fn place() -> Place {
    let place = Place::new();
    std::fs::write(place.path("config.toml"), CONFIG).unwrap();
    place
}

fn train(place: &Place, more: &[&str]) -> program::Ended {
    place.run_with(TRAIN, &[], &[&["flow", "config.toml"], more].concat())
}

fn log(folder: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join("log.jsonl")).unwrap();
    text.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

fn last(folder: &Path) -> FlowState {
    let mut state = FlowState::read(&folder.join("last.safetensors")).unwrap();
    state.progress.seconds = 0.0;
    state
}

#[test]
fn a_training_leaves_a_model_that_can_be_sampled_and_evaluated() {
    let place = place();
    let result = train(&place, &["-o", "out", "--json", "--tensorboard"])
        .success("train")
        .json();
    let out = place.path("out");
    assert_eq!(
        (result["ending"].as_str(), result["step"].as_u64()),
        (Some("finished"), Some(150))
    );
    let model = Flow::read(&out.join("model.safetensors")).unwrap();
    assert_eq!((model.name.as_str(), model.layers(), model.dims()), ("tiny", 2, 2));
    assert_eq!(model.provenance["config"]["batch"], 128);
    assert_eq!(
        result["certificate"]["lipschitz"].as_f64(),
        Some(model.certificate().lipschitz)
    );
    let records = log(&out);
    let of = |event: &str| records.iter().filter(|r| r["event"] == event).collect::<Vec<_>>();
    assert_eq!(
        (of("start").len(), of("validation").len(), of("knots").len()),
        (1, 3, 1)
    );
    let best = of("validation")
        .iter()
        .map(|r| r["nll"].as_f64().unwrap())
        .fold(f64::INFINITY, f64::min);
    assert_eq!(result["best"]["nll"].as_f64(), Some(best));
    assert!(of("step").last().unwrap()["loss"].as_f64() < of("step")[0]["loss"].as_f64());
    let report = std::fs::read_to_string(out.join("report.html")).unwrap();
    for part in [
        "<svg",
        "data:image/png",
        "Certificate",
        "Learning curves",
        "Splines",
        "entropy",
    ] {
        assert!(report.contains(part), "{part}");
    }
    let run: Value = serde_json::from_slice(&std::fs::read(out.join("run.json")).unwrap()).unwrap();
    assert_eq!(run["settings"]["model"]["knots"], 8);
    assert_eq!(run["outputs"]["model"]["blake3"].as_str().unwrap().len(), 64);
    assert!(
        std::fs::read_dir(&out)
            .unwrap()
            .any(|f| f.unwrap().file_name().to_string_lossy().contains("tfevents"))
    );

    let run = |line: &str| {
        place
            .run_with(TRAIN, &[], &line.split(' ').collect::<Vec<_>>())
            .success(line)
    };
    run("sample out/model.safetensors -n 70 -o samples.npy --seed 3");
    run("sample out/model.safetensors -n 9 -o few.csv --seed 3");
    let samples = Array::read(place.path("samples.npy")).unwrap();
    assert_eq!(samples.shape(), [70, 2]);
    let text = std::fs::read_to_string(place.path("few.csv")).unwrap();
    let few: Vec<f32> = text.split([',', '\n']).filter_map(|f| f.parse().ok()).collect();
    assert_eq!(few, samples.values().to_f32()[..18]);
    let known = run("flow-evaluate out/model.safetensors --data moons --json --picture density.png").json();
    let picture = Image::read(place.path("density.png")).unwrap();
    assert_eq!((picture.channels, picture.height, picture.width), (3, 240, 488));
    // In the middle of a moon it is lighter than where nothing is, in the true density and in that of the flow.
    let light = |row: usize, column: usize| (0..3).map(|c| picture.plane(c)[row * 488 + column]).sum::<f32>();
    let brightest = |columns: std::ops::Range<usize>| {
        (0..240)
            .flat_map(|r| columns.clone().map(move |c| light(r, c)))
            .fold(0.0, f32::max)
    };
    assert!(brightest(0..240) > 2.0 && brightest(248..488) > 1.5 && light(1, 1) < 0.4 && light(1, 486) < 0.4);
    let (nll, entropy) = (known["nll"].as_f64().unwrap(), known["entropy"].as_f64().unwrap());
    let divergence = known["divergence"].as_f64().unwrap();
    assert!(divergence > 0.0 && (nll - entropy - divergence).abs() < 5.0 * known["standard_error"].as_f64().unwrap());
    assert!((known["integral"].as_f64().unwrap() - 1.0).abs() < 1e-3 && known["round_trip"].as_f64().unwrap() < 1e-5);
    let own = run("flow-evaluate out/model.safetensors --data samples.npy -o log.npy --json").json();
    let logs = Array::read(place.path("log.npy")).unwrap();
    assert_eq!(logs.shape(), [70]);
    let mean = -logs.values().to_f64().iter().sum::<f64>() / 70.0;
    assert!((mean - own["nll"].as_f64().unwrap()).abs() < 1e-9);
    assert_eq!(own["entropy"], Value::Null);

    let shown = run("inspect out/model.safetensors -o shown --json").json();
    assert_eq!(shown["certificate"], result["certificate"]);
    assert!(place.path("shown").join("certificate.json").exists());
    assert!(
        std::fs::read_to_string(place.path("shown").join("splines.svg"))
            .unwrap()
            .contains("T 1")
    );
    run("inspect flow-ring");
    let images = ["evaluate", "flow-moons", "--images", "."];
    place.refuses(TRAIN, &[], &images, 2, &["flow-moons", "flow-evaluate"]);

    // A training that is there is not replaced, and one that is done has only its end to do again.
    let before = std::fs::read(out.join("model.safetensors")).unwrap();
    place.refuses(
        TRAIN,
        &[],
        &["flow", "config.toml", "-o", "out"],
        2,
        &["out", "--resume"],
    );
    train(&place, &["-o", "out", "--resume"]).success("resume");
    assert_eq!(std::fs::read(out.join("model.safetensors")).unwrap(), before);
}

#[test]
fn a_stopped_training_goes_on_to_the_same_bits() {
    let place = place();
    train(&place, &["-o", "whole"]).success("train");
    let stopped = train(&place, &["-o", "parts", "--time-budget", "1e-3"]);
    assert_eq!(stopped.code, Some(75), "{}", stopped.stderr);
    assert!(stopped.stderr.contains("--resume"), "{}", stopped.stderr);
    let step = last(&place.path("parts")).progress.step;
    assert!((1..150).contains(&step), "{step}");
    train(&place, &["-o", "parts", "--resume"]).success("resume");
    for file in ["last", "best"] {
        let read = |folder: &str| {
            let mut state = FlowState::read(&place.path(folder).join(format!("{file}.safetensors"))).unwrap();
            state.progress.seconds = 0.0;
            state.to_bytes().unwrap()
        };
        assert_eq!(read("whole"), read("parts"), "{file}");
    }
    let model = |folder: &str| std::fs::read(place.path(folder).join("model.safetensors")).unwrap();
    assert_eq!(model("whole"), model("parts"));
}

#[cfg(unix)]
#[test]
fn a_signal_saves() {
    let place = place();
    std::fs::write(
        place.path("config.toml"),
        CONFIG.replace("steps = 150", "steps = 1000000"),
    )
    .unwrap();
    let mut child = std::process::Command::new(TRAIN)
        .args(["flow", "config.toml", "-o", "out", "--quiet"])
        .current_dir(place.path("."))
        .env("XDG_RUNTIME_DIR", std::env::temp_dir())
        .spawn()
        .unwrap();
    let begin = std::time::Instant::now();
    let enough = || {
        let text = std::fs::read_to_string(place.path("out").join("log.jsonl")).unwrap_or_default();
        text.contains(r#""event":"validation""#)
    };
    while !enough() {
        assert!(begin.elapsed().as_secs() < 120, "no validation");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let kill = ["-TERM", &child.id().to_string()].map(str::to_owned);
    std::process::Command::new("kill").args(kill).status().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(75));
    let records = log(&place.path("out"));
    let stop = records.last().unwrap();
    assert_eq!(stop["event"], "stop");
    assert_eq!(stop["step"].as_u64(), Some(last(&place.path("out")).progress.step));
}

#[test]
fn points_from_files_train_on_the_line_and_in_the_plane() {
    let place = place();
    let short = CONFIG.replace("steps = 150", "steps = 20");
    std::fs::write(place.path("config.toml"), short).unwrap();
    let rows = |dims: usize| -> String {
        let numbers = common::values(5, 300 * dims);
        let row = |r: &[f32]| {
            r.iter()
                .map(|v| format!("{}", 100.0 * v * v))
                .collect::<Vec<_>>()
                .join(",")
        };
        format!(
            "# made up\n{}\n{}\n",
            ["x", "y"][..dims].join(","),
            numbers.chunks_exact(dims).map(row).collect::<Vec<_>>().join("\n")
        )
    };
    for dims in [1, 2] {
        let (file, folder) = (format!("{dims}.csv"), format!("out{dims}"));
        std::fs::write(place.path(&file), rows(dims)).unwrap();
        let result = train(&place, &["--data", &file, "-o", &folder, "--json"])
            .success("train")
            .json();
        assert_eq!(result["entropy"], Value::Null);
        let flow = Flow::read(&place.path(&folder).join("model.safetensors")).unwrap();
        assert_eq!(flow.dims(), dims);
        let model = format!("{folder}/model.safetensors");
        let other = format!("{}.csv", 3 - dims);
        if dims == 1 {
            let arguments = ["flow-evaluate", &model, "--data", &file, "--picture", "p.png"];
            place.refuses(TRAIN, &[], &arguments, 2, &["--picture", "line"]);
        }
        if dims == 2 {
            place.refuses(
                TRAIN,
                &[],
                &["flow-evaluate", &model, "--data", &other],
                3,
                &["1 coordinates", "one of 2"],
            );
            place.refuses(
                TRAIN,
                &[],
                &["flow-evaluate", &model, "--data", "hills"],
                2,
                &["hills", "one of 2"],
            );
            place.refuses(
                TRAIN,
                &[],
                &["flow-evaluate", &model, "--data", &file, "-o", &file],
                2,
                &["replace"],
            );
            place.refuses(TRAIN, &[], &["sample", &model, "-o", &model], 2, &["replace"]);
        }
    }
    // Other points than those it was started with.
    std::fs::write(place.path("2.csv"), rows(2).replace("0.1", "0.2")).unwrap();
    place.refuses(
        TRAIN,
        &[],
        &["flow", "config.toml", "--data", "2.csv", "-o", "out2", "--resume"],
        3,
        &["other points"],
    );
}

#[test]
fn mistakes_are_named() {
    let place = place();
    let refuses =
        |arguments: &[&str], code: i32, expected: &[&str]| place.refuses(TRAIN, &[], arguments, code, expected);
    let with = |text: &str| std::fs::write(place.path("config.toml"), text).unwrap();
    for (text, expected) in [
        ("steps = 5", &["config.toml", "line 1", "steps"][..]),
        ("[model]\nlayers = \"many\"", &["line 2", "many"]),
        ("[model]\nlayers = 0", &["layers"]),
        ("[model]\nknots = 34", &["knots", "33"]),
        ("[model]\nslope_min = 0.0", &["slope_min"]),
        ("[model]\nslope_max = 0.5", &["slope_max"]),
        ("[optimiser]\nslopes = -1.0", &["learning rates"]),
        ("[optimiser]\ndecays = [1.0, 0.9]", &["decays"]),
        ("batch = 0", &["batch"]),
        ("[schedule]\nhold = 1.5", &["hold"]),
        ("not toml at all", &["config.toml", "line 1"]),
    ] {
        with(text);
        refuses(&["flow", "config.toml"], 3, expected);
    }
    with(CONFIG);
    refuses(&["flow", "none.toml"], 3, &["none.toml"]);
    let file = |name: &str, text: &[u8]| std::fs::write(place.path(name), text).unwrap();
    let many = |row: &str| vec![row; 60].join("\n").into_bytes();
    for (text, expected) in [
        (b"1,2\n3".to_vec(), &["line 2", "columns"][..]),
        (b"1,2\n3,x".to_vec(), &["line 2, column 2", "no number"]),
        (b"1,2\n3,inf".to_vec(), &["line 2, column 2", "finite"]),
        (b"1,2\n3,1e300".to_vec(), &["single precision"]),
        (b"1,2,3".to_vec(), &["3 columns"]),
        (b"1,2\n3,4".to_vec(), &["2 points", "50"]),
        (many("1,2"), &["coordinate 0", "all points"]),
        (b"x,y\n".to_vec(), &["no points"]),
        (b"\xff\xfe1".to_vec(), &["UTF-16"]),
        (b"\x93NUMPY".to_vec(), &["truncated"]),
    ] {
        file("points.csv", &text);
        refuses(
            &["flow", "config.toml", "--data", "points.csv"],
            3,
            &[&["points.csv"], expected].concat(),
        );
    }
    refuses(
        &["flow", "config.toml", "--data", "sun"],
        3,
        &["sun", "moons, ring and hills"],
    );
    refuses(
        &["flow", "config.toml", "-o", "none", "--resume"],
        3,
        &["last.safetensors"],
    );
    file("model", b"torn");
    refuses(
        &["sample", "model", "-o", "s.npy"],
        3,
        &["model", "not a readable model file"],
    );
    refuses(&["sample", "nowhere", "-o", "s.npy"], 3, &["nowhere"]);
    refuses(&["sample", "model", "-n", "0", "-o", "s.npy"], 2, &["0"]);
    let stopped = train(&place, &["-o", "out", "--time-budget", "1e-3"]);
    assert_eq!(stopped.code, Some(75), "{}", stopped.stderr);
    with(&CONFIG.replace("knots = 8", "knots = 9"));
    refuses(
        &["flow", "config.toml", "-o", "out", "--resume"],
        3,
        &["model.knots", "8", "9"],
    );
    with(CONFIG);
    std::fs::write(place.path("out").join("last.safetensors"), b"torn").unwrap();
    refuses(
        &["flow", "config.toml", "-o", "out", "--resume"],
        3,
        &["last.safetensors"],
    );
    // Steps far too long: a loss that is not finite, or none that ever was.
    with(&format!("{CONFIG}\n[optimiser]\nframes = 1e38\n"));
    let diverged = train(&place, &["-o", "wild"]);
    assert_eq!(diverged.code, Some(8), "{}", diverged.stderr);
    assert!(diverged.stderr.contains("learning rates"), "{}", diverged.stderr);
}

#[test]
fn the_printed_settings_are_the_defaults() {
    let place = Place::new();
    let printed = place.run_with(TRAIN, &[], &["flow", "--print-config"]).success("print");
    let path = place.path("printed.toml");
    std::fs::write(&path, &printed.stdout).unwrap();
    assert_eq!(FlowConfig::read(&path).unwrap(), FlowConfig::default());
}
