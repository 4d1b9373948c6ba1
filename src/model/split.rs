//! The proximal step on the responses of a ridge regularizer, tile by tile.

use super::passes::Maker;
use super::tiles::Tiling;
use crate::Result;
use crate::filters::ConvStage;
use crate::gpu::{Bound, Buffer, Recorder};
use crate::spline::device::{Activations, Pointwise};

/// What the step needs.
#[derive(Clone, Copy, Debug)]
pub struct SplitStep<'b> {
    /// `lambda / penalty`.
    pub ratio: f64,
    /// [`crate::solver::AgdState`] per image.
    pub states: &'b Buffer,
}

/// Bytes of dual variables that are worth their price: beyond, the accelerated gradient gets by without them.
pub const MOST_DUAL_BYTES: usize = 1 << 30;

/// Bytes of the dual variables of `slots` images: a value per response, those in the overlaps of tiles several times.
pub fn dual_bytes(tiling: &Tiling, channels: usize, slots: usize) -> usize {
    4 * slots * channels * tiling.plane_stride * tiling.tiles.len()
}

/// The dual variables `d` of every tile, (slot, channel, row, column), the proximal step that moves them (`shaders/split_prox.wgsl`) and
/// `W'd`. Tiles overlap, and each computes the dual variables of its frame for itself: the same but for rounding,
/// which a proximal step does not enlarge, and no tile waits for another.
#[derive(Debug)]
pub(crate) struct Split {
    tiles: Vec<SplitTile>,
    /// Elements of the dual variables of a slot.
    slot: usize,
}

#[derive(Debug)]
struct SplitTile {
    dual: Buffer,
    prox: Pointwise,
    adjoint: Vec<ConvStage>,
}

impl Split {
    /// Prepares the step, by the proximal `splines`, for what `make` makes of `frames`: responses, whose adjoint goes to `gradient`, and
    /// [`crate::solver::AgdState`] per image in `states`.
    ///
    /// # Errors
    /// Device errors.
    pub fn new(
        make: &Maker<'_>,
        splines: &Activations<'_>,
        states: &Buffer,
        (frames, responses, gradient): (&[Buffer], &Buffer, &Buffer),
    ) -> Result<Self> {
        let tiles = (0..make.tiling.tiles.len())
            .map(|tile| {
                let dual = make.frame("dual", splines.channels)?;
                let memory = [
                    ("active_images", make.active.into()),
                    ("states", states.into()),
                    ("w", responses.into()),
                    ("dual", (&dual).into()),
                ];
                Ok(SplitTile {
                    prox: make.pointwise_of_tile(splines, "split_prox", tile, &memory)?,
                    adjoint: make.adjoint(&dual, frames, Some(gradient))?,
                    dual,
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            tiles,
            slot: splines.channels * make.tiling.plane_stride,
        })
    }

    /// Records the step on the responses of one tile and `W'` of what it leaves.
    pub fn record(&self, recorder: &mut Recorder<'_>, tile: usize, slots: u32) {
        let SplitTile { prox, adjoint, .. } = &self.tiles[tile];
        prox.record(recorder, 0, slots);
        adjoint.iter().for_each(|stage| stage.record(recorder, tile, slots));
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
        let prox = self.tiles.iter().map(|t| t.prox.bound());
        prox.chain(self.tiles.iter().flat_map(|t| &t.adjoint).flat_map(ConvStage::bound))
    }
}
