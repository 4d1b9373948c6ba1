//! The gradient with respect to a layer's filters against the sum that defines it.

use crate::common;
use crate::common::{EPS, assert_close, gpu, poison, poisoned, values};
use crate::reference::device::turn;
use knotwork::filters::{GradientPair, LayerShape, Region, WeightGradient, WeightGradientPlan};
use knotwork::gpu::KernelStyle;

/// Planes of `images` images with odd strides: the image of `rows` x `cols` behind a border of `margin`, itself inside a
/// region with a rim of 2 and 3 that does not count.
fn place([rows, cols]: [usize; 2], planes: usize, margin: usize) -> Region {
    let row_stride = cols + 2 * margin + 9;
    let plane_stride = row_stride * (rows + 2 * margin + 5) + 5;
    Region {
        rows: rows as u32 + 2,
        cols: cols as u32 + 3,
        first: (13 + margin * (row_stride + 1)) as u32,
        row_stride: row_stride as u32,
        plane_stride: plane_stride as u32,
        image_stride: (plane_stride * planes + 7) as u32,
        inside_top: 2,
        inside_left: 3,
        inside_rows: rows as u32,
        inside_cols: cols as u32,
        ..Default::default()
    }
}

/// Index of pixel (row, col), which may lie outside the image.
fn index(r: &Region, image: usize, plane: usize, row: isize, col: isize) -> usize {
    let corner = r.first + image as u32 * r.image_stride + plane as u32 * r.plane_stride;
    let origin = corner + r.inside_top * r.row_stride + r.inside_left;
    (origin as isize + row * r.row_stride as isize + col) as usize
}

/// Values behind the last image that invocations beyond the border may read.
const SLACK: usize = 800;

struct Case {
    shape: LayerShape,
    size: [usize; 2],
    images: usize,
    g: Vec<f32>,
    x: Vec<f32>,
}

impl Case {
    fn new(shape: LayerShape, size: [usize; 2], images: usize) -> Self {
        let pixels = images * size[0] * size[1];
        Self {
            shape,
            size,
            images,
            g: values(5, shape.outputs * pixels),
            x: values(6, shape.inputs * pixels),
        }
    }

    fn pixels(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let [rows, cols] = self.size;
        (0..rows).flat_map(move |r| (0..cols).map(move |q| (r, q)))
    }

    /// The planes in memory. Of `g` everything outside the image is NaN; of `x` the border is 0 and the rest absurd.
    fn scattered(&self, data: &[f32], planes: usize, margin: usize, outside: f32) -> (Region, Vec<f32>) {
        let [rows, cols] = self.size;
        let region = place(self.size, planes, margin);
        let mut all = vec![outside; index(&region, self.images, 0, 0, 0) + SLACK];
        for image in 0..self.images {
            for plane in 0..planes {
                let m = margin as isize;
                for row in -m..rows as isize + m {
                    for col in -m..cols as isize + m {
                        all[index(&region, image, plane, row, col)] = 0.0;
                    }
                }
                for (r, q) in self.pixels() {
                    let at = ((image * planes + plane) * rows + r) * cols + q;
                    all[index(&region, image, plane, r as isize, q as isize)] = data[at];
                }
            }
        }
        (region, all)
    }

    /// The defining sum, and the sum of the terms' sizes.
    fn truth(&self) -> (Vec<f64>, Vec<f64>) {
        let LayerShape { inputs, outputs, size } = self.shape;
        let [rows, cols] = self.size;
        let (mut value, mut size_of_terms) = (Vec::new(), Vec::new());
        for n in 0..self.shape.weights() {
            let (o, i, ky, kx) = (
                n / (inputs * size * size),
                n / (size * size) % inputs,
                n / size % size,
                n % size,
            );
            let (mut sum, mut sizes) = (0.0, 0.0);
            for image in 0..self.images {
                for (r, q) in self.pixels() {
                    let (y, x) = ((r + ky).wrapping_sub(size / 2), (q + kx).wrapping_sub(size / 2));
                    if y < rows && x < cols {
                        let g = f64::from(self.g[((image * outputs + o) * rows + r) * cols + q]);
                        let term = g * f64::from(self.x[((image * inputs + i) * rows + y) * cols + x]);
                        sum += term;
                        sizes += term.abs();
                    }
                }
            }
            value.push(sum);
            size_of_terms.push(sizes);
        }
        (value, size_of_terms)
    }

    /// The device's gradient over the pair given `pairs` times, twice; guards must stay untouched.
    fn run(&self, plan: &WeightGradientPlan, pairs: usize) -> Vec<f32> {
        const FIRST: usize = 37;
        let (g_region, g) = self.scattered(&self.g, self.shape.outputs, 0, f32::from_bits(common::POISON));
        let (x_region, x) = self.scattered(&self.x, self.shape.inputs, self.shape.size / 2, 1e30);
        let (g, x) = (gpu().upload("g", &g).unwrap(), gpu().upload("x", &x).unwrap());
        let pair = GradientPair {
            g: &g,
            g_region,
            x: &x,
            x_region,
        };
        let guarded = poison(FIRST + self.shape.weights() + 41);
        let result = gpu().upload("gradient", &guarded).unwrap();
        let gradient =
            WeightGradient::new(gpu(), plan, self.shape, self.images, &vec![pair; pairs], &result, FIRST).unwrap();
        let run = || -> Vec<f32> {
            gpu().write(&result, &guarded).unwrap();
            let mut recorder = gpu().record();
            gradient.record(&mut recorder, false);
            recorder.submit();
            gpu().read(&result).unwrap()
        };
        let (once, again) = (run(), run());
        let bits = |v: &[f32]| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert!(bits(&once) == bits(&again), "{plan:?}: two runs differ");
        let inside = FIRST..FIRST + self.shape.weights();
        for (at, v) in once.iter().enumerate().filter(|(at, _)| !inside.contains(at)) {
            assert!(poisoned(*v), "{plan:?}: wrote element {at}");
        }
        once[inside].to_vec()
    }

    fn check(&self, plan: &WeightGradientPlan) {
        let name = format!("{:?}, {:?}, {} images, {plan:?}", self.shape, self.size, self.images);
        let (want, sizes) = self.truth();
        // An invocation adds its rows, each a sum of four products; then its workgroup; then the chunks. All are at most
        // the strips and rows that there are.
        let strips = self.images * self.size[1].div_ceil(4);
        let depth = 8 * self.size[0] + plan.lanes + strips.min(200) + 8;
        assert_close(&name, &self.run(plan, 1), &want, |n| {
            EPS * depth as f64 * sizes[n] + 1e-30
        });
    }
}

fn shape(inputs: usize, outputs: usize, size: usize) -> LayerShape {
    LayerShape { inputs, outputs, size }
}

#[test]
fn every_block_computes_the_sum_at_awkward_sizes() {
    let _turn = turn();
    for (shape, [co, ci, taps], lanes) in [
        (shape(1, 1, 1), [1, 1, 1], 32),
        (shape(1, 4, 5), [2, 1, 5], 32),
        (shape(4, 6, 3), [3, 2, 1], 64),
        (shape(3, 2, 9), [1, 3, 3], 32),
    ] {
        let plan = WeightGradientPlan {
            co,
            ci,
            taps,
            lanes,
            busy: 2,
        };
        for (size, images) in [
            ([1, 1], 1),
            ([1, 17], 2),
            ([19, 1], 3),
            ([13, 29], 1),
            ([5, 4], 70),
            ([37, 7], 5),
            ([70, 33], 1),
        ] {
            Case::new(shape, size, images).check(&plan);
        }
    }
}

#[test]
fn the_plans_of_both_styles_compute_the_sum() {
    let _turn = turn();
    for (style, layers) in [
        (KernelStyle::SOFTWARE, [shape(1, 4, 5), shape(4, 8, 5)]),
        (KernelStyle::HARDWARE, [shape(4, 8, 5), shape(1, 8, 13)]),
    ] {
        for shape in layers {
            let plan = WeightGradientPlan::new(style, shape.inputs, shape.outputs, shape.size);
            assert!(shape.outputs.is_multiple_of(plan.co) && shape.inputs.is_multiple_of(plan.ci));
            Case::new(shape, [14, 11], 3).check(&plan);
        }
    }
}

#[test]
fn pairs_add_up() {
    let _turn = turn();
    let case = Case::new(shape(2, 3, 3), [11, 9], 2);
    let plan = WeightGradientPlan::new(KernelStyle::SOFTWARE, 2, 3, 3);
    let (once, twice) = (case.run(&plan, 1), case.run(&plan, 2));
    assert!(once.iter().any(|v| *v != 0.0));
    // One chunk each: adding a number to itself is exact.
    assert_eq!(once.iter().map(|v| 2.0 * v).collect::<Vec<_>>(), twice);
}

#[test]
fn planes_of_different_sizes_are_refused() {
    let _turn = turn();
    let (a, b) = (place([4, 5], 1, 1), place([5, 4], 1, 1));
    let memory = gpu().buffer("planes", 1000).unwrap();
    let plan = WeightGradientPlan::new(KernelStyle::SOFTWARE, 1, 1, 3);
    let pair = GradientPair {
        g: &memory,
        g_region: a,
        x: &memory,
        x_region: b,
    };
    for pairs in [&[pair][..], &[]] {
        let result = WeightGradient::new(gpu(), &plan, shape(1, 1, 3), 1, pairs, &memory, 0);
        let error = result.unwrap_err().to_string();
        assert!(error.contains("one size"), "{error}");
    }
}
