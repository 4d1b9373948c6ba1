//! Folders of training images: scales by their formula, hashes that follow the content, and folders and settings that are
//! not what they should be.

use crate::patches::{SIZES, coded, folder, plain, write};
use knotwork::Error;
use knotwork::io::image::{Format, Image};
use knotwork::train::data::{Corpus, DataSettings};
use std::collections::BTreeSet;
use std::path::Path;
use tempfile::TempDir;

/// Catmull-Rom weights, widened by the ratio of the sizes, normalised, in f64; inside the range of the image.
fn reference_resampled(values: &[f64], side: usize, small: usize) -> (Vec<f64>, usize) {
    let kernel = |x: f64| match x.abs() {
        x if x < 1.0 => 1.5 * x.powi(3) - 2.5 * x.powi(2) + 1.0,
        x if x < 2.0 => -0.5 * x.powi(3) + 2.5 * x.powi(2) - 4.0 * x + 2.0,
        _ => 0.0,
    };
    let ratio = side as f64 / small as f64;
    let weights: Vec<Vec<f64>> = (0..small)
        .map(|n| {
            let centre = (n as f64 + 0.5) * ratio - 0.5;
            let raw: Vec<f64> = (0..side).map(|m| kernel((m as f64 - centre) / ratio)).collect();
            let sum: f64 = raw.iter().sum();
            raw.into_iter().map(|w| w / sum).collect()
        })
        .collect();
    let taps = weights
        .iter()
        .map(|w| w.iter().filter(|&&w| w != 0.0).count())
        .max()
        .unwrap();
    let (low, high) = values
        .iter()
        .fold((f64::MAX, f64::MIN), |(l, h), &v| (l.min(v), h.max(v)));
    let resampled = (0..small * small)
        .map(|n| {
            let (row, column) = (&weights[n / small], &weights[n % small]);
            let terms = (0..side * side).map(|m| row[m / side] * column[m % side] * values[m]);
            terms.sum::<f64>().clamp(low, high)
        })
        .collect();
    (resampled, taps)
}

#[test]
fn scales_are_resampled_by_the_formula_and_colour_becomes_luminance() {
    let side = 29;
    for (scale, low, high) in [(0.9, 0.0, 1.0), (0.7, -3.0, 5.0), (0.31, 100.0, 4000.0)] {
        let folder = tempfile::tempdir().unwrap();
        let value = |r: usize, c: usize| low + (high - low) * (((r * 37 + c * 101 + r * c * 13) % 64) as f32 / 63.0);
        write(folder.path(), "a.npy", side, side, value);
        let small = (side as f64 * scale).round() as usize;
        let settings = DataSettings {
            scales: vec![scale],
            ..plain(small, 1)
        };
        let corpus = Corpus::read(folder.path(), &settings, 0).unwrap();
        assert_eq!(corpus.len(), 1);
        let values: Vec<f64> = (0..side * side).map(|n| f64::from(value(n / side, n % side))).collect();
        let (want, taps) = reference_resampled(&values, side, small);
        // Kernel arguments are differences of numbers up to `side` in f32, the kernel's slope is at most 2, weights are sums of
        // few terms; two directions.
        let eps = f64::from(f32::EPSILON);
        let reach = f64::from(low.abs().max(high.abs()));
        let tolerance = 2.0 * taps as f64 * (2.0 * side as f64 + 8.0) * eps * f64::from(high - low) + 4.0 * eps * reach;
        for (got, want) in corpus.sample(0, 0).clean.iter().zip(&want) {
            let off = (f64::from(*got) - want).abs();
            assert!(off <= tolerance, "{got} for {want}, tolerance {tolerance}");
        }
    }

    let folder = tempfile::tempdir().unwrap();
    let planes: Vec<f32> = [[0.1, 0.2, 0.3, 0.4], [0.9, 0.5, 0.0, 1.0], [0.3, 0.8, 0.6, 0.7]].concat();
    let image = Image::new(3, 2, 2, planes.clone(), Format::NpyF32).unwrap();
    image.write(folder.path().join("colour.npy"), Format::NpyF32).unwrap();
    let corpus = Corpus::read(folder.path(), &plain(2, 1), 0).unwrap();
    for (n, got) in corpus.sample(0, 0).clean.into_iter().enumerate() {
        let [r, g, b] = [planes[n], planes[4 + n], planes[8 + n]].map(f64::from);
        let want = 0.299 * r + 0.587 * g + 0.114 * b;
        assert!(
            (f64::from(got) - want).abs() <= 4.0 * f64::from(f32::EPSILON),
            "{got} for {want}"
        );
    }
}

#[test]
fn the_hash_follows_values_choice_and_settings() {
    let hash = |folder: &TempDir, settings: &DataSettings, held_out: usize| {
        let corpus = Corpus::read(folder.path(), settings, held_out).unwrap();
        assert_eq!(corpus.hash().len(), 64);
        corpus.hash().to_owned()
    };
    let first = folder(&SIZES);
    let settings = plain(7, 3);
    let mut hashes = vec![
        hash(&first, &settings, 1),
        hash(&first, &settings, 2),
        hash(&first, &plain(7, 2), 1),
        hash(&first, &DataSettings { seed: 2, ..plain(7, 3) }, 1),
    ];
    let same = folder(&SIZES);
    std::fs::write(same.path().join("broken.png"), "not an image").unwrap();
    assert_eq!(
        hash(&same, &settings, 1),
        hashes[0],
        "a file that is skipped does not count"
    );
    write(same.path(), "image03.npy", 9, 30, |r, c| {
        coded(3, r, c) + f32::from(r == 8 && c == 29)
    });
    hashes.push(hash(&same, &settings, 1));
    assert_eq!(hashes.iter().collect::<BTreeSet<_>>().len(), hashes.len());
}

#[test]
fn hostile_folders_are_refused_or_named() {
    let refuses = |folder: &Path, held_out: usize, parts: &[&str]| {
        let error = Corpus::read(folder, &plain(7, 3), held_out).unwrap_err();
        assert!(matches!(error, Error::Input { .. }), "{error}");
        let said = error.to_string();
        assert!(
            !said.contains('\n') && parts.iter().all(|part| said.contains(part)),
            "{said}"
        );
    };
    let empty = tempfile::tempdir().unwrap();
    refuses(empty.path(), 0, &["holds no image"]);
    refuses(&empty.path().join("none"), 0, &["cannot be listed"]);
    std::fs::write(empty.path().join("notes.txt"), "no image, and none expected").unwrap();
    refuses(empty.path(), 0, &["holds no image"]);

    write(empty.path(), "tiny.npy", 6, 100, coded_first);
    refuses(
        empty.path(),
        0,
        &["none of its 1 images can be used", "tiny.npy", "less than a patch of 7"],
    );

    let image = Image::gray(
        64,
        64,
        (0..4096).map(|n| (n % 251) as f32 / 255.0).collect(),
        Format::Png8,
    )
    .unwrap();
    let whole = empty.path().join("cut.png");
    image.write(&whole, Format::Png8).unwrap();
    let bytes = std::fs::read(&whole).unwrap();
    std::fs::write(&whole, &bytes[..bytes.len() / 2]).unwrap();
    std::fs::write(empty.path().join("text.png"), "I am a text").unwrap();
    std::fs::write(empty.path().join("void.tif"), "").unwrap();
    refuses(
        empty.path(),
        0,
        &["none of its 4 images can be used; the first", "cut.png"],
    );

    write(empty.path(), "good.npy", 7, 7, coded_first);
    let corpus = Corpus::read(empty.path(), &plain(7, 3), 0).unwrap();
    assert_eq!(corpus.len(), 1);
    assert_eq!(corpus.skipped().len(), 4);
    for (line, name) in corpus
        .skipped()
        .iter()
        .zip(["cut.png", "text.png", "tiny.npy", "void.tif"])
    {
        assert!(line.contains(name) && !line.contains('\n'), "{line}");
    }
    refuses(empty.path(), 1, &["has 1 usable images, of which 1 are held out"]);
    refuses(empty.path(), usize::MAX, &["hold out fewer"]);
}

fn coded_first(row: usize, column: usize) -> f32 {
    coded(0, row, column)
}

#[test]
fn senseless_settings_are_refused_in_one_line() {
    let good = DataSettings::default;
    for (settings, part) in [
        (DataSettings { patch: 0, ..good() }, "patch 0"),
        (
            DataSettings {
                patch: usize::MAX,
                ..good()
            },
            "patch",
        ),
        (DataSettings { stride: 0, ..good() }, "stride 0"),
        (
            DataSettings {
                scales: vec![],
                ..good()
            },
            "scales are empty",
        ),
        (
            DataSettings {
                scales: vec![1.0, 0.0],
                ..good()
            },
            "scale 0",
        ),
        (
            DataSettings {
                scales: vec![1.5],
                ..good()
            },
            "scale 1.5",
        ),
        (
            DataSettings {
                scales: vec![f64::NAN],
                ..good()
            },
            "scale NaN",
        ),
        (
            DataSettings {
                scales: vec![0.5, 0.5],
                ..good()
            },
            "twice",
        ),
        (
            DataSettings {
                sigma: (0.0, 25.0),
                ..good()
            },
            "units of the image range",
        ),
        (
            DataSettings {
                sigma: (0.0, 0.0),
                ..good()
            },
            "above 0",
        ),
        (
            DataSettings {
                sigma: (0.2, 0.1),
                ..good()
            },
            "sigma from 0.2 to 0.1",
        ),
        (
            DataSettings {
                sigma: (-0.1, 0.1),
                ..good()
            },
            "sigma from -0.1",
        ),
        (
            DataSettings {
                sigma: (0.0, f64::NAN),
                ..good()
            },
            "NaN",
        ),
    ] {
        let error = settings.check().unwrap_err();
        assert!(matches!(error, Error::Usage(_)));
        assert!(
            error.to_string().contains(part) && !error.to_string().contains('\n'),
            "{error}"
        );
    }
    good().check().unwrap();
    let text = serde_json::to_string(&good()).unwrap();
    assert_eq!(serde_json::from_str::<DataSettings>(&text).unwrap(), good());
    assert_eq!(serde_json::from_str::<DataSettings>("{}").unwrap(), good());
    assert!(serde_json::from_str::<DataSettings>(r#"{"patches": 3}"#).is_err());
}
