//! What training repeats, relative to one `grad R`, for a batch of 128 patches of 40 x 40 pixels and the shape of the published
//! WCRR model, measured in alternation: `cargo bench --bench training`.
//!
//! Times on shared machines drift; only ratios inside one round mean anything. Every ratio printed is the median of the
//! rounds' ratios, with the quartiles beside it.
#![allow(clippy::unwrap_used, reason = "a benchmark")]

use std::time::Instant;

use knotwork::filters::{ConvLayer, FilterBank};
use knotwork::gpu::{Gpu, GpuOptions, Recorder};
use knotwork::io::noise;
use knotwork::model::{Border, NormKind, Ridge, Scaling};
use knotwork::spline::Spline;
use knotwork::train::{BatchShape, TrainableRidge};

const PATCHES: usize = 128;
const SIDE: usize = 40;
const ROUNDS: usize = 9;

/// Something to time: its name and how to record it.
type Case<'a> = (&'a str, Box<dyn Fn(&mut Recorder<'_>) + 'a>);

/// Filters 1 -> 4 -> 8 -> 60 of 5 x 5 and one spline of 16 knots for all channels.
fn model() -> Ridge {
    let layer = |seed, inputs, outputs| {
        let weights = noise::gaussian(seed, 0, inputs * outputs * 25);
        ConvLayer::new(inputs, outputs, 5, weights.iter().map(|w| 0.05 * w).collect()).unwrap()
    };
    let knots: Vec<f64> = (0..16).map(|n| 0.4 * f64::from(n) - 3.0).collect();
    let values = knots.iter().map(|t| t.clamp(-1.0, 1.0)).collect();
    Ridge {
        bank: FilterBank::new(vec![layer(1, 1, 4), layer(2, 4, 8), layer(3, 8, 60)]).unwrap(),
        activations: vec![Spline::new(knots, values).unwrap()],
        scaling: Scaling {
            log: vec![Spline::uniform(0.0, 0.2, vec![0.0; 11]).unwrap(); 60],
            epsilon: 1e-5,
        },
        slope_bounds: (-1.0, 1.0),
        sigma_range: (0.0, 0.2),
        norm_squared: 1.0,
        norm_kind: NormKind::Estimate,
        border: Border::Zero,
        name: "WCRR shape".into(),
        provenance: serde_json::Value::Null,
    }
}

fn quartiles(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [1, 2, 3].map(|q| values[(values.len() - 1) * q / 4])
}

fn main() {
    let gpu = Gpu::open(GpuOptions::default()).unwrap();
    let batch = BatchShape {
        patches: PATCHES,
        height: SIDE,
        width: SIDE,
        zero_mean: true,
        composed: false,
        unit_norm: false,
        style: None,
    };
    let ridge = TrainableRidge::new(&gpu, &model(), batch).unwrap();
    let count = PATCHES * SIDE * SIDE;
    let x = gpu.upload("x", &noise::gaussian(4, 0, count)).unwrap();
    let q = gpu.upload("q", &noise::gaussian(5, 0, count)).unwrap();
    let out = gpu.buffer("out", count).unwrap();
    let gradient = ridge.gradient(&gpu, &x, &out).unwrap();
    let hessian = ridge.hessian(&gpu, &x, &q, &out).unwrap();
    let parameters = ridge.parameter_gradient(&gpu, &x, &q).unwrap();
    let cases: [Case<'_>; 4] = [
        ("grad R", Box::new(|r| gradient.record(r, PATCHES as u32))),
        (
            "product with the Hessian",
            Box::new(|r| hessian.record_product(r, PATCHES as u32)),
        ),
        ("parameter gradient", Box::new(|r| parameters.record(r))),
        ("refresh", Box::new(|r| ridge.record_refresh(r))),
    ];
    let mut times = cases.each_ref().map(|_| Vec::new());
    // The first round finishes compilation and is not counted.
    for round in 0..=ROUNDS {
        for (times, (_, record)) in times.iter_mut().zip(&cases) {
            let start = Instant::now();
            let mut recorder = gpu.record();
            record(&mut recorder);
            recorder.submit();
            gpu.wait().unwrap();
            if round > 0 {
                times.push(1e3 * start.elapsed().as_secs_f64());
            }
        }
    }
    println!(
        "adapter: {}; {PATCHES} patches of {SIDE} x {SIDE}, {ROUNDS} rounds in alternation",
        gpu.adapter()
    );
    println!("{:32} {:>10}   time / grad R: median [quartiles]", "", "ms");
    for (case, times_of) in cases.iter().zip(&times) {
        let [low, middle, high] = quartiles(times_of.iter().zip(&times[0]).map(|(a, b)| a / b).collect());
        let [_, median, _] = quartiles(times_of.clone());
        println!("{:32} {median:10.2}   {middle:.2} [{low:.2}, {high:.2}]", case.0);
    }
}
