//! `--method pnp` as a user meets it, with a denoiser that shrinks the coefficients of a frame of cosines.

use crate::common::{gpu, turn, values};
use crate::program::Place;
use knotwork::io::image::{Format, Image};
use knotwork::layered::{Kind, Layered, LayeredConfig, start_model};
use knotwork::operator::{Blur, apply};
use knotwork::report::metrics::psnr;
use knotwork::spline::Spline;
use serde_json::Value;

/// `N = W' phi W` with a tight frame `W` of 16 cosines and `phi = 2 S - Id`, `S` the soft threshold at `t`, but for the channel of
/// means: `D = (Id + N) / 2` shrinks by `t`.
fn shrinkage(threshold: f64) -> Layered {
    let mut config = LayeredConfig::of_kind(Kind::Denoiser);
    config.network.channels = 16;
    config.network.size = 3;
    config.network.depth = 2;
    let mut model = start_model(&config).unwrap();
    unit_norm(&mut model);
    let t = threshold;
    let shrink = Spline::new(vec![-2.0 * t, -t, t, 2.0 * t], vec![0.0, t, -t, 0.0]).unwrap();
    let identity = Spline::new(vec![-1.0, 1.0], vec![-1.0, 1.0]).unwrap();
    let mean = |channel: usize| model.filters[0].weights[channel * 9..][..9].iter().sum::<f32>().abs() > 0.1;
    model.activations = vec![
        (0..16)
            .map(|c| if mean(c) { identity.clone() } else { shrink.clone() })
            .collect(),
    ];
    model.slope_bounds = (-1.0, 1.0);
    model.name = "shrinkage".into();
    // A coefficient has a third of the noise of a pixel.
    model.sigma = 3.0 * threshold;
    model
}

/// Divides the filters by their norms, with room for rounding.
fn unit_norm(model: &mut Layered) {
    for (index, norm) in model.norms().into_iter().enumerate() {
        for weight in &mut model.filters[index].weights {
            *weight = (f64::from(*weight) / norm * (1.0 - 1e-6)) as f32;
        }
    }
}

/// A phantom, its sinograms of parallel rays and of a fan, its k-space and a denoiser.
fn place() -> Place {
    let place = Place::new();
    for line in [
        "simulate phantom -o t.npy --size 48 --seed 4 -q",
        "simulate ct t.npy -o s.npy --angles 31 --detectors 73 --noise 0.5 --seed 7 -q",
        "simulate ct t.npy -o f.npy --source-distance 400 --detector-distance 700 --angles 60 --detectors 73 --noise 0.5 -q",
        "simulate mri t.npy -o k.npy --acceleration 3 --centre-fraction 0.1 --noise 0.002 -q",
    ] {
        place.run(line).success(line);
    }
    shrinkage(0.02).write(&place.path("d.safetensors")).unwrap();
    place
}

fn run(place: &Place, line: &str) -> Value {
    place
        .run(&format!("{line} -o x.npy --clean t.npy --json -q"))
        .success(line)
        .json()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("no number: {value}"))
}

#[test]
fn scans_converge_to_the_tolerance_with_their_constants_told() {
    let place = place();
    for (line, baseline) in [("ct s.npy", "fbp"), ("ct f.npy", "fbp"), ("mri k.npy", "zero-filled")] {
        let before = number(&run(&place, &format!("{line} --method {baseline}"))["psnr"]);
        for (algorithm, step, averagedness) in [("fbs", 1.0, 0.75), ("admm", 4.0, 0.5)] {
            let told = run(
                &place,
                &format!(
                    "{line} --denoiser d.safetensors --algorithm {algorithm} --step {step} --tol 1e-5 --max-iter 3000"
                ),
            );
            assert_eq!(
                (&told["method"], &told["stop"]),
                (&"pnp".into(), &"converged".into()),
                "{told}"
            );
            let constants = &told["constants"];
            assert!((number(&constants["averagedness"]) - averagedness).abs() < 1e-12);
            assert!(number(&constants["network"]) <= 1.0 + 1e-6);
            assert_eq!(constants["operator"]["kind"], "bound");
            let gamma = number(&constants["gamma"]) * number(&constants["operator"]["squared"]);
            assert!((gamma - step).abs() < 1e-9);
            let pnp = &told["pnp"];
            assert_eq!(
                (&pnp["algorithm"], &pnp["denoiser"]),
                (&algorithm.into(), &"shrinkage".into())
            );
            // The history ends where the iteration did, and begins at its beginning.
            let residuals = told["residuals"].as_array().unwrap();
            let last = residuals.last().unwrap();
            assert_eq!(
                (&residuals[0]["iteration"], &last["iteration"]),
                (&1.into(), &told["iterations"])
            );
            assert!(number(&last["residual"]) <= 1.001e-5);
            assert!(residuals.len() < 80 && number(&residuals[0]["residual"]) > 1e-3);
            let record: Value =
                serde_json::from_str(&std::fs::read_to_string(place.path("x.run.json")).unwrap()).unwrap();
            assert_eq!(record["results"]["residuals"], told["residuals"]);
            assert!(record["inputs"]["denoiser"]["blake3"].is_string(), "{record}");
            let psnr = number(&told["psnr"]);
            assert!(psnr > before + 0.5, "{line} {algorithm}: {before} to {psnr}");
            let image = Image::read(place.path("x.npy")).unwrap();
            assert!(image.planes.iter().all(|v| *v >= 0.0));
        }
    }
}

#[test]
fn pixels_are_reconstructed_too_and_colours_one_by_one() {
    let place = place();
    let [rows, cols] = [20, 26];
    // Dark at the border, beyond which the network sees nothing.
    let pixel = |plane: usize, row: usize, col: usize| {
        if row.min(rows - 1 - row).min(col).min(cols - 1 - col) < 3 {
            0.0
        } else if col < 11 {
            0.3
        } else {
            0.7 - 0.1 * plane as f32
        }
    };
    let planes: Vec<f32> = (0..3 * rows * cols)
        .map(|n| pixel(n / cols / rows, n / cols % rows, n % cols))
        .collect();
    let noisy = planes
        .iter()
        .zip(values(4, planes.len()))
        .map(|(p, n)| p + 0.05 * n)
        .collect();
    let image = |planes| Image::new(3, rows, cols, planes, Format::NpyF32).unwrap();
    image(planes).write(place.path("t.npy"), Format::NpyF32).unwrap();
    image(noisy).write(place.path("y.npy"), Format::NpyF32).unwrap();
    let one = Image::gray(1, 1, vec![1.0], Format::NpyF32).unwrap();
    one.write(place.path("one.npy"), Format::NpyF32).unwrap();
    let line = "deblur y.npy --kernel one.npy --denoiser d.safetensors --tol 1e-6 --max-iter 2000";
    let psnr = |more: &str| {
        let told = run(&place, &format!("{line} {more}"));
        assert_eq!(told["stop"], "converged");
        (number(&told["psnr"]), told)
    };
    let (weak, _) = psnr("--strength 0.01");
    let (strong, told) = psnr("--strength 1");
    assert!(strong > weak + 0.5, "{weak} to {strong}");
    assert_eq!(told["pnp"]["averaging"], 0.5);
    // For a whole measurement, |H| = 1, and a step of 1, the strength is the noise over the level of the model.
    let level = shrinkage(0.02).sigma;
    let (same, told) = psnr(&format!("--step 1 --noise {}", 2.0 * level));
    assert!((number(&told["pnp"]["strength"]) - 2.0).abs() < 1e-3 && same != strong);
}

/// An image with edges, dark at the border, beyond which networks see nothing.
fn blocks([rows, cols]: [usize; 2]) -> Vec<f32> {
    let pixel = |row: usize, col: usize| {
        if row.min(rows - 1 - row).min(col).min(cols - 1 - col) < 3 {
            0.0
        } else if 2 * row + col < rows + cols / 3 {
            0.7
        } else {
            0.3
        }
    };
    (0..rows * cols).map(|n| pixel(n / cols, n % cols)).collect()
}

fn write(place: &Place, name: &str, [rows, cols]: [usize; 2], values: Vec<f32>) {
    let image = Image::gray(rows, cols, values, Format::NpyF32).unwrap();
    image.write(place.path(name), Format::NpyF32).unwrap();
}

fn noisy(values: &[f32], level: f32) -> Vec<f32> {
    let noise = crate::common::values(6, values.len());
    values.iter().zip(noise).map(|(v, n)| v + level * n).collect()
}

#[test]
fn missing_pixels_and_larger_images_too() {
    let place = Place::new();
    shrinkage(0.02).write(&place.path("d.safetensors")).unwrap();
    let size = [24, 28];
    let truth = blocks(size);
    write(&place, "t.npy", size, truth.clone());
    let mask: Vec<f32> = values(11, truth.len())
        .iter()
        .map(|v| f32::from(u8::from(*v > -0.2)))
        .collect();
    let seen: Vec<f32> = noisy(&truth, 0.03).iter().zip(&mask).map(|(y, m)| y * m).collect();
    let filled: Vec<f32> = seen.iter().zip(&mask).map(|(y, m)| y + 0.3 * (1.0 - m)).collect();
    write(&place, "seen.npy", size, seen);
    write(&place, "mask.npy", size, mask);
    let operator = Blur::downsampling(size, 2).unwrap();
    let small = {
        let _turn = turn();
        noisy(&apply(gpu(), &operator, &truth, false).unwrap(), 0.01)
    };
    let enlarged: Vec<f32> = (0..truth.len()).map(|n| small[n / 28 / 2 * 14 + n % 28 / 2]).collect();
    write(&place, "small.npy", [12, 14], small);
    for (line, before) in [
        (
            "inpaint seen.npy --mask mask.npy --noise 0.02",
            psnr(&filled, &truth).unwrap(),
        ),
        (
            "upscale small.npy --factor 2 --noise 0.01",
            psnr(&enlarged, &truth).unwrap(),
        ),
    ] {
        for algorithm in ["fbs", "admm"] {
            let told = run(
                &place,
                &format!("{line} --denoiser d.safetensors --algorithm {algorithm} --tol 1e-5 --max-iter 5000"),
            );
            assert_eq!(
                (&told["method"], &told["stop"]),
                (&"pnp".into(), &"converged".into()),
                "{told}"
            );
            assert_eq!(told["constants"]["operator"]["kind"], "bound");
            assert!(
                number(&told["psnr"]) > before + 1.0,
                "{line} {algorithm}: {before}, {told}"
            );
        }
    }
}

/// The shipped unrolled network: its steps are iterations of forward-backward, which goes on where it ends and gets where ADMM gets.
#[test]
fn a_tied_unrolled_network_is_run_to_convergence() {
    let place = Place::new();
    let size = [24, 28];
    let truth = blocks(size);
    let model = Layered::shipped_or_file("deblur-8".as_ref()).unwrap();
    let measured = model.measured(&truth, &noisy(&truth, 0.03), size).unwrap();
    write(&place, "t.npy", size, truth);
    write(&place, "y.npy", size, measured.iter().map(|v| v.max(0.0)).collect());
    let blur = model.blur().unwrap().unwrap();
    write(&place, "kernel.npy", [blur.size; 2], blur.weights);
    let deblur = "deblur y.npy --kernel kernel.npy --boundary zero --denoiser deblur-8 --box=-9,9";
    // gamma = 1, which the network was trained with, whose measurements had noise of 5/255.
    let matched = run(&place, &format!("{deblur} --noise 5/255 --step 1 --max-iter 1"));
    let norm = number(&matched["constants"]["operator"]["squared"]);
    assert!(
        (number(&matched["pnp"]["strength"]) - norm.sqrt().recip()).abs() < 1e-6,
        "{matched}"
    );
    let image = |line: &str| {
        let told = run(&place, line);
        (told, Image::read(place.path("x.npy")).unwrap().planes)
    };
    let furthest = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);

    let (_, eight) = image("denoise y.npy --sigma 5/255 --model deblur-8");
    let same = format!("{deblur} --strength 1 --step {norm}");
    let (told, iterated) = image(&format!("{same} --max-iter 8 --tol 1e-12"));
    assert_eq!(
        (number(&told["iterations"]), &told["pnp"]["averaging"]),
        (8.0, &0.5.into())
    );
    assert!(furthest(&eight, &iterated) < 1e-5, "{}", furthest(&eight, &iterated));

    let ends = ["fbs", "admm"].map(|algorithm| {
        let (told, end) = image(&format!("{same} --algorithm {algorithm} --tol 1e-6 --max-iter 5000"));
        assert_eq!(
            (&told["stop"], &told["pnp"]["denoiser"]),
            (&"converged".into(), &"deblur-8".into())
        );
        assert!(number(&told["constants"]["network"]) <= 1.0 + 1e-6);
        assert!(number(&told["iterations"]) > 16.0, "{told}");
        let kind = told["pnp"]["residual"].as_str().unwrap();
        assert_eq!(kind.starts_with("|w - x|"), algorithm == "admm", "{kind}");
        end
    });
    assert!(furthest(&ends[0], &ends[1]) < 1e-3, "{}", furthest(&ends[0], &ends[1]));
    assert!(furthest(&ends[0], &eight) > 1e-2, "{}", furthest(&ends[0], &eight));
}

/// The shipped denoiser, by both iterations, down to 1e-5.
#[test]
fn scans_converge_with_the_shipped_denoiser() {
    let place = place();
    for line in ["ct s.npy", "mri k.npy"] {
        for algorithm in ["fbs", "admm"] {
            let told = run(
                &place,
                &format!("{line} --denoiser denoiser-25 --algorithm {algorithm} --tol 1e-5 --max-iter 5000"),
            );
            assert_eq!(told["stop"], "converged", "{told}");
            let last = told["residuals"].as_array().unwrap().last().unwrap();
            assert!(number(&last["residual"]) <= 1.001e-5, "{told}");
        }
    }
}

#[test]
fn tuning_and_batches_know_it() {
    let place = place();
    let items = "{\"id\":\"a\",\"input\":\"s.npy\",\"clean\":\"t.npy\"}\n";
    std::fs::write(place.path("m.jsonl"), items).unwrap();
    let common = "ct --denoiser d.safetensors --tol 1e-3 --max-iter 60";
    let tuned = place
        .run(&format!(
            "tune --manifest m.jsonl -o best.toml --until 2.5 --json -q -- {common}"
        ))
        .success("tune")
        .json();
    let (averaging, strength) = (
        number(&tuned["settings"]["averaging"]),
        number(&tuned["settings"]["strength"]),
    );
    assert!(averaging < 1.0 && strength > 0.0);
    assert_eq!(tuned["settings"]["step"], 1.9);
    assert_eq!(tuned["settings"]["method"], "pnp");
    let table = std::fs::read_to_string(place.path("best.scores.csv")).unwrap();
    assert!(table.starts_with("key,id,averaging,strength,psnr,"), "{table}");
    let told = run(&place, "ct s.npy --settings best.toml --tol 1e-3 --max-iter 60");
    assert!((number(&told["psnr"]) - number(&tuned["psnr"])).abs() < 1e-9);
    assert_eq!(
        (number(&told["pnp"]["averaging"]), number(&told["pnp"]["strength"])),
        (averaging, strength)
    );

    let batch = "batch --manifest m.jsonl --out-template {id}.npy --json -q -- ct --settings best.toml --tol 1e-3 --max-iter 60";
    let status = || {
        let ended = place.run(batch).success(batch);
        let of_item = ended.stdout.lines().find(|line| line.contains("\"id\":"));
        let line: Value = serde_json::from_str(of_item.unwrap()).unwrap();
        line["status"].as_str().unwrap().to_owned()
    };
    let first = status();
    assert_eq!((first == "skipped", status()), (false, "skipped".to_owned()));
    // Another denoiser of the same name makes another result.
    shrinkage(0.03).write(&place.path("d.safetensors")).unwrap();
    assert_eq!(status(), first);
}

#[test]
fn mistakes_are_one_line() {
    let place = place();
    let refuses =
        |line: &str, code: i32, expected: &[&str]| place.refuses_line(&format!("{line} -o x.npy"), code, expected);
    refuses("ct s.npy --method pnp", 2, &["--denoiser", "train denoiser"]);
    refuses("ct s.npy --denoiser none.safetensors", 3, &["none.safetensors"]);
    refuses("ct s.npy --denoiser s.npy", 3, &["s.npy"]);
    refuses("ct s.npy --denoiser d.safetensors --step 2", 2, &["2 / |H|^2", "1.9"]);
    refuses("ct s.npy --denoiser d.safetensors --step -1", 2, &["above 0"]);
    refuses(
        "ct s.npy --denoiser d.safetensors --averaging 1",
        2,
        &["averaging of 1", "0.5"],
    );
    refuses(
        "ct s.npy --denoiser d.safetensors --algorithm admm --averaging 0.7",
        2,
        &["0.7", "firmly"],
    );
    refuses(
        "ct s.npy --denoiser d.safetensors --algorithm admm --step 1e7",
        2,
        &["step of 100"],
    );
    refuses(
        "ct s.npy --denoiser d.safetensors --lambda 1",
        2,
        &["--lambda", "--strength"],
    );
    refuses(
        "ct s.npy --denoiser d.safetensors --sigma 0.1",
        2,
        &["--sigma", "--noise"],
    );
    refuses(
        "ct s.npy --denoiser d.safetensors --method tv",
        2,
        &["--denoiser", "--method pnp"],
    );
    refuses("ct s.npy --step 1", 2, &["--step", "--method pnp"]);
    refuses(
        "ct s.npy --denoiser d.safetensors --algorithm gradient",
        2,
        &["algorithm"],
    );
    place.refuses_line(
        "ct s.npy --denoiser d.safetensors -o d.safetensors",
        2,
        &["d.safetensors"],
    );
    std::fs::write(place.path("set.toml"), "method = \"pnp\"\nstep = -1.0\n").unwrap();
    refuses("ct s.npy --settings set.toml", 3, &["set.toml", "above 0"]);
    let mut unrolled = start_model(&LayeredConfig::of_kind(Kind::Unrolled)).unwrap();
    unit_norm(&mut unrolled);
    unrolled.write(&place.path("u.safetensors")).unwrap();
    refuses(
        "ct s.npy --denoiser u.safetensors",
        3,
        &["u.safetensors", "tied = true", "train denoiser"],
    );
}
