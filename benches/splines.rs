//! Ratios of the spline kernels over 60 channels of 512 x 512, measured in alternation: `cargo bench --bench splines`.
//!
//! Times on shared machines drift; only ratios inside one round mean anything. Every ratio printed is the median of the
//! rounds' ratios, with the quartiles beside it.
#![allow(clippy::unwrap_used, reason = "a benchmark")]

use std::time::Instant;

use knotwork::filters::Region;
use knotwork::gpu::{Bound, Buffer, Gpu, GpuOptions, Recorder};
use knotwork::io::noise;
use knotwork::spline::Spline;
use knotwork::spline::device::{BankGradient, BankHistogram, PointwiseParams, TrainableBank};

const CHANNELS: usize = 60;
const SIDE: usize = 512;
const ROUNDS: usize = 15;

/// Invocations per workgroup of the two kernels beside this file.
const WALKERS: u32 = 256;

/// Something to time: its name and how to record it.
type Case<'a> = (String, Box<dyn Fn(&mut Recorder<'_>) + 'a>);

fn region() -> Region {
    let side = SIDE as u32;
    Region {
        rows: side,
        cols: side,
        row_stride: side,
        plane_stride: side * side,
        image_stride: CHANNELS as u32 * side * side,
        inside_rows: side,
        inside_cols: side,
        ..Default::default()
    }
}

/// A bank with `count` knots per channel within about [-2.5, 2.5], unevenly spaced or not.
fn bank(gpu: &Gpu, count: usize, even: bool) -> TrainableBank {
    let random = noise::gaussian(3, count as u64, 2 * CHANNELS * count);
    let splines: Vec<_> = random
        .chunks(2 * count)
        .map(|random| {
            let shift = |n: usize| if even { 0.0 } else { 0.4 * f64::from(random[n]).tanh() };
            let knots = (0..count).map(|n| 5.0 * (n as f64 + shift(n)) / (count - 1) as f64 - 2.5);
            let values = random[count..].iter().map(|f| f64::from(*f));
            Spline::new(knots.collect(), values.collect()).unwrap()
        })
        .collect();
    TrainableBank::new(gpu, &splines, &[1.0; CHANNELS]).unwrap()
}

/// One of the kernels beside this file.
fn own_kernel(gpu: &Gpu, name: &str, text: &str, bank: &TrainableBank, u: &Buffer, y: &Buffer) -> (Bound, [u32; 3]) {
    let params = PointwiseParams::new(region(), gpu.style().blocks, WALKERS, CHANNELS);
    let groups = [params.chunks(WALKERS), CHANNELS as u32, 1];
    let table = gpu.params(&[params]).unwrap();
    let mut memory = vec![("params", table.binding()), ("u", u.into()), ("y", y.into())];
    if text.contains("> knots") {
        memory.push(("knots", bank.table().into()));
        memory.push(("channels", bank.records().into()));
        memory.push(("values", bank.values().into()));
    }
    // SAFETY: both texts index as the library's kernels do: elements that walk_quad says the region holds, and entries
    // first .. first + count of the bank, the position clamped to them. Their loops end after `trips` rounds.
    let kernel = unsafe { gpu.kernel_from_text(name, text, &[("CHANNELS", CHANNELS as u32)]) };
    (kernel.unwrap().bind(gpu, &memory).unwrap(), groups)
}

/// Milliseconds per case, round by round.
fn time(gpu: &Gpu, cases: &[Case<'_>]) -> Vec<Vec<f64>> {
    let mut times = vec![Vec::new(); cases.len()];
    // The first round finishes compilation and is not counted.
    for round in 0..=ROUNDS {
        for (times, (_, record)) in times.iter_mut().zip(cases) {
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
    times
}

fn quartiles(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [1, 2, 3].map(|q| values[(values.len() - 1) * q / 4])
}

fn main() {
    let gpu = Gpu::open(GpuOptions::default()).unwrap();
    let count = CHANNELS * SIDE * SIDE;
    // Standard deviation 1.5 inside knots from -2.5 to 2.5: tails are met too.
    let inputs: Vec<f32> = noise::gaussian(1, 0, count).iter().map(|v| 1.5 * v).collect();
    let u = gpu.upload("u", &inputs).unwrap();
    let g = gpu.upload("g", &noise::gaussian(2, 0, count)).unwrap();
    let y = gpu.buffer("y", count).unwrap();
    let even = bank(&gpu, 16, true);
    let text = include_str!("uniform_grid.wgsl");
    let (grid, grid_groups) = own_kernel(&gpu, "uniform_grid", text, &even, &u, &y);
    let (copy, copy_groups) = own_kernel(&gpu, "copy", include_str!("copy.wgsl"), &even, &u, &y);
    let banks = [8, 16, 32, 64, 128].map(|knots| (knots, bank(&gpu, knots, false)));
    let (_, sixteen) = &banks[1];
    let backward = sixteen.backward(&gpu, &[region()], 1, &u, &y).unwrap();
    let histogram = BankHistogram::new(&gpu, sixteen, &[region()], 1, &u).unwrap();

    let mut cases: Vec<Case<'_>> = vec![
        ("copy (kernel)".into(), Box::new(|r| r.dispatch(&copy, copy_groups, 0))),
        ("copy (driver)".into(), Box::new(|r| r.copy(u.all(), y.all()))),
        (
            "uniform grid, 16 knots".into(),
            Box::new(|r| r.dispatch(&grid, grid_groups, 0)),
        ),
    ];
    for (knots, bank) in &banks {
        let forward = bank.forward(&gpu, &[region()], 1, &u, &y).unwrap();
        cases.push((
            format!("forward, {knots} knots"),
            Box::new(move |r| forward.record(r, 0, 1)),
        ));
    }
    for (knots, bank) in &banks {
        let gradient = BankGradient::new(&gpu, bank, &[region()], 1, &u, &g).unwrap();
        let name = format!("gradient, {knots} knots");
        cases.push((name, Box::new(move |r| gradient.record(r, 0, false))));
    }
    cases.push((
        "backward to inputs, 16 knots".into(),
        Box::new(|r| backward.record(r, 0, 1)),
    ));
    cases.push(("histogram, 16 knots".into(), Box::new(|r| histogram.record(r, 0, 1))));

    let times = time(&gpu, &cases);
    println!(
        "adapter: {}; {CHANNELS} channels of {SIDE} x {SIDE}, {ROUNDS} rounds in alternation",
        gpu.adapter()
    );
    let names: Vec<_> = cases.iter().map(|c| c.0.as_str()).collect();
    let find = |name: &str| names.iter().position(|n| *n == name).unwrap();
    let base = find("forward, 16 knots");
    println!("time / forward, 16 knots: median [quartiles]");
    let ratio = |a: usize, b: usize| quartiles(times[a].iter().zip(&times[b]).map(|(a, b)| a / b).collect());
    for (case, name) in names.iter().enumerate() {
        let [low, middle, high] = ratio(case, base);
        let [_, median, _] = quartiles(times[case].clone());
        println!("{name:32} {median:10.2}   {middle:.2} [{low:.2}, {high:.2}]");
    }
    for (what, a, b) in [
        (
            "nonuniform / uniform grid (target 1.3)",
            base,
            find("uniform grid, 16 knots"),
        ),
        ("gradient / forward (target 3)", find("gradient, 16 knots"), base),
        (
            "copy (kernel) / forward: share of copy bandwidth",
            find("copy (kernel)"),
            base,
        ),
    ] {
        let [low, middle, high] = ratio(a, b);
        println!("{what}: {middle:.2} [{low:.2}, {high:.2}]");
    }
}
