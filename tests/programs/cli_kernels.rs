//! `info --calibrate` and `--kernels` as a user meets them.

use crate::model_files::small_model;
use crate::program::{Place, RECONSTRUCT};
use knotwork::gpu::KernelStyle;
use knotwork::io::image::{Format, Image};
use knotwork::io::noise;
use serde_json::{Map, json};
use std::fs;

fn style_in_use(place: &Place, line: &str) -> String {
    place.run(line).success(line).json()["kernels"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn the_fastest_style_is_kept_for_the_adapter_and_can_be_overridden() {
    let place = Place::new();
    let file = place.path("cache/kernels.json");
    let before = style_in_use(&place, "info --json");
    assert!(!file.exists(), "nobody asked for a calibration");
    assert!(before.parse::<KernelStyle>().is_ok(), "{before}");

    let ended = place.run("info --calibrate --json").success("info --calibrate");
    let calibration = &ended.json()["calibration"];
    let seconds = calibration["seconds"].as_object().unwrap();
    assert_eq!(seconds.len(), KernelStyle::ALL.len());
    let kept = calibration["kept"].as_str().unwrap();
    let fastest = seconds
        .iter()
        .min_by(|a, b| a.1.as_f64().unwrap().total_cmp(&b.1.as_f64().unwrap()));
    assert_eq!(fastest.unwrap().0, kept);
    for style in KernelStyle::ALL {
        assert!(ended.stderr.contains(&format!("ms  {style}")), "{}", ended.stderr);
    }
    assert_eq!(style_in_use(&place, "info --json"), kept);

    // What is kept decides, whatever suits the adapter, but not over the option, and not for another adapter.
    let mut table: Map<String, serde_json::Value> = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(table.len(), 1);
    let adapter = table.keys().next().unwrap().clone();
    table.insert(adapter.clone(), json!("small-texels"));
    fs::write(&file, serde_json::to_vec(&table).unwrap()).unwrap();
    assert_eq!(style_in_use(&place, "info --json"), "small-texels");
    assert_eq!(
        style_in_use(&place, "info --kernels small-storage --json"),
        "small-storage"
    );
    table.remove(&adapter);
    table.insert(format!("{adapter} of another machine"), json!("small-texels"));
    // What was kept before there were as many styles does not count.
    let fewer = adapter.replace("large-texels-lanes ", "");
    assert_ne!(fewer, adapter);
    table.insert(fewer, json!("small-texels"));
    fs::write(&file, serde_json::to_vec(&table).unwrap()).unwrap();
    assert_eq!(style_in_use(&place, "info --json"), before);
}

#[test]
fn a_damaged_cache_costs_a_warning_and_a_wrong_style_is_named() {
    let place = Place::new();
    fs::create_dir(place.path("cache")).unwrap();
    fs::write(place.path("cache/kernels.json"), "{ half a fi").unwrap();
    let ended = place.run("info --json").success("info");
    assert!(
        ended.stderr.contains("kernels.json") && ended.stderr.contains("info --calibrate"),
        "{}",
        ended.stderr
    );
    place.refuses(
        RECONSTRUCT,
        &[],
        &["info", "--kernels", "huge"],
        2,
        &["huge", "large-texels", "small-storage"],
    );
    // A file where the folder should be.
    let blocked = place.path("cache/kernels.json");
    let environment = [("KNOTWORK_CACHE", blocked.to_str().unwrap())];
    place.refuses(
        RECONSTRUCT,
        &environment,
        &["info", "--calibrate"],
        2,
        &["kernels.json"],
    );
}

#[test]
fn every_style_denoises_alike() {
    let place = Place::new();
    small_model().write(&place.path("m.safetensors")).unwrap();
    let planes = noise::gaussian(5, 0, 37 * 29).iter().map(|n| 0.5 + 0.05 * n).collect();
    let image = Image::gray(37, 29, planes, Format::NpyF32).unwrap();
    image.write(place.path("a.npy"), Format::NpyF32).unwrap();
    let found: Vec<Image> = KernelStyle::ALL
        .map(|style| {
            let line =
                format!("denoise a.npy --sigma 0.05 --model m.safetensors --kernels {style} -o {style}.npy --json");
            place.run(&line).success(&line);
            let record: serde_json::Value =
                serde_json::from_slice(&fs::read(place.path(&format!("{style}.run.json"))).unwrap()).unwrap();
            assert_eq!(record["adapter"]["kernels"], style.name());
            Image::read(place.path(&format!("{style}.npy"))).unwrap()
        })
        .into();
    for other in &found[1..] {
        let apart = other.planes.iter().zip(&found[0].planes).map(|(a, b)| (a - b).abs());
        assert!(apart.fold(0.0, f32::max) < 1e-5);
    }
    assert!(
        found[0]
            .planes
            .iter()
            .zip(&image.planes)
            .any(|(a, b)| (a - b).abs() > 1e-2)
    );
}
