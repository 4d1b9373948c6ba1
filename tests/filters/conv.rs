//! Convolution stages against the sum that defines them, their adjoints, and filter banks.

use crate::common;
use crate::common::{EPS, assert_close, gpu, poison, poisoned, values};
use crate::reference::device::turn;
use crate::reference::models::layer;
use crate::reference::{Bounded, correlate, dot, scatter, widen};
use knotwork::filters::{ConvLayer, ConvPlan, ConvStage, FilterBank, POINT_AMPLIFICATION, Region};
use knotwork::gpu::{KernelStyle, Products, Source, TexelPlanes, Texture};
use std::sync::Arc;

/// Rows, columns, and of each the part that lies in the image: (first, count).
#[derive(Clone, Copy, Debug)]
struct Shape {
    rows: usize,
    cols: usize,
    inside: [(usize, usize); 2],
}

fn whole(rows: usize, cols: usize) -> Shape {
    Shape {
        rows,
        cols,
        inside: [(0, rows), (0, cols)],
    }
}

/// Elements behind the last rectangle of a source that invocations beyond the region may touch.
const SLACK: usize = 64;

/// Places `shape` in a stack with odd strides and a border of `margin`; returns the region and the elements it needs.
fn place(shape: Shape, planes: usize, margin: usize, images: usize) -> (Region, usize) {
    let row_stride = shape.cols + 2 * margin + 3;
    let plane_stride = row_stride * (shape.rows + 2 * margin + 1) + 5;
    let image_stride = plane_stride * planes + 7;
    let [(inside_top, inside_rows), (inside_left, inside_cols)] = shape.inside;
    let region = Region {
        rows: shape.rows as u32,
        cols: shape.cols as u32,
        first: (11 + margin * (row_stride + 1)) as u32,
        row_stride: row_stride as u32,
        plane_stride: plane_stride as u32,
        image_stride: image_stride as u32,
        inside_top: inside_top as u32,
        inside_left: inside_left as u32,
        inside_rows: inside_rows as u32,
        inside_cols: inside_cols as u32,
        ..Default::default()
    };
    (region, 11 + image_stride * images + SLACK * (row_stride + 1))
}

/// The same in frames that a texture can hold, `lead` columns before the rectangle; returns the texture, too.
fn place_in_texels(
    shape: Shape,
    planes: usize,
    [margin, lead]: [usize; 2],
    images: usize,
) -> (Region, usize, Arc<Texture>) {
    let layout = TexelPlanes {
        row_stride: (lead + shape.cols + margin).next_multiple_of(TexelPlanes::ROW),
        plane_rows: shape.rows + 2 * margin,
        planes: planes * images,
    };
    let (region, _) = place(shape, planes, margin, images);
    let plane_stride = layout.row_stride * layout.plane_rows;
    let region = Region {
        first: (margin * layout.row_stride + lead) as u32,
        row_stride: layout.row_stride as u32,
        plane_stride: plane_stride as u32,
        image_stride: (plane_stride * planes) as u32,
        ..region
    };
    let texture = gpu().texture("texels", layout).unwrap();
    (region, plane_stride * planes * images, Arc::new(texture))
}

fn index(r: &Region, image: usize, plane: usize, row: isize, col: isize) -> usize {
    let origin = r.first as usize + image * r.image_stride as usize + plane * r.plane_stride as usize;
    (origin as isize + row * r.row_stride as isize + col) as usize
}

/// [`check_from`] frames in storage and, with each position of the rectangle in a texel, in a texture.
fn check(layer: &ConvLayer, plan: &ConvPlan, shape: Shape, images: usize) {
    check_from(layer, plan, shape, images, None);
    for shift in 0..4 {
        check_from(layer, plan, shape, images, Some(layer.size / 2 + shift));
    }
}

/// Runs `layer` on `images` stacks of random values that reach `radius` beyond the rectangle, everything else poisoned,
/// and checks values, zeros outside the image and that nothing else was written. `lead` columns stand before the rectangle
/// in a source for a texture.
fn check_from(layer: &ConvLayer, plan: &ConvPlan, shape: Shape, images: usize, lead: Option<usize>) {
    let name = format!(
        "{} -> {} of {}, {plan:?}, {shape:?}, {images} images, lead {lead:?}",
        layer.inputs, layer.outputs, layer.size
    );
    let radius = layer.size / 2;
    let (from, length, texture) = match lead {
        None => {
            let (from, length) = place(shape, layer.inputs, radius, images);
            (from, length, None)
        }
        Some(lead) => {
            let (from, length, texture) = place_in_texels(shape, layer.inputs, [radius, lead], images);
            (from, length, Some(texture))
        }
    };
    let mut source = poison(length);
    let (tall, wide) = (shape.rows + 2 * radius, shape.cols + 2 * radius);
    let data = values(77, images * layer.inputs * tall * wide);
    for (n, value) in data.iter().enumerate() {
        let (plane, row, col) = (n / (tall * wide), n / wide % tall, n % wide);
        let (row, col) = (row as isize - radius as isize, col as isize - radius as isize);
        source[index(&from, plane / layer.inputs, plane % layer.inputs, row, col)] = *value;
    }
    let (to, length) = place(shape, layer.outputs, 2, images);
    let src = gpu().upload("src", &source).unwrap();
    let dst = gpu().upload("dst", &poison(length)).unwrap();
    let stage = ConvStage::new(gpu(), plan, layer, &src, &dst, &[(from, to)], texture.as_ref()).unwrap();
    assert_eq!(stage.reads_texels(), texture.is_some(), "{name}");
    let mut recorder = gpu().record();
    stage.record(&mut recorder, 0, images as u32);
    recorder.submit();
    let mut got: Vec<f32> = gpu().read(&dst).unwrap();

    let (mut values, mut want, mut error) = (Vec::new(), Vec::new(), Vec::new());
    for image in 0..images {
        let stack = &data[image * layer.inputs * tall * wide..][..layer.inputs * tall * wide];
        let truth = correlate(layer, &Bounded::exact(&widen(stack)), [tall, wide]);
        for plane in 0..layer.outputs {
            for row in 0..shape.rows {
                for col in 0..shape.cols {
                    let at = plane * tall * wide + (row + radius) * wide + col + radius;
                    let [(top, rows), (left, cols)] = shape.inside;
                    let inside = (top..top + rows).contains(&row) && (left..left + cols).contains(&col);
                    want.push(if inside { truth.value[at] } else { 0.0 });
                    let allowed = match plan.held {
                        None => truth.error[at],
                        Some(_) => error_at_points(layer, stack, [tall, wide], [plane, row, col], shape.cols),
                    };
                    error.push(if inside { allowed } else { 0.0 });
                    let place = index(&to, image, plane, row as isize, col as isize);
                    values.push(std::mem::replace(&mut got[place], f32::from_bits(common::POISON)));
                }
            }
        }
    }
    assert_close(&name, &values, &want, |i| error[i]);
    let touched = got.iter().position(|v| !poisoned(*v));
    assert_eq!(touched, None, "{name}: written outside the rectangle");
}

/// `|B'|`, rows: the polynomial whose value at point j is taken, and at infinity the leading coefficient.
const ABSOLUTE_B: [[f64; 8]; 8] = [
    [1.0, 0.0, 5.25, 0.0, 5.25, 0.0, 1.0, 0.0],
    [0.0, 1.0, 1.0, 4.25, 4.25, 1.0, 1.0, 0.0],
    [0.0, 1.0, 1.0, 4.25, 4.25, 1.0, 1.0, 0.0],
    [0.0, 0.5, 0.25, 2.5, 1.25, 2.0, 1.0, 0.0],
    [0.0, 0.5, 0.25, 2.5, 1.25, 2.0, 1.0, 0.0],
    [0.0, 2.0, 4.0, 2.5, 5.0, 0.5, 1.0, 0.0],
    [0.0, 2.0, 4.0, 2.5, 5.0, 0.5, 1.0, 0.0],
    [0.0, 1.0, 0.0, 5.25, 0.0, 5.25, 0.0, 1.0],
];

/// `|G|`, point j, tap k.
fn absolute_g(j: usize, k: usize) -> f64 {
    let points = [0.0, 1.0, 1.0, 2.0, 2.0, 0.5, 0.5_f64];
    let factors = [
        1.0,
        2.0 / 9.0,
        2.0 / 9.0,
        1.0 / 90.0,
        1.0 / 90.0,
        32.0 / 45.0,
        32.0 / 45.0,
    ];
    points
        .get(j)
        .map_or(f64::from(u8::from(k == 4)), |p| factors[j] * p.powi(k as i32))
}

/// `|A'|`, column i of the block, point j.
fn absolute_a(i: usize, j: usize) -> f64 {
    let points = [0.0, 1.0, 1.0, 2.0, 2.0, 0.5, 0.5_f64];
    points.get(j).map_or(f64::from(u8::from(i == 3)), |p| p.powi(i as i32))
}

#[test]
fn rounding_at_points_is_amplified_as_stated() {
    let (mut row, mut column) = (0.0_f64, 0.0_f64);
    for tap in 0..5 {
        let entry = |i: usize, l: usize| -> f64 {
            (0..8)
                .map(|j| absolute_a(i, j) * absolute_g(j, tap) * ABSOLUTE_B[j][l])
                .sum()
        };
        row = (0..4)
            .map(|i| (0..8).map(|l| entry(i, l)).sum::<f64>())
            .fold(row, f64::max);
        // A pixel lies under two blocks.
        column = (0..4)
            .map(|l| (0..4).map(|i| entry(i, l) + entry(i, l + 4)).sum::<f64>())
            .fold(column, f64::max);
    }
    let exact = (row * column).sqrt();
    assert!((exact..1.001 * exact).contains(&POINT_AMPLIFICATION), "{exact}");
}

/// A bound of the rounding of one output that is computed at points, from `|A'| (|G| |w|) (|B'| |d|)` over the eight pixels d under
/// its block of four columns; 24 roundings in the transforms and one per term behind them.
fn error_at_points(
    layer: &ConvLayer,
    stack: &[f32],
    [tall, wide]: [usize; 2],
    [filter, row, col]: [usize; 3],
    cols: usize,
) -> f64 {
    let (size, segments) = (layer.size, layer.size.div_ceil(5));
    let block = col / 4 * 4;
    let mut sum = 0.0;
    for plane in 0..layer.inputs {
        for ky in 0..size {
            for first in (0..segments).map(|s| 5 * s) {
                let taps = (first..size.min(first + 5)).map(|kx| f64::from(layer.weight(filter, plane, ky, kx)).abs());
                let taps: Vec<f64> = taps.collect();
                let pixel = |l: usize| {
                    let at = block + first + l;
                    let met = at < cols + size - 1 && first + l < size + 3;
                    if met {
                        f64::from(stack[(plane * tall + row + ky) * wide + at]).abs()
                    } else {
                        0.0
                    }
                };
                for (j, b) in ABSOLUTE_B.iter().enumerate() {
                    let g: f64 = taps.iter().enumerate().map(|(k, w)| absolute_g(j, k) * w).sum();
                    let d: f64 = b.iter().enumerate().map(|(l, b)| b * pixel(l)).sum();
                    let a = absolute_a(col % 4, j);
                    sum += a * g * d;
                }
            }
        }
    }
    EPS * (24 + layer.inputs * size * segments) as f64 * sum
}

#[test]
fn blocks_at_points_compute_the_sum_whatever_lies_around() {
    let _turn = turn();
    // (inputs, outputs, size), [co, rows], planes held.
    for ((inputs, outputs, size), block, held) in [
        ((1, 1, 3), [1, 4], 1),
        ((3, 2, 1), [2, 4], 3),
        ((4, 8, 5), [1, 8], 4),
        ((8, 4, 5), [2, 4], 2),
        ((3, 7, 3), [7, 4], 1),
        ((2, 3, 7), [3, 8], 1),
        ((2, 5, 13), [1, 4], 1),
    ] {
        let layer = layer(12, inputs, outputs, size);
        let plan = ConvPlan::with_points(inputs, outputs, size, block, held);
        assert_eq!(plan.held, Some(held));
        let outside = Shape {
            rows: 11,
            cols: 19,
            inside: [(3, 6), (2, 13)],
        };
        for (shape, images) in [(whole(1, 1), 1), (whole(9, 31), 1), (whole(13, 7), 3), (outside, 2)] {
            // Storage changes how a window is loaded only.
            if inputs < 4 {
                check_from(&layer, &plan, shape, images, None);
            }
            let numbered = plan.in_one_launch(size);
            check_from(&layer, &numbered, shape, images, Some(size / 2 + 3));
            let lanes = ConvPlan {
                lanes: true,
                ..numbered
            };
            check_from(&layer, &lanes, shape, images, Some(size / 2));
        }
    }
    // 80 planes at 8 filters of 5 x 8 points are 102 400 bytes: two passes.
    let plan = ConvPlan::with_points(80, 8, 5, [8, 4], 1).in_one_launch(5);
    assert_eq!((plan.planes, plan.passes, plan.groups), (40, 2, 1));
    check_from(&layer(13, 80, 8, 5), &plan, whole(6, 9), 2, Some(4));
}

#[test]
fn every_block_computes_the_sum_at_awkward_sizes() {
    let _turn = turn();
    // (inputs, outputs, size), [co, rows]: sizes around 4 blocks of rows x 8 blocks of 4 columns.
    for ((inputs, outputs, size), block) in [
        ((1, 1, 1), [1, 1]),
        ((1, 4, 5), [2, 3]),
        ((4, 8, 5), [1, 2]),
        ((3, 7, 3), [7, 1]),
        ((3, 7, 3), [1, 8]),
        ((2, 5, 13), [1, 1]),
    ] {
        let layer = layer(5, inputs, outputs, size);
        let plan = ConvPlan::with_block(inputs, outputs, size, block);
        let (rows, cols) = (4 * plan.rows, 8 * 4);
        for (r, q) in [
            (1, 1),
            (rows - 1, cols + 1),
            (rows, cols),
            (rows + 1, cols - 1),
            (1, 23),
            (29, 1),
        ] {
            check(&layer, &plan, whole(r.max(1), q.max(1)), 1);
        }
        check(&layer, &plan, whole(13, 7), 3);
        let outside = Shape {
            rows: 11,
            cols: 19,
            inside: [(3, 6), (2, 13)],
        };
        check(&layer, &plan, outside, 2);
        let nothing = Shape {
            rows: 5,
            cols: 6,
            inside: [(0, 0), (0, 0)],
        };
        check(&layer, &plan, nothing, 1);
    }
}

#[test]
fn large_filters_take_their_weights_from_lanes_too() {
    let _turn = turn();
    // 72 and 90 quads of weights per filter: lanes are named by constants, however many quads there are.
    for size in [17, 19] {
        let plan = ConvPlan {
            lanes: true,
            ..ConvPlan::with_block(1, 3, size, [1, 1]).in_one_launch(size)
        };
        check_from(&layer(8, 1, 3, size), &plan, whole(13, 22), 2, Some(size / 2 + 1));
    }
    // 78 quads at each point.
    let plan = ConvPlan {
        lanes: true,
        ..ConvPlan::with_points(8, 1, 13, [1, 4], 8).in_one_launch(13)
    };
    check_from(&layer(9, 8, 1, 13), &plan, whole(9, 14), 1, Some(7));
}

#[test]
fn blocks_that_are_numbered_compute_the_sum_group_after_group() {
    let _turn = turn();
    // (inputs, outputs, size), [co, rows], groups of the one launch.
    for ((inputs, outputs, size), block, groups) in [
        ((1, 6, 3), [2, 3], 3),
        ((1, 5, 5), [1, 8], 5),
        ((3, 6, 3), [2, 1], 3),
        ((2, 5, 1), [5, 2], 1),
    ] {
        let layer = layer(9, inputs, outputs, size);
        let plan = ConvPlan::with_block(inputs, outputs, size, block).in_one_launch(size);
        assert_eq!((plan.groups, plan.launches), (groups, 1));
        let outside = Shape {
            rows: 17,
            cols: 31,
            inside: [(3, 6), (2, 28)],
        };
        for (shape, images) in [(whole(1, 1), 1), (whole(29, 3), 1), (whole(13, 37), 3), (outside, 2)] {
            check_from(&layer, &plan, shape, images, None);
            check_from(&layer, &plan, shape, images, Some(size / 2 + 2));
        }
    }
}

#[test]
fn numbers_of_blocks_go_on_in_the_next_row_of_workgroups() {
    let _turn = turn();
    // 65536 blocks fill a row of 1024 workgroups of 64.
    let plan = ConvPlan::with_block(1, 1, 1, [1, 1]).in_one_launch(1);
    assert_eq!(plan.workgroup([331, 803]), [64, 0]);
    check_from(&layer(10, 1, 1, 1), &plan, whole(331, 803), 1, None);
}

#[test]
fn weights_that_do_not_fit_a_binding_take_several_launches() {
    let _turn = turn();
    // 40 filters of 13 x 13 for 4 planes are 108 160 bytes: 20 of them in a launch.
    let plan = ConvPlan::with_block(4, 40, 13, [1, 1]).in_one_launch(13);
    assert_eq!((plan.groups, plan.launches, plan.passes), (20, 2, 1));
    check_from(&layer(11, 4, 40, 13), &plan, whole(5, 9), 2, None);
}

#[test]
fn the_plans_of_all_styles_compute_the_sum() {
    let _turn = turn();
    let software = [(1, 1, 1), (1, 4, 5), (8, 60, 5), (3, 7, 3)];
    let hardware = [(1, 1, 1), (4, 8, 5), (60, 8, 5), (1, 48, 7)];
    let points = [(1, 1, 1), (8, 60, 5), (60, 8, 5), (1, 80, 9)];
    let by_taps = |style| KernelStyle {
        products: Products::Taps,
        ..style
    };
    let by_points = |style| KernelStyle {
        products: Products::Points,
        ..style
    };
    for (style, layers) in [
        (by_taps(KernelStyle::SOFTWARE), software),
        (KernelStyle::SOFTWARE, points),
        (KernelStyle::HARDWARE, hardware),
        (by_points(KernelStyle::HARDWARE), points),
    ] {
        for (inputs, outputs, size) in layers {
            let plan = ConvPlan::new(style, inputs, outputs, size);
            assert_eq!(
                (plan.co * plan.groups * plan.launches, plan.planes * plan.passes),
                (outputs, inputs)
            );
            let shape = Shape {
                rows: 17,
                cols: 31,
                inside: [(0, 15), (4, 27)],
            };
            let layer = layer(6, inputs, outputs, size);
            // Small layers in the other way, too: frames that fit no texture are read from storage whatever the style.
            let texels = style.source == Source::Texels;
            for lead in [texels, !texels]
                .into_iter()
                .take(if inputs * outputs < 60 { 2 } else { 1 })
            {
                check_from(&layer, &plan, shape, 2, lead.then_some(size / 2 + 2));
            }
        }
    }
}

#[test]
fn weights_beyond_one_binding_accumulate_over_passes() {
    let _turn = turn();
    // 90 planes of 8 x 25 weights are 72 000 bytes; 83 is prime, so every plane becomes a pass of its own.
    for (inputs, passes) in [(90, 2), (83, 83)] {
        let plan = ConvPlan::with_block(inputs, 8, 5, [8, 1]);
        assert_eq!(plan.passes, passes);
        let shape = Shape {
            rows: 6,
            cols: 19,
            inside: [(1, 4), (0, 18)],
        };
        check_from(&layer(7, inputs, 8, 5), &plan, shape, 2, None);
        check_from(&layer(7, inputs, 8, 5), &plan, shape, 2, Some(5));
    }
}

#[test]
fn more_planes_than_a_texture_has_layers_share_them() {
    let _turn = turn();
    // 270 planes, 256 layers: two planes to a layer, an odd number of them in the first two images.
    let limits = wgpu::Limits::default();
    let shape = Shape {
        rows: 6,
        cols: 9,
        inside: [(1, 4), (0, 8)],
    };
    let (_, _, texture) = place_in_texels(shape, 90, [2, 3], 3);
    assert_eq!(
        (gpu().limits().max_texture_array_layers, texture.per_layer()),
        (limits.max_texture_array_layers, 2)
    );
    let plan = ConvPlan::with_block(90, 2, 5, [2, 2]);
    check_from(&layer(8, 90, 2, 5), &plan, shape, 3, Some(3));
}

#[test]
fn frames_of_another_layout_are_read_from_storage() {
    let _turn = turn();
    let layer = layer(8, 2, 4, 3);
    let plan = ConvPlan::with_block(2, 4, 3, [2, 2]);
    let shape = whole(7, 9);
    let (good, length, texture) = place_in_texels(shape, 2, [1, 1], 1);
    let (to, written) = place(shape, 4, 0, 1);
    let (src, dst) = (
        gpu().buffer("src", length).unwrap(),
        gpu().buffer("dst", written).unwrap(),
    );
    let reads = |tiles: &[(Region, Region)]| {
        let stage = ConvStage::new(gpu(), &plan, &layer, &src, &dst, tiles, Some(&texture)).unwrap();
        stage.reads_texels()
    };
    assert!(reads(&[(good, to)]));
    let rows = good.row_stride;
    for (why, bad) in [
        (
            "stride",
            Region {
                row_stride: rows - 1,
                ..good
            },
        ),
        (
            "planes",
            Region {
                plane_stride: good.plane_stride + rows,
                ..good
            },
        ),
        (
            "images",
            Region {
                image_stride: good.plane_stride,
                ..good
            },
        ),
        ("above", Region { first: 1, ..good }),
        ("left", Region { first: rows, ..good }),
        (
            "below",
            Region {
                first: 2 * rows + 1,
                ..good
            },
        ),
        (
            "right",
            Region {
                first: 2 * rows - 9,
                ..good
            },
        ),
    ] {
        assert!(!reads(&[(bad, to)]), "{why}");
    }
    // Another column, another kernel: all tiles of a stage share one.
    let narrow = |r: Region, by: u32| Region {
        first: r.first + by,
        cols: 4,
        ..r
    };
    assert!(reads(&[
        (narrow(good, 0), narrow(to, 0)),
        (narrow(good, 4), narrow(to, 4))
    ]));
    assert!(!reads(&[
        (narrow(good, 0), narrow(to, 0)),
        (narrow(good, 5), narrow(to, 5))
    ]));
}

#[test]
fn rectangles_of_one_stage_are_independent() {
    let _turn = turn();
    let layer = layer(8, 2, 4, 3);
    let plan = ConvPlan::with_block(2, 4, 3, [2, 2]);
    for texels in [false, true] {
        let (mut from, mut source) = place(whole(20, 24), 2, 1, 1);
        let mut texture = None;
        if texels {
            let (region, length, planes) = place_in_texels(whole(20, 24), 2, [1, 1], 1);
            (from, source, texture) = (region, length, Some(planes));
        }
        let texels = texture.as_ref();
        let (to, length) = place(whole(20, 24), 4, 0, 1);
        let part = |r: &Region, top: u32, left: u32, rows: u32, cols: u32| Region {
            rows,
            cols,
            first: r.first + top * r.row_stride + left,
            inside_rows: rows,
            inside_cols: cols,
            ..*r
        };
        let tiles: Vec<_> = [(0, 0, 20, 12), (0, 12, 9, 12), (9, 12, 11, 12)]
            .map(|(a, b, c, d)| (part(&from, a, b, c, d), part(&to, a, b, c, d)))
            .to_vec();
        let src = gpu().upload("src", &values(9, source)).unwrap();
        let run = |tiles: &[(Region, Region)], order: &[usize]| -> Vec<u32> {
            let dst = gpu().upload("dst", &poison(length)).unwrap();
            let stage = ConvStage::new(gpu(), &plan, &layer, &src, &dst, tiles, texels).unwrap();
            let mut recorder = gpu().record();
            order.iter().for_each(|&tile| stage.record(&mut recorder, tile, 1));
            recorder.submit();
            gpu().read(&dst).unwrap()
        };
        let at_once = run(&[(from, to)], &[0]);
        assert!(at_once == run(&tiles, &[0, 1, 2]));
        assert!(at_once == run(&tiles, &[2, 0, 1]));
        assert!(at_once != run(&tiles, &[2, 0]), "the parts must matter");
    }
}

/// `layer` applied on the device to planes of an image with zeros around it.
fn apply(layer: &ConvLayer, data: &[f32], [h, w]: [usize; 2]) -> Vec<f64> {
    let radius = layer.size / 2;
    let (from, length) = place(whole(h, w), layer.inputs, radius, 1);
    let mut source = vec![0.0; length];
    for (n, value) in data.iter().enumerate() {
        let (row, col) = (n / w % h, n % w);
        source[index(&from, 0, n / (h * w), row as isize, col as isize)] = *value;
    }
    let (to, length) = place(whole(h, w), layer.outputs, 0, 1);
    let src = gpu().upload("src", &source).unwrap();
    let dst = gpu().upload("dst", &poison(length)).unwrap();
    let plan = ConvPlan::with_block(layer.inputs, layer.outputs, layer.size, [1, 2]);
    let stage = ConvStage::new(gpu(), &plan, layer, &src, &dst, &[(from, to)], None).unwrap();
    let mut recorder = gpu().record();
    stage.record(&mut recorder, 0, 1);
    recorder.submit();
    let got: Vec<f32> = gpu().read(&dst).unwrap();
    (0..layer.outputs * h * w)
        .map(|n| f64::from(got[index(&to, 0, n / (h * w), (n / w % h) as isize, (n % w) as isize)]))
        .collect()
}

#[test]
fn the_adjoint_layer_is_the_transpose() {
    let _turn = turn();
    for (inputs, outputs, size) in [(1, 1, 1), (1, 4, 5), (4, 8, 5), (3, 7, 3), (2, 5, 13)] {
        let layer = layer(10, inputs, outputs, size);
        let turned = layer.adjoint();
        assert_eq!((turned.inputs, turned.outputs), (outputs, inputs));
        assert_eq!(turned.adjoint(), layer);
        for shape in [[9, 14], [1, 5], [6, 3]] {
            let pixels = shape[0] * shape[1];
            let (x, y) = (values(1, inputs * pixels), values(2, outputs * pixels));
            let (forward, backward) = (apply(&layer, &x, shape), apply(&turned, &y, shape));
            let (x, y) = (widen(&x), widen(&y));
            let bounds = [
                (&y, correlate(&layer, &Bounded::exact(&x), shape).error),
                (&x, scatter(&layer, &Bounded::exact(&y), shape).error),
            ];
            let sums = bounds
                .iter()
                .map(|(v, e)| v.iter().zip(e).map(|(v, e)| v.abs() * e).sum::<f64>());
            let (left, right, allowed) = (dot(&forward, &y), dot(&x, &backward), sums.sum::<f64>());
            assert!(
                (left - right).abs() <= allowed,
                "{inputs} -> {outputs} of {size} on {shape:?}: <Wx, y> = {left}, <x, W'y> = {right}, allowed {allowed:e}"
            );
            assert!(left.abs() > 2.0 * allowed, "{left} is too close to 0 to tell anything");
        }
    }
}

#[test]
fn effective_filters_are_the_bank_away_from_the_border() {
    let bank = FilterBank::new(vec![layer(1, 1, 3, 3), layer(2, 3, 4, 5), layer(3, 4, 5, 3)]).unwrap();
    let collapsed = bank.collapsed().unwrap();
    let (radius, size) = (4, [15, 12]);
    assert_eq!(
        (bank.radius(), collapsed.radius(), bank.channels()),
        (radius, radius, 5)
    );
    let x = Bounded::exact(&widen(&values(4, 180)));
    let layered = bank.layers().iter().fold(x.clone(), |v, l| correlate(l, &v, size));
    let at_once = correlate(&collapsed.layers()[0], &x, size);
    let mut border = 0.0_f64;
    for n in 0..layered.value.len() {
        let (row, col) = (n / 12 % 15, n % 12);
        let difference = (layered.value[n] - at_once.value[n]).abs();
        if (radius..15 - radius).contains(&row) && (radius..12 - radius).contains(&col) {
            // The collapsed weights are rounded to f32 once.
            assert!(difference <= at_once.error[n], "response {n}: off by {difference:e}");
        } else {
            border = border.max(difference);
        }
    }
    assert!(border > 0.1, "padding every plane differs from padding the image");
    let filters = bank.effective_filters();
    for (filter, weight) in filters.iter().zip(&collapsed.layers()[0].weights) {
        assert!((filter - f64::from(*weight)).abs() <= EPS * filter.abs());
    }
    let doubled = bank.scaled(2.0).effective_filters();
    assert!(filters.iter().zip(&doubled).all(|(f, d)| 2.0 * f == *d));
}
