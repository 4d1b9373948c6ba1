//! `train ridge` as a user runs it: what it leaves behind, how it stops and goes on, and what it refuses.

use crate::common::values;
use crate::program::{Place, TRAIN};
use knotwork::io::image::{Format, Image};
use knotwork::model::Ridge;
use knotwork::train::TrainingState;
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const CONFIG: &str = r#"
name = "tiny"
batch = 2
[model]
filters = 4
size = 3
mu = 10.0
start_knots = 6
[data]
patch = 12
stride = 4
scales = [1.0]
[objective]
tolerance = 1e-2
[schedule]
steps = 9
warm_up = 2
checkpoint = 4
[adaptation]
every = 3
max_knots = 8
[validation]
every = 4
images = 1
sigma = [0.1]
"#;

/// Soft blobs: something that is not noise.
fn picture(seed: u64, side: usize) -> Image {
    let place = values(seed, 2);
    let pixels = (0..side * side).map(|n| {
        let (row, col) = ((n / side) as f32 / side as f32, (n % side) as f32 / side as f32);
        0.5 + 0.4 * (9.0 * (row * place[0] + col * place[1])).sin().signum() * row
    });
    Image::gray(side, side, pixels.collect(), Format::Png8).unwrap()
}

fn place() -> Place {
    let place = Place::new();
    std::fs::create_dir(place.path("images")).unwrap();
    for n in 0..4 {
        let path = place.path("images").join(format!("{n}.png"));
        picture(n, 28).write(&path, Format::Png8).unwrap();
    }
    std::fs::write(place.path("config.toml"), CONFIG).unwrap();
    place
}

fn arguments<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["ridge", "config.toml", "--images", "images"][..], more].concat()
}

fn log(folder: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join("log.jsonl")).unwrap();
    text.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

fn steps(folder: &Path) -> Vec<u64> {
    let records = log(folder);
    let steps = records.iter().filter(|r| r["event"] == "step");
    steps.map(|r| r["step"].as_u64().unwrap()).collect()
}

fn last(folder: &Path) -> TrainingState {
    let mut state = TrainingState::read(&folder.join("last.safetensors")).unwrap();
    state.progress.seconds = 0.0;
    state
}

#[test]
fn a_training_leaves_model_checkpoints_log_and_report() {
    let place = place();
    std::fs::write(place.path("images").join("broken.png"), b"no picture").unwrap();
    let ended = place
        .run_with(TRAIN, &[], &arguments(&["-o", "out", "--json", "--tensorboard"]))
        .success("train");
    assert!(
        ended.stderr.contains("skipped") && ended.stderr.contains("broken.png"),
        "{}",
        ended.stderr
    );
    let result = ended.json();
    let out = place.path("out");
    assert_eq!(
        (result["ending"].as_str(), result["step"].as_u64()),
        (Some("finished"), Some(9))
    );
    let model = Ridge::read(&out.join("model.safetensors")).unwrap();
    for f in &model.activations {
        assert!(
            [f.value(1e3), -f.value(-1e3), f.slope(1e3), f.slope(-1e3)]
                .iter()
                .all(|v| *v >= 0.0)
        );
    }
    assert!((model.norm_squared - 1.0).abs() < 1e-5 && model.name == "tiny");
    assert_eq!(model.provenance["config"]["model"]["filters"], 4);
    assert_eq!(steps(&out), (1..=9).collect::<Vec<_>>());
    let count = |event: &str| log(&out).iter().filter(|r| r["event"] == event).count();
    assert_eq!((count("start"), count("validation"), count("knots")), (1, 3, 2));
    let best = log(&out)
        .iter()
        .filter(|r| r["event"] == "validation")
        .map(|r| r["mean"].as_f64().unwrap())
        .fold(0.0, f64::max);
    assert_eq!(result["best"]["psnr"].as_f64(), Some(best));
    let report = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert!(report.contains("tiny") && report.contains("<svg"));
    assert!(
        std::fs::read_dir(&out)
            .unwrap()
            .any(|f| f.unwrap().file_name().to_string_lossy().contains("tfevents"))
    );
    // What was trained can be used.
    let line = "denoise images/1.png -o clean.npy --sigma 0.1 --model out/model.safetensors";
    place.run(line).success("denoise");
    std::fs::remove_file(place.path("images").join("broken.png")).unwrap();
    // A training that is there is not replaced, and one that is done has nothing left to do.
    let before = std::fs::read(out.join("last.safetensors")).unwrap();
    place.refuses(TRAIN, &[], &arguments(&["-o", "out"]), 2, &["out", "--resume"]);
    place
        .run_with(TRAIN, &[], &arguments(&["-o", "out", "--resume"]))
        .success("resume");
    assert_eq!(std::fs::read(out.join("last.safetensors")).unwrap(), before);
}

#[test]
fn a_stopped_training_goes_on_to_the_same_bits() {
    let place = place();
    place
        .run_with(TRAIN, &[], &arguments(&["-o", "whole"]))
        .success("train");
    // A budget that is over after the first step; then the rest in one go.
    let stopped = place.run_with(TRAIN, &[], &arguments(&["-o", "parts", "--time-budget", "1e-3"]));
    assert_eq!(stopped.code, Some(75), "{}", stopped.stderr);
    assert!(stopped.stderr.contains("--resume"), "{}", stopped.stderr);
    assert_eq!(last(&place.path("parts")).progress.step, 1);
    let again = place.run_with(
        TRAIN,
        &[],
        &arguments(&["-o", "parts", "--resume", "--time-budget", "1e-3"]),
    );
    assert_eq!((again.code, last(&place.path("parts")).progress.step), (Some(75), 2));
    place
        .run_with(TRAIN, &[], &arguments(&["-o", "parts", "--resume"]))
        .success("resume");
    let (whole, parts) = (last(&place.path("whole")), last(&place.path("parts")));
    assert_eq!(whole.to_bytes().unwrap(), parts.to_bytes().unwrap());
    assert_eq!(steps(&place.path("parts")), (1..=9).collect::<Vec<_>>());
}

#[cfg(unix)]
#[test]
fn a_signal_saves_and_a_kill_loses_no_more_than_the_last_checkpoint() {
    let place = place();
    let long = CONFIG.replace("steps = 9", "steps = 100000");
    std::fs::write(place.path("config.toml"), long).unwrap();
    let out = place.path("out");
    let start = |more: &[&str]| {
        let arguments = arguments(&[&["-o", "out", "--quiet"], more].concat());
        Command::new(TRAIN)
            .args(arguments)
            .current_dir(place.path("."))
            .env("XDG_RUNTIME_DIR", std::env::temp_dir())
            .spawn()
            .unwrap()
    };
    // Until the process that was started or resumed for the `run`-th time has logged this many steps.
    let wait_for = |run: usize, count: usize| {
        let begin = Instant::now();
        let enough = || {
            let text = std::fs::read_to_string(out.join("log.jsonl")).unwrap_or_default();
            let begun = |line: &&str| line.contains(r#""event":"start""#) || line.contains(r#""event":"resume""#);
            text.lines().filter(begun).count() == run
                && text.lines().rev().take_while(|line| !begun(line)).count() >= count
        };
        while !enough() {
            assert!(begin.elapsed() < Duration::from_secs(120), "run {run} makes no steps");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    let mut child = start(&[]);
    wait_for(1, 2);
    let kill = |signal: &str, id: u32| Command::new("kill").args([signal, &id.to_string()]).status().unwrap();
    kill("-TERM", child.id());
    assert_eq!(child.wait().unwrap().code(), Some(75));
    let saved = last(&out).progress.step;
    assert_eq!(steps(&out).last(), Some(&saved));
    let mut child = start(&["--resume"]);
    wait_for(2, 6);
    kill("-KILL", child.id());
    child.wait().unwrap();
    let kept = last(&out).progress.step;
    assert!(kept > saved && kept.is_multiple_of(4), "{kept} after {saved}");
    let mut child = start(&["--resume"]);
    wait_for(3, 1);
    kill("-INT", child.id());
    assert_eq!(child.wait().unwrap().code(), Some(75));
    let all = steps(&out);
    assert_eq!(all, (1..=*all.last().unwrap()).collect::<Vec<_>>());
}

#[test]
fn mistakes_are_named() {
    let place = place();
    let refuses =
        |arguments: &[&str], code: i32, expected: &[&str]| place.refuses(TRAIN, &[], arguments, code, expected);
    let with = |text: &str| std::fs::write(place.path("config.toml"), text).unwrap();
    for (text, expected) in [
        ("steps = 5", &["config.toml", "line 1", "steps"][..]),
        ("[model]\nfilters = \"many\"", &["line 2", "many"]),
        ("[model]\nrho = 1.5", &["rho"]),
        ("[model]\nfilters = 24\nsize = 3", &["filters", "size"]),
        ("[data]\nsigma = [0.5, 0.1]", &["sigma"]),
        ("[optimiser]\nvalues = -1", &["values"]),
        ("batch = 0", &["batch"]),
        ("not toml at all", &["config.toml", "line 1"]),
    ] {
        with(text);
        refuses(&arguments(&[]), 3, expected);
    }
    with(CONFIG);
    refuses(&["ridge", "none.toml", "--images", "images"], 3, &["none.toml"]);
    refuses(&["ridge", "config.toml", "--images", "nowhere"], 3, &["nowhere"]);
    std::fs::create_dir(place.path("empty")).unwrap();
    refuses(
        &["ridge", "config.toml", "--images", "empty"],
        3,
        &["empty", "no image"],
    );
    with(&CONFIG.replace("patch = 12", "patch = 29"));
    refuses(&arguments(&[]), 3, &["29"]);
    with(&CONFIG.replace("images = 1", "images = 4"));
    refuses(&arguments(&[]), 3, &["4"]);
    with(CONFIG);
    refuses(&arguments(&["-o", "none", "--resume"]), 3, &["last.safetensors"]);
    let stopped = place.run_with(TRAIN, &[], &arguments(&["-o", "out", "--time-budget", "1e-3"]));
    assert_eq!(stopped.code, Some(75), "{}", stopped.stderr);
    with(&CONFIG.replace("mu = 10.0", "mu = 11.0"));
    refuses(&arguments(&["-o", "out", "--resume"]), 3, &["model.mu", "10.0", "11.0"]);
    with(CONFIG);
    picture(9, 28)
        .write(place.path("images").join("5.png"), Format::Png8)
        .unwrap();
    refuses(&arguments(&["-o", "out", "--resume"]), 3, &["other data"]);
    std::fs::write(place.path("out").join("last.safetensors"), b"torn").unwrap();
    refuses(&arguments(&["-o", "out", "--resume"]), 3, &["last.safetensors"]);
}

#[test]
fn the_printed_settings_are_the_defaults() {
    let place = Place::new();
    let printed = place
        .run_with(TRAIN, &[], &["ridge", "--print-config"])
        .success("print");
    let path = place.path("printed.toml");
    std::fs::write(&path, &printed.stdout).unwrap();
    let read = knotwork::train::RidgeConfig::read(&path).unwrap();
    assert_eq!(read, knotwork::train::RidgeConfig::default());
}
