//! Small batches: noisy images, manifests, and what is told of their items.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test should panic")]

use std::collections::BTreeMap;

use knotwork::io::image::{Format, Image};
use serde_json::Value;

use crate::common::values;
use crate::program::Place;

pub const SIZE: [usize; 2] = [20, 24];

/// A noisy step, another for every seed.
pub fn photo(place: &Place, name: &str, seed: u64) {
    let noise = values(seed, SIZE[0] * SIZE[1]);
    let pixel = |(n, v): (usize, &f32)| if n % SIZE[1] < 9 { 0.3 } else { 0.7 } + 0.17 * v;
    let pixels = noise.iter().enumerate().map(pixel).collect();
    let image = Image::gray(SIZE[0], SIZE[1], pixels, Format::NpyF32).unwrap();
    image.write(place.path(name), Format::NpyF32).unwrap();
}

/// Writes `items.jsonl`: ids, inputs and further members, each with a comma before it.
pub fn manifest(place: &Place, items: &[(&str, String, &str)]) {
    let line = |(id, input, more): &(&str, String, &str)| format!("{{\"id\":\"{id}\",\"input\":\"{input}\"{more}}}\n");
    std::fs::write(place.path("items.jsonl"), items.iter().map(line).collect::<String>()).unwrap();
}

pub fn read(place: &Place, name: &str) -> Vec<u8> {
    std::fs::read(place.path(name)).unwrap()
}

/// The lines that tell of items.
pub fn lines(stdout: &str) -> Vec<Value> {
    stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["id"].is_string())
        .collect()
}

/// What became of every item; none is told of twice.
pub fn statuses(stdout: &str) -> BTreeMap<String, String> {
    let mut statuses = BTreeMap::new();
    for line in lines(stdout) {
        let text = |name: &str| line[name].as_str().unwrap().to_owned();
        assert_eq!(statuses.insert(text("id"), text("status")), None, "{stdout}");
    }
    statuses
}
