//! Gradients with respect to a bank's nodal values and scalings, and the histogram of its inputs.

use super::TrainableBank;
use super::pointwise::PointwiseParams;
use crate::filters::Region;
use crate::gpu::{Bound, Buffer, Gpu, Recorder};
use crate::{Result, shader_struct};

shader_struct! {
    /// Parameters of `spline_gradient.wgsl`.
    pub struct GradientParams {
        /// The responses to sum over.
        pub walk: PointwiseParams,
        /// Partial sums of a chunk: entries of all channels' splines.
        pub partials: u32,
        /// Partial sums from channel to channel beyond its first entry: the count of a spline that all share, else 0.
        pub channel_partials: u32,
        /// Padding.
        pub pad0: u32,
        /// Padding.
        pub pad1: u32,
    }
}

shader_struct! {
    /// Parameters of `spline_gradient_values.wgsl`.
    pub struct EntryParams {
        /// Entries of the bank.
        pub entries: u32,
        /// Partial sums per entry.
        pub count: u32,
        /// 1 to add to the gradient.
        pub accumulate: u32,
        /// Padding.
        pub pad0: u32,
    }
}

shader_struct! {
    /// Parameters of `spline_gradient_alphas.wgsl`.
    pub struct AlphaParams {
        /// Chunks per slot.
        pub chunks: u32,
        /// Partial sums of a chunk.
        pub partials: u32,
        /// As in [`GradientParams`].
        pub channel_partials: u32,
        /// 1 to add to the gradient.
        pub accumulate: u32,
    }
}

/// Invocations per workgroup of the kernels that sum by segment.
const WALKERS: u32 = 64;
/// Segments, or knots, that one workgroup sums for.
const WINDOW: usize = 16;

/// For a loss `L` with gradient `g` at the outputs `y = phi_c(alpha_c u) / alpha_c`: `dL/df_n`, the sum of
/// `g hat_n(alpha_c u) / alpha_c` over all positions inside the image, with hats that extend linearly at the ends; and
/// `dL/dalpha_c`. Two passes in a fixed order of additions: the same bits on every run of one device.
#[derive(Debug)]
pub struct BankGradient {
    sums: Bound,
    values: Bound,
    alphas: Bound,
    chunks: Vec<u32>,
    windows: u32,
    planes: u32,
    channels: u32,
    entry_groups: u32,
    value_gradient: Buffer,
    alpha_gradient: Buffer,
}

impl BankGradient {
    /// Prepares the gradient for responses `u` and upstream gradients `g`, both (slot, channel, row, column) addressed by
    /// `regions`.
    ///
    /// # Errors
    /// As [`super::Pointwise::new`].
    pub fn new(
        gpu: &Gpu,
        bank: &TrainableBank,
        regions: &[Region],
        slots: usize,
        u: &Buffer,
        g: &Buffer,
    ) -> Result<Self> {
        let splines = bank.activations();
        splines.check(slots)?;
        let (channels, entries) = (bank.channels(), bank.entries());
        let planes = slots * channels;
        let walks: Vec<_> = regions
            .iter()
            .map(|&r| PointwiseParams::new(r, gpu.style().blocks, WALKERS, planes))
            .collect();
        let chunks: Vec<_> = walks.iter().map(|w| w.chunks(WALKERS)).collect();
        let sharers = if bank.shared() { channels } else { 1 };
        let per_chunk = (entries * sharers) as u32;
        let channel_partials = if bank.shared() { entries as u32 } else { 0 };
        let most = chunks.iter().copied().max().unwrap_or(0) as usize * slots;
        let partials = gpu.buffer("spline gradient partials", 2 * most * entries * sharers)?;
        let value_gradient = gpu.buffer("value gradient", entries)?;
        let alpha_gradient = gpu.buffer("alpha gradient", planes_of_records(bank, slots))?;

        let params: Vec<_> = walks
            .iter()
            .map(|&walk| GradientParams {
                walk,
                partials: per_chunk,
                channel_partials,
                ..Default::default()
            })
            .collect();
        let memory = [("u", u.into()), ("g", g.into()), ("partials", (&partials).into())];
        let sums = splines.bind(
            gpu,
            "spline_gradient",
            &[("WALKERS", WALKERS)],
            gpu.params(&params)?.binding(),
            &memory,
        )?;

        // Every region twice: to replace the gradient and to add to it.
        let twice = || chunks.iter().flat_map(|&c| [(c, 0), (c, 1)]);
        let params: Vec<_> = twice()
            .map(|(c, accumulate)| EntryParams {
                entries: entries as u32,
                count: c * slots as u32 * sharers as u32,
                accumulate,
                pad0: 0,
            })
            .collect();
        let lanes = lanes(most * sharers, entries);
        let values = gpu.kernel("spline_gradient_values", &[("LANES", lanes)])?.bind(
            gpu,
            &[
                ("params", gpu.params(&params)?.binding()),
                ("positions", bank.positions().into()),
                ("partials", (&partials).into()),
                ("gradient", (&value_gradient).into()),
            ],
        )?;

        let params: Vec<_> = twice()
            .map(|(chunks, accumulate)| AlphaParams {
                chunks: if bank.slots().is_some() {
                    chunks
                } else {
                    chunks * slots as u32
                },
                partials: per_chunk,
                channel_partials,
                accumulate,
            })
            .collect();
        let memory = [("partials", (&partials).into()), ("gradient", (&alpha_gradient).into())];
        let alphas = splines.bind(
            gpu,
            "spline_gradient_alphas",
            &[],
            gpu.params(&params)?.binding(),
            &memory,
        )?;
        Ok(Self {
            sums,
            values,
            alphas,
            chunks,
            windows: splines.longest.div_ceil(WINDOW) as u32,
            planes: planes as u32,
            channels: channels as u32,
            entry_groups: (entries as u32 * lanes).div_ceil(64),
            value_gradient,
            alpha_gradient,
        })
    }

    /// Records both gradients for region `region` of all slots; with `accumulate` they are added to what is there.
    pub fn record(&self, recorder: &mut Recorder<'_>, region: usize, accumulate: bool) {
        let second = 2 * region + usize::from(accumulate);
        recorder.dispatch(&self.sums, [self.chunks[region], self.windows, self.planes], region);
        recorder.dispatch(&self.values, [self.entry_groups, 1, 1], second);
        let slots = self.alpha_gradient.len() as u32 / self.channels;
        recorder.dispatch(&self.alphas, [self.channels, slots, 1], second);
    }

    /// `dL/df`, (entry).
    pub fn values(&self) -> &Buffer {
        &self.value_gradient
    }

    /// `dL/dalpha`: (channel), or (slot, channel) for a bank whose slots have scalings of their own.
    pub fn alphas(&self) -> &Buffer {
        &self.alpha_gradient
    }

    /// For [`Gpu::warm_up`].
    pub fn bound(&self) -> [&Bound; 3] {
        [&self.sums, &self.values, &self.alphas]
    }
}

/// Gradients with respect to scalings: one per channel, or per (slot, channel).
fn planes_of_records(bank: &TrainableBank, slots: usize) -> usize {
    bank.channels() * bank.slots().map_or(1, |_| slots)
}

/// Invocations that share the summation of an entry: a power of 2, more where there is much to add and few entries.
fn lanes(count: usize, entries: usize) -> u32 {
    let wanted = (count / 4).clamp(1, 64) as u32;
    let most = (65535 * 64 / entries.max(1)).clamp(1, 64) as u32;
    1 << wanted.min(most).ilog2()
}

/// How many inputs `alpha_c u` fell on each segment of each spline, and on the two tails, since it was last cleared: what
/// [`crate::spline::reduce`] and [`crate::spline::propose_knots`] weigh errors with.
#[derive(Debug)]
pub struct BankHistogram {
    counts: Bound,
    chunks: Vec<u32>,
    windows: u32,
    channels: u32,
    ranges: Vec<(u32, u32)>,
    reached: Buffer,
    total: Buffer,
    zeros: Buffer,
}

impl BankHistogram {
    /// Prepares the counts for responses `u` (slot, channel, row, column) addressed by `regions`; all counts are 0.
    ///
    /// # Errors
    /// As [`super::Pointwise::new`].
    pub fn new(gpu: &Gpu, bank: &TrainableBank, regions: &[Region], slots: usize, u: &Buffer) -> Result<Self> {
        let splines = bank.activations();
        splines.check(slots)?;
        let params: Vec<_> = regions
            .iter()
            .map(|&r| PointwiseParams::new(r, gpu.style().blocks, WALKERS, slots * bank.channels()))
            .collect();
        let reached = gpu.buffer("reached knots", bank.entries())?;
        let total = gpu.buffer("inputs", bank.ranges().len())?;
        let memory = [
            ("u", u.into()),
            ("reached", (&reached).into()),
            ("total", (&total).into()),
        ];
        let counts = splines.bind(
            gpu,
            "spline_histogram",
            &[("WALKERS", WALKERS), ("OWN", u32::from(!bank.shared()))],
            gpu.params(&params)?.binding(),
            &memory,
        )?;
        Ok(Self {
            counts,
            chunks: params.iter().map(|p| p.chunks(WALKERS)).collect(),
            windows: splines.longest.div_ceil(WINDOW) as u32,
            channels: bank.channels() as u32,
            ranges: bank.ranges().to_vec(),
            zeros: gpu.buffer("zeros", bank.entries())?,
            reached,
            total,
        })
    }

    /// Records that all counts become 0.
    pub fn record_clear(&self, recorder: &mut Recorder<'_>) {
        recorder.copy(self.zeros.all(), self.reached.all());
        recorder.copy(self.zeros.slice(0, self.total.len()), self.total.all());
    }

    /// Records the counting of region `region` of the first `slots` slots. A count may reach 4 294 967 295.
    pub fn record(&self, recorder: &mut Recorder<'_>, region: usize, slots: u32) {
        let groups = [self.chunks[region], self.windows, slots * self.channels];
        recorder.dispatch(&self.counts, groups, region);
    }

    /// For [`Gpu::warm_up`], which counts: clear afterwards.
    pub fn bound(&self) -> &Bound {
        &self.counts
    }

    /// Reads the counts, waiting for the device: per spline those left of the first knot, of the segments, and from the
    /// last knot on, N + 1 in all.
    ///
    /// # Errors
    /// Device errors.
    pub fn read(&self, gpu: &Gpu) -> Result<Vec<Vec<f64>>> {
        let reached: Vec<u32> = gpu.read(&self.reached)?;
        let total: Vec<u32> = gpu.read(&self.total)?;
        let of = |(&(first, count), total): (&(u32, u32), &u32)| {
            let mut before = *total;
            let ends = reached[first as usize..(first + count) as usize].iter().copied();
            ends.chain([0])
                .map(|reached| f64::from(std::mem::replace(&mut before, reached) - reached))
                .collect()
        };
        Ok(self.ranges.iter().zip(&total).map(of).collect())
    }
}
