//! Times of the Radon transform and its transpose, warm, one line of JSON per geometry: `cargo bench --bench radon`.
//! `benches/compare/radon_skimage.py` runs it in alternation with other programs.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]

use std::time::Instant;

use knotwork::gpu::{Gpu, GpuOptions};
use knotwork::io::noise;
use knotwork::operator::{Fan, Geometry, LinearOperator, Pass, Radon};

/// Pixels along each side, and detectors of their width.
const SIZE: usize = 512;
const ANGLES: usize = 200;
/// Timed runs; one before them finishes compilation.
const RUNS: usize = 5;

/// Seconds of every run of `pass`, until the device is done.
fn seconds(gpu: &Gpu, pass: &Pass) -> Vec<f64> {
    let run = |_| {
        let start = Instant::now();
        let mut recorder = gpu.record();
        pass.record(&mut recorder);
        recorder.submit();
        gpu.wait().unwrap();
        start.elapsed().as_secs_f64()
    };
    (0..=RUNS).map(run).skip(1).collect()
}

fn main() {
    let gpu = Gpu::open(GpuOptions::default()).unwrap();
    let parallel = Geometry {
        pixel: 1.0,
        detector_spacing: 1.0,
        ..Geometry::equispaced(SIZE, ANGLES, SIZE)
    };
    let source_distance = 2.0 * SIZE as f64;
    let fan = Geometry {
        fan: Some(Fan {
            source_distance,
            detector_distance: source_distance,
        }),
        ..parallel.clone()
    };
    for (rays, geometry) in [("parallel", parallel), ("fan", fan)] {
        let radon = Radon::new(geometry).unwrap();
        let image = gpu.upload("image", &noise::gaussian(1, 0, SIZE * SIZE)).unwrap();
        let sinogram = gpu.buffer("sinogram", ANGLES * SIZE).unwrap();
        let back = gpu.buffer("back projection", SIZE * SIZE).unwrap();
        let forward = seconds(&gpu, &radon.forward(&gpu, &image, &sinogram).unwrap());
        let adjoint = seconds(&gpu, &radon.adjoint(&gpu, &sinogram, &back).unwrap());
        let adapter = gpu.adapter().name.clone();
        let report = serde_json::json!({ "rays": rays, "size": SIZE, "angles": ANGLES, "detectors": SIZE,
            "adapter": adapter, "forward_s": forward, "adjoint_s": adjoint });
        println!("{report}");
    }
}
