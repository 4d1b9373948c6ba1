//! The proximal step on the responses of a ridge regularizer, tile by tile.

use super::passes::{Forward, Maker};
use super::ridge::Ridge;
use super::tiles::Tiling;
use crate::Result;
use crate::filters::{ConvLayer, ConvPlan, ConvStage, ProximalStep};
use crate::gpu::{Bound, Buffer, KernelStyle, Recorder};
use crate::spline::SplineBank;
use crate::spline::device::DualSplines;

/// Bytes of dual variables that are worth their price: beyond, the accelerated gradient gets by without them.
pub const MOST_DUAL_BYTES: usize = 1 << 30;

/// Bytes of the dual variables of `slots` images: a value per response, those in the overlaps of tiles several times.
pub fn dual_bytes(tiling: &Tiling, channels: usize, slots: usize) -> usize {
    4 * slots * channels * tiling.plane_stride * tiling.tiles.len()
}

/// Whether the last layer of `model` can take the proximal step along with its sums, cut in `style`: it has all of them in one launch and the
/// splines of the dual variables fit.
pub fn has_proximal_step(model: &Ridge, style: KernelStyle) -> bool {
    let one_pass = |layer: &ConvLayer| ConvPlan::new(style, layer.inputs, layer.outputs, layer.size).passes == 1;
    model.bank.layers().last().is_some_and(one_pass)
        && DualSplines::exist_for(SplineBank::new(&model.activations).entries.len())
}

/// The dual variables `d` of every tile, (slot, channel, row, column), the filters whose responses meet the proximal step that moves them, and
/// `W'd`. Tiles overlap, and each computes the dual variables of its frame for itself: the same but for rounding,
/// which a proximal step does not enlarge, and no tile waits for another.
#[derive(Debug)]
pub(crate) struct Split {
    below: Forward,
    tiles: Vec<SplitTile>,
    /// Elements of the dual variables of a slot.
    slot: usize,
}

#[derive(Debug)]
struct SplitTile {
    dual: Buffer,
    /// The last layer of `W` with the proximal step.
    proximal: ConvStage,
    adjoint: Vec<ConvStage>,
}

impl Split {
    /// Prepares `step` on the responses of `source`, by way of `frames`, and the adjoint of what it leaves, to `gradient`.
    ///
    /// # Errors
    /// Device errors.
    pub fn new(
        make: &Maker<'_>,
        step: ProximalStep<'_>,
        source: &Buffer,
        (frames, gradient): (&[Buffer], &Buffer),
    ) -> Result<Self> {
        let channels = make.bank.channels();
        let tiles = (0..make.tiling.tiles.len())
            .map(|tile| {
                let dual = make.frame("dual", channels)?;
                Ok(SplitTile {
                    proximal: make.proximal(frames, &dual, tile, step)?,
                    adjoint: make.adjoint(&dual, frames, Some(gradient))?,
                    dual,
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            below: make.forward_below(source, frames)?,
            tiles,
            slot: channels * make.tiling.plane_stride,
        })
    }

    /// Records that the dual variables of the first `slots` slots start anew, from 0.
    pub fn record_start(&self, recorder: &mut Recorder<'_>, slots: usize) {
        for tile in &self.tiles {
            recorder.clear(tile.dual.slice(0, slots * self.slot));
        }
    }

    /// Records `W` of the first `slots` slots with the step and `W'` of what it leaves.
    pub fn record(&self, recorder: &mut Recorder<'_>, slots: u32) {
        for (index, tile) in self.tiles.iter().enumerate() {
            self.below.record(recorder, index, slots);
            tile.proximal.record(recorder, 0, slots);
            tile.adjoint
                .iter()
                .for_each(|stage| stage.record(recorder, index, slots));
        }
    }

    /// Records copies of the dual variables from slot to slot, one after the other, by way of `scratch`.
    pub fn record_moves(&self, recorder: &mut Recorder<'_>, scratch: &Buffer, moves: &[(usize, usize)]) {
        let between = scratch.slice(0, self.slot);
        for (&(from, to), tile) in moves.iter().flat_map(|m| self.tiles.iter().map(move |t| (m, t))) {
            recorder.copy(tile.dual.slice(from * self.slot, self.slot), between);
            recorder.copy(between, tile.dual.slice(to * self.slot, self.slot));
        }
    }

    /// For [`crate::gpu::Gpu::warm_up`].
    pub fn kernels(&self) -> impl Iterator<Item = &Bound> {
        let stages = self
            .tiles
            .iter()
            .flat_map(|t| std::iter::once(&t.proximal).chain(&t.adjoint));
        self.below.kernels().chain(stages.flat_map(ConvStage::bound))
    }
}
