//! Profiles: every launch is there with its work, nothing else changes, and an adapter without timestamps is no obstacle.
//! The kernels that measure the ceilings.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test should panic")]

mod common;
mod reference;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use common::{EPS, poison, poisoned, values};
use knotwork::filters::ConvPlan;
use knotwork::gpu::ceilings::{Ceilings, FmaParams};
use knotwork::gpu::reduce::InnerProduct;
use knotwork::gpu::{Gpu, GpuOptions, Profile, Source, Work};
use knotwork::model::device::RunOptions;
use knotwork::model::{Ridge, Tiling};
use knotwork::report::profile;
use knotwork::solver::{Denoiser, Settings};
use reference::device::{options, turn};
use reference::models::{cosines, image, weakly_convex};

const SIZE: [usize; 2] = [23, 18];
const SIGMA: f64 = 0.1;

fn open(profile: bool) -> Gpu {
    let options = GpuOptions {
        profile,
        ..GpuOptions::default()
    };
    Gpu::open(options).unwrap()
}

/// Denoises two images in exactly `iterations` iterations; pixels and energies.
fn denoise(gpu: &Gpu, model: &Ridge, iterations: usize) -> Vec<(Vec<u32>, u64)> {
    denoise_tiled(gpu, model, iterations, None)
}

fn denoise_tiled(gpu: &Gpu, model: &Ridge, iterations: usize, tile: Option<usize>) -> Vec<(Vec<u32>, u64)> {
    let settings = Settings {
        tolerance: 1e-12,
        max_iterations: iterations,
        ..Settings::default()
    };
    let noisy = [image(1, SIZE), image(2, SIZE)];
    let options = RunOptions { tile, ..options(SIGMA) };
    let denoiser = Denoiser::new(gpu, model, &options, settings, SIZE, 2).unwrap();
    let outcomes = denoiser.run(&[&noisy[0], &noisy[1]], |_, _, _| {}).unwrap();
    outcomes
        .into_iter()
        .map(|o| {
            assert_eq!(o.iterations, iterations);
            let pixels = o.image.iter().map(|v| v.to_bits()).collect();
            (pixels, o.energy.to_bits())
        })
        .collect()
}

/// What a layer's kernel is called and how often one application launches it, on frames with `lead` columns before the image.
fn layer_launches(gpu: &Gpu, lead: usize, [inputs, outputs, size]: [usize; 3]) -> (String, u64) {
    let plan = ConvPlan::new(gpu.style(), inputs, outputs, size);
    let shift = (gpu.style().source == Source::Texels).then_some((lead - size / 2) % 4);
    let (name, constants) = plan.kernel(size, shift, plan.workgroup(SIZE), gpu.lanes());
    let constants = constants.into_iter().map(|(name, value)| format!(" {name}={value}"));
    (
        format!("{name}{}", constants.collect::<String>()),
        (plan.passes * plan.launches) as u64,
    )
}

#[test]
fn every_launch_of_a_denoising_is_listed() {
    let _turn = turn();
    // So few that none ends with a step of nothing.
    let iterations = 15;
    for model in [cosines(), weakly_convex()] {
        let gpu = open(true);
        denoise(&gpu, &model, iterations);
        let found = gpu.profile().unwrap().expect("this adapter has no timestamps");
        // A gradient per iteration and for the bound of the distance to the minimiser, and the energy: W, its potential, and the
        // distance to the input.
        let n = iterations as u64;
        let mut expected = BTreeMap::from([
            ("tile_load".to_owned(), n + 2),
            ("spline_activation".to_owned(), n + 1),
            ("spline_energy".to_owned(), 1),
            ("agd_step".to_owned(), n),
            ("agd_control".to_owned(), n),
            ("agd_extrapolate".to_owned(), n),
            ("agd_residual".to_owned(), 1),
            ("inner_product".to_owned(), 1),
            ("sum_partials".to_owned(), 3),
        ]);
        let lead = Tiling::new(&model.bank, SIZE[0], SIZE[1], 2, None).unwrap().lead;
        for layer in model.bank.layers() {
            let (forward, launches) = layer_launches(&gpu, lead, [layer.inputs, layer.outputs, layer.size]);
            *expected.entry(forward).or_default() += (n + 2) * launches;
            let (adjoint, launches) = layer_launches(&gpu, lead, [layer.outputs, layer.inputs, layer.size]);
            *expected.entry(adjoint).or_default() += (n + 1) * launches;
        }
        let counts: BTreeMap<String, u64> = found
            .kernels
            .iter()
            .map(|k| {
                let conv = k.kernel.name.starts_with("conv");
                let name = if conv {
                    k.kernel.to_string()
                } else {
                    k.kernel.name.clone()
                };
                (name, k.launches)
            })
            .collect();
        assert_eq!(counts, expected);
        assert_eq!(found.launches.len() as u64, found.count());
        for (row, kernel) in found.kernels.iter().enumerate() {
            let launches = || found.launches.iter().filter(|l| l.kernel == row);
            assert_eq!(launches().count() as u64, kernel.launches, "{}", kernel.kernel);
            let sum: f64 = launches().map(|l| l.nanoseconds).sum();
            let allowed = kernel.launches as f64 * f64::EPSILON * kernel.nanoseconds;
            assert!((sum - kernel.nanoseconds).abs() <= allowed, "{}", kernel.kernel);
            assert!(kernel.nanoseconds > 0.0 && kernel.work.is_some(), "{}", kernel.kernel);
        }
        let table = profile::table(&found, None);
        assert_eq!(table.lines().count(), found.kernels.len() + 2, "{table}");
        for name in counts.keys() {
            assert!(table.contains(name), "no {name} in {table}");
        }
    }
}

#[test]
fn work_is_what_the_definitions_ask_for() {
    let _turn = turn();
    let gpu = open(true);
    let model = cosines();
    let iterations = 3;
    denoise(&gpu, &model, iterations);
    let found = gpu.profile().unwrap().unwrap();
    let (n, images, channels) = (iterations as u64, 2_u64, 8);
    let [rows, cols] = SIZE;
    let pixels = (rows * cols) as u64;
    let of = |name: &str| -> Work {
        let works = found
            .kernels
            .iter()
            .filter(|k| k.kernel.name.trim_end_matches("_lanes").trim_end_matches("_points") == name);
        works.fold(Work::default(), |sum, k| sum + k.work.unwrap())
    };
    let per_pixel = |bytes: u64, multiply_adds: u64| Work {
        bytes: n * images * pixels * bytes,
        multiply_adds: n * images * pixels * multiply_adds,
    };
    assert_eq!(of("agd_step"), per_pixel(4 * (2 + 3 + 1), 6), "x is read and written");
    assert_eq!(of("agd_extrapolate"), per_pixel(12, 1));
    assert_eq!(of("inner_product").bytes, images * pixels * 8);
    assert_eq!(of("spline_activation").bytes, (n + 1) * images * channels * pixels * 8);
    assert_eq!(of("spline_energy").bytes, images * channels * pixels * 4);
    assert_eq!(of("tile_load").bytes, (n + 2) * images * pixels * 8);
    // One tile: everything is computed for the image alone. W once per iteration, for the energy and for the bound, W' for all but the energy.
    // Nine taps, or three rows of eight points for four columns.
    let products = |inputs, outputs| match ConvPlan::new(gpu.style(), inputs, outputs, 3).held {
        None => 9,
        Some(_) => 3 * 8 / 4,
    };
    let multiply_adds = images * channels * pixels * ((n + 2) * products(1, 8) + (n + 1) * products(8, 1));
    assert_eq!(of("conv").multiply_adds, multiply_adds);
}

#[test]
fn a_layer_loads_its_windows_and_stores_its_pixels() {
    for (planes, [groups, co], rows, size, [height, width]) in [
        (1, [1, 1], 1, 1, [1, 1]),
        (3, [1, 4], 4, 5, [9, 13]),
        (60, [1, 8], 2, 3, [8, 16]),
        (1, [3, 2], 4, 5, [9, 13]),
        (3, [2, 4], 1, 3, [8, 16]),
    ] {
        let plans = [
            ConvPlan::with_block(planes, groups * co, size, [co, rows]),
            ConvPlan::with_points(planes, groups * co, size, [co, rows], planes),
            ConvPlan::with_points(planes, groups * co, size, [co, rows], 1),
        ]
        .map(|plan| plan.in_one_launch(size));
        for (plan, adds, shift) in plans.into_iter().flat_map(|plan| {
            [(false, None), (true, None), (false, Some(0)), (true, Some(3))].map(|(adds, shift)| (plan, adds, shift))
        }) {
            assert_eq!((plan.passes, plan.launches, plan.groups), (1, 1, groups));
            // Eight points of every five taps of a row make four columns.
            let products = plan.held.map_or(size * size, |_| size * size.div_ceil(5) * 8 / 4);
            let stays = planes == plan.held.unwrap_or(1);
            let texels = shift.map(|shift| {
                (shift..shift + 4 + size - 1)
                    .map(|col| col / 4)
                    .collect::<BTreeSet<_>>()
                    .len()
            });
            let (mut loads, mut stores, mut multiply_adds) = (0, 0, 0);
            for top in (0..height).step_by(rows) {
                for left in (0..width).step_by(4) {
                    // What is held at once stays where it was loaded to.
                    for _plane in 0..if stays { planes } else { groups * planes } {
                        for _row in 0..rows + size - 1 {
                            loads += texels.map_or(4 + size - 1, |n| 4 * n);
                        }
                    }
                    let inside = (height - top).min(rows) * (width - left).min(4);
                    stores += groups * co * inside;
                    multiply_adds += groups * co * inside * planes * products;
                }
            }
            loads += if adds { stores } else { 0 };
            let want = Work {
                bytes: 4 * (loads + stores) as u64,
                multiply_adds: multiply_adds as u64,
            };
            assert_eq!(
                plan.work(size, [height, width], adds, shift),
                want,
                "{plan:?} adds {adds} shift {shift:?}"
            );
        }
    }
}

#[test]
fn a_profile_changes_no_bit_of_the_result() {
    let _turn = turn();
    let model = weakly_convex();
    for tile in [None, Some(12)] {
        let plain = denoise_tiled(&open(false), &model, 25, tile);
        assert_eq!(denoise_tiled(&open(true), &model, 25, tile), plain);
        assert_ne!(denoise_tiled(&open(true), &model, 24, tile), plain, "iterations matter");
    }
}

/// What was logged, for the test of the warning.
struct Log(Mutex<Vec<String>>);

impl log::Log for Log {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &log::Record<'_>) {
        if record.level() <= log::Level::Warn {
            self.0.lock().unwrap().push(record.args().to_string());
        }
    }
    fn flush(&self) {}
}

static LOG: Log = Log(Mutex::new(Vec::new()));

#[test]
fn an_adapter_without_timestamps_warns_and_works() {
    let _turn = turn();
    log::set_logger(&LOG).unwrap();
    log::set_max_level(log::LevelFilter::Warn);
    let warnings = || {
        let all = LOG.0.lock().unwrap();
        all.iter().filter(|m| m.contains("timings are not available")).count()
    };
    let model = cosines();
    let plain = open(false);
    let want = denoise(&plain, &model, 10);
    assert!(plain.profile().unwrap().is_none());
    assert_eq!(warnings(), 0, "nobody asked");
    let without = Gpu::open(GpuOptions {
        profile: true,
        withheld: wgpu::Features::TIMESTAMP_QUERY,
        ..GpuOptions::default()
    })
    .unwrap();
    assert_eq!(warnings(), 1);
    assert_eq!(denoise(&without, &model, 10), want);
    assert!(without.profile().unwrap().is_none());
}

/// The profile of `launches` launches of `inner_product`, none of which is followed by a read.
fn many(gpu: &Gpu, launches: usize) -> Profile {
    let (a, b) = (
        gpu.upload("a", &values(1, 5000)).unwrap(),
        gpu.upload("b", &values(2, 5000)).unwrap(),
    );
    let sums = InnerProduct::new(gpu, &a, &b, 1, 5000).unwrap();
    let mut recorder = gpu.record();
    (0..launches).for_each(|_| sums.record(&mut recorder, 1));
    recorder.submit();
    let mut unseen = gpu.record_untimed();
    sums.record(&mut unseen, 1);
    unseen.submit();
    gpu.profile().unwrap().unwrap()
}

#[test]
fn traces_hold_every_launch_in_order_and_none_overlaps() {
    let _turn = turn();
    let gpu = open(true);
    // More launches than the query set holds at once, several times over.
    let found = many(&gpu, 1500);
    assert_eq!((found.count(), found.launches.len()), (3000, 3000));
    let text = profile::chrome_trace(&found, "an adapter").to_string();
    let trace: serde_json::Value = serde_json::from_str(&text).unwrap();
    let events: Vec<_> = trace["traceEvents"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|e| e["ph"] == "X")
        .collect();
    assert_eq!(events.len(), 3000);
    let number = |e: &serde_json::Value, key: &str| e[key].as_f64().unwrap();
    for (n, event) in events.iter().enumerate() {
        let want = ["inner_product", "sum_partials"][n % 2];
        let groups = [2, 1][n % 2];
        assert_eq!(
            (&event["name"], &event["args"]["groups"][0]),
            (&want.into(), &groups.into())
        );
        assert!(number(event, "dur") > 0.0);
    }
    assert_eq!(number(events[0], "ts"), 0.0);
    for pair in events.windows(2) {
        // Microseconds as f64: rounding of the sum only.
        let end = number(pair[0], "ts") + number(pair[0], "dur");
        let start = number(pair[1], "ts");
        assert!(end <= start * (1.0 + 4.0 * f64::EPSILON), "{end} overlaps {start}");
    }
    let again = many(&gpu, 1);
    assert_eq!(again.count(), 3002, "a profile goes on");
}

#[test]
fn too_many_open_recorders_are_reported() {
    let _turn = turn();
    let gpu = open(true);
    let a = gpu.upload("a", &values(1, 100)).unwrap();
    let sums = InnerProduct::new(&gpu, &a, &a, 1, 100).unwrap();
    let mut recorders: Vec<_> = (0..9).map(|_| gpu.record()).collect();
    recorders.iter_mut().for_each(|r| sums.record(r, 1));
    drop(recorders);
    let error = gpu.read::<f32>(sums.totals()).unwrap_err().to_string();
    assert!(error.contains("8 recorders"), "{error}");
}

#[test]
fn the_copy_kernel_copies() {
    let _turn = turn();
    let gpu = open(false);
    let (groups, guard) = (3, 67);
    let elements = groups * 4096;
    let u = values(3, elements + guard);
    let from = gpu.upload("u", &u).unwrap();
    let to = gpu.upload("y", &poison(elements + guard)).unwrap();
    let kernel = gpu.kernel("measure_copy", &[]).unwrap();
    let whole = from.slice(0, elements);
    let bound = kernel
        .bind(&gpu, &[("u", whole.into()), ("y", to.slice(0, elements).into())])
        .unwrap();
    let mut recorder = gpu.record();
    recorder.dispatch(&bound, [groups as u32, 1, 1], 0);
    recorder.submit();
    let got: Vec<f32> = gpu.read(&to).unwrap();
    assert_eq!(got[..elements], u[..elements]);
    assert!(got[elements..].iter().all(|v| poisoned(*v)));
}

#[test]
fn the_multiply_add_kernel_does_every_step() {
    let _turn = turn();
    let gpu = open(false);
    let (groups, guard, trips) = (2, 67, 24);
    let (scale, shift) = (1.003_f32, -0.25_f32);
    let y = gpu.upload("y", &poison(groups * 256 + guard)).unwrap();
    let params = gpu
        .params(&[FmaParams {
            scale,
            shift,
            trips,
            pad0: 0,
        }])
        .unwrap();
    let memory = [("params", params.binding()), ("y", y.slice(0, groups * 256).into())];
    let bound = gpu.kernel("measure_fma", &[]).unwrap().bind(&gpu, &memory).unwrap();
    let run = || -> Vec<f32> {
        let mut recorder = gpu.record();
        recorder.dispatch(&bound, [groups as u32, 1, 1], 0);
        recorder.submit();
        gpu.read(&y).unwrap()
    };
    let got = run();
    // Two vec4s per invocation; each step rounds twice at most, and later steps enlarge what earlier ones lost.
    let steps = 8 * trips;
    let chains = |id: usize| [id as f64, 0.0, 1.0, 2.0, id as f64, 1.0, 1.0, 2.0];
    let (mut want, mut bounds) = (Vec::new(), Vec::new());
    for id in 0..groups * 256 {
        let (mut sum, mut error) = (0.0, 0.0);
        for mut v in chains(id) {
            let mut lost = 0.0;
            for _ in 0..steps {
                let product = v * f64::from(scale);
                v = product + f64::from(shift);
                lost = lost * f64::from(scale) + EPS * (product.abs() + v.abs());
            }
            sum += v;
            error += lost + 8.0 * EPS * v.abs();
        }
        want.push(sum);
        bounds.push(1.01 * error);
    }
    common::assert_close("sums", &got[..want.len()], &want, |i| bounds[i]);
    assert!(got[want.len()..].iter().all(|v| poisoned(*v)));
    let bits = |v: &[f32]| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&run()), bits(&got));
}

#[test]
fn ceilings_are_measured_and_stay_out_of_the_profile() {
    let _turn = turn();
    let gpu = open(true);
    let ceilings = Ceilings::measure(&gpu).unwrap();
    // Even a software driver on a loaded machine passes these, and no device reaches a thousand times the best there is.
    assert!((1e7..1e16).contains(&ceilings.bytes_per_second), "{ceilings:?}");
    assert!((1e7..1e18).contains(&ceilings.multiply_adds_per_second), "{ceilings:?}");
    assert_eq!(gpu.profile().unwrap().unwrap().count(), 0);
    let found = many(&gpu, 10);
    let summary = profile::summary(&found, Some(&ceilings));
    assert_eq!(summary["launches"], 20);
    assert_eq!(summary["ceilings"]["bytes_per_second"], ceilings.bytes_per_second);
    let table = profile::table(&found, Some(&ceilings));
    let row = table.lines().find(|l| l.contains("inner_product")).unwrap();
    assert_eq!(row.matches('%').count(), 3, "share, copy and peak in {row}");
}
