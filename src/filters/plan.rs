//! How a layer's arithmetic is cut into kernel launches, for a software driver and for a GPU.

use crate::gpu::{Blocks, KernelStyle, Source, Work};

/// One way to compute a layer: `passes` x `groups` launches, each adding `planes` source planes into `co` destination
/// planes, `rows` x 4 pixels per invocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvPlan {
    /// Source planes summed by one launch.
    pub planes: usize,
    /// Destination planes per invocation.
    pub co: usize,
    /// Output rows per invocation.
    pub rows: usize,
    /// Launches over the source planes; all but the first add to the destination.
    pub passes: usize,
    /// Launches over the destination planes.
    pub groups: usize,
    /// Invocations per workgroup, in columns and rows.
    pub workgroup: [usize; 2],
}

/// Columns that one invocation computes: a vec4.
pub(super) const COLS: usize = 4;

/// Most rows that a plan gives one invocation.
const MAX_ROWS: usize = 8;

/// Workgroups: a GPU wants 64 invocations, neighbours in a row. lavapipe runs 8 at a time, was far slower with workgroups of
/// 8 and with rows of less than 8, and gains nothing from more than 32.
const HARDWARE_WORKGROUP: [usize; 2] = [16, 4];
const SOFTWARE_WORKGROUP: [usize; 2] = [8, 4];

/// Multiply-adds written out in one kernel. Software drivers take one to two seconds per thousand to compile, once per
/// machine (they cache the result); layers that cost little anyway get less.
const WRITTEN_OUT: usize = 4000;
const WRITTEN_OUT_SMALL: usize = 1600;

/// Multiply-adds per pixel below which a layer counts as small.
const SMALL_LAYER: usize = 1000;

/// Sums that one invocation may hold on a software driver before spilling costs more than it saves.
const SOFTWARE_SUMS: usize = 160;

/// Relative costs on lavapipe, per vector of 8 lanes, of a storage access, of a texel, of a uniform at an index that varies from
/// loop to loop, and of a multiply-add: estimates that rank blocks, to be checked with `cargo bench` (`benches/README.md`
/// says why they differ so much).
const ACCESS: f64 = 18.0;
const TEXEL: f64 = 12.0;
const WEIGHT: f64 = 3.0;
const MULTIPLY_ADD: f64 = 0.27;

/// Bytes of weights that fit a uniform binding at default limits.
const WEIGHT_BYTES: usize = 65536;

fn divisors(n: usize) -> impl Iterator<Item = usize> {
    (1..=n).filter(move |d| n.is_multiple_of(*d))
}

impl ConvPlan {
    /// The plan for a layer of `outputs` x `inputs` filters of side `size`.
    pub fn new(style: KernelStyle, inputs: usize, outputs: usize, size: usize) -> Self {
        let hardware = {
            let co = divisors(outputs).filter(|co| *co <= 8).last().unwrap_or(1);
            Self::with_block(inputs, outputs, size, [co, 2])
        };
        match style.blocks {
            Blocks::Small => hardware,
            Blocks::Large => {
                let small = inputs * outputs * size * size < SMALL_LAYER;
                let written_out = if small { WRITTEN_OUT_SMALL } else { WRITTEN_OUT };
                let plans = [MAX_ROWS, 4, 2, 1].into_iter().flat_map(|rows| {
                    divisors(outputs)
                        .filter(move |co| {
                            co * rows * COLS <= SOFTWARE_SUMS && co * rows * COLS * size * size <= written_out
                        })
                        .map(move |co| Self {
                            workgroup: SOFTWARE_WORKGROUP,
                            ..Self::with_block(inputs, outputs, size, [co, rows])
                        })
                });
                plans
                    .min_by(|a, b| {
                        a.software_cost(style.source, size)
                            .total_cmp(&b.software_cost(style.source, size))
                    })
                    .unwrap_or(hardware)
            }
        }
    }

    /// The plan with `[co, rows]` per invocation and as many source planes per launch as their weights fit a
    /// binding. `co` must divide `outputs`.
    pub fn with_block(inputs: usize, outputs: usize, size: usize, [co, rows]: [usize; 2]) -> Self {
        let plane_bytes = 4 * (co * size * size).next_multiple_of(4);
        let planes = divisors(inputs)
            .filter(|p| p * plane_bytes <= WEIGHT_BYTES)
            .last()
            .unwrap_or(1);
        Self {
            planes,
            co,
            rows,
            passes: inputs / planes,
            groups: outputs / co,
            workgroup: HARDWARE_WORKGROUP,
        }
    }

    /// Estimated time per pixel on a software driver.
    fn software_cost(&self, source: Source, size: usize) -> f64 {
        let pixels = (self.rows * COLS) as f64;
        let window = (self.rows + size - 1) as f64
            * match source {
                Source::Storage => ACCESS * (COLS + size - 1) as f64,
                Source::Texels => TEXEL * texels(0, size) as f64,
            };
        let taps = (self.co * size * size) as f64;
        let per_plane = window + WEIGHT * taps + MULTIPLY_ADD * taps * pixels;
        let stores = ACCESS * self.co as f64 * pixels;
        let per_pass = per_plane * self.planes as f64 + 2.0 * stores;
        per_pass * (self.passes * self.groups) as f64 / pixels
    }

    /// Work of one launch on one image: for every block of the plan that `rows` x `cols` pixels need, the windows of all
    /// source planes (`shift` as in [`Self::constants`]); a store per pixel, and a load where it `adds`; the multiply-adds of
    /// all taps.
    pub fn work(&self, size: usize, [rows, cols]: [usize; 2], adds: bool, shift: Option<usize>) -> Work {
        let blocks = rows.div_ceil(self.rows) * cols.div_ceil(COLS);
        let loaded = shift.map_or(COLS + size - 1, |shift| 4 * texels(shift, size));
        let window = (self.rows + size - 1) * loaded;
        let outputs = rows * cols * self.co;
        let accesses = blocks * window * self.planes + outputs * if adds { 2 } else { 1 };
        Work {
            bytes: 4 * accesses as u64,
            multiply_adds: (outputs * self.planes * size * size) as u64,
        }
    }

    /// Elements that must follow the last value a stage may need, whatever its plan: invocations beyond the region read on
    /// without storing.
    pub(crate) fn slack(row_stride: usize, size: usize) -> usize {
        let rows = HARDWARE_WORKGROUP[1].max(SOFTWARE_WORKGROUP[1]) * MAX_ROWS + size;
        let cols = HARDWARE_WORKGROUP[0].max(SOFTWARE_WORKGROUP[0]) * COLS + size;
        rows * row_stride + cols
    }

    /// Elements of one launch's weights: whole vec4s per source plane.
    pub(super) fn weights_per_launch(&self, size: usize) -> usize {
        self.planes * (self.co * size * size).next_multiple_of(4)
    }

    /// The kernel's constants; `shift` is the column in a texel in which windows begin, `None` for a source of frames.
    pub fn constants(&self, size: usize, shift: Option<usize>) -> Vec<(&'static str, u32)> {
        let rows = self.rows + size - 1;
        let [elements, texel_rows] = if shift.is_some() { [0, rows] } else { [rows, 0] };
        let shift = shift.unwrap_or(0);
        [
            ("K", size),
            ("TAP_QUADS", (size * size - 1) / 4),
            ("PLANES", self.planes),
            ("CO", self.co),
            ("ROWS", self.rows),
            ("ELEMENT_ROWS", elements),
            ("TEXEL_ROWS", texel_rows),
            ("SHIFT", shift),
            ("TEXELS", texels(shift, size)),
            ("ADDS", usize::from(self.passes > 1)),
            ("WORKGROUP_X", self.workgroup[0]),
            ("WORKGROUP_Y", self.workgroup[1]),
        ]
        .map(|(name, value)| (name, value as u32))
        .to_vec()
    }
}

/// Texels that hold a row of a window that begins in column `shift` of one.
fn texels(shift: usize, size: usize) -> usize {
    (shift + COLS + size - 1).div_ceil(4)
}
