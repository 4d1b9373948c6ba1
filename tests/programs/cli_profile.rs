//! `--profile` and `info --measure` as a user meets them.

use crate::model_files::small_model;
use knotwork::io::image::{Format, Image};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};
use tempfile::TempDir;

fn run(folder: &Path, line: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_reconstruct"))
        .args(line.split(' '))
        .current_dir(folder)
        .env_remove("RUST_LOG")
        .env("XDG_RUNTIME_DIR", std::env::temp_dir())
        // What somebody calibrated here must not matter.
        .env("KNOTWORK_CACHE", folder.join("cache"))
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn result(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{}", said(output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn file(folder: &TempDir, name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(folder.path().join(name)).unwrap()).unwrap()
}

/// A folder with a small model and a noisy image.
fn place() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    small_model().write(&folder.path().join("m.safetensors")).unwrap();
    let noise = knotwork::io::noise::gaussian(5, 0, 24 * 20);
    let planes = noise.iter().map(|n| 0.5 + 0.05 * n).collect();
    let image = Image::gray(24, 20, planes, Format::NpyF32).unwrap();
    image.write(folder.path().join("a.npy"), Format::NpyF32).unwrap();
    folder
}

const DENOISE: &str = "denoise a.npy --sigma 0.05 --model m.safetensors --max-iter 5 --tol 1e-9 --json";

#[test]
fn a_profiled_denoising_prints_a_table_and_writes_a_trace() {
    let folder = place();
    let plain = result(&run(folder.path(), DENOISE));
    assert!(plain.get("profile").is_none(), "nobody asked for a profile");
    let pixels = || std::fs::read(folder.path().join("a_denoised.npy")).unwrap();
    let want = pixels();

    let output = run(folder.path(), &format!("{DENOISE} --profile trace.json"));
    let found = result(&output);
    assert_eq!(pixels(), want, "a profile changes the result");
    let kernels = found["profile"]["kernels"].as_array().unwrap();
    let launches = |name: &str| -> u64 {
        let rows = kernels.iter().filter(|k| k["kernel"] == name);
        rows.map(|k| k["launches"].as_u64().unwrap()).sum()
    };
    assert_eq!((launches("split_move"), launches("tile_load")), (5, 6));
    assert!(found["profile"]["ceilings"]["bytes_per_second"].as_f64().unwrap() > 0.0);
    let total: u64 = kernels.iter().map(|k| k["launches"].as_u64().unwrap()).sum();
    assert_eq!(found["profile"]["launches"], total);

    let record = file(&folder, "a_denoised.run.json");
    assert_eq!(record["results"]["profile"], found["profile"]);
    let trace = file(&folder, "trace.json");
    let events = trace["traceEvents"].as_array().unwrap().iter();
    assert_eq!(events.filter(|e| e["ph"] == "X").count() as u64, total);

    let table = said(&output);
    for part in ["total ms", "GMAC/s", "split_residual", "PROXIMAL=1", "trace.json"] {
        assert!(table.contains(part), "no '{part}' in {table}");
    }
    let table = said(&run(folder.path(), &format!("{DENOISE} --profile")));
    assert!(table.contains("split_residual"), "a table without a trace: {table}");
}

#[test]
fn a_trace_replaces_nothing_else() {
    let folder = place();
    for (line, what) in [
        ("denoise --profile a.npy --sigma 0.05", "ends in .json"),
        (
            &format!("{DENOISE} --profile a_denoised.run.json") as &str,
            "the record of the run has this name",
        ),
        (&format!("{DENOISE} --profile nowhere/trace.json"), "nowhere"),
    ] {
        let output = run(folder.path(), line);
        assert_eq!(output.status.code(), Some(2), "{line}: {}", said(&output));
        let lines: Vec<String> = said(&output).lines().map(str::to_owned).collect();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].starts_with("error: ") && lines[0].contains(what), "{lines:?}");
        assert!(!folder.path().join("a_denoised.npy").exists());
    }
}

#[test]
fn info_measures_on_demand() {
    let folder = place();
    let plain = result(&run(folder.path(), "info --json"));
    assert_eq!(plain["ceilings"], Value::Null);
    let output = run(folder.path(), "info --measure --json");
    let ceilings = &result(&output)["ceilings"];
    for key in ["bytes_per_second", "multiply_adds_per_second"] {
        assert!(ceilings[key].as_f64().unwrap() > 1e7, "{ceilings}");
    }
    let text = said(&output);
    assert!(text.contains("GB/s") && text.contains("GMAC/s"), "{text}");
}
