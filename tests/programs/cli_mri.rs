//! `reconstruct simulate mri` and `reconstruct mri` as a user meets them.

use crate::common::{EPS, assert_close, gpu, relative_l2, turn, values};
use crate::program::Place;
use knotwork::io::image::{Format, Image};
use knotwork::io::npy::{Array, Values};
use knotwork::operator::{Cartesian, Mri, Pattern, apply, coil_maps};
use serde_json::Value;

const SIZE: [usize; 2] = [40, 45];

/// Edges of several directions on a gentle slope.
fn truth() -> Vec<f32> {
    let value = |r: f32, c: f32| {
        let inside = (r - 20.0).hypot(c - 22.0) < 17.0;
        let detail = (r - 15.0).abs() + (c - 25.0).abs() < 6.0;
        f32::from(u8::from(inside)) * (0.4 + 0.006 * c) + f32::from(u8::from(detail)) * 0.3
    };
    (0..SIZE[0] * SIZE[1])
        .map(|n| value((n / SIZE[1]) as f32, (n % SIZE[1]) as f32))
        .collect()
}

fn place() -> Place {
    let place = Place::new();
    Image::gray(SIZE[0], SIZE[1], truth(), Format::NpyF32)
        .unwrap()
        .write(place.path("clean.npy"), Format::NpyF32)
        .unwrap();
    place
}

fn read(place: &Place, name: &str) -> Array {
    Array::read(place.path(name)).unwrap()
}

fn write(place: &Place, name: &str, shape: &[usize], values: Values) {
    Array::new(shape.to_vec(), values)
        .unwrap()
        .write(place.path(name))
        .unwrap();
}

fn run(place: &Place, line: &str) -> Value {
    place.run(&format!("{line} --json --quiet")).success(line).json()
}

fn wide(v: &[f32]) -> Vec<f64> {
    v.iter().map(|&v| f64::from(v)).collect()
}

#[test]
fn simulated_samples_are_those_of_the_operator_with_noise_where_measured() {
    let _turn = turn();
    let place = place();
    let options = "--acceleration 3 --centre-fraction 0.1 --seed 5 --quiet";
    for (coils, pattern) in [(1, Pattern::Random), (3, Pattern::Equispaced)] {
        let name = if pattern == Pattern::Random {
            "random"
        } else {
            "equispaced"
        };
        let line = |file: &str, noise: &str| {
            format!("simulate mri clean.npy -o {file} {options} --coils {coils} --pattern {name}{noise}")
        };
        place.run(&line("pure.npy", "")).success("without noise");
        place.run(&line("noisy.npy", " --noise 0.03")).success("with noise");
        let sampling = Cartesian {
            acceleration: 3.0,
            centre_fraction: 0.1,
            pattern,
            seed: 5,
        };
        let mask = sampling.mask(SIZE).unwrap();
        assert_eq!(read(&place, "pure.mask.npy").values(), &Values::F32(mask.clone()));
        let maps = (coils > 1).then(|| coil_maps(coils, SIZE).unwrap());
        let shape = match &maps {
            Some(maps) => {
                assert_eq!(read(&place, "pure.maps.npy").values(), &Values::C64(maps.clone()));
                vec![coils, SIZE[0], SIZE[1]]
            }
            None => {
                assert!(!place.path("pure.maps.npy").exists());
                SIZE.to_vec()
            }
        };
        let mri = Mri::new(SIZE, mask.clone(), maps).unwrap();
        let want = apply(gpu(), &mri, &truth(), false).unwrap();
        let (pure, noisy) = (read(&place, "pure.npy"), read(&place, "noisy.npy"));
        assert_eq!(pure.shape(), shape);
        assert!(matches!(pure.values(), Values::C64(_)));
        assert!(relative_l2(&pure.values().to_f32(), &wide(&want)) < 1e-6);
        let noise: Vec<f64> = noisy
            .values()
            .to_f64()
            .iter()
            .zip(pure.values().to_f64())
            .map(|(a, b)| a - b)
            .collect();
        let measured = |at: usize| mask[at / 2 % mask.len()] == 1.0;
        let count = (0..noise.len()).filter(|&at| measured(at)).count() as f64;
        assert!(noise.iter().enumerate().all(|(at, n)| measured(at) || *n == 0.0));
        let sd = (noise.iter().map(|n| n * n).sum::<f64>() / count).sqrt();
        // Four standard deviations of the estimate.
        assert!((sd / 0.03 - 1.0).abs() < 4.0 / (2.0 * count).sqrt(), "{sd}");
        let record = std::fs::read_to_string(place.path("noisy.run.json")).unwrap();
        let record: Value = serde_json::from_str(&record).unwrap();
        assert_eq!(record["settings"]["coils"], coils);
        assert_eq!(record["outputs"]["beside"].as_array().unwrap().len(), coils.min(2));
    }
}

#[test]
fn methods_improve_on_zero_filling() {
    let place = place();
    for coils in [1, 4] {
        let simulate =
            format!("simulate mri clean.npy -o y.npy --acceleration 3 --noise 0.01 --coils {coils} --seed 2");
        place.run(&simulate).success("simulate");
        let psnr = |method: &str| {
            let line = format!("mri y.npy --method {method} --noise 0.01 -o out.npy --clean clean.npy --max-iter 1000");
            let result = run(&place, &line);
            assert_eq!(result["stop"], "converged", "{method}");
            if method != "zero-filled" {
                assert_eq!(result["constants"]["step_certified"], true, "{method}");
            }
            let out = Image::read(place.path("out.npy")).unwrap();
            assert_eq!([out.height, out.width], SIZE);
            assert!(out.planes.iter().all(|v| *v >= 0.0), "{method} goes below zero");
            result["psnr"].as_f64().unwrap()
        };
        let before = psnr("zero-filled");
        for method in ["tv", "model"] {
            let after = psnr(method);
            assert!(after > before + 3.0, "{coils} coils, {method}: {before} to {after}");
        }
    }
}

#[test]
fn an_item_of_a_batch_is_done_anew_when_a_file_beside_it_changes() {
    let place = place();
    place
        .run("simulate mri clean.npy -o y.npy --acceleration 3 --noise 0.01 --coils 2 -q")
        .success("simulate");
    std::fs::write(place.path("items.jsonl"), r#"{"id": "a", "input": "y.npy"}"#).unwrap();
    let status = || {
        let line = "batch --manifest items.jsonl --out-template {id}.npy --json -q -- mri --max-iter 2";
        let said = place.run(line).success(line).stdout;
        let first: Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
        first["status"].as_str().unwrap().to_owned()
    };
    assert_eq!([status(), status()], ["done", "skipped"]);
    let pixels = SIZE[0] * SIZE[1];
    write(&place, "y.mask.npy", &SIZE, Values::F32(vec![1.0; pixels]));
    assert_eq!([status(), status()], ["done", "skipped"]);
    let maps = coil_maps(2, SIZE)
        .unwrap()
        .iter()
        .map(|v| v.map(|part| 0.5 * part))
        .collect();
    write(&place, "y.maps.npy", &[2, SIZE[0], SIZE[1]], Values::C64(maps));
    assert_eq!([status(), status()], ["done", "skipped"]);
}

/// `sqrt(sum_c |F' M y_c|^2)` with the unitary transform centred on both sides, by its definition.
fn sum_of_squares(kspace: &[[f32; 2]], mask: &[f32], [rows, cols]: [usize; 2]) -> Vec<f64> {
    let phase = |a: usize, b: usize, n: usize| {
        let centred = |i: usize| i as f64 - (n / 2) as f64;
        std::f64::consts::TAU * centred(a) * centred(b) / n as f64
    };
    let pixels = rows * cols;
    let pixel = |at: usize| -> f64 {
        let coil = |samples: &[[f32; 2]]| -> f64 {
            let (mut re, mut im) = (0.0, 0.0);
            for (k, &[a, b]) in samples.iter().enumerate() {
                let [a, b] = [a, b].map(|part| f64::from(part * mask[k]));
                let angle = phase(k / cols, at / cols, rows) + phase(k % cols, at % cols, cols);
                re += a * angle.cos() - b * angle.sin();
                im += a * angle.sin() + b * angle.cos();
            }
            (re * re + im * im) / pixels as f64
        };
        kspace.chunks(pixels).map(coil).sum::<f64>().sqrt()
    };
    (0..pixels).map(pixel).collect()
}

#[test]
fn root_sum_of_squares_needs_no_maps() {
    let place = place();
    for (coils, size) in [(1, [6, 8]), (3, [7, 13]), (2, [20, 9])] {
        let pixels = size[0] * size[1];
        let samples: Vec<[f32; 2]> = values(coils as u64, 2 * coils * pixels).as_chunks().0.to_vec();
        let shape = [coils, size[0], size[1]];
        write(&place, "y.npy", &shape, Values::C64(samples.clone()));
        let mask: Vec<f32> = (0..pixels).map(|k| f32::from(k % 3 != 1)).collect();
        // A transform of n values adds log2(n) times in an order that is not the definition's, some of them three times as many by
        // the chirp; errors of coils add up by their squares, as their images do.
        let size_of = samples
            .as_flattened()
            .iter()
            .map(|v| f64::from(*v).powi(2))
            .sum::<f64>();
        let tolerance = 8.0 * EPS * (3.0 * (pixels as f64).log2() + coils as f64) * size_of.sqrt();
        let all = vec![1.0; pixels];
        for (mask, named) in [(&all, ""), (&mask, " --mask m.npy"), (&mask, "")] {
            if named.is_empty() && mask == &all {
                let _ = std::fs::remove_file(place.path("y.mask.npy"));
            } else {
                let file = if named.is_empty() { "y.mask.npy" } else { "m.npy" };
                write(&place, file, &size, Values::F32(mask.clone()));
            }
            let line = format!("mri y.npy --method root-sum-of-squares -o out.npy{named}");
            let result = run(&place, &line);
            assert_eq!(
                (&result["stop"], &result["iterations"]),
                (&"converged".into(), &0.into())
            );
            assert_eq!(result["lambda"], Value::Null, "nothing is weighed");
            let got = read(&place, "out.npy").values().to_f32();
            assert_close(&line, &got, &sum_of_squares(&samples, mask, size), |_| tolerance);
        }
    }
    // Slices of a stack are those alone.
    let samples: Vec<[f32; 2]> = values(9, 2 * 3 * 2 * 91).as_chunks().0.to_vec();
    write(&place, "y.npy", &[3, 2, 7, 13], Values::C64(samples.clone()));
    std::fs::remove_file(place.path("y.mask.npy")).unwrap();
    run(&place, "mri y.npy --method root-sum-of-squares -o out.npy");
    let stack = read(&place, "out.npy");
    assert_eq!(stack.shape(), [3, 7, 13]);
    write(&place, "y.npy", &[2, 7, 13], Values::C64(samples[182..364].to_vec()));
    run(&place, "mri y.npy --method root-sum-of-squares -o out.npy");
    assert_eq!(
        read(&place, "out.npy").values().to_f32(),
        stack.values().to_f32()[91..182]
    );
    // A mask of another size, and a command that has no coils.
    write(&place, "m.npy", &[13, 7], Values::F32(vec![1.0; 91]));
    place.refuses_line(
        "mri y.npy --method root-sum-of-squares -o no.npy --mask m.npy",
        3,
        &["m.npy", "(7, 13)"],
    );
    place.refuses_line(
        "upscale clean.npy --factor 2 --sigma 0.1 --method root-sum-of-squares -o no.npy",
        2,
        &["model, pnp or tv"],
    );
}

#[test]
fn the_noise_is_estimated_and_weights_have_a_floor() {
    let place = place();
    let chosen = |coils: usize, noise: f64, more: &str| {
        let simulate =
            format!("simulate mri clean.npy -o y.npy --acceleration 3 --noise {noise} --coils {coils} --seed 4");
        place.run(&simulate).success("simulate");
        let result = run(&place, &format!("mri y.npy --max-iter 1 -o out.npy{more}"));
        ["noise", "lambda", "sigma"].map(|key| result[key].as_f64().unwrap())
    };
    for noise in [0.002, 0.05] {
        // One coil: the conjugate symmetry of a real image leaves the noise alone. About 600 values: 5 standard deviations.
        let [estimate, ..] = chosen(1, noise, "");
        assert!((estimate / noise - 1.0).abs() < 0.25, "{estimate} for {noise}");
        // Several coils: the image adds to it.
        let [estimate, ..] = chosen(3, noise, "");
        assert!(estimate > 0.85 * noise, "{estimate} for {noise}");
    }
    let [noise, lambda, sigma] = chosen(1, 0.002, " --noise 0.001");
    assert_eq!([noise, lambda, sigma], [0.001, 0.005, 0.1]);
    let [_, lambda, sigma] = chosen(1, 0.002, " --noise 0.05");
    assert!((lambda - 0.25).abs() < 1e-12 && sigma == 0.1);
    let [_, lambda, sigma] = chosen(1, 0.002, " --noise 0.05 --sigma 0.05 --lambda 0.3");
    assert_eq!([lambda, sigma], [0.3, 0.05]);
}

#[test]
fn masks_and_maps_come_in_several_forms() {
    let _turn = turn();
    let place = place();
    place
        .run("simulate mri clean.npy -o y.npy --acceleration 3 --noise 0.01")
        .success("simulate");
    let zero_filled = |more: &str| {
        run(&place, &format!("mri y.npy --method zero-filled -o out.npy{more}"));
        read(&place, "out.npy").values().to_f32()
    };
    let want = zero_filled("");
    let mask = read(&place, "y.mask.npy").values().to_f32();
    let mri = Mri::new(SIZE, mask.clone(), None).unwrap();
    let direct = mri
        .zero_filled(gpu(), &read(&place, "y.npy").values().to_f32())
        .unwrap();
    let clamped: Vec<f32> = direct.iter().map(|v| v.max(0.0)).collect();
    assert_eq!(want, clamped);
    // One value per column; bytes of zeros and ones; a picture.
    write(&place, "columns.npy", &[SIZE[1]], Values::F64(wide(&mask[..SIZE[1]])));
    let bytes: Vec<u8> = mask.iter().map(|m| u8::from(*m == 1.0)).collect();
    write(&place, "bytes.npy", &SIZE, Values::U8(bytes));
    Image::gray(SIZE[0], SIZE[1], mask, Format::Png8)
        .unwrap()
        .write(place.path("mask.png"), Format::Png8)
        .unwrap();
    for name in ["columns.npy", "bytes.npy", "mask.png"] {
        assert_eq!(zero_filled(&format!(" --mask {name}")), want, "{name}");
    }
    // Double precision, an axis for the one coil, and a map that turns the phase of what it sees.
    let turned: Vec<[f64; 2]> = read(&place, "y.npy")
        .values()
        .to_f64()
        .chunks(2)
        .map(|v| [-v[1], v[0]])
        .collect();
    write(&place, "turned.npy", &[1, SIZE[0], SIZE[1]], Values::C128(turned));
    let i = vec![[0.0, 1.0]; SIZE[0] * SIZE[1]];
    write(&place, "i.npy", &SIZE, Values::C64(i));
    run(
        &place,
        "mri turned.npy --mask y.mask.npy --maps i.npy --method zero-filled -o out.npy",
    );
    assert!(relative_l2(&read(&place, "out.npy").values().to_f32(), &wide(&want)) < 1e-6);
}

#[test]
fn unusable_files_are_refused() {
    let place = place();
    place
        .run("simulate mri clean.npy -o y.npy --acceleration 3 --coils 2 --noise 0.01")
        .success("simulate");
    let pixels = SIZE[0] * SIZE[1];
    let kspace = read(&place, "y.npy");
    let Values::C64(samples) = kspace.values() else {
        panic!("complex numbers were written")
    };
    let refuses = |line: &str, expected: &[&str]| place.refuses_line(&format!("{line} -o out.npy"), 3, expected);

    write(&place, "small.npy", &[4, 5], Values::F32(vec![1.0; 20]));
    refuses("mri y.npy --mask small.npy", &["small.npy", "[4, 5]", "40 x 45"]);
    write(&place, "grey.npy", &SIZE, Values::F32(vec![0.5; pixels]));
    refuses(
        "mri y.npy --mask grey.npy",
        &["grey.npy", "0.5 at row 0, column 0", "0 (missing) or 1"],
    );
    write(&place, "empty.npy", &SIZE, Values::U8(vec![0; pixels]));
    refuses("mri y.npy --mask empty.npy", &["empty.npy", "measured"]);
    refuses("mri y.npy --mask y.npy", &["y.npy", "mask"]);
    refuses("mri y.npy --mask missing.npy", &["missing.npy", "no such file"]);

    write(
        &place,
        "three.npy",
        &[3, SIZE[0], SIZE[1]],
        Values::C64(vec![[1.0, 0.0]; 3 * pixels]),
    );
    refuses(
        "mri y.npy --maps three.npy",
        &["three.npy", "maps of 3 x 40 x 45", "2 coils"],
    );
    write(
        &place,
        "wide.npy",
        &[2, SIZE[0], SIZE[1] + 1],
        Values::C64(vec![[1.0, 0.0]; 2 * pixels + 2 * SIZE[0]]),
    );
    refuses("mri y.npy --maps wide.npy", &["wide.npy", "40 x 46"]);
    write(
        &place,
        "real.npy",
        &[2, SIZE[0], SIZE[1]],
        Values::F32(vec![1.0; 2 * pixels]),
    );
    refuses("mri y.npy --maps real.npy", &["real.npy", "complex64"]);
    write(
        &place,
        "dark.npy",
        &[2, SIZE[0], SIZE[1]],
        Values::C64(vec![[0.0; 2]; 2 * pixels]),
    );
    refuses("mri y.npy --maps dark.npy", &["dark.npy", "zero everywhere"]);

    let mut broken = samples.clone();
    broken[pixels + 2 * SIZE[1] + 7][1] = f32::NAN;
    write(&place, "nan.npy", kspace.shape(), Values::C64(broken));
    let files = "--mask y.mask.npy --maps y.maps.npy";
    refuses(
        &format!("mri nan.npy {files}"),
        &["nan.npy", "coil 1, row 2, column 7", "not finite"],
    );
    write(&place, "huge.npy", &SIZE, Values::C128(vec![[1e300, 0.0]; pixels]));
    refuses("mri huge.npy --mask y.mask.npy", &["huge.npy", "not finite"]);
    write(&place, "flat.npy", &[pixels], Values::C64(vec![[1.0, 0.0]; pixels]));
    refuses("mri flat.npy --mask y.mask.npy", &["flat.npy", "(coil, row, column)"]);
    write(&place, "none.npy", &[0, 3, 3], Values::C64(vec![]));
    refuses("mri none.npy --mask y.mask.npy", &["none.npy", "nothing in it"]);
    refuses("mri clean.npy --mask y.mask.npy", &["clean.npy", "real numbers"]);

    let bytes = std::fs::read(place.path("y.npy")).unwrap();
    std::fs::write(place.path("cut.npy"), &bytes[..bytes.len() - 1]).unwrap();
    refuses(&format!("mri cut.npy {files}"), &["cut.npy", "truncated"]);
    std::fs::copy(place.path("y.npy"), place.path("alone.npy")).unwrap();
    refuses("mri alone.npy", &["alone.mask.npy", "--mask"]);
    refuses("mri alone.npy --mask y.mask.npy", &["alone.maps.npy", "--maps"]);

    // Mistakes on the command line.
    let usage = |line: &str, expected: &[&str]| place.refuses_line(line, 2, expected);
    usage("mri y.npy -o out.npy --method fbp", &["zero-filled"]);
    usage("mri y.npy -o y.npy", &["replace"]);
    usage("simulate mri clean.npy -o k.png", &[".npy"]);
    usage("simulate mri clean.npy -o clean.npy", &["replace"]);
    usage("simulate mri clean.npy -o k.npy --acceleration 0.5", &["acceleration"]);
    usage(
        "simulate mri clean.npy -o k.npy --acceleration 8 --centre-fraction 0.2",
        &["centre fraction below 0.125"],
    );
    usage("simulate mri clean.npy -o k.npy --coils 65", &["coils"]);
    refuses("mri y.npy --clean small.npy", &["small.npy"]);
}

#[test]
fn colour_images_are_no_slices() {
    let place = place();
    Image::new(
        3,
        8,
        8,
        values(1, 192).iter().map(|v| v.abs()).collect(),
        Format::NpyF32,
    )
    .unwrap()
    .write(place.path("colour.npy"), Format::NpyF32)
    .unwrap();
    place.refuses_line("simulate mri colour.npy -o k.npy", 3, &["colour.npy", "channels"]);
}
