//! How a layer's arithmetic is cut into kernel launches, for a software driver and for a GPU.

use crate::gpu::Gpu;

/// How the convolution kernel is specialised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConvStyle {
    /// Everything written out, weights at literal indices: what a software driver runs fast.
    Unrolled,
    /// A loop over the source planes inside the kernel: small code for a GPU's instruction cache.
    Looped,
}

impl ConvStyle {
    /// The style that suits the adapter.
    pub fn for_gpu(gpu: &Gpu) -> Self {
        if gpu.adapter().software {
            Self::Unrolled
        } else {
            Self::Looped
        }
    }
}

/// One way to compute a layer: `passes` x `groups` launches, each adding `blocks` x `ci` source planes into `co`
/// destination planes, `rows` x `cols` pixels per invocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvPlan {
    /// Source planes written out in one block.
    pub ci: usize,
    /// Blocks looped over in one launch.
    pub blocks: usize,
    /// Destination planes per invocation.
    pub co: usize,
    /// Output rows per invocation.
    pub rows: usize,
    /// Output columns per invocation.
    pub cols: usize,
    /// Launches over the source planes; all but the first add to the destination.
    pub passes: usize,
    /// Launches over the destination planes.
    pub groups: usize,
}

/// Multiply-adds written out in one kernel: software drivers take about half a second per thousand to compile, once per
/// machine, and cache the result.
const UNROLLED_LIMIT: usize = 3300;

/// Cost of a storage access and of a multiply-add for one 8-lane vector on a software driver, in nanoseconds
/// (`benches/README.md`). Only their ratio matters.
const ACCESS: f64 = 18.0;
const MULTIPLY_ADD: f64 = 0.6;

/// Bytes of weights that fit a uniform binding at default limits.
const WEIGHT_BYTES: usize = 65536;

fn divisors(n: usize) -> impl Iterator<Item = usize> {
    (1..=n).filter(move |d| n.is_multiple_of(*d))
}

impl ConvPlan {
    /// The plan for a layer of `outputs` x `inputs` filters of side `size`.
    pub fn new(style: ConvStyle, inputs: usize, outputs: usize, size: usize) -> Self {
        match style {
            ConvStyle::Unrolled => Self::unrolled(inputs, outputs, size),
            ConvStyle::Looped => Self::looped(inputs, outputs, size),
        }
    }

    fn unrolled(inputs: usize, outputs: usize, size: usize) -> Self {
        let mut best = (f64::INFINITY, Self::looped(inputs, outputs, size));
        for (rows, cols) in [(4, 2), (4, 1), (2, 2), (2, 1), (1, 1)] {
            for co in divisors(outputs).filter(|co| *co <= 16) {
                for ci in divisors(inputs) {
                    let multiply_adds = ci * co * size * size * rows * cols;
                    if multiply_adds > UNROLLED_LIMIT {
                        break;
                    }
                    let plan = Self {
                        ci,
                        blocks: 1,
                        co,
                        rows,
                        cols,
                        passes: inputs / ci,
                        groups: outputs / co,
                    };
                    let window = (ci * (rows + size - 1) * (cols + size - 1)) as f64;
                    let stores = (co * rows * cols) as f64;
                    let pass = ACCESS * (window + stores) + MULTIPLY_ADD * multiply_adds as f64;
                    let adding = ACCESS * stores * (plan.passes - 1) as f64;
                    let per_pixel = (pass * plan.passes as f64 + adding) * plan.groups as f64 / (rows * cols) as f64;
                    if per_pixel < best.0 {
                        best = (per_pixel, plan);
                    }
                }
            }
        }
        best.1
    }

    fn looped(inputs: usize, outputs: usize, size: usize) -> Self {
        let co = divisors(outputs).filter(|co| *co <= 8).last().unwrap_or(1);
        let blocks = divisors(inputs)
            .filter(|b| b * co * size * size * 4 <= WEIGHT_BYTES)
            .last()
            .unwrap_or(1);
        Self {
            ci: 1,
            blocks,
            co,
            rows: 4,
            cols: 2,
            passes: inputs / blocks,
            groups: outputs / co,
        }
    }

    /// The kernel's constants.
    pub fn constants(&self, size: usize) -> [(&'static str, u32); 6] {
        [
            ("K", size as u32),
            ("CI", self.ci as u32),
            ("BLOCKS", self.blocks as u32),
            ("CO", self.co as u32),
            ("ROWS", self.rows as u32),
            ("COLS", self.cols as u32),
        ]
    }
}
