//! Kernels that apply a bank's splines to responses, element by element.

use std::sync::Arc;

use super::TrainableBank;
use crate::filters::Region;
use crate::gpu::{Binding, Blocks, Bound, Buffer, Gpu, Kernel, Recorder, Work};
use crate::spline::{Spline, SplineBank};
use crate::{Error, Result, shader_struct};

shader_struct! {
    /// How the invocations of a workgroup share the positions of a region (`shaders/lib/walk.wgsl`).
    pub struct PointwiseParams {
        /// The responses to work on.
        pub region: Region,
        /// Rows from an invocation's position to its next.
        pub step_rows: u32,
        /// Columns from an invocation's position to its next.
        pub step_cols: u32,
        /// Times four positions per invocation.
        pub trips: u32,
        /// Padding.
        pub pad0: u32,
    }
}

/// Invocations per workgroup of the pointwise kernels: a software driver runs 8 at a time, and the fewer there are, the more
/// positions each has to load its channel's knots for.
fn walkers(blocks: Blocks) -> u32 {
    match blocks {
        Blocks::Large => 32,
        Blocks::Small => 256,
    }
}

/// Workgroups that keep a large device busy, or the cores of a processor.
fn enough_groups(blocks: Blocks) -> u64 {
    match blocks {
        Blocks::Large => 64,
        Blocks::Small => 1024,
    }
}

/// Loading a channel's knots pays off over this many times four positions of an invocation: a software driver loads each lane by lane.
fn most_trips(blocks: Blocks) -> u32 {
    match blocks {
        Blocks::Large => 64,
        Blocks::Small => 16,
    }
}

/// Workgroups along one dimension of a dispatch.
const MOST_PLANES: usize = 65535;
/// Segments that are compared one by one.
const MOST_PIVOTS: usize = 31;
/// Knots that are compared before the rest of a long spline is halved.
const COARSE_PIVOTS: usize = 16;

impl PointwiseParams {
    /// The walk of workgroups of `walkers` invocations over `region`, in enough chunks to keep a device that wants such
    /// `blocks` busy with `planes` such regions at once.
    pub fn new(region: Region, blocks: Blocks, walkers: u32, planes: usize) -> Self {
        let positions = u64::from(region.rows) * u64::from(region.cols);
        let at_once = u64::from(4 * walkers);
        let shared = positions * planes as u64 / (at_once * enough_groups(blocks));
        let needed = positions.div_ceil(at_once).max(1);
        let trips = shared.clamp(1, u64::from(most_trips(blocks))).min(needed) as u32;
        Self::with_trips(region, walkers, trips)
    }

    /// The walk in one chunk.
    pub fn whole(region: Region, walkers: u32) -> Self {
        let positions = u64::from(region.rows) * u64::from(region.cols);
        Self::with_trips(region, walkers, positions.div_ceil(u64::from(4 * walkers)) as u32)
    }

    fn with_trips(region: Region, walkers: u32, trips: u32) -> Self {
        let cols = region.cols.max(1);
        Self {
            region,
            step_rows: walkers / cols,
            step_cols: walkers % cols,
            trips,
            pad0: 0,
        }
    }

    /// Work of one plane for a kernel that moves `bytes` per position and does no more than compare: knots are few.
    pub(crate) fn work(&self, bytes: u64) -> Work {
        Work {
            bytes: bytes * u64::from(self.region.rows) * u64::from(self.region.cols),
            multiply_adds: 0,
        }
    }

    /// Workgroups of `walkers` invocations that cover the region of one plane.
    pub fn chunks(&self, walkers: u32) -> u32 {
        let positions = u64::from(self.region.rows) * u64::from(self.region.cols);
        positions.div_ceil(u64::from(4 * walkers) * u64::from(self.trips.max(1))) as u32
    }
}

/// What the spline kernels read of a bank, constant or trainable (`shaders/lib/spline.wgsl`).
#[derive(Clone, Copy, Debug)]
pub struct Activations<'b> {
    /// `(t, f, s, p)` per entry.
    pub table: &'b Buffer,
    /// `{first, count, alpha, 1 / alpha}` per channel, or per (slot, channel).
    pub records: &'b Buffer,
    /// Number of channels.
    pub channels: usize,
    /// Number of slots with records of their own; `None` if all slots share them.
    pub slots: Option<usize>,
    /// Knots of the longest spline.
    pub longest: usize,
}

/// Splines on the device that never change, with a scaling per channel.
#[derive(Debug)]
pub(crate) struct ConstantBank {
    table: Buffer,
    records: Buffer,
    ranges: Vec<(u32, u32)>,
    channels: usize,
    longest: usize,
}

impl ConstantBank {
    /// Uploads `splines`, one per channel or one for all, with `alphas`, one per channel.
    ///
    /// # Errors
    /// Device errors.
    pub fn new(gpu: &Gpu, splines: &[Spline], alphas: &[f64]) -> Result<Self> {
        let bank = SplineBank::new(splines);
        let record = |(c, &alpha): (usize, &f64)| {
            let (first, count) = bank.ranges[c.min(bank.ranges.len() - 1)];
            [first, count, (alpha as f32).to_bits(), ((1.0 / alpha) as f32).to_bits()]
        };
        let records: Vec<[u32; 4]> = alphas.iter().enumerate().map(record).collect();
        Ok(Self {
            table: gpu.upload("knots", &bank.entries)?,
            records: gpu.upload("channels", &records)?,
            channels: alphas.len(),
            longest: bank.longest(),
            ranges: bank.ranges,
        })
    }

    /// `(first entry, count)` per spline.
    pub fn ranges(&self) -> &[(u32, u32)] {
        &self.ranges
    }

    /// What kernels read.
    pub fn activations(&self) -> Activations<'_> {
        Activations {
            table: &self.table,
            records: &self.records,
            channels: self.channels,
            slots: None,
            longest: self.longest,
        }
    }
}

impl Activations<'_> {
    /// The constants that specialise a kernel for these splines. Numbers of knots are rounded up to keep variants few.
    pub fn constants(&self) -> [(&'static str, u32); 4] {
        let segments = self.longest.max(2) - 1;
        let (pivots, halvings) = if segments <= MOST_PIVOTS {
            (self.longest.next_multiple_of(4) - 1, 0)
        } else {
            let coarse = segments.div_ceil(COARSE_PIVOTS).next_power_of_two();
            (COARSE_PIVOTS, coarse.trailing_zeros())
        };
        [
            ("CHANNELS", self.channels as u32),
            ("SLOT_RECORDS", self.slots.map_or(0, |_| self.channels as u32)),
            ("PIVOTS", pivots as u32),
            ("HALVINGS", halvings),
        ]
    }

    /// Checks that `slots` slots can be worked on at once.
    pub(crate) fn check(&self, slots: usize) -> Result<()> {
        if slots * self.channels > MOST_PLANES {
            return Err(Error::Data(format!(
                "{slots} slots of {} channels are more than the {MOST_PLANES} planes of one launch; use fewer slots, or \
                 rows of one slot for a batch of vectors",
                self.channels
            )));
        }
        match self.slots {
            Some(own) if own < slots => Err(Error::Data(format!(
                "{slots} slots are asked for, but the bank has scalings for {own}"
            ))),
            _ => Ok(()),
        }
    }

    /// A kernel specialised for these splines.
    pub(crate) fn kernel(&self, gpu: &Gpu, name: &str, constants: &[(&'static str, u32)]) -> Result<Arc<Kernel>> {
        gpu.kernel(name, &[&self.constants(), constants].concat())
    }

    /// Joins a spline kernel with these splines and with `memory`.
    pub(crate) fn bind(
        &self,
        gpu: &Gpu,
        kernel: &str,
        constants: &[(&'static str, u32)],
        params: Binding<'_>,
        memory: &[(&str, Binding<'_>)],
    ) -> Result<Bound> {
        let mut all = vec![
            ("params", params),
            ("knots", self.table.into()),
            ("channels", self.records.into()),
        ];
        all.extend_from_slice(memory);
        self.kernel(gpu, kernel, constants)?.bind(gpu, &all)
    }
}

/// A pointwise kernel over responses (slot, channel, row, column), for a list of regions of them.
///
/// A batch of vectors (batch, channel) is one slot of planes with `rows` = batch, `cols` = 1, `row_stride` = channels and
/// `plane_stride` = 1; vectors (channel, batch) have `cols` = batch, which the device reads faster.
#[derive(Debug)]
pub struct Pointwise {
    bound: Bound,
    chunks: Vec<u32>,
    channels: u32,
}

impl Pointwise {
    /// Prepares `kernel` for up to `slots` slots; `memory` are its buffers besides the splines.
    ///
    /// # Errors
    /// [`Error::Data`] for more slots than a launch or the bank's scalings cover; device errors.
    pub fn new(
        gpu: &Gpu,
        kernel: &str,
        splines: &Activations<'_>,
        regions: &[Region],
        slots: usize,
        memory: &[(&str, Binding<'_>)],
    ) -> Result<Self> {
        splines.check(slots)?;
        let planes = slots * splines.channels;
        let blocks = gpu.style().blocks;
        let walkers = walkers(blocks);
        let params: Vec<_> = regions
            .iter()
            .map(|&r| PointwiseParams::new(r, blocks, walkers, planes))
            .collect();
        let constants = [("WALKERS", walkers)];
        let names: Vec<&str> = memory.iter().map(|(name, _)| *name).collect();
        let bytes = splines.kernel(gpu, kernel, &constants)?.element_bytes(&names);
        let work: Vec<Work> = params.iter().map(|p| p.work(bytes)).collect();
        let bound = splines
            .bind(gpu, kernel, &constants, gpu.params(&params)?.binding(), memory)?
            .with_work(Some(1), work);
        Ok(Self {
            bound,
            chunks: params.iter().map(|p| p.chunks(walkers)).collect(),
            channels: splines.channels as u32,
        })
    }

    /// Records the kernel for region `region` of the first `slots` slots, at most as many as it was prepared for.
    pub fn record(&self, recorder: &mut Recorder<'_>, region: usize, slots: u32) {
        recorder.dispatch(&self.bound, [self.chunks[region], slots * self.channels, 1], region);
    }

    /// For [`Gpu::warm_up`].
    pub fn bound(&self) -> &Bound {
        &self.bound
    }
}

impl TrainableBank {
    /// `y <- phi_c(alpha_c u) / alpha_c` inside the image, 0 in the rest of a region, for responses (slot, channel, row,
    /// column) addressed by `regions`; `u` and `y` are different buffers.
    ///
    /// # Errors
    /// As [`Pointwise::new`].
    pub fn forward(&self, gpu: &Gpu, regions: &[Region], slots: usize, u: &Buffer, y: &Buffer) -> Result<Pointwise> {
        let memory = [("u", u.into()), ("y", y.into())];
        Pointwise::new(gpu, "spline_forward", &self.activations(), regions, slots, &memory)
    }

    /// The same in place: `u <- phi_c(alpha_c u) / alpha_c`.
    ///
    /// # Errors
    /// As [`Pointwise::new`].
    pub fn forward_in_place(&self, gpu: &Gpu, regions: &[Region], slots: usize, u: &Buffer) -> Result<Pointwise> {
        let memory = [("u", u.into())];
        Pointwise::new(gpu, "spline_activation", &self.activations(), regions, slots, &memory)
    }

    /// The gradient with respect to the inputs, in place: `v <- phi_c'(alpha_c u) v`, the segment that starts at a knot
    /// counting there; 0 outside the image.
    ///
    /// # Errors
    /// As [`Pointwise::new`].
    pub fn backward(&self, gpu: &Gpu, regions: &[Region], slots: usize, u: &Buffer, v: &Buffer) -> Result<Pointwise> {
        let memory = [("u", u.into()), ("v", v.into())];
        Pointwise::new(gpu, "spline_hessian", &self.activations(), regions, slots, &memory)
    }
}
