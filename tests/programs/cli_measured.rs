//! What was measured and what was not: masks as files have them, values that nobody measured, noise that nobody named.

use serde_json::Value;

use crate::common::values;
use crate::program::Place;
use knotwork::io::image::{Format, Image};
use knotwork::io::noise::gaussian;
use knotwork::io::npy::{Array, Values};

const SIZE: [usize; 2] = [40, 52];

fn image(place: &Place, name: &str, [rows, cols]: [usize; 2], values: Vec<f32>, format: Format) {
    let image = Image::gray(rows, cols, values, format).unwrap();
    image.write(place.path(name), format).unwrap();
}

fn read(place: &Place, name: &str) -> Vec<f32> {
    Array::read(place.path(name)).unwrap().values().to_f32()
}

fn run(place: &Place, line: &str) -> Value {
    place.run(&format!("{line} -o out.npy --json -q")).success(line).json()
}

/// A disc and a slope.
fn truth([rows, cols]: [usize; 2]) -> Vec<f32> {
    let value = |r: f32, c: f32| {
        if (r - 17.0).hypot(c - 20.0) < 9.0 {
            0.7
        } else {
            0.2 + 0.004 * (r + c)
        }
    };
    (0..rows * cols)
        .map(|n| value((n / cols) as f32, (n % cols) as f32))
        .collect()
}

/// NPY of booleans, which nothing here writes.
fn write_booleans(place: &Place, name: &str, [rows, cols]: [usize; 2], values: &[bool]) {
    let header = format!("{{'descr': '|b1', 'fortran_order': False, 'shape': ({rows}, {cols}), }}");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(values.iter().map(|v| u8::from(*v)));
    std::fs::write(place.path(name), bytes).unwrap();
}

#[test]
fn masks_are_booleans_bytes_or_pictures() {
    let place = Place::new();
    let [rows, cols] = SIZE;
    let seen: Vec<bool> = values(8, rows * cols).iter().map(|v| *v > 0.0).collect();
    image(&place, "y.npy", SIZE, truth(SIZE), Format::NpyF32);
    write_booleans(&place, "booleans.npy", SIZE, &seen);
    let array = |name: &str, values| {
        Array::new(SIZE.to_vec(), values)
            .unwrap()
            .write(place.path(name))
            .unwrap()
    };
    let number = |one: u8| seen.iter().map(|s| if *s { one } else { 0 }).collect::<Vec<u8>>();
    array("ones.npy", Values::U8(number(1)));
    array("bytes.npy", Values::U8(number(255)));
    array("long.npy", Values::I64(number(1).into_iter().map(i64::from).collect()));
    array("float.npy", Values::F32(number(1).into_iter().map(f32::from).collect()));
    let picture = |one: f32| number(1).into_iter().map(|s| f32::from(s) * one).collect();
    image(&place, "white.png", SIZE, picture(1.0), Format::Png8);
    image(&place, "one.png", SIZE, picture(1.0 / 255.0), Format::Png8);
    image(&place, "one16.png", SIZE, picture(1.0 / 65535.0), Format::Png16);
    let filled = |mask: &str| {
        run(
            &place,
            &format!("inpaint y.npy --mask {mask} --sigma 0.02 --model dct5 --max-iter 20"),
        );
        read(&place, "out.npy")
    };
    let want = filled("float.npy");
    assert!(
        want.iter().zip(&truth(SIZE)).any(|(a, b)| (a - b).abs() > 0.01),
        "nothing was missing"
    );
    for mask in [
        "booleans.npy",
        "ones.npy",
        "bytes.npy",
        "long.npy",
        "white.png",
        "one.png",
        "one16.png",
    ] {
        assert_eq!(filled(mask), want, "{mask}");
    }
    // Grey is neither.
    image(&place, "grey.png", SIZE, vec![0.5; rows * cols], Format::Png8);
    place.refuses_line(
        "inpaint y.npy --mask grey.png --sigma 0.02 -o no.npy",
        3,
        &["grey.png", "row 0"],
    );
    array("two.npy", Values::U8(number(2)));
    place.refuses_line(
        "inpaint y.npy --mask two.npy --sigma 0.02 -o no.npy",
        3,
        &["two.npy", "mask is 2"],
    );
}

/// Whoever keeps the values that the mask takes away gets the same image, and the same energy.
#[test]
fn values_that_were_not_measured_do_not_count() {
    let place = Place::new();
    image(&place, "clean.npy", SIZE, truth(SIZE), Format::NpyF32);
    for (simulate, reconstruct) in [
        (
            "inpaint clean.npy --keep 0.6 --noise 0.02",
            "inpaint y.npy --mask y.mask.npy --sigma 0.02",
        ),
        (
            "mri clean.npy --acceleration 3 --noise 0.005",
            "mri y.npy --noise 0.005",
        ),
        (
            "mri clean.npy --acceleration 3 --noise 0.005 --coils 2",
            "mri y.npy --noise 0.005",
        ),
    ] {
        let line = format!("simulate {simulate} -o y.npy -q");
        place.run(&line).success(&line);
        let reconstruct = format!("{reconstruct} --model dct5 --max-iter 30");
        let before = run(&place, &reconstruct);
        let image = read(&place, "out.npy");
        let mask = read(&place, "y.mask.npy");
        let measured = Array::read(place.path("y.npy")).unwrap();
        let values = match measured.values() {
            Values::C64(samples) => Values::C64(
                samples
                    .iter()
                    .enumerate()
                    .map(|(n, v)| if mask[n % mask.len()] == 0.0 { [40.0, -7.0] } else { *v })
                    .collect(),
            ),
            other => Values::F32(
                other
                    .to_f32()
                    .iter()
                    .zip(&mask)
                    .map(|(v, m)| if *m == 0.0 { 40.0 } else { *v })
                    .collect(),
            ),
        };
        Array::new(measured.shape().to_vec(), values)
            .unwrap()
            .write(place.path("y.npy"))
            .unwrap();
        let after = run(&place, &reconstruct);
        assert_eq!(read(&place, "out.npy"), image, "{simulate}");
        assert_eq!(after["energy"], before["energy"], "{simulate}");
        assert!(
            before["energy"].as_f64().unwrap() < 100.0,
            "{simulate}: {}",
            before["energy"]
        );
    }
}

#[test]
fn noise_of_pixels_is_found_where_it_is_not_named() {
    let place = Place::new();
    image(&place, "clean.npy", [96, 88], truth([96, 88]), Format::NpyF32);
    let kernel: Vec<f32> = (0..25_i32)
        .map(|n| 1.0 / f32::from(1 + ((n / 5 - 2).abs() + (n % 5 - 2).abs()) as u8))
        .collect();
    image(&place, "k.npy", [5, 5], kernel, Format::NpyF32);
    for (simulate, reconstruct) in [
        ("deblur clean.npy --kernel k.npy", "deblur y.npy --kernel k.npy"),
        ("upscale clean.npy --factor 2", "upscale y.npy --factor 2"),
        ("inpaint clean.npy --keep 0.6", "inpaint y.npy --mask y.mask.npy"),
    ] {
        for noise in [0.003, 0.04] {
            let line = format!("simulate {simulate} --noise {noise} -o y.npy -q");
            place.run(&line).success(&line);
            let found = run(&place, &format!("{reconstruct} --model dct5 --max-iter 1"))["noise"]
                .as_f64()
                .unwrap();
            assert!(
                (0.8..1.25).contains(&(found / noise)),
                "{simulate}: {found} instead of {noise}"
            );
        }
    }
    // Too few pixels side by side.
    let lonely: Vec<f32> = (0..96 * 88)
        .map(|n| f32::from(u8::from(n % 2 == 0 && n / 88 % 2 == 0)))
        .collect();
    image(&place, "lonely.npy", [96, 88], lonely, Format::NpyF32);
    place.refuses_line(
        "inpaint clean.npy --mask lonely.npy -o no.npy",
        2,
        &["--sigma", "--noise"],
    );
}

#[test]
fn a_measurement_of_nothing_is_an_image_of_nothing() {
    let place = Place::new();
    image(&place, "t.npy", [32, 32], vec![0.0; 32 * 32], Format::NpyF32);
    for (simulate, reconstruct) in [
        ("ct t.npy --angles 20 --detectors 48", "ct y.npy"),
        ("mri t.npy --acceleration 2", "mri y.npy"),
    ] {
        let line = format!("simulate {simulate} -o y.npy -q");
        place.run(&line).success(&line);
        let result = run(&place, reconstruct);
        assert_eq!(result["stop"], "converged", "{reconstruct}: {result}");
        assert!(read(&place, "out.npy").iter().all(|v| v.abs() < 1e-6), "{reconstruct}");
    }
}

#[test]
fn noise_of_white_noise() {
    let noise = |image: &[f32], cols, mask| knotwork::io::noise::of_image(image, cols, mask);
    let (rows, cols) = (61, 83);
    for deviation in [1e-3, 0.2, 5.0] {
        // On a slope, of which second differences see nothing.
        let white: Vec<f32> = gaussian(3, 1, rows * cols)
            .iter()
            .enumerate()
            .map(|(n, v)| deviation as f32 * (v + 0.3 * ((n % cols) as f32 + (n / cols) as f32)))
            .collect();
        let found = noise(&white, cols, None).unwrap();
        assert!((found / deviation - 1.0).abs() < 0.06, "{found} of {deviation}");
    }
    // Values that were not measured have no part: in pairs of rows and columns no three are seen together.
    let pairs: Vec<f32> = (0..rows * cols)
        .map(|n| f32::from(u8::from(n / cols % 3 < 2 && n % cols % 3 < 2)))
        .collect();
    let white: Vec<f32> = gaussian(4, 1, rows * cols)
        .iter()
        .zip(&pairs)
        .map(|(v, m)| if *m > 0.0 { 0.1 * v } else { 9.0 })
        .collect();
    let found = noise(&white, cols, Some(&pairs)).unwrap();
    assert!((found / 0.1 - 1.0).abs() < 0.12, "{found}");
    assert_eq!(
        noise(&white[..9 * 8], 9, None),
        None,
        "42 differences over 3 x 3, 56 over 2 x 2"
    );
    assert!(noise(&vec![0.0; 400], 20, None).unwrap() > 0.0);
}
