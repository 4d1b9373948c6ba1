//! `train denoiser` and `train unrolled` as a user runs them, with `evaluate` and `inspect` of what they make.

use crate::common::values;
use crate::program::{Place, TRAIN};
use knotwork::io::image::{Format, Image};
use knotwork::layered::{Kind, Layered, LayeredConfig, LayeredState};

const CONFIG: &str = r#"
name = "tiny"
batch = 2
[network]
kind = "KIND"
channels = 9
depth = 3
start_knots = 5
[data]
patch = 12
stride = 4
scales = [1.0]
sigma = [0.1, 0.1]
[schedule]
steps = 7
warm_up = 2
checkpoint = 3
[adaptation]
every = 3
max_knots = 8
[validation]
every = 4
images = 1
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

fn place(kind: &str) -> Place {
    let place = Place::new();
    std::fs::create_dir(place.path("images")).unwrap();
    for n in 0..3 {
        let path = place.path("images").join(format!("{n}.png"));
        picture(n, 26).write(&path, Format::Png8).unwrap();
    }
    std::fs::write(place.path("config.toml"), CONFIG.replace("KIND", kind)).unwrap();
    place
}

fn arguments<'a>(kind: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&[kind, "config.toml", "--images", "images"][..], more].concat()
}

fn last(place: &Place, folder: &str) -> LayeredState {
    let mut state = LayeredState::read(&place.path(folder).join("last.safetensors")).unwrap();
    state.progress.seconds = 0.0;
    state
}

#[test]
fn a_network_is_trained_stopped_resumed_evaluated_and_inspected() {
    for kind in ["denoiser", "unrolled"] {
        let place = place(kind);
        let ended = place
            .run_with(TRAIN, &[], &arguments(kind, &["-o", "whole", "--json"]))
            .success("train");
        let result = ended.json();
        assert_eq!(result["step"], 7);
        let stopped = place.run_with(TRAIN, &[], &arguments(kind, &["-o", "parts", "--time-budget", "1e-3"]));
        assert_eq!(stopped.code, Some(75), "{}", stopped.stderr);
        assert_eq!(last(&place, "parts").progress.step, 1);
        place
            .run_with(TRAIN, &[], &arguments(kind, &["-o", "parts", "--resume"]))
            .success("resume");
        assert_eq!(
            last(&place, "whole").to_bytes().unwrap(),
            last(&place, "parts").to_bytes().unwrap()
        );
        place.refuses(
            TRAIN,
            &[],
            &arguments(kind, &["-o", "whole"]),
            2,
            &["whole", "--resume"],
        );

        let model = Layered::read(&place.path("whole").join("model.safetensors")).unwrap();
        assert!(model.name == "tiny" && model.lipschitz() <= 1.0 + 1e-8);
        let report = std::fs::read_to_string(place.path("whole").join("report.html")).unwrap();
        assert!(report.contains("tiny") && report.contains("<svg") && report.contains("norm_upper_bounds"));
        assert_eq!(
            report.matches("Penalties of layer").count(),
            if kind == "unrolled" { 3 } else { 0 }
        );
        let line = [
            "evaluate",
            "whole/model.safetensors",
            "--images",
            "images",
            "--sigma",
            "0.1,0.05",
            "--json",
        ];
        let scores = place.run_with(TRAIN, &[], &line).success("evaluate").json();
        for level in 0..2 {
            let psnr = scores["mean"][level]["psnr"].as_f64().unwrap();
            assert!((10.0..60.0).contains(&psnr), "{psnr}");
        }
        let line = ["inspect", "whole/model.safetensors", "-o", "seen", "--json"];
        let seen = place.run_with(TRAIN, &[], &line).success("inspect").json();
        assert!(seen["certificate"]["lipschitz"].as_f64().unwrap() <= 1.0 + 1e-8);
        for name in ["certificate.json", "report.html"] {
            assert!(place.path("seen").join(name).exists(), "{name}");
        }
        assert_eq!(place.path("seen").join("penalties.json").exists(), kind == "unrolled");
        // The network denoises like any model, and scaled for another level.
        let line =
            "denoise images/0.png -o out.npy --sigma 0.1 --model whole/model.safetensors --clean images/0.png --json";
        let done = place.run(line).success("denoise").json();
        assert!(
            done["psnr"].as_f64().unwrap() > 15.0 && done["energy"].is_null(),
            "{done}"
        );
        // A network is no regularizer.
        let line = ["reduce", "whole/model.safetensors", "-o", "no.safetensors"];
        let ended = place.run_with(TRAIN, &[], &line);
        assert!(
            ended.code != Some(0) && ended.stderr.contains("layered"),
            "{}",
            ended.stderr
        );
    }
}

/// What steers an iteration to a tolerance is refused with a network, not ignored, and told as null.
#[test]
fn a_network_takes_no_options_of_regularizers() {
    let place = place("denoiser");
    let evaluate = |model: &'static str| {
        vec![
            "evaluate", model, "--images", "images", "--limit", "1", "--sigma", "25", "--json",
        ]
    };
    for option in [
        ["--lambda", "1"],
        ["--tol", "1e-4"],
        ["--solver", "splitting"],
        ["--max-iter", "300"],
    ] {
        for model in ["denoiser-25", "deblur-8"] {
            let line = [&evaluate(model)[..], &option].concat();
            place.refuses(TRAIN, &[], &line, 2, &[model, option[0], "leave it out"]);
        }
        let line = format!(
            "denoise images/0.png -o x.png --sigma 0.1 --model denoiser-25 {}",
            option.join(" ")
        );
        place.refuses_line(&line, 2, &["denoiser-25", option[0]]);
    }
    place.refuses_line(
        "denoise images/0.png -o x.png --sigma 0.1 --model deblur-8 --tile 64",
        2,
        &["deblur-8", "--tile"],
    );
    let told = |model| place.run_with(TRAIN, &[], &evaluate(model)).success(model).json();
    let network = told("denoiser-25");
    for key in ["lambda", "tolerance", "noise_tolerance", "solver"] {
        assert!(network.as_object().unwrap()[key].is_null(), "{network}");
    }
    let lipschitz = network["lipschitz"].as_f64().unwrap();
    assert!(lipschitz > 0.9 && lipschitz <= 1.0 + 1e-8, "{network}");
    let regularizer = told("dct5");
    assert_eq!(
        (&regularizer["lambda"], &regularizer["solver"]),
        (&1.0.into(), &"splitting".into())
    );
    assert!(regularizer.get("lipschitz").is_none());
}

#[test]
fn penalties_of_an_unrolled_network_are_exported() {
    let place = Place::new();
    let line = ["inspect", "deblur-8", "-o", "seen"];
    place.run_with(TRAIN, &[], &line).success("inspect");
    let read = |name: &str| std::fs::read_to_string(place.path("seen").join(name)).unwrap();
    let figure = read("penalties.svg");
    assert!(figure.contains("25 penalties") && figure.contains("g 0.24"));
    assert_eq!(read("report.html").matches("Penalties of layer").count(), 1);

    let table: serde_json::Value = serde_json::from_str(&read("penalties.json")).unwrap();
    assert_eq!(table["model"], "deblur-8");
    assert!(table["meaning"].as_str().unwrap().contains("lie outside of g"));
    // Eight steps share one set of activations.
    let model = Layered::shipped_or_file("deblur-8".as_ref()).unwrap();
    assert_eq!(table["sets"].as_array().unwrap().len(), 1);
    let set = &table["sets"][0];
    assert_eq!(set["steps"], serde_json::json!([0, 1, 2, 3, 4, 5, 6, 7]));
    assert_eq!(set["channels"].as_array().unwrap().len(), 25);
    for (channel, phi) in model.activations[0].iter().enumerate() {
        let entry = &set["channels"][channel];
        let numbers = |key: &str| -> Vec<Option<f64>> {
            let entries = entry[key].as_array().unwrap().iter();
            entries.map(serde_json::Value::as_f64).collect()
        };
        assert_eq!(entry["scaling"].as_f64(), Some(f64::from(model.scalings[0][channel])));
        assert_eq!(entry["shift"].as_f64(), Some(f64::from(model.shifts[0][channel])));
        // Between its ends the table alone gives back the spline: v = z + g'(z) at every node, on both sides.
        let nodes = numbers("nodes");
        for side in ["left_derivatives", "right_derivatives"] {
            for (z, derivative) in nodes.iter().zip(numbers(side)) {
                let Some(derivative) = derivative else { continue };
                let z = z.unwrap();
                assert!(
                    (phi.value(z + derivative) - z).abs() < 1e-12,
                    "{side} of channel {channel} at {z}"
                );
            }
        }
        let (curvatures, slopes) = (numbers("outer_curvatures"), phi.slopes());
        for (curvature, (end, slope)) in curvatures.iter().zip([
            (numbers("domain")[0], slopes[0]),
            (numbers("domain")[1], slopes[slopes.len() - 1]),
        ]) {
            // No curvature where the domain ends, no end where the parabola goes on.
            assert_eq!(curvature.is_none(), end.is_some());
            assert!((slope * (1.0 + curvature.unwrap_or(0.0)) - f64::from(curvature.is_some())).abs() < 1e-12);
        }
    }
}

#[test]
fn mistakes_are_named() {
    let place = place("denoiser");
    let config = CONFIG.replace("KIND", "denoiser");
    for (from, to, expected) in [
        ("channels = 9", "channels = 8", "channels"),
        ("depth = 3", "depth = 1", "depth"),
        ("depth = 3", "depth = 3\naveraging = 1.5", "averaging"),
        ("depth = 3", "depth = 3\nblur = 1.0", "blur"),
        ("depth = 3", "depth = 3\nactivation = \"tanh\"", "tanh"),
        ("sigma = [0.1, 0.1]", "sigma = [0.05, 0.1]", "sigma"),
        ("start_knots = 5", "start_knots = 6", "start_knots"),
        ("max_knots = 8", "max_knots = 4", "max_knots"),
        ("steps = 7", "steps = 0", "steps"),
        ("batch = 2", "batch = 2\nbatches = 3", "batches"),
    ] {
        std::fs::write(place.path("config.toml"), config.replace(from, to)).unwrap();
        place.refuses(TRAIN, &[], &arguments("denoiser", &[]), 3, &["config.toml", expected]);
    }
    std::fs::write(place.path("config.toml"), &config).unwrap();
    place.refuses(TRAIN, &[], &arguments("unrolled", &[]), 3, &["kind"]);
    place.refuses(
        TRAIN,
        &[],
        &arguments("denoiser", &["-o", "x", "--resume"]),
        3,
        &["last.safetensors"],
    );
    std::fs::write(place.path("model.safetensors"), b"torn").unwrap();
    let line = ["evaluate", "model.safetensors", "--images", "images"];
    place.refuses(TRAIN, &[], &line, 3, &["model.safetensors"]);
}

#[test]
fn the_printed_settings_are_the_defaults() {
    for (kind, name) in [(Kind::Denoiser, "denoiser"), (Kind::Unrolled, "unrolled")] {
        let place = Place::new();
        let printed = place.run_with(TRAIN, &[], &[name, "--print-config"]).success("print");
        let path = place.path("printed.toml");
        std::fs::write(&path, &printed.stdout).unwrap();
        assert_eq!(LayeredConfig::read(&path, kind).unwrap(), LayeredConfig::of_kind(kind));
    }
}
