//! The two programs as a user meets them: files in, files out, one line for every mistake.

use crate::model_files::{bad_models, small_model};
use crate::program::{Place, RECONSTRUCT, TRAIN};
use knotwork::io::image::{Format, Image};
use knotwork::io::noise;
use knotwork::report::metrics;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

const HEIGHT: usize = 24;
const WIDTH: usize = 20;

impl Place {
    /// A small model, which is quick to compile, as `m.safetensors`.
    fn with_model(self) -> Self {
        small_model().write(&self.path("m.safetensors")).unwrap();
        self
    }

    /// A noisy image as `name`.
    fn with(self, name: &str, format: Format) -> Self {
        noisy(1, format).write(self.path(name), format).unwrap();
        self
    }
}

fn clean(channels: usize, format: Format) -> Image {
    let planes = (0..channels)
        .flat_map(|c| (0..HEIGHT * WIDTH).map(move |i| (c, i / WIDTH, i % WIDTH)))
        .map(|(c, row, col)| 0.5 + 0.25 * ((row / 6 + col / 5 + c) % 2) as f32)
        .collect();
    Image::new(channels, HEIGHT, WIDTH, planes, format).unwrap()
}

fn noisy(channels: usize, format: Format) -> Image {
    let mut image = clean(channels, format);
    let noise = noise::gaussian(5, 0, image.planes.len());
    for (value, n) in image.planes.iter_mut().zip(noise) {
        *value += 0.05 * n;
    }
    image
}

fn error_energy(a: &Image, b: &Image) -> f64 {
    a.planes
        .iter()
        .zip(&b.planes)
        .map(|(x, y)| f64::from(x - y).powi(2))
        .sum()
}

#[test]
fn every_format_comes_back_as_it_was_and_cleaner() {
    for (format, name, channels, alpha) in [
        (Format::Png8, "in.png", 3, true),
        (Format::Png16, "in.png", 1, false),
        (Format::TiffF32, "in.tif", 1, false),
        (Format::NpyF32, "in.npy", 3, false),
    ] {
        let place = Place::new().with_model();
        let mut image = noisy(channels, format);
        if alpha {
            image.alpha = Some((0..HEIGHT * WIDTH).map(|i| (i % 256) as f32 / 255.0).collect());
        }
        image.write(place.path(name), format).unwrap();
        // Read again, since rounding and clamping change it.
        let image = Image::read(place.path(name)).unwrap();
        let ended = place
            .run(&format!("denoise {name} --sigma 0.05 --model m.safetensors --quiet"))
            .success(name);
        assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("", ""), "{name}");
        let output = Image::read(place.path(&name.replace("in.", "in_denoised."))).unwrap();
        assert_eq!(output.format, format);
        assert_eq!(
            (output.channels, output.height, output.width),
            (channels, HEIGHT, WIDTH)
        );
        assert_eq!(output.alpha, image.alpha);
        let truth = clean(channels, format);
        let (before, after) = (error_energy(&image, &truth), error_energy(&output, &truth));
        assert!(after < 0.8 * before, "{name}: squared error {before} -> {after}");
        assert_eq!(place.files().len(), 4, "{:?}", place.files());
    }
}

#[test]
fn the_result_is_described_in_json_and_in_the_record() {
    let place = Place::new().with("in.npy", Format::NpyF32);
    clean(1, Format::NpyF32)
        .write(place.path("clean.npy"), Format::NpyF32)
        .unwrap();
    let ended = place
        .run("denoise in.npy --sigma 0.05 --clean clean.npy -o out.npy --json --lambda 0.9")
        .success("denoise");
    let result = ended.json();
    let keys: BTreeSet<&str> = result.as_object().unwrap().keys().map(String::as_str).collect();
    for key in [
        "output",
        "psnr",
        "ssim",
        "energy",
        "iterations",
        "stop",
        "seconds",
        "adapter",
        "model",
        "sigma",
    ] {
        assert!(keys.contains(key), "no {key} in {keys:?}");
    }
    for part in ["io", "compile", "solve"] {
        assert!(result["seconds"][part].as_f64().unwrap() > 0.0, "{part}");
    }
    assert_eq!(result["output"], "out.npy");
    assert_eq!(result["sigma"], 0.05);
    assert_eq!(result["model"], "wcrr-64");
    assert_eq!(result["stop"], "converged");
    assert!(result["iterations"].as_u64().unwrap() > 1);
    assert!(result["energy"].as_f64().unwrap() > 0.0);
    let (output, truth) = (Image::read(place.path("out.npy")).unwrap(), clean(1, Format::NpyF32));
    let psnr = metrics::psnr(&output.planes, &truth.planes).unwrap();
    let ssim = metrics::ssim(&output.planes, &truth.planes, HEIGHT, WIDTH).unwrap();
    assert!((result["psnr"].as_f64().unwrap() - psnr).abs() < 1e-9);
    assert!((result["ssim"].as_f64().unwrap() - ssim).abs() < 1e-9);
    assert!(
        ended.stderr.contains("PSNR") && ended.stderr.contains("out.npy"),
        "{}",
        ended.stderr
    );

    let record: Value = serde_json::from_slice(&std::fs::read(place.path("out.run.json")).unwrap()).unwrap();
    assert_eq!(record["schema"], 1);
    assert_eq!(record["command"], "denoise");
    assert_eq!(record["results"], result);
    assert_eq!(record["arguments"][1], "in.npy");
    assert_eq!(record["settings"]["lambda"], 0.9);
    assert_eq!(record["settings"]["certificate"]["energy_convex"], true);
    for (group, name, file) in [
        ("inputs", "image", "in.npy"),
        ("inputs", "clean", "clean.npy"),
        ("outputs", "image", "out.npy"),
    ] {
        let hash = knotwork::io::hash::blake3_file(place.path(file)).unwrap();
        assert_eq!(record[group][name]["blake3"], hash, "{file}");
    }
    for key in ["versions", "adapter", "conventions"] {
        assert!(!record[key].is_null(), "no {key}");
    }
}

#[test]
fn runs_repeat_bit_for_bit_and_do_not_depend_on_tiles() {
    let place = Place::new().with_model().with("in.npy", Format::NpyF32);
    let run = |options: &str, name: &str| {
        let line = format!("denoise in.npy --model m.safetensors -o {name} --json {options}");
        let result = place.run(&line).success(options).json();
        let bytes = std::fs::read(place.path(name)).unwrap();
        (result, bytes, Image::read(place.path(name)).unwrap())
    };
    let (first, bytes, image) = run("--sigma 25/255", "1.npy");
    // 25/255 in f64.
    let (second, again, _) = run("--sigma 0.09803921568627451", "2.npy");
    assert_eq!(bytes, again);
    assert_eq!(first["energy"], second["energy"]);
    assert_eq!(first["sigma"], second["sigma"]);
    let (third, _, tiled) = run("--sigma 25/255 --tile 8", "3.npy");
    assert!(third["tiles"].as_u64() > first["tiles"].as_u64(), "{third}");
    for (a, b) in image.planes.iter().zip(&tiled.planes) {
        assert!((a - b).abs() < 1e-5, "{a} {b}");
    }
    assert_eq!(first["iterations"], third["iterations"]);
}

#[test]
fn outputs_get_names_and_formats_that_can_be_written() {
    let place = Place::new().with_model().with("in.tif", Format::TiffF32);
    let sigma = "--sigma 0.05 --model m.safetensors --quiet --max-iter 3";
    place
        .run(&format!("denoise in.tif -o out.png {sigma}"))
        .success("conversion");
    assert_eq!(Image::read(place.path("out.png")).unwrap().format, Format::Png16);
    assert!(place.path("out.run.json").exists());

    let pixels: Vec<u8> = noisy(1, Format::Png8)
        .planes
        .iter()
        .map(|v| (255.0 * v) as u8)
        .collect();
    image::save_buffer_with_format(
        place.path("photo.jpg"),
        &pixels,
        WIDTH as u32,
        HEIGHT as u32,
        image::ExtendedColorType::L8,
        image::ImageFormat::Jpeg,
    )
    .unwrap();
    place.run(&format!("denoise photo.jpg {sigma}")).success("JPEG");
    assert_eq!(
        Image::read(place.path("photo_denoised.png")).unwrap().format,
        Format::Png8
    );

    // A TIFF whose name says nothing.
    std::fs::copy(place.path("in.tif"), place.path("scan")).unwrap();
    place
        .run(&format!("denoise scan {sigma} --record r.json"))
        .success("no extension");
    assert_eq!(
        Image::read(place.path("scan_denoised.tif")).unwrap().format,
        Format::TiffF32
    );
    assert!(place.path("r.json").exists() && !place.path("scan_denoised.run.json").exists());
}

#[test]
fn stopping_early_is_said() {
    let place = Place::new().with_model().with("in.png", Format::Png8);
    let ended = place
        .run("denoise in.png --sigma 0.05 --model m.safetensors --max-iter 2 --json")
        .success("two iterations");
    assert_eq!(ended.json()["stop"], "max-iterations");
    assert!(ended.stderr.contains("raise --max-iter"), "{}", ended.stderr);
}

#[test]
fn a_box_keeps_the_pixels_in_it() {
    let place = Place::new().with_model().with("in.npy", Format::NpyF32);
    place
        .run("denoise in.npy --sigma 0.05 --model m.safetensors --box 0.52,0.7 --solver plain -o out.npy")
        .success("box");
    let output = Image::read(place.path("out.npy")).unwrap();
    let (low, high) = output
        .planes
        .iter()
        .fold((f32::MAX, f32::MIN), |(low, high), &v| (low.min(v), high.max(v)));
    assert_eq!((low, high), (0.52, 0.7));
}

fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

#[test]
fn unusable_images_are_named() {
    let place = Place::new().with("in.png", Format::Png16);
    let whole = std::fs::read(place.path("in.png")).unwrap();
    let floats = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>();
    std::fs::create_dir(place.path("folder")).unwrap();
    for (name, bytes, expected) in [
        ("cut.png", &whole[..whole.len() / 2], "truncated"),
        ("header.png", &whole[..20], "truncated"),
        ("empty.png", &[], "is empty"),
        ("text.png", b"no image", "convert it to PNG"),
        (
            "nan.npy",
            &npy("<f4", "(2, 2)", &floats(&[0.0, 1.0, f32::NAN, 0.0])),
            "row 1, column 0",
        ),
        (
            "inf.npy",
            &npy("<f4", "(1, 2)", &floats(&[0.0, f32::INFINITY])),
            "nan_to_num",
        ),
        ("complex.npy", &npy("<c8", "(1, 2)", &[0; 16]), "numpy.abs"),
        ("text.npy", &npy("<U4", "(1, 1)", &[0; 16]), "U4"),
        ("five.npy", &npy("<f4", "(1, 1, 1, 2, 2)", &[0; 16]), "reshape"),
        ("one.npy", &npy("<f4", "(4,)", &[0; 16]), "reshape"),
        ("none.npy", &npy("<f4", "(0, 4)", &[]), "none.npy"),
        ("short.npy", &npy("<f4", "(4, 4)", &[0; 60]), "short.npy"),
        ("cut.jpg", b"\xff\xd8\xff\xe0\0\x10JFIF", "truncated or corrupt"),
    ] {
        std::fs::write(place.path(name), bytes).unwrap();
        place.refuses_line(&format!("denoise {name} --sigma 0.1"), 3, &[name, expected]);
        place.refuses_line(
            &format!("denoise in.png --sigma 0.1 --clean {name}"),
            3,
            &[name, expected],
        );
    }
    place.refuses_line("denoise missing.png --sigma 0.1", 3, &["missing.png", "no such file"]);
    place.refuses_line("denoise folder --sigma 0.1", 3, &["folder", "name a file"]);
    place.refuses_line("denoise in.png/below.png --sigma 0.1", 3, &["in.png/below.png"]);
    Image::gray(HEIGHT, WIDTH - 1, vec![0.5; HEIGHT * (WIDTH - 1)], Format::Png8)
        .unwrap()
        .write(place.path("narrow.png"), Format::Png8)
        .unwrap();
    place.refuses_line(
        "denoise in.png --sigma 0.1 --clean narrow.png",
        3,
        &["narrow.png", "the same image"],
    );
}

#[test]
fn impossible_requests_are_refused() {
    let place = Place::new().with_model().with("in.png", Format::Png8);
    for (options, expected) in [
        ("--sigma 0", "above 0"),
        ("--sigma -0.1", "above 0"),
        ("--sigma nan", "above 0"),
        ("--sigma inf", "above 0"),
        ("--sigma 25", "25/255"),
        ("--sigma 1/0", "above 0"),
        ("--sigma many", "no number"),
        ("--quiet", "--sigma"),
        ("--sigma 0.1 --lambda 0", "--lambda"),
        ("--sigma 0.1 --lambda -1", "--lambda"),
        ("--sigma 0.1 --tol 0", "--tol"),
        ("--sigma 0.1 --tol inf", "--tol"),
        ("--sigma 0.1 --max-iter 0", "--max-iter"),
        ("--sigma 0.1 --box 1,0", "lower end"),
        ("--sigma 0.1 --box 0,nan", "lower end"),
        ("--sigma 0.1 --box 7", "LOW,HIGH"),
        ("--sigma 0.1 --tile 3", "--tile"),
        ("--sigma 0.1 --timeout 0", "--timeout"),
        ("--sigma 0.1 --adapter index:first", "whole number"),
        ("--sigma 0.1 --lamda 2", "'--lambda'"),
        // rho = 0.5 |W|^2 = 1 in this model.
        ("--sigma 0.1 --model m.safetensors --lambda 1.5", "use at most 1.0000"),
    ] {
        place.refuses_line(&format!("denoise in.png {options}"), 2, &[expected]);
    }
    let beyond = ["outside the range", "0.5"];
    place.refuses_line("denoise in.png --sigma 0.6 --model m.safetensors", 3, &beyond);
    place.refuses_line("denoise in.png --sigma 1.2", 3, &["outside the range"]);
    place.refuses_line("sharpen in.png", 2, &["'sharpen'"]);
}

#[test]
fn unwritable_outputs_are_named_before_the_work() {
    let place = Place::new().with("in.png", Format::Png8);
    std::fs::create_dir(place.path("folder.png")).unwrap();
    for (output, expected) in [
        ("in.png/out.png", "not a folder"),
        ("missing/out.png", "create it first"),
        ("folder.png", "is a folder"),
        ("out.jpg", "use .png, .tif or .npy"),
        ("out.webp", "use .png, .tif or .npy"),
        ("out", "no extension"),
    ] {
        let line = format!("denoise in.png --sigma 0.1 -o {output}");
        place.refuses_line(&line, 2, &["cannot write", output, expected]);
    }
    for record in ["in.png/run.json", "folder.png", "in.png", "out.png"] {
        let line = format!("denoise in.png --sigma 0.1 -o out.png --record {record}");
        place.refuses_line(&line, 2, &["cannot write", record]);
    }
    place.refuses_line("demo -o in.png", 2, &["in.png", "-o"]);
    place.refuses(TRAIN, &[], &["dct", "-o", "in.png/m.safetensors"], 2, &["in.png"]);
}

#[test]
fn unusable_models_are_named() {
    let place = Place::new().with("in.png", Format::Png8);
    let line = "denoise in.png --sigma 0.1 --model bad.safetensors";
    place.refuses_line(line, 3, &["bad.safetensors", "no such file"]);
    for (_, bytes, expected) in bad_models() {
        std::fs::write(place.path("bad.safetensors"), bytes).unwrap();
        place.refuses_line(line, 3, &["bad.safetensors", expected]);
    }
    std::fs::create_dir(place.path("folder")).unwrap();
    place.refuses_line("denoise in.png --sigma 0.1 --model folder", 3, &["folder"]);
}

#[test]
fn a_missing_adapter_is_said_with_what_there_is() {
    let place = Place::new().with("in.png", Format::Png8);
    let denoise = ["denoise", "in.png", "--sigma", "0.1"];
    for which in ["voodoo", "index:99", "pci:ff:1f.7"] {
        let arguments = [&denoise[..], &["--adapter", which]].concat();
        place.refuses(RECONSTRUCT, &[], &arguments, 5, &[which, "there is: index:0"]);
    }
    let named = [("WGPU_ADAPTER_NAME", "nothing")];
    place.refuses(RECONSTRUCT, &named, &denoise, 5, &["nothing", "WGPU_ADAPTER_NAME"]);
    for backend in ["gl", "noop", "rubbish"] {
        let environment = [("WGPU_BACKEND", backend)];
        place.refuses(RECONSTRUCT, &environment, &denoise, 5, &[backend, "unset"]);
    }
    if cfg!(target_os = "linux") {
        let environment = [("WGPU_BACKEND", "metal")];
        place.refuses(RECONSTRUCT, &environment, &denoise, 5, &["metal", "unset"]);
        let nowhere = [("VK_DRIVER_FILES", "/nowhere"), ("VK_ICD_FILENAMES", "/nowhere")];
        place.refuses(RECONSTRUCT, &nowhere, &denoise, 5, &["mesa-vulkan-drivers"]);
        place.refuses(RECONSTRUCT, &nowhere, &["info"], 5, &["mesa-vulkan-drivers"]);
    }
}

#[test]
fn info_lists_adapters_and_passes_its_own_test() {
    let place = Place::new();
    let ended = place.run("info --json").success("info");
    let result = ended.json();
    assert!(!result["adapters"].as_array().unwrap().is_empty());
    assert!(result["in_use"]["name"].is_string());
    assert!(result["limits"]["max_binding_bytes"].as_u64().unwrap() >= 128 << 20);
    let error = result["self_test_relative_error"].as_f64().unwrap();
    assert!(error < 1e-5, "{error}");
    for part in ["index:0", "in use: ", "self-test"] {
        assert!(ended.stderr.contains(part), "{}", ended.stderr);
    }
}

#[test]
fn help_needs_no_device() {
    let place = Place::new();
    // Were an adapter asked for, there would be none.
    let environment = [("WGPU_BACKEND", "rubbish")];
    for (program, commands) in [
        (RECONSTRUCT, &["denoise", "demo", "info"][..]),
        (TRAIN, &["import", "dct"][..]),
    ] {
        for command in std::iter::once(None).chain(commands.iter().map(Some)) {
            let arguments: Vec<&str> = command.copied().into_iter().chain(["--help"]).collect();
            let start = Instant::now();
            let ended = place.run_with(program, &environment, &arguments).success("help");
            assert!(start.elapsed() < Duration::from_secs(1), "{arguments:?}");
            assert!(ended.stdout.contains("Usage:"), "{}", ended.stdout);
            assert_eq!(ended.stderr, "");
        }
        let version = place.run_with(program, &environment, &["--version"]).success("version");
        assert!(version.stdout.contains(env!("CARGO_PKG_VERSION")), "{}", version.stdout);
        let nothing = place.run_with(program, &environment, &[]);
        assert_eq!(nothing.code, Some(2));
        assert!(nothing.stderr.contains("Usage:"), "{}", nothing.stderr);
    }
}

#[test]
fn the_demo_improves_a_photograph() {
    let place = Place::new();
    let result = place.run("demo -o shown --json --quiet").success("demo").json();
    let (before, after) = (result["psnr_noisy"].as_f64().unwrap(), result["psnr"].as_f64().unwrap());
    assert!(
        (before - 20.17).abs() < 0.05,
        "noise of 25/255 is 20.17 dB, not {before}"
    );
    assert!(after > before + 5.0, "{before} -> {after}");
    let there: BTreeSet<String> = std::fs::read_dir(place.path("shown"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let expected = ["denoised.png", "noisy.png", "run.json", "side_by_side.png"];
    assert_eq!(there, expected.map(str::to_owned).into());
    let size = |name: &str| {
        let image = Image::read(place.path("shown").join(name)).unwrap();
        (image.height, image.width)
    };
    let (height, width) = size("noisy.png");
    assert_eq!(size("denoised.png"), (height, width));
    assert_eq!(size("side_by_side.png"), (height, 2 * width + 8));
    let record: Value = serde_json::from_slice(&std::fs::read(place.path("shown/run.json")).unwrap()).unwrap();
    assert_eq!(record["command"], "demo");
    assert_eq!(record["results"], result);
}

#[test]
fn the_default_model_is_what_train_dct_makes() {
    let place = Place::new();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/models/dct5.safetensors");
    for name in ["1.safetensors", "2.safetensors"] {
        place.run_with(TRAIN, &[], &["dct", "-o", name]).success("train dct");
        assert!(std::fs::read(place.path(name)).unwrap() == std::fs::read(&shipped).unwrap());
    }
    for (options, expected) in [
        (["--size", "4"], "odd"),
        (["--size", "17"], "3 to 15"),
        (["--slope", "0"], "above 0"),
        (["--slope", "-2"], "above 0"),
        (["--threshold", "nan"], "above 0"),
    ] {
        let arguments = [&["dct", "-o", "3.safetensors"][..], &options].concat();
        place.refuses(TRAIN, &[], &arguments, 2, &[expected]);
    }
}

#[test]
fn import_names_what_it_cannot_read() {
    let place = Place::new();
    let arguments = ["import", "c.pth", "-o", "m.safetensors"];
    let refuses = |expected: &[&str]| place.refuses(TRAIN, &[], &arguments, 3, expected);
    std::fs::write(place.path("config.json"), "{}").unwrap();
    refuses(&["c.pth", "no such file"]);
    std::fs::write(place.path("c.pth"), "no checkpoint").unwrap();
    refuses(&["c.pth"]);
    std::fs::remove_file(place.path("config.json")).unwrap();
    refuses(&["config.json", "--config"]);
    place.refuses(TRAIN, &[], &["import", "c.pth", "-o", "c.pth/m"], 2, &["c.pth/m"]);
}
