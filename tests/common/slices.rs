//! Noisy slices with their clean versions, as stacks and one by one.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test should panic")]

use knotwork::io::image::{Format, Image, Stack, StackKind, StackWriter};
use serde_json::Value;

use crate::common::values;
use crate::program::Place;

pub const SIZE: [usize; 2] = [26, 21];
pub const PIXELS: usize = SIZE[0] * SIZE[1];

/// Slice `index` of a volume: a ball that is cut at different heights.
pub fn truth(index: usize) -> Vec<f32> {
    let radius = 4.0 + 1.5 * index as f32;
    let value = |r: f32, c: f32| {
        if (r - 12.0).hypot(c - 10.0) < radius {
            0.7
        } else {
            0.2 + 0.01 * c
        }
    };
    (0..PIXELS)
        .map(|n| value((n / SIZE[1]) as f32, (n % SIZE[1]) as f32))
        .collect()
}

/// With uniform noise that differs from slice to slice, also in its strength, so that slices take different numbers of iterations.
pub fn noisy(index: usize) -> Vec<f32> {
    let sigma = 0.02 + 0.03 * index as f32;
    let noise = values(40 + index as u64, PIXELS);
    truth(index)
        .iter()
        .zip(noise)
        .map(|(v, n)| v + 1.732 * sigma * n)
        .collect()
}

pub fn gray(values: Vec<f32>) -> Image {
    Image::gray(SIZE[0], SIZE[1], values, Format::NpyF32).unwrap()
}

pub fn write_stack(place: &Place, name: &str, images: &[Image], format: Format) {
    let mut writer = StackWriter::create(place.path(name), images.len(), format).unwrap();
    for image in images {
        writer.push(image).unwrap();
    }
    writer.finish().unwrap();
}

/// `count` noisy slices as `y.npy` and `y0.npy` .., clean ones as `x.npy` and `x0.npy` ..
pub fn place(count: usize) -> Place {
    let place = Place::new();
    for (name, slice) in [("x", truth as fn(usize) -> Vec<f32>), ("y", noisy)] {
        let images: Vec<Image> = (0..count).map(|index| gray(slice(index))).collect();
        write_stack(&place, &format!("{name}.npy"), &images, Format::NpyF32);
        for (index, image) in images.iter().enumerate() {
            image
                .write(place.path(&format!("{name}{index}.npy")), Format::NpyF32)
                .unwrap();
        }
    }
    place
}

pub fn run(place: &Place, line: &str) -> Value {
    place.run(&format!("{line} --json --quiet")).success(line).json()
}

pub fn slices(place: &Place, name: &str) -> Vec<Image> {
    let mut stack = Stack::open(place.path(name), StackKind::Always).unwrap().unwrap();
    (0..stack.slices()).map(|index| stack.read(index).unwrap()).collect()
}
