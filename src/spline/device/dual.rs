//! The splines that move the dual variables of splitting.

use super::Activations;
use crate::gpu::{Bound, Buffer, Gpu, Recorder};
use crate::{Error, Result, shader_struct};

shader_struct! {
    /// Parameters of `split_table.wgsl`.
    pub struct SplitTableParams {
        /// `lambda / penalty`.
        pub ratio: f32,
        /// Number of splines.
        pub splines: u32,
        /// Padding.
        pub pad0: u32,
        /// Padding.
        pub pad1: u32,
    }
}

/// Fewest entries that a kernel is made for: their number is part of it, and powers of two keep variants few while knots come and go.
const FEWEST_PIECES: usize = 64;
/// Most entries: a uniform binding holds them at default limits.
const MOST_PIECES: usize = 4096;

/// The splines `D = id - (id + ratio phi)^-1` of a bank, which take `alpha (W x + d)` to `alpha` times the next dual variable
/// (`shaders/split_table.wgsl`).
#[derive(Debug)]
pub struct DualSplines {
    pieces: Buffer,
    refresh: Bound,
    splines: u32,
}

impl DualSplines {
    /// Whether banks of so many entries, knots of all splines together, have them.
    pub fn exist_for(entries: usize) -> bool {
        entries <= MOST_PIECES
    }

    /// Prepares them for splines with the entries `(first, count)`, whose slopes must stay above `-1 / ratio`.
    /// [`Self::record_refresh`] must follow, and again after every change of the splines.
    ///
    /// # Errors
    /// [`Error::Data`] for more entries than [`Self::exist_for`] allows; device errors.
    pub fn new(gpu: &Gpu, splines: &Activations<'_>, ranges: &[(u32, u32)], ratio: f64) -> Result<Self> {
        let entries = splines.table.len() / 4;
        if !Self::exist_for(entries) {
            return Err(Error::Data(format!(
                "splitting is for activations of up to {MOST_PIECES} knots in all, not {entries}"
            )));
        }
        let room = entries.next_power_of_two().max(FEWEST_PIECES);
        let pieces = gpu.written_uniform("dual splines", &vec![[0.0_f32; 4]; room])?;
        let params = gpu.params(&[SplitTableParams {
            ratio: ratio as f32,
            splines: ranges.len() as u32,
            ..Default::default()
        }])?;
        let pairs: Vec<[u32; 2]> = ranges.iter().map(|&(first, count)| [first, count]).collect();
        let pairs = gpu.upload("spline ranges", &pairs)?;
        let memory = [
            ("params", params.binding()),
            ("knots", splines.table.into()),
            ("ranges", (&pairs).into()),
            ("pieces", (&pieces).into()),
        ];
        let refresh = gpu.kernel("split_table", &[])?.bind(gpu, &memory)?;
        Ok(Self {
            pieces,
            refresh,
            splines: ranges.len() as u32,
        })
    }

    /// `(T, S, low, high)` per segment and `(D(T_0), 0, 0, 0)` behind a spline's last, in whole vec4s, some of them unused.
    pub fn pieces(&self) -> &Buffer {
        &self.pieces
    }

    /// Records their renewal, behind that of the bank's.
    pub fn record_refresh(&self, recorder: &mut Recorder<'_>) {
        recorder.dispatch(&self.refresh, self.refresh.groups([self.splines, 1, 1]), 0);
    }
}
