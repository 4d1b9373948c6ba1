//! Time of a blur and its transpose by Fourier transforms over that tap by tap, by the side of the kernel, 512 x 512 pixels, in
//! alternation: `cargo bench --bench blur`.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]

use std::time::Instant;

use knotwork::gpu::{Gpu, GpuOptions};
use knotwork::io::noise;
use knotwork::operator::{Blur, Boundary, LinearOperator, Pass, Way};

/// Pixels along each side.
const SIZE: usize = 512;
const SIDES: [usize; 6] = [7, 11, 15, 21, 31, 63];
/// Timed rounds; one before them finishes compilation.
const ROUNDS: usize = 7;

fn seconds(gpu: &Gpu, passes: &[Pass; 2]) -> f64 {
    let start = Instant::now();
    let mut recorder = gpu.record();
    passes.iter().for_each(|pass| pass.record(&mut recorder));
    recorder.submit();
    gpu.wait().unwrap();
    start.elapsed().as_secs_f64()
}

fn main() {
    let gpu = Gpu::open(GpuOptions::default()).unwrap();
    println!("adapter: {}", gpu.adapter());
    let image = gpu.upload("image", &noise::gaussian(1, 0, SIZE * SIZE)).unwrap();
    let [blurred, back] = ["blurred", "back"].map(|label| gpu.buffer(label, SIZE * SIZE).unwrap());
    for side in SIDES {
        let kernel = vec![1.0 / (side * side) as f32; side * side];
        let blur = Blur::new([SIZE; 2], kernel, [side; 2], Boundary::Reflect).unwrap();
        let ways = [Way::Taps, Way::Fourier].map(|way| {
            let blur = blur.clone().computed(way).unwrap();
            [
                blur.forward(&gpu, &image, &blurred).unwrap(),
                blur.adjoint(&gpu, &blurred, &back).unwrap(),
            ]
        });
        let mut rounds: Vec<[f64; 2]> = (0..=ROUNDS)
            .map(|_| [0, 1].map(|way| seconds(&gpu, &ways[way])))
            .skip(1)
            .collect();
        let mut median = |way: usize| {
            rounds.sort_by(|a, b| a[way].total_cmp(&b[way]));
            rounds[ROUNDS / 2][way]
        };
        let [taps, fourier] = [median(0), median(1)];
        println!(
            "{side} x {side}: {:.2} (taps {:.1} ms, Fourier {:.1} ms)",
            fourier / taps,
            1e3 * taps,
            1e3 * fourier
        );
    }
}
