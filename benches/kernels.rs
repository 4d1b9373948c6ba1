//! Times of the parts of a gradient on the adapter in use, by image size: `cargo bench` or `make bench`.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a benchmark; criterion's macro makes an undocumented function"
)]

use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use knotwork::filters::{ConvLayer, ConvPlan, ConvStage, Region};
use knotwork::gpu::{Gpu, GpuOptions, Recorder, TexelPlanes};
use knotwork::io::noise;
use knotwork::model::dct::{DctSettings, dct};
use knotwork::model::device::{Extra, Images, RidgeOnDevice, RunOptions};

type Part = (&'static str, fn(&RidgeOnDevice, &mut Recorder<'_>));

/// Sides of images that are one tile: `W` and the pointwise activation run on the first tile only.
const WHOLE: [usize; 3] = [128, 256, 512];
/// Sides of images in tiles.
const TILED: [usize; 2] = [2048, 4096];
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
    for side in WHOLE.into_iter().chain(TILED) {
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
        let prepared = RidgeOnDevice::new(&gpu, &model, &options, &images, &gradient, Extra::None).unwrap();
        group.throughput(Throughput::Elements((side * side) as u64));
        for (name, record) in PARTS
            .iter()
            .filter(|(name, _)| *name == "gradient" || WHOLE.contains(&side))
        {
            group.bench_function(BenchmarkId::new(*name, side), |bench| {
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

/// The block sizes that `ConvPlan` chooses between, for the dearest layer of the published models.
fn convolution_blocks(criterion: &mut Criterion) {
    let gpu = Gpu::open(GpuOptions::default()).unwrap();
    let (inputs, outputs, size, side, halo) = (60, 8, 5, 256_usize, 2_usize);
    let weights = noise::gaussian(2, 0, inputs * outputs * size * size);
    let layer = ConvLayer::new(inputs, outputs, size, weights).unwrap();
    let plane_rows = side + 2 * halo;
    let row_stride = plane_rows.next_multiple_of(TexelPlanes::ROW);
    let plane_stride = row_stride * plane_rows;
    let region = |planes: usize| Region {
        rows: side as u32,
        cols: side as u32,
        first: (halo * row_stride + halo) as u32,
        row_stride: row_stride as u32,
        plane_stride: plane_stride as u32,
        image_stride: (plane_stride * planes) as u32,
        inside_rows: side as u32,
        inside_cols: side as u32,
        ..Default::default()
    };
    let src = gpu.buffer("source", inputs * plane_stride + 64 * row_stride).unwrap();
    let dst = gpu.buffer("destination", outputs * plane_stride).unwrap();
    let planes = TexelPlanes {
        row_stride,
        plane_rows,
        planes: inputs,
    };
    let texture = Arc::new(gpu.texture("texels", planes).unwrap());
    let mut group = criterion.benchmark_group(format!("conv {inputs}->{outputs}, {size}x{size}"));
    group.sample_size(10);
    group.throughput(Throughput::Elements(
        (inputs * outputs * size * size * side * side) as u64,
    ));
    let blocks = [
        [8, 8],
        [8, 4],
        [8, 2],
        [8, 1],
        [4, 8],
        [4, 4],
        [4, 2],
        [2, 4],
        [1, 4],
        [1, 1],
    ];
    for (block, texels) in blocks.iter().flat_map(|b| [(*b, None), (*b, Some(&texture))]) {
        let plan = ConvPlan::with_block(inputs, outputs, size, block);
        let stage = ConvStage::new(
            &gpu,
            &plan,
            &layer,
            &src,
            &dst,
            &[(region(inputs), region(outputs))],
            texels,
        )
        .unwrap();
        gpu.warm_up(stage.bound()).unwrap();
        group.bench_function(
            format!(
                "{} planes x {} rows x 4 columns from {}",
                block[0],
                block[1],
                if texels.is_some() { "texels" } else { "storage" }
            ),
            |bench| {
                bench.iter(|| {
                    let mut recorder = gpu.record();
                    stage.record(&mut recorder, 0, 1);
                    recorder.submit();
                    gpu.wait().unwrap();
                });
            },
        );
    }
}

criterion_group!(benches, parts_of_the_gradient, convolution_blocks);
criterion_main!(benches);
