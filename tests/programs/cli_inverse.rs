//! `reconstruct inpaint`, `deblur` and `upscale` as a user meets them.

use std::path::Path;

use crate::common::{gpu, turn, values};
use crate::program::{Place, RECONSTRUCT};
use knotwork::io::image::{Format, Image};
use knotwork::model::Shipped;
use knotwork::model::device::RunOptions;
use knotwork::operator::{Blur, Boundary, Mask, apply};
use knotwork::report::metrics::psnr;
use knotwork::solver::{Reconstructor, Regularizer, Settings};

const SIZE: [usize; 2] = [36, 48];

fn gray([rows, cols]: [usize; 2], values: Vec<f32>) -> Image {
    Image::gray(rows, cols, values, Format::NpyF32).unwrap()
}

/// Edges of several directions.
fn truth() -> Vec<f32> {
    let value = |r: f32, c: f32| {
        if r + 0.5 * c > 34.0 {
            0.8
        } else if (r - 14.0).hypot(c - 16.0) < 9.0 {
            0.6
        } else {
            0.25
        }
    };
    (0..SIZE[0] * SIZE[1])
        .map(|n| value((n / SIZE[1]) as f32, (n % SIZE[1]) as f32))
        .collect()
}

/// Half of the pixels.
fn mask() -> Vec<f32> {
    let draws = values(8, SIZE[0] * SIZE[1]);
    draws.iter().map(|v| f32::from(*v > 0.0)).collect()
}

fn noisy(values_of: Vec<f32>, sigma: f32) -> Vec<f32> {
    // Uniform values of variance 1.
    let noise = values(5, values_of.len());
    values_of
        .iter()
        .zip(noise)
        .map(|(v, n)| v + 1.732 * sigma * n)
        .collect()
}

/// Runs, and returns the PSNR of the result, which must be the one that is reported.
fn run(place: &Place, line: &str) -> f64 {
    let result = place
        .run(&format!("{line} -o out.npy --clean clean.npy --json --quiet"))
        .success(line)
        .json();
    let out = Image::read(place.path("out.npy")).unwrap();
    assert!(
        out.planes.iter().all(|v| (0.0..=1.0).contains(v)),
        "{line} leaves the box"
    );
    let score = psnr(&out.planes, &truth()).unwrap();
    assert!((result["psnr"].as_f64().unwrap() - score).abs() < 1e-9);
    assert_eq!(result["stop"], "converged", "{line}");
    assert_eq!(result["constants"]["step_certified"], true, "{line}");
    let record = std::fs::read_to_string(place.path("out.run.json")).unwrap();
    assert!(record.contains(line.split(' ').next().unwrap()));
    score
}

fn record(place: &Place) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(place.path("out.run.json")).unwrap()).unwrap()
}

fn place() -> Place {
    let place = Place::new();
    let write = |name: &str, image: Image| image.write(place.path(name), Format::NpyF32).unwrap();
    write("clean.npy", gray(SIZE, truth()));
    place
}

#[test]
fn missing_pixels_are_filled_in() {
    let place = place();
    let mask = mask();
    let measured: Vec<f32> = noisy(truth(), 0.02).iter().zip(&mask).map(|(y, m)| y * m).collect();
    gray(SIZE, measured.clone())
        .write(place.path("y.npy"), Format::NpyF32)
        .unwrap();
    gray(SIZE, mask.clone())
        .write(place.path("mask.png"), Format::Png8)
        .unwrap();
    let filled = |with: f32| {
        measured
            .iter()
            .zip(&mask)
            .map(|(y, m)| if *m > 0.0 { *y } else { with })
            .collect::<Vec<_>>()
    };
    let before = psnr(&filled(0.4), &truth()).unwrap();
    let after = run(&place, "inpaint y.npy --mask mask.png --sigma 0.02 --max-iter 3000");
    assert!(after > before + 8.0, "{before} to {after}");
}

/// The program's image is that of the solver started where a convex regularizer has its minimiser, bit for bit.
#[test]
fn a_weakly_convex_regularizer_starts_where_a_convex_one_ends() {
    let _turn = turn();
    let place = place();
    let mask = mask();
    let measured: Vec<f32> = noisy(truth(), 0.01).iter().zip(&mask).map(|(y, m)| y * m).collect();
    let write = |name: &str, values: &[f32]| gray(SIZE, values.to_vec()).write(place.path(name), Format::NpyF32);
    write("y.npy", &measured).unwrap();
    write("mask.npy", &mask).unwrap();
    let line = |model: &str| {
        format!("inpaint y.npy --mask mask.npy --sigma 0.002 --model {model} -o out.npy --max-iter 3000 --json --quiet")
    };
    let result = place.run(&line("wcrr-small")).success("wcrr-small").json();
    assert_eq!(result["first_model"], "crr-48");
    assert_eq!(record(&place)["settings"]["tolerance"], 6e-5);
    let out = Image::read(place.path("out.npy")).unwrap();

    let operator = Mask::new(SIZE, mask.clone()).unwrap();
    let seen: f32 = mask.iter().sum();
    let mean = measured.iter().sum::<f32>() / seen;
    let direct: Vec<f32> = measured
        .iter()
        .zip(&mask)
        .map(|(y, m)| if *m > 0.0 { y.clamp(0.0, 1.0) } else { mean })
        .collect();
    let solve = |name: &str, start: &[f32]| {
        let model = Shipped::or_file(Path::new(name)).unwrap();
        let settings = Settings {
            lambda: 1.0,
            tolerance: 6e-5,
            max_iterations: 3000,
            limits: Some((0.0, 1.0)),
            ..Settings::default()
        };
        let options = RunOptions {
            sigma: 0.002,
            style: None,
            tile: None,
        };
        let regularizer = Regularizer::Ridge(&model, options);
        let solver = Reconstructor::new(gpu(), &operator, regularizer, settings).unwrap();
        solver.run(&measured, start, |_, _| {}).unwrap()
    };
    let convex = solve("crr-48", &direct);
    let both = solve("wcrr-small", &convex.image);
    let alone = solve("wcrr-small", &direct);
    assert_eq!(out.planes, both.image);
    assert_ne!(out.planes, alone.image);
    assert_eq!(result["iterations"], convex.iterations + both.iterations);
    // The record tells how both energies fell, the iterations counted through.
    let told = &record(&place)["results"]["energy_history"];
    let mut before = 0;
    for (n, (name, outcome)) in [("crr-48", &convex), ("wcrr-small", &both)].into_iter().enumerate() {
        assert_eq!(told[n]["regularizer"], name);
        let (iterations, energies): (Vec<usize>, Vec<f64>) = outcome
            .history
            .entries
            .iter()
            .map(|(n, energy)| (before + n, energy))
            .unzip();
        assert_eq!(told[n]["iterations"], serde_json::json!(iterations), "{told}");
        assert_eq!(told[n]["energies"], serde_json::json!(energies), "{told}");
        before += outcome.iterations;
    }
    assert_eq!(told.as_array().unwrap().len(), 2);

    let result = place.run(&line("crr-32")).success("crr-32").json();
    assert!(result["first_model"].is_null(), "{result}");
    let energies = &record(&place)["results"]["energy_history"][0]["energies"];
    assert_eq!(energies.as_array().unwrap().last(), Some(&result["energy"]));
}

/// Where every pixel is measured, the record bounds the distance to the minimiser; elsewhere it says why not.
#[test]
fn records_tell_how_far_the_minimiser_may_be() {
    let place = place();
    let size = [18, 24];
    let write = |name: &str, values: Vec<f32>| gray(size, values).write(place.path(name), Format::NpyF32).unwrap();
    write("y.npy", truth().into_iter().step_by(4).collect());
    write("all.npy", vec![1.0; 432]);
    write("some.npy", (0..432).map(|n| f32::from(u8::from(n % 3 > 0))).collect());
    for (options, why) in [
        ("--mask all.npy --model crr-32", None),
        ("--mask all.npy --model crr-32 --tol 1e-2", None),
        ("--mask some.npy --model crr-32", Some("operator")),
        ("--mask all.npy --method tv", Some("smooth")),
    ] {
        let line = format!("inpaint y.npy {options} --sigma 0.05 -o out.npy --json --quiet");
        let result = place.run(&line).success(options).json();
        let (bound, none) = (result["error_bound"].as_f64(), result["no_error_bound"].as_str());
        assert_eq!(bound.is_some(), why.is_none(), "{options}: {result}");
        assert!(none.unwrap_or("").contains(why.unwrap_or("")), "{options}: {result}");
        let told = record(&place);
        assert_eq!(told["results"]["error_bound"], result["error_bound"], "{options}");
        assert_eq!(told["results"]["no_error_bound"], result["no_error_bound"], "{options}");
        // An image of values up to 0.8 and 432 pixels has a norm of about 10.
        assert!(
            bound.is_none_or(|bound| bound > 0.0 && bound < 2.0),
            "{options}: {result}"
        );
    }
}

/// Weakly convex at the level that suits the noise, convex at levels that are lower by hand, and never below the least level by itself.
#[test]
fn default_models_and_levels() {
    let place = place();
    gray([18, 24], truth().into_iter().step_by(4).collect())
        .write(place.path("y.npy"), Format::NpyF32)
        .unwrap();
    for (options, model, first, level, tolerance) in [
        ("--noise 0.01", "wcrr-64", "crr-48", 0.08, 1e-4),
        ("--noise 0.001", "wcrr-64", "crr-48", 4.0 / 255.0, 3e-5),
        ("--noise 0.00001", "wcrr-64", "crr-48", 4.0 / 255.0, 1e-6),
        ("--noise 0.05", "wcrr-64", "crr-48", 30.0 / 255.0, 1e-4),
        ("--sigma 0.04 --noise 0.01", "wcrr-64", "crr-48", 0.04, 1e-4),
        ("--sigma 0.03 --noise 0.01", "crr-48", "", 0.03, 1e-4),
        ("--sigma 0.01", "crr-48", "", 0.01, 1e-4),
        ("--sigma 0.01 --model wcrr-small", "wcrr-small", "crr-48", 0.01, 1e-4),
    ] {
        let result = place
            .run(&format!(
                "upscale y.npy --factor 2 {options} -o out.npy --max-iter 1 --json --quiet"
            ))
            .success(options)
            .json();
        let used = record(&place)["settings"]["tolerance"].as_f64().unwrap();
        assert!((used - tolerance).abs() < 1e-12, "{options}: tolerance {used}");
        assert_eq!(result["model"], model, "{options}");
        assert_eq!(result["first_model"].as_str().unwrap_or(""), first, "{options}");
        assert!(
            (result["sigma"].as_f64().unwrap() - level).abs() < 1e-9,
            "{options}: {result}"
        );
    }
}

#[test]
fn a_blur_is_undone() {
    let _turn = turn();
    let place = place();
    let kernel: Vec<f32> = [1.0, 2.0, 3.0, 2.0, 1.0]
        .iter()
        .flat_map(|a| [1.0, 2.0, 3.0, 2.0, 1.0].map(|b| a * b))
        .collect();
    let sum: f32 = kernel.iter().sum();
    let normal: Vec<f32> = kernel.iter().map(|k| k / sum).collect();
    for (boundary, name) in [(Boundary::Circular, "circular"), (Boundary::Reflect, "reflect")] {
        let blur = Blur::new(SIZE, normal.clone(), [5, 5], boundary).unwrap();
        let measured = noisy(apply(gpu(), &blur, &truth(), false).unwrap(), 0.01);
        gray(SIZE, measured.clone())
            .write(place.path("y.npy"), Format::NpyF32)
            .unwrap();
        gray([5, 5], kernel.clone())
            .write(place.path("kernel.npy"), Format::NpyF32)
            .unwrap();
        let before = psnr(&measured, &truth()).unwrap();
        let after = run(
            &place,
            &format!("deblur y.npy --kernel kernel.npy --boundary {name} --sigma 0.01 --max-iter 3000"),
        );
        assert!(after > before + 1.5, "{name}: {before} to {after}");
    }
}

#[test]
fn an_image_is_made_larger() {
    let _turn = turn();
    let place = place();
    for factor in [2, 3, 4] {
        let down = Blur::downsampling(SIZE, factor).unwrap();
        let measured = apply(gpu(), &down, &truth(), false).unwrap();
        let small = [SIZE[0] / factor, SIZE[1] / factor];
        gray(small, measured.clone())
            .write(place.path("y.npy"), Format::NpyF32)
            .unwrap();
        let repeated: Vec<f32> = (0..SIZE[0] * SIZE[1])
            .map(|n| measured[n / SIZE[1] / factor * small[1] + n % SIZE[1] / factor])
            .collect();
        let before = psnr(&repeated, &truth()).unwrap();
        let after = run(
            &place,
            &format!("upscale y.npy --factor {factor} --sigma 0.01 --max-iter 3000"),
        );
        assert!(after > before + 1.0, "factor {factor}: {before} to {after}");
    }
}

#[test]
fn mistakes_are_one_line() {
    let place = place();
    let write = |name: &str, image: Image, format: Format| image.write(place.path(name), format).unwrap();
    write("half.npy", gray(SIZE, vec![0.5; SIZE[0] * SIZE[1]]), Format::NpyF32);
    write("none.npy", gray(SIZE, vec![0.0; SIZE[0] * SIZE[1]]), Format::NpyF32);
    write("small.npy", gray([4, 4], vec![1.0; 16]), Format::NpyF32);
    write("zero.npy", gray([1, 3], vec![1.0, -2.0, 1.0]), Format::NpyF32);
    write("wide.npy", gray([1, 99], vec![1.0; 99]), Format::NpyF32);
    let refuses = |line: &str, code: i32, expected: &[&str]| place.refuses_line(line, code, expected);
    refuses(
        "inpaint clean.npy --mask half.npy -o o.npy --sigma 0.1",
        3,
        &["half.npy", "0.5"],
    );
    refuses(
        "inpaint clean.npy --mask none.npy -o o.npy --sigma 0.1",
        3,
        &["none.npy", "no pixel"],
    );
    refuses(
        "inpaint clean.npy --mask small.npy -o o.npy --sigma 0.1",
        3,
        &["small.npy", "36 x 48"],
    );
    refuses(
        "inpaint clean.npy --mask nowhere.npy -o o.npy --sigma 0.1",
        3,
        &["nowhere.npy"],
    );
    refuses(
        "deblur clean.npy --kernel zero.npy -o o.npy --sigma 0.1",
        3,
        &["zero.npy", "zero"],
    );
    refuses(
        "deblur clean.npy --kernel wide.npy -o o.npy --sigma 0.1",
        3,
        &["wide.npy", "larger than"],
    );
    refuses("upscale clean.npy --factor 5 -o o.npy --sigma 0.1", 2, &["factor"]);
    gray([3, 40], vec![0.5; 120])
        .write(place.path("flat.npy"), Format::NpyF32)
        .unwrap();
    refuses(
        "upscale flat.npy --factor 4 -o o.npy --sigma 0.1",
        3,
        &["flat.npy", "too few", "at least 16"],
    );
    refuses(
        "upscale clean.npy --factor 2 -o clean.npy --sigma 0.1",
        2,
        &["clean.npy", "-o"],
    );
    refuses(
        "upscale clean.npy --factor 2 -o o.npy --sigma 0.1 --clean clean.npy",
        3,
        &["clean.npy", "72"],
    );
    refuses(
        "inpaint clean.npy --mask half.npy -o half.npy --sigma 0.1",
        3,
        &["half.npy"],
    );
    let full = gray(SIZE, vec![1.0; SIZE[0] * SIZE[1]]);
    write("full.npy", full, Format::NpyF32);
    // No file that is read is ever replaced, whatever its path is spelt like.
    refuses(
        "inpaint clean.npy --mask full.npy -o ./full.npy --sigma 0.1",
        2,
        &["full.npy", "-o"],
    );
    refuses(
        "deblur full.npy --kernel small.npy -o clean.npy --sigma 0.1 --clean clean.npy",
        2,
        &["clean.npy", "-o"],
    );
    refuses(
        "deblur clean.npy --kernel small.npy -o o.npy --sigma 0.1 --record full.npy --clean full.npy",
        2,
        &["full.npy", "--record"],
    );
    refuses(
        "deblur clean.npy --kernel small.npy -o o.npy --sigma 0.1 --model dct6",
        3,
        &["dct6"],
    );
    assert!(
        place
            .run_with(RECONSTRUCT, &[], &["inpaint", "--help"])
            .stdout
            .contains("--mask")
    );
}
