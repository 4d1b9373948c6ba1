//! Folders of images that training patches are cut from.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test should panic")]

use std::path::Path;

use knotwork::io::image::{Format, Image};
use knotwork::train::data::DataSettings;
use tempfile::TempDir;

/// Patches at full scale, as they are.
pub fn plain(patch: usize, stride: usize) -> DataSettings {
    DataSettings {
        patch,
        stride,
        scales: vec![1.0],
        augment: false,
        ..DataSettings::default()
    }
}

/// A value that says where it stands: every pixel of a folder has another one, exact in f32.
pub fn coded(image: usize, row: usize, column: usize) -> f32 {
    (image * 10_000 + row * 100 + column) as f32
}

pub fn write(folder: &Path, name: &str, height: usize, width: usize, value: impl Fn(usize, usize) -> f32) {
    let values = (0..height * width).map(|n| value(n / width, n % width)).collect();
    let image = Image::gray(height, width, values, Format::NpyF32).unwrap();
    image.write(folder.join(name), Format::NpyF32).unwrap();
}

/// Images of these sizes, numbered in the order of their names.
pub fn folder(sizes: &[(usize, usize)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (index, &(height, width)) in sizes.iter().enumerate() {
        write(folder.path(), &format!("image{index:02}.npy"), height, width, |r, c| {
            coded(index, r, c)
        });
    }
    folder
}

pub const SIZES: [(usize, usize); 5] = [(11, 17), (7, 7), (13, 8), (9, 30), (20, 7)];
