//! Times of dispatches, taken by the device itself.
//!
//! One query set of [`QUERIES`] timestamps serves all recorders: Metal allows 32 sets at once, and a set per submission would
//! pass that. It is cut into blocks, each as long as a submission; a recorder takes a block, writes two timestamps per
//! dispatch and resolves them at the end of the same submission. When no block is free, or a profile is asked for, the
//! submitted ones are read back together. Own code rather than the crate wgpu-profiler: names, specialisations and work come
//! from the bound kernels, submissions are the recorder's, and scopes, frames and pools of query sets would stand beside them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::buffer::Buffer;
use super::device::Gpu;
use super::faults::lock;
use super::kernel::{Bound, Specialisation};
use super::recorder::DISPATCHES_PER_SUBMIT;
use super::transfer::Readback;
use super::work::Work;
use crate::Result;

/// Blocks of the query set, and timestamps of one: a multiple of 32, because a resolve starts at a multiple of 256 bytes.
const BLOCKS: u32 = 8;
const BLOCK_QUERIES: u32 = 2 * DISPATCHES_PER_SUBMIT as u32;
const QUERIES: u32 = BLOCKS * BLOCK_QUERIES;

/// Launches that a profile keeps one by one; beyond, only the sums by kernel go on.
const MOST_LAUNCHES: usize = 1 << 18;

/// The times of one kernel.
#[derive(Clone, Debug)]
pub struct KernelTime {
    /// Which kernel.
    pub kernel: Arc<Specialisation>,
    /// Dispatches.
    pub launches: u64,
    /// Nanoseconds in all.
    pub nanoseconds: f64,
    /// Work of all launches; `None` if it was not stated for each of them.
    pub work: Option<Work>,
}

/// One dispatch.
#[derive(Clone, Copy, Debug)]
pub struct Launch {
    /// Index into [`Profile::kernels`].
    pub kernel: usize,
    /// Workgroups.
    pub groups: [u32; 3],
    /// Nanoseconds from the first timestamp of the profile to its start.
    pub start: f64,
    /// How long it took, in nanoseconds.
    pub nanoseconds: f64,
}

/// Times of dispatches on the device.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// Sums by kernel, in the order of their first launch.
    pub kernels: Vec<KernelTime>,
    /// Dispatches in the order in which they were submitted, the first 262 144 of them.
    pub launches: Vec<Launch>,
}

impl Profile {
    /// Nanoseconds of all dispatches together.
    pub fn nanoseconds(&self) -> f64 {
        self.kernels.iter().map(|k| k.nanoseconds).sum()
    }

    /// Number of dispatches.
    pub fn count(&self) -> u64 {
        self.kernels.iter().map(|k| k.launches).sum()
    }
}

/// A dispatch whose timestamps are not read yet.
#[derive(Debug)]
struct Pending {
    kernel: Arc<Specialisation>,
    groups: [u32; 3],
    work: Option<Work>,
}

/// A recorder's part of the query set.
#[derive(Debug)]
pub(super) struct Block {
    index: u32,
    launches: Vec<Pending>,
}

/// Hands out blocks and reads them back.
#[derive(Debug)]
pub(super) struct Profiler {
    set: wgpu::QuerySet,
    resolved: Buffer,
    readback: Readback,
    /// Nanoseconds per tick.
    period: f64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    free: Vec<u32>,
    submitted: Vec<Block>,
    origin: Option<u64>,
    rows: HashMap<Arc<Specialisation>, usize>,
    profile: Profile,
}

impl Profiler {
    pub(super) fn new(gpu: &Gpu) -> Result<Self> {
        let descriptor = wgpu::QuerySetDescriptor {
            label: Some("timestamps"),
            ty: wgpu::QueryType::Timestamp,
            count: QUERIES,
        };
        let bytes = u64::from(QUERIES * wgpu::QUERY_SIZE);
        let usage = wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC;
        Ok(Self {
            set: gpu.scoped("timestamps", |device| device.create_query_set(&descriptor))?,
            resolved: gpu.allocate("timestamps", bytes, usage)?,
            readback: gpu.readback(bytes as usize / 4)?,
            period: f64::from(gpu.queue().get_timestamp_period()),
            state: Mutex::new(State {
                free: (0..BLOCKS).rev().collect(),
                submitted: Vec::new(),
                origin: None,
                rows: HashMap::new(),
                profile: Profile::default(),
            }),
        })
    }

    /// A block for one submission, read back from earlier ones if none is free. `None`, reported at the next read, if that
    /// fails.
    pub(super) fn reserve(&self, gpu: &Gpu) -> Option<Block> {
        let mut state = lock(&self.state);
        if state.free.is_empty()
            && let Err(error) = self.collect(gpu, &mut state)
        {
            gpu.report(error.to_string());
        }
        let index = state.free.pop();
        if index.is_none() {
            gpu.report(format!(
                "profiling allows {BLOCKS} recorders with unsubmitted work at once"
            ));
        }
        index.map(|index| Block {
            index,
            launches: Vec::with_capacity(DISPATCHES_PER_SUBMIT),
        })
    }

    /// Where the pass of the block's next dispatch writes its timestamps.
    pub(super) fn time(
        &self,
        block: &mut Block,
        bound: &Bound,
        groups: [u32; 3],
        entry: usize,
    ) -> wgpu::ComputePassTimestampWrites<'_> {
        let first = block.index * BLOCK_QUERIES + 2 * block.launches.len() as u32;
        block.launches.push(Pending {
            kernel: Arc::clone(&bound.kernel),
            groups,
            work: bound.work(groups, entry),
        });
        wgpu::ComputePassTimestampWrites {
            query_set: &self.set,
            beginning_of_pass_write_index: Some(first),
            end_of_pass_write_index: Some(first + 1),
        }
    }

    /// Resolves what the block's passes wrote, and no more: a query that was never written may be waited for without end.
    pub(super) fn resolve(&self, encoder: &mut wgpu::CommandEncoder, block: &Block) {
        let first = block.index * BLOCK_QUERIES;
        let queries = first..first + 2 * block.launches.len() as u32;
        let offset = u64::from(first * wgpu::QUERY_SIZE);
        encoder.resolve_query_set(&self.set, queries, &self.resolved.raw, offset);
    }

    pub(super) fn submitted(&self, block: Block) {
        lock(&self.state).submitted.push(block);
    }

    pub(super) fn profile(&self, gpu: &Gpu) -> Result<Profile> {
        let mut state = lock(&self.state);
        self.collect(gpu, &mut state)?;
        Ok(state.profile.clone())
    }

    /// Waits for the submitted blocks, adds their times to the profile and frees them.
    fn collect(&self, gpu: &Gpu, state: &mut State) -> Result<()> {
        if state.submitted.is_empty() {
            return gpu.wait();
        }
        let mut encoder = gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor {
            label: Some("timestamps"),
        });
        encoder.copy_buffer_to_buffer(&self.resolved.raw, 0, &self.readback.0.raw, 0, None);
        gpu.queue().submit([encoder.finish()]);
        let ticks: Vec<u64> = gpu.fetch(&self.readback)?;
        for block in std::mem::take(&mut state.submitted) {
            let first = (block.index * BLOCK_QUERIES) as usize;
            for (launch, times) in block.launches.into_iter().zip(ticks[first..].chunks_exact(2)) {
                state.add(launch, [times[0], times[1]], self.period);
            }
            state.free.push(block.index);
        }
        Ok(())
    }
}

impl State {
    fn add(&mut self, launch: Pending, [start, end]: [u64; 2], period: f64) {
        let origin = *self.origin.get_or_insert(start);
        let nanoseconds = end.saturating_sub(start) as f64 * period;
        let kernels = &mut self.profile.kernels;
        let row = *self.rows.entry(launch.kernel).or_insert_with_key(|kernel| {
            kernels.push(KernelTime {
                kernel: Arc::clone(kernel),
                launches: 0,
                nanoseconds: 0.0,
                work: Some(Work::default()),
            });
            kernels.len() - 1
        });
        let sums = &mut kernels[row];
        sums.launches += 1;
        sums.nanoseconds += nanoseconds;
        sums.work = sums.work.zip(launch.work).map(|(sum, work)| sum + work);
        if self.profile.launches.len() < MOST_LAUNCHES {
            self.profile.launches.push(Launch {
                kernel: row,
                groups: launch.groups,
                start: start.saturating_sub(origin) as f64 * period,
                nanoseconds,
            });
        }
    }
}
