//! How a layer's arithmetic is cut into kernel launches, for a software driver and for a GPU.

use super::points::{POINT_AMPLIFICATION, POINT_ROUNDINGS, POINTS, SEGMENT, segments};
use crate::gpu::{Blocks, KernelStyle, Products, Source, Weights, Work};

/// One way to compute a layer: `passes` x `launches` launches, each adding `planes` source planes into `groups` times `co`
/// destination planes, `rows` x 4 pixels per invocation at a time.
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
    pub launches: usize,
    /// Blocks of `co` destination planes that an invocation computes one after the other.
    pub groups: usize,
    /// Whether workgroups take the blocks of an image in the order of their numbers, instead of rectangles of them.
    pub numbered: bool,
    /// Whether the invocations of a subgroup pass weights on to each other, where the device lets them.
    pub lanes: bool,
    /// Source planes whose points an invocation holds at a time (`lib/conv_points.wgsl`); `None`: taps are multiplied, plane by plane.
    pub held: Option<usize>,
}

/// Columns that one invocation computes: a vec4.
pub(super) const COLS: usize = 4;

/// Most rows that a plan gives one invocation.
const MAX_ROWS: usize = 8;

/// Blocks per workgroup, in columns and rows: on a GPU neighbours share what they load. lavapipe runs 8 invocations at a time, was far
/// slower with workgroups of 8, and loads from caches anyway: rows of 0 take blocks one after the other, which leaves none idle.
const HARDWARE_WORKGROUP: [usize; 2] = [16, 4];
const SOFTWARE_WORKGROUPS: [usize; 4] = [64, 56, 48, 40];

/// Blocks of an image beyond which it does not matter that the last workgroup is not full.
const MANY_BLOCKS: usize = 512;

/// Workgroups along the first dimension of a dispatch that numbers its blocks, where there may be at most 65535.
const GROUPS_IN_A_ROW: usize = 1024;

/// Multiply-adds written out in one kernel. Software drivers take one to two seconds per thousand to compile, once per
/// machine (they cache the result); layers that cost little anyway get less.
const WRITTEN_OUT: usize = 4000;
const WRITTEN_OUT_SMALL: usize = 1600;

/// Multiply-adds per pixel below which a layer counts as small.
const SMALL_LAYER: usize = 1000;

/// Multiply-adds per pixel from which on a layer is multiplied at points: below, it gains little, kernels take a driver longer to prepare, and
/// the bound of rounding ([`ConvPlan::rounding`]) is looser.
const LARGE_LAYER: usize = 4000;

/// Sums that one invocation may hold on a software driver before spilling costs more than it saves, and those at points, which
/// stay in the nearest cache with the points that are held.
const SOFTWARE_SUMS: usize = 160;
const SOFTWARE_POINT_SUMS: usize = 256;
const SOFTWARE_POINTS: usize = 640;

/// Planes that a GPU sums at points, and rows: what stays in registers.
const HARDWARE_POINTS: [usize; 2] = [2, 4];

/// Costs on lavapipe in nanoseconds, per vector of 8 lanes, of a storage access, of a texel, of a uniform at an index that varies from
/// loop to loop, of a weight that another lane has loaded, of a multiply-add, and of making the points of a segment of a row:
/// estimates that rank blocks, to be checked with `cargo bench` (`benches/README.md` says why they differ so much).
const ACCESS: f64 = 50.0;
const TEXEL: f64 = 90.0;
const WEIGHT: f64 = 8.0;
const WEIGHT_OF_LANE: f64 = 1.0;
const MULTIPLY_ADD: f64 = 0.6;
const SEGMENT_POINTS: f64 = 12.0;

/// Bytes of weights that fit a uniform binding at default limits.
const WEIGHT_BYTES: usize = 65536;

fn divisors(n: usize) -> impl Iterator<Item = usize> {
    (1..=n).filter(move |d| n.is_multiple_of(*d))
}

impl ConvPlan {
    /// The plan for a layer of `outputs` x `inputs` filters of side `size`.
    pub fn new(style: KernelStyle, inputs: usize, outputs: usize, size: usize) -> Self {
        let weights = inputs * outputs * size * size;
        let points = style.products == Products::Points && weights >= LARGE_LAYER;
        let largest = |most: usize| divisors(outputs).filter(|co| *co <= most).last().unwrap_or(1);
        let hardware = if points {
            let [most, rows] = HARDWARE_POINTS;
            Self::with_points(inputs, outputs, size, [largest(most), rows], 1)
        } else {
            Self::with_block(inputs, outputs, size, [largest(8), 2])
        };
        if style.blocks == Blocks::Small {
            return hardware;
        }
        let lanes = style.weights == Weights::Lanes;
        let written_out = match weights {
            0..SMALL_LAYER => WRITTEN_OUT_SMALL,
            _ => WRITTEN_OUT,
        };
        let taps = Self::software_blocks(inputs, outputs, size, written_out);
        let points = Self::software_points(inputs, outputs, size).filter(|_| points);
        taps.chain(points)
            .map(|plan| Self { lanes, ..plan }.in_one_launch(size))
            .min_by(|a, b| {
                a.software_cost(style.source, size)
                    .total_cmp(&b.software_cost(style.source, size))
            })
            .unwrap_or(hardware)
    }

    /// Plans by taps that suit a software driver.
    fn software_blocks(inputs: usize, outputs: usize, size: usize, written_out: usize) -> impl Iterator<Item = Self> {
        [MAX_ROWS, 4, 2, 1].into_iter().flat_map(move |rows| {
            divisors(outputs)
                .filter(move |co| co * rows * COLS <= SOFTWARE_SUMS && co * rows * COLS * size * size <= written_out)
                .map(move |co| Self::with_block(inputs, outputs, size, [co, rows]))
        })
    }

    /// Plans by points that suit a software driver.
    fn software_points(inputs: usize, outputs: usize, size: usize) -> impl Iterator<Item = Self> {
        let per_row = POINTS * segments(size);
        [MAX_ROWS, 4].into_iter().flat_map(move |rows| {
            divisors(inputs).flat_map(move |held| {
                divisors(outputs)
                    .filter(move |co| {
                        co * rows * POINTS <= SOFTWARE_POINT_SUMS
                            && held * (rows + size - 1) * per_row <= SOFTWARE_POINTS
                            && held * co * rows * size * per_row <= WRITTEN_OUT
                    })
                    .map(move |co| Self::with_points(inputs, outputs, size, [co, rows], held))
            })
        })
    }

    /// The plan with `[co, rows]` per invocation and as many source planes per launch as their weights fit a
    /// binding. `co` must divide `outputs`.
    pub fn with_block(inputs: usize, outputs: usize, size: usize, [co, rows]: [usize; 2]) -> Self {
        Self {
            planes: 1,
            co,
            rows,
            passes: inputs,
            launches: outputs / co,
            groups: 1,
            numbered: false,
            lanes: false,
            held: None,
        }
        .in_few_passes(size)
    }

    /// The same by points, those of `held` source planes at a time. `held` must divide `inputs`, `rows` be a multiple of 4.
    pub fn with_points(inputs: usize, outputs: usize, size: usize, block: [usize; 2], held: usize) -> Self {
        Self {
            planes: held,
            passes: inputs / held,
            held: Some(held),
            ..Self::with_block(inputs, outputs, size, block)
        }
        .in_few_passes(size)
    }

    /// The same with as many source planes per launch as their weights fit a binding.
    fn in_few_passes(self, size: usize) -> Self {
        let at_once = self.held.unwrap_or(1);
        let trips = self.planes * self.passes / at_once;
        let with = |n: usize| Self {
            planes: n * at_once,
            passes: trips / n,
            ..self
        };
        let fits = |n: &usize| 4 * with(*n).weights_per_launch(size) <= WEIGHT_BYTES;
        with(divisors(trips).filter(fits).last().unwrap_or(1))
    }

    /// The same for a software driver, in as few launches as the weights allow: invocations with a single source plane load its
    /// pixels once for all destination planes, and on small images a launch costs more than what it computes.
    #[must_use]
    pub fn in_one_launch(self, size: usize) -> Self {
        let all = self.launches * self.groups;
        let bytes = 4 * Self { groups: 1, ..self }.weights_per_launch(size);
        let groups = divisors(all).filter(|g| g * bytes <= WEIGHT_BYTES).last().unwrap_or(1);
        Self {
            launches: all / groups,
            groups,
            numbered: true,
            ..self
        }
    }

    /// Blocks per workgroup for planes of `rows` x `cols`, in columns and rows; rows are 0 where blocks go by their numbers. Where a plane
    /// has few blocks, as many as leave the fewest invocations without one.
    pub fn workgroup(&self, [rows, cols]: [usize; 2]) -> [usize; 2] {
        let [down, across] = self.blocks([rows, cols]);
        let blocks = down * across;
        let [usual, ..] = SOFTWARE_WORKGROUPS;
        let fewest = || {
            SOFTWARE_WORKGROUPS
                .into_iter()
                .min_by_key(|w| blocks.next_multiple_of(*w))
        };
        match self.numbered {
            true if blocks < MANY_BLOCKS => [fewest().unwrap_or(usual), 0],
            true => [usual, 0],
            false => HARDWARE_WORKGROUP,
        }
    }

    /// Blocks that a plane of `rows` x `cols` has, one below the other and side by side.
    fn blocks(&self, [rows, cols]: [usize; 2]) -> [usize; 2] {
        [rows.div_ceil(self.rows), cols.div_ceil(COLS)]
    }

    /// Workgroups for a plane of `rows` x `cols`, along two dimensions of a dispatch.
    pub(super) fn dispatch(&self, workgroup: [usize; 2], size: [usize; 2]) -> [u32; 2] {
        let [down, across] = self.blocks(size);
        let [x, y] = if self.numbered {
            let groups = (down * across).div_ceil(workgroup[0]);
            [groups.min(GROUPS_IN_A_ROW), groups.div_ceil(GROUPS_IN_A_ROW)]
        } else {
            [across.div_ceil(workgroup[0]), down.div_ceil(workgroup[1])]
        };
        [x as u32, y as u32]
    }

    /// Estimated time per pixel on a software driver.
    fn software_cost(&self, source: Source, size: usize) -> f64 {
        let pixels = (self.rows * COLS) as f64;
        let rows = (self.rows + size - 1) as f64;
        let load = match source {
            Source::Storage => ACCESS * (COLS + size - 1) as f64,
            Source::Texels => TEXEL * texels(0, size) as f64,
        };
        let points = self.held.map_or(0.0, |_| SEGMENT_POINTS * segments(size) as f64);
        let windows = self.windows() as f64 * rows * (load + points);
        let weight = if self.lanes { WEIGHT_OF_LANE } else { WEIGHT };
        let [weights, used] = self.products(size).map(|n| n as f64);
        let sums = weights * (weight + MULTIPLY_ADD * used) * (self.planes * self.groups) as f64;
        let outputs = (self.co * self.groups * self.launches) as f64 * pixels;
        let accesses = (2 * self.passes - 1) as f64 * outputs;
        let launches = (self.passes * self.launches) as f64;
        ((windows + sums) * launches + ACCESS * accesses) / pixels
    }

    /// Weights of a group and source plane, and how many products an invocation forms with each.
    fn products(&self, size: usize) -> [usize; 2] {
        match self.held {
            Some(_) => [self.co * POINTS * size * segments(size), self.rows],
            None => [self.co * size * size, self.rows * COLS],
        }
    }

    /// Windows that an invocation loads.
    fn windows(&self) -> usize {
        let all_at_once = self.planes == self.held.unwrap_or(1);
        if all_at_once {
            self.planes
        } else {
            self.planes * self.groups
        }
    }

    /// Work of one launch on one image: for every block of the plan that a plane of so many rows and columns needs, the windows of all
    /// source planes (`shift` as in [`Self::kernel`]); a store per pixel, and a load where it `adds`; the multiply-adds of
    /// all taps or points.
    pub fn work(&self, size: usize, plane: [usize; 2], adds: bool, shift: Option<usize>) -> Work {
        let loaded = shift.map_or(COLS + size - 1, |shift| 4 * texels(shift, size));
        let window = (self.rows + size - 1) * loaded;
        let outputs = plane[0] * plane[1] * self.co * self.groups;
        let [down, across] = self.blocks(plane);
        let accesses = down * across * window * self.windows() + outputs * if adds { 2 } else { 1 };
        let [weights, used] = self.products(size);
        let products = weights * used * self.planes / (self.co * self.rows * COLS);
        Work {
            bytes: 4 * accesses as u64,
            multiply_adds: (outputs * products) as u64,
        }
    }

    /// Terms of a sum, with roundings of the products counted as such, and what multiplies their relative error: the computed layer is off
    /// by at most that, in units of the bound of its absolute weights by row and column sums.
    pub(crate) fn rounding(&self, size: usize) -> (usize, f64) {
        let inputs = self.planes * self.passes;
        match self.held {
            Some(_) => (inputs * size * segments(size) + POINT_ROUNDINGS, POINT_AMPLIFICATION),
            None => (inputs * size * size, 1.0),
        }
    }

    /// Elements that must follow the last value a stage may need, whatever its plan: blocks that reach beyond the region read
    /// on without storing.
    pub(crate) fn slack(row_stride: usize, size: usize) -> usize {
        (MAX_ROWS + size) * row_stride + COLS + size
    }

    /// Elements of one launch's weights: whole vec4s per group and trip.
    pub(super) fn weights_per_launch(&self, size: usize) -> usize {
        self.groups * self.planes / self.held.unwrap_or(1) * self.trip_weights(size)
    }

    /// Elements of the weights of a group and the source planes that are taken at a time: whole vec4s.
    fn trip_weights(&self, size: usize) -> usize {
        let [weights, _] = self.products(size);
        (weights * self.held.unwrap_or(1)).next_multiple_of(4)
    }

    /// The kernel and its constants; `shift` is the column in a texel in which windows begin, `None` for a source of frames,
    /// `lanes` what [`crate::gpu::Gpu::lanes`] says. Weights are passed on in workgroups of whole subgroups and one dimension.
    pub fn kernel(
        &self,
        size: usize,
        shift: Option<usize>,
        workgroup: [usize; 2],
        lanes: Option<u32>,
    ) -> (&'static str, Vec<(&'static str, u32)>) {
        let mut constants = self.constants(size, shift, workgroup);
        let [columns, rows] = workgroup.map(|n| n as u32);
        let lanes = lanes.filter(|&lanes| self.lanes && rows == 0 && columns.is_multiple_of(lanes));
        if let Some(lanes) = lanes {
            let hands = self.trip_weights(size).div_ceil(4 * lanes as usize);
            constants.extend([("LANES", lanes), ("HANDS", hands as u32)]);
        }
        let name = match (self.held, lanes) {
            (None, None) => "conv",
            (None, Some(_)) => "conv_lanes",
            (Some(_), None) => "conv_points",
            (Some(_), Some(_)) => "conv_points_lanes",
        };
        (name, constants)
    }

    fn constants(&self, size: usize, shift: Option<usize>, workgroup: [usize; 2]) -> Vec<(&'static str, u32)> {
        let rows = self.rows + size - 1;
        let [elements, texel_rows] = if shift.is_some() { [0, rows] } else { [rows, 0] };
        let shift = shift.unwrap_or(0);
        let common = [
            ("K", size),
            ("PLANES", self.planes),
            ("GROUPS", self.groups),
            ("CO", self.co),
            ("ROWS", self.rows),
            ("ELEMENT_ROWS", elements),
            ("TEXEL_ROWS", texel_rows),
            ("SHIFT", shift),
            ("TEXELS", texels(shift, size)),
            ("ADDS", usize::from(self.passes > 1)),
            ("WORKGROUP_X", workgroup[0]),
            ("WORKGROUP_Y", workgroup[1]),
        ];
        let mut constants = common.to_vec();
        match self.held {
            None => constants.extend([
                ("SPAN_ROWS", rows),
                ("SPAN_COLS", COLS + size - 1),
                ("TAP_QUADS", (size * size - 1) / 4),
            ]),
            Some(held) => {
                let taps = held * segments(size) * size;
                constants.extend([
                    ("SPAN_ROWS", rows.next_multiple_of(4)),
                    ("SPAN_COLS", SEGMENT * segments(size) + COLS - 1),
                    ("HELD", held),
                    ("SEGMENTS", segments(size)),
                    ("BUNDLES", held * segments(size)),
                    ("TAP_QUADS", taps / 4),
                    ("TAPS_LEFT", taps % 4),
                    ("ROW_QUADS", self.rows / 4),
                    ("WINDOW_QUADS", rows.div_ceil(4)),
                    ("PLANE_QUADS", segments(size) * POINTS * (rows.div_ceil(4) + 1)),
                    ("TAP_ROWS", size.next_multiple_of(4)),
                    ("TAP_QUAD_ROWS", size.div_ceil(4)),
                    ("TRIP_QUADS", self.trip_weights(size) / 4),
                ]);
            }
        }
        constants
            .into_iter()
            .map(|(name, value)| (name, value as u32))
            .collect()
    }
}

/// Texels that hold a row of a window that begins in column `shift` of one.
fn texels(shift: usize, size: usize) -> usize {
    (shift + COLS + size - 1).div_ceil(4)
}
