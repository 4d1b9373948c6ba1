//! The proximal step on the responses of a ridge regularizer, tile by tile.

use super::passes::Maker;
use super::ridge::Ridge;
use super::tiles::Tiling;
use crate::Result;
use crate::gpu::{Bound, Buffer, Recorder};
use crate::spline::device::{ConstantBank, Pointwise};
use crate::spline::{Spline, prox_of_potential_derivative};

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

/// `shaders/split_prox.wgsl` with the dual variables of every tile. Tiles overlap, and each computes the dual variables of
/// its frame for itself: the same bits, and no tile waits for another.
#[derive(Debug)]
pub(super) struct Split {
    prox: Vec<Pointwise>,
}

impl Split {
    /// Prepares the step for the responses of `make`.
    ///
    /// # Errors
    /// [`crate::Error::Data`] if `1 + ratio phi'` is not positive; device errors.
    pub fn new(
        make: &Maker<'_>,
        model: &Ridge,
        alphas: &[f64],
        step: &SplitStep<'_>,
        responses: &Buffer,
    ) -> Result<Self> {
        let channels = model.bank.channels();
        let tiles = make.tiling.tiles.len();
        let proximal: Vec<Spline> = model
            .activations
            .iter()
            .map(|phi| prox_of_potential_derivative(phi, step.ratio))
            .collect::<Result<_>>()?;
        let bank = ConstantBank::new(make.gpu, &proximal, alphas)?;
        let splines = bank.activations();
        let prox = (0..tiles)
            .map(|tile| {
                let dual = make.frame("dual", channels)?;
                let memory = [
                    ("active_images", make.active.into()),
                    ("states", step.states.into()),
                    ("w", responses.into()),
                    ("dual", (&dual).into()),
                ];
                make.pointwise_of_tile(&splines, "split_prox", tile, &memory)
            })
            .collect::<Result<_>>()?;
        Ok(Self { prox })
    }

    /// Records the step of one tile.
    pub fn record(&self, recorder: &mut Recorder<'_>, tile: usize, slots: u32) {
        self.prox[tile].record(recorder, 0, slots);
    }

    /// For [`crate::gpu::Gpu::warm_up`].
    pub fn kernels(&self) -> impl Iterator<Item = &Bound> {
        self.prox.iter().map(Pointwise::bound)
    }
}
