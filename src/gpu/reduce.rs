//! Sums over images in a fixed order: the same bits on every run of one device.

use super::{Bound, Buffer, Gpu, ParamTable, Recorder, Work};
use crate::{Result, shader_struct};

shader_struct! {
    /// Parameters of `inner_product.wgsl`.
    pub struct SumParams {
        /// Values per image.
        pub pixels: u32,
        /// Workgroups per image.
        pub groups: u32,
        /// Padding.
        pub pad0: u32,
        /// Padding.
        pub pad1: u32,
    }
}

shader_struct! {
    /// Parameters of `sum_partials.wgsl`.
    pub struct TotalParams {
        /// Partial sums per slot.
        pub count: u32,
        /// Padding.
        pub pad0: u32,
        /// Padding.
        pub pad1: u32,
        /// Padding.
        pub pad2: u32,
    }
}

/// Values that one workgroup of the first pass sums.
pub const VALUES_PER_GROUP: usize = 4096;

/// Second pass: `slots` sums of `count` partial sums of 4 values each.
#[derive(Debug)]
pub struct Totals {
    bound: Bound,
    totals: Buffer,
}

impl Totals {
    /// Prepares the sums over `partials` (slot, n).
    ///
    /// # Errors
    /// Device errors.
    pub fn new(gpu: &Gpu, partials: &Buffer, slots: usize, count: usize) -> Result<Self> {
        let totals = gpu.buffer("totals", slots * 4)?;
        let params = gpu.params(&[TotalParams {
            count: count as u32,
            ..Default::default()
        }])?;
        let kernel = gpu.kernel("sum_partials", &[])?;
        let memory = [
            ("params", params.binding()),
            ("partials", partials.into()),
            ("totals", (&totals).into()),
        ];
        Ok(Self {
            bound: kernel.bind(gpu, &memory)?.with_work(
                Some(0),
                [Work {
                    bytes: 16 * count as u64,
                    multiply_adds: 0,
                }],
            ),
            totals,
        })
    }

    /// Records the pass for the first `slots` slots.
    pub fn record(&self, recorder: &mut Recorder<'_>, slots: u32) {
        recorder.dispatch(&self.bound, [slots, 1, 1], 0);
    }

    /// The sums, 4 values per slot.
    pub fn buffer(&self) -> &Buffer {
        &self.totals
    }

    /// For [`Gpu::warm_up`].
    pub fn bound(&self) -> &Bound {
        &self.bound
    }
}

/// `(<a, b>, |a - b|^2, |a|^2)` of two stacks of images.
#[derive(Debug)]
pub struct InnerProduct {
    bound: Bound,
    groups: u32,
    totals: Totals,
}

impl InnerProduct {
    /// Prepares the sums for `images` images of `pixels` values each in `a` and `b`.
    ///
    /// # Errors
    /// Device errors.
    pub fn new(gpu: &Gpu, a: &Buffer, b: &Buffer, images: usize, pixels: usize) -> Result<Self> {
        let groups = pixels.div_ceil(VALUES_PER_GROUP);
        let partials = gpu.buffer("inner product partials", images * groups * 4)?;
        let params: ParamTable<SumParams> = gpu.params(&[SumParams {
            pixels: pixels as u32,
            groups: groups as u32,
            ..Default::default()
        }])?;
        let memory = [
            ("params", params.binding()),
            ("a", a.into()),
            ("b", b.into()),
            ("partials", (&partials).into()),
        ];
        let kernel = gpu.kernel("inner_product", &[])?;
        let work = Work {
            bytes: kernel.element_bytes(&["a", "b"]) * pixels as u64,
            multiply_adds: 3 * pixels as u64,
        };
        let bound = kernel.bind(gpu, &memory)?.with_work(Some(1), [work]);
        let totals = Totals::new(gpu, &partials, images, groups)?;
        Ok(Self {
            bound,
            groups: groups as u32,
            totals,
        })
    }

    /// Records both passes for the first `images` images.
    pub fn record(&self, recorder: &mut Recorder<'_>, images: u32) {
        recorder.dispatch(&self.bound, [self.groups, images, 1], 0);
        self.totals.record(recorder, images);
    }

    /// For [`Gpu::warm_up`].
    pub fn kernels(&self) -> [&Bound; 2] {
        [&self.bound, self.totals.bound()]
    }

    /// The sums: `[<a, b>, |a - b|^2, |a|^2, 0]` per image.
    pub fn totals(&self) -> &Buffer {
        self.totals.buffer()
    }
}
