//! Times of the parts of a gradient on the adapter in use, by image size: `cargo bench` or `make bench`.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a benchmark; criterion's macro makes an undocumented function"
)]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use knotwork::gpu::{Gpu, GpuOptions, Recorder};
use knotwork::io::noise;
use knotwork::model::dct::{DctSettings, dct};
use knotwork::model::device::{Images, RidgeOnDevice, RunOptions};

type Part = (&'static str, fn(&RidgeOnDevice, &mut Recorder<'_>));

/// `W` and the pointwise activation run on the first tile only; the sizes below have one.
const PARTS: [Part; 4] = [
    ("W", |m, r| m.record_responses(r, 0, 1)),
    ("activation", |m, r| m.record_activation(r, 0, 1)),
    ("W'W", |m, r| m.record_gram(r, 1)),
    ("gradient", |m, r| m.record_gradient(r, 1)),
];

fn parts_of_the_gradient(criterion: &mut Criterion) {
    let gpu = Gpu::open(GpuOptions::default()).unwrap();
    eprintln!("adapter: {}", gpu.adapter());
    let model = dct(&DctSettings::default()).unwrap();
    let mut group = criterion.benchmark_group(model.name.clone());
    group.sample_size(10);
    for side in [128, 256, 512] {
        let source = gpu.upload("source", &noise::gaussian(1, 0, side * side)).unwrap();
        let gradient = gpu.buffer("gradient", side * side).unwrap();
        let active = gpu.upload("active", &[0_u32]).unwrap();
        let images = Images {
            height: side,
            width: side,
            source: &source,
            active: &active,
            slots: 1,
        };
        let options = RunOptions {
            sigma: 0.1,
            style: None,
            tile: None,
        };
        let prepared = RidgeOnDevice::new(&gpu, &model, &options, &images, &gradient, None).unwrap();
        group.throughput(Throughput::Elements((side * side) as u64));
        for (name, record) in PARTS {
            group.bench_function(BenchmarkId::new(name, side), |bench| {
                bench.iter(|| {
                    let mut recorder = gpu.record();
                    record(&prepared, &mut recorder);
                    recorder.submit();
                    gpu.wait().unwrap();
                });
            });
        }
    }
}

criterion_group!(benches, parts_of_the_gradient);
criterion_main!(benches);
