//! `train evaluate` and `train inspect` as a user meets them.

use crate::model_files::small_model;
use crate::program::{Place, RECONSTRUCT, TRAIN};
use knotwork::filters::norm::upper_bound;
use knotwork::io::image::{Format, Image};
use knotwork::io::noise;
use knotwork::report::metrics;
use serde_json::Value;

/// A picture of blocks that differs with `seed`.
fn picture(seed: usize, height: usize, width: usize) -> Image {
    let pixel = |i: usize| 0.3 + 0.1 * ((i / width / 5 + i % width / 4 + seed) % 5) as f32;
    Image::gray(height, width, (0..height * width).map(pixel).collect(), Format::NpyF32).unwrap()
}

/// `m.safetensors` and a folder `clean` of three pictures of two sizes, one broken file and one of another kind.
fn place() -> Place {
    let place = Place::new();
    small_model().write(&place.path("m.safetensors")).unwrap();
    std::fs::create_dir(place.path("clean")).unwrap();
    for (name, seed, height, width) in [("a.npy", 0, 24, 20), ("b.npy", 1, 17, 23), ("c.npy", 2, 24, 20)] {
        picture(seed, height, width)
            .write(place.path("clean").join(name), Format::NpyF32)
            .unwrap();
    }
    std::fs::write(place.path("clean").join("broken.png"), b"no picture").unwrap();
    std::fs::write(place.path("clean").join("notes.txt"), b"not an image").unwrap();
    place
}

fn train(place: &Place, line: &str) -> (Value, String) {
    let words: Vec<&str> = line.split_whitespace().collect();
    let ended = place.run_with(TRAIN, &[], &words).success(line);
    (ended.json(), ended.stderr)
}

#[test]
fn an_evaluation_is_what_denoising_each_image_gives() {
    let place = place();
    let (result, said) = train(
        &place,
        "evaluate m.safetensors --images clean --sigma 10,0.1 --seed 7 --json",
    );
    assert!(said.contains("skipped") && said.contains("broken.png"), "{said}");
    assert!(!said.contains("notes.txt"), "{said}");
    assert_eq!(result["skipped"].as_array().unwrap().len(), 1);
    let images = result["images"].as_array().unwrap();
    let names: Vec<&str> = images.iter().map(|i| i["image"].as_str().unwrap()).collect();
    assert_eq!(names, ["a.npy", "b.npy", "c.npy", "a.npy", "b.npy", "c.npy"]);
    for (index, score) in images.iter().enumerate() {
        let sigma = score["sigma"].as_f64().unwrap();
        assert_eq!(sigma, if index < 3 { 10.0 / 255.0 } else { 0.1 });
        // The same by hand: noise of stream i, the other program, the metric of the library.
        let clean = Image::read(place.path("clean").join(names[index])).unwrap();
        let noise = noise::gaussian(7, index as u64 % 3, clean.planes.len());
        let planes = clean
            .planes
            .iter()
            .zip(noise)
            .map(|(x, n)| x + sigma as f32 * n)
            .collect();
        let noisy = Image {
            planes,
            ..clean.clone()
        };
        noisy.write(place.path("noisy.npy"), Format::NpyF32).unwrap();
        let sigma = sigma.to_string();
        let words = [
            "denoise",
            "noisy.npy",
            "-o",
            "out.npy",
            "--model",
            "m.safetensors",
            "--sigma",
            &sigma,
        ];
        place.run_with(RECONSTRUCT, &[], &words).success("denoise");
        let denoised = Image::read(place.path("out.npy")).unwrap();
        let psnr = metrics::psnr(&denoised.planes, &clean.planes).unwrap();
        assert!(
            (psnr - score["psnr"].as_f64().unwrap()).abs() <= 1e-9,
            "{score}: {psnr}"
        );
        let ssim = metrics::ssim(&denoised.planes, &clean.planes, clean.height, clean.width).unwrap();
        assert!(
            (ssim - score["ssim"].as_f64().unwrap()).abs() <= 1e-9,
            "{score}: {ssim}"
        );
    }
    let mean = |of: &str, from: usize| -> f64 {
        images[from..from + 3]
            .iter()
            .map(|i| i[of].as_f64().unwrap())
            .sum::<f64>()
            / 3.0
    };
    for (level, from) in [(0, 0), (1, 3)] {
        let stated = &result["mean"][level];
        for of in ["psnr", "ssim", "iterations"] {
            assert!(
                (stated[of].as_f64().unwrap() - mean(of, from)).abs() <= 1e-9,
                "{of} {stated}"
            );
        }
    }

    let (first, _) = train(
        &place,
        "evaluate m.safetensors --images clean --sigma 10 --seed 7 --limit 1 --json",
    );
    assert_eq!(first["images"][0], images[0]);
    assert_eq!(first["images"].as_array().unwrap().len(), 1);
}

#[test]
fn an_inspection_states_the_constants_and_draws_the_model() {
    let place = place();
    let (result, said) = train(&place, "inspect m.safetensors -o shown --json");
    let model = small_model();
    assert!(said.contains(&format!("{} channels", model.bank.channels())), "{said}");
    assert!(said.contains("beyond the borders of an image lie zeros"), "{said}");
    let (_, of_mirrored) = train(&place, "inspect wcrr-64 --json");
    assert!(of_mirrored.contains("lies its mirror image"), "{of_mirrored}");
    let certificate = &result["certificate"];
    assert_eq!(
        certificate["norm_squared_upper_bound"].as_f64().unwrap(),
        upper_bound(&model.bank)
    );
    assert_eq!(
        certificate["gradient_lipschitz"].as_f64().unwrap(),
        model.gradient_lipschitz()
    );
    let (low, high) = model
        .activations
        .iter()
        .map(|a| a.slope_range())
        .fold((f64::MAX, f64::MIN), |a, b| (a.0.min(b.0), a.1.max(b.1)));
    assert_eq!(certificate["slopes"], serde_json::json!([low, high]));
    let written: Value = serde_json::from_slice(&std::fs::read(place.path("shown/certificate.json")).unwrap()).unwrap();
    assert_eq!(written, result);
    assert!(
        std::fs::read_to_string(place.path("shown/activations.svg"))
            .unwrap()
            .contains("phi 0")
    );
    let filters = Image::read(place.path("shown/filters.png")).unwrap();
    // The taps of the first filter, 8 pixels each behind a margin of 4, around gray.
    let taps = model.bank.effective_filters();
    let side = 2 * model.bank.radius() + 1;
    let largest = taps[..side * side].iter().fold(0.0_f64, |m, w| m.max(w.abs()));
    for (tap, weight) in taps[..side * side].iter().enumerate() {
        let (row, column) = (4 + 8 * (tap / side) + 3, 4 + 8 * (tap % side) + 3);
        let want = 0.5 + 0.5 * weight / largest;
        let got = f64::from(filters.planes[row * filters.width + column]);
        assert!((got - want).abs() <= 0.6 / 255.0, "tap {tap}: {got}, want {want}");
    }
}

#[test]
fn mistakes_are_one_line() {
    let place = place();
    std::fs::create_dir(place.path("empty")).unwrap();
    std::fs::create_dir(place.path("bad")).unwrap();
    std::fs::write(place.path("bad").join("x.png"), b"no picture").unwrap();
    let refuses = |line: &str, code: i32, expected: &[&str]| {
        let words: Vec<&str> = line.split(' ').collect();
        place.refuses(TRAIN, &[], &words, code, expected);
    };
    refuses("evaluate m.safetensors --images empty", 3, &["empty", "holds no image"]);
    refuses(
        "evaluate m.safetensors --images bad",
        3,
        &["bad", "none of its 1 images", "x.png"],
    );
    refuses(
        "evaluate m.safetensors --images missing",
        3,
        &["missing", "cannot be listed"],
    );
    refuses("evaluate m.safetensors --images clean --sigma 0", 2, &["above 0"]);
    refuses("evaluate m.safetensors --images clean --sigma 300", 2, &["below 256"]);
    refuses(
        "evaluate m.safetensors --images clean --sigma 255",
        3,
        &["outside the range"],
    );
    refuses(
        "evaluate none.safetensors --images clean",
        3,
        &["none.safetensors", "no such file"],
    );
    refuses(
        "evaluate m.safetensors --images clean --sigma 5 --lambda=-1",
        2,
        &["lambda"],
    );
    refuses("inspect clean/a.npy", 3, &["a.npy", "model file"]);
    refuses(
        "inspect m.safetensors -o m.safetensors/in",
        2,
        &["m.safetensors/in", "another folder"],
    );
}

#[test]
fn shipped_models_go_by_their_names() {
    let place = Place::new();
    for (name, model) in [
        ("default", "wcrr-64"),
        ("wcrr-small", "wcrr-small"),
        ("crr-32", "crr-32"),
        ("crr-48", "crr-48"),
        ("crr-44", "crr-44"),
        ("dct5", "dct5"),
        ("wcrr-phantom", "wcrr-phantom"),
        ("wcrr-48", "wcrr-48"),
        ("wcrr-64", "wcrr-64"),
    ] {
        let result = place
            .run_with(TRAIN, &[], &["inspect", name, "--json"])
            .success(name)
            .json();
        assert_eq!(result["model"], model);
        assert_eq!(result["certificate"]["norm_kind"], "bound");
        assert_eq!(result["certificate"]["energy_convex"], true, "{name}");
        let rho = result["certificate"]["weak_convexity"].as_f64().unwrap();
        assert_eq!(rho > 0.0, model.starts_with("wcrr"), "{name} has rho {rho}");
    }
    // At most 12 trained knots, as `docs/numbers.md` says, and two that bound the energy from below.
    let largest = |name: &str| {
        let result = place.run_with(TRAIN, &[], &["inspect", name, "--json"]).json();
        result["knots"]
            .as_array()
            .unwrap()
            .iter()
            .map(|k| k.as_u64().unwrap())
            .max()
    };
    for (name, most) in [
        ("wcrr-small", 14),
        ("wcrr-48", 14),
        ("wcrr-64", 14),
        ("wcrr-phantom", 14),
        ("crr-32", 12),
        ("crr-48", 12),
        ("crr-44", 8),
    ] {
        assert!(largest(name) <= Some(most), "{name}");
    }
    place.refuses(TRAIN, &[], &["inspect", "wcrr-smal"], 3, &["wcrr-smal"]);
    picture(1, 20, 24).write(place.path("in.npy"), Format::NpyF32).unwrap();
    place
        .run("denoise in.npy -o out.npy --sigma 0.05 --model crr-32")
        .success("a shipped model by its name");
    let record = std::fs::read_to_string(place.path("out.run.json")).unwrap();
    let record: Value = serde_json::from_str(&record).unwrap();
    assert_eq!(record["inputs"]["model"]["shipped"], "crr-32");
    // A file of that name comes first.
    place.run_with(TRAIN, &[], &["dct", "-o", "wcrr-small"]).success("dct");
    let result = place.run_with(TRAIN, &[], &["inspect", "wcrr-small", "--json"]).json();
    assert_eq!(result["model"], "dct5");
}
