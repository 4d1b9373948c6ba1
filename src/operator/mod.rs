//! Linear forward operators `H` from an image to a measurement, with their exact adjoints, on the device.
//!
//! An operator is a plain description; [`LinearOperator::forward`] and [`LinearOperator::adjoint`] bind it to buffers and
//! return a [`Pass`] that records any number of times. The adjoint kernels gather the very weights of the forward kernels,
//! so `<H x, y> = <x, H' y>` up to the rounding of f32 sums, whatever the boundary rule or geometry.

mod blur;
mod cropped;
mod fbp;
mod fft;
mod frame;
mod geometry;
mod least;
mod mask;
mod mri;
mod norm;
mod phantom;
mod radon;
mod sampling;
mod torus;

pub use blur::{Blur, Boundary, CorrelateParams, Way};
pub use cropped::Cropped;
pub use fbp::{FilterParams, View, filtered_back_projection};
pub use fft::{ChirpParams, Direction, Fft, FftParams, quick_length};
pub use frame::FrameParams;
pub(crate) use geometry::spread;
pub use geometry::{Fan, Geometry};
pub use mask::{Mask, MaskParams};
pub use mri::{Mri, MriParams, root_sum_of_squares};
pub use phantom::{Ellipse, Phantom};
pub use radon::{Beam, Radon, RadonParams};
pub use sampling::{Cartesian, Pattern, coil_maps};
pub use torus::TorusParams;

use least::least_response;
use norm::perron_bound;

use crate::gpu::{Bound, Buffer, Gpu, Recorder};
use crate::model::NormKind;
use crate::{Error, Result};

/// `|H|^2` and what it is worth.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct OperatorNorm {
    /// `|H|^2`.
    pub squared: f64,
    /// Whether it is a rigorous upper bound.
    pub kind: NormKind,
}

/// A linear operator `H` from one image plane (row, column) to one plane of measurements.
pub trait LinearOperator {
    /// Rows and columns of the image.
    fn domain(&self) -> [usize; 2];

    /// Rows and columns of the measurement.
    fn range(&self) -> [usize; 2];

    /// Binds `y <- H x`; compiles the kernels and allocates what lies between.
    ///
    /// # Errors
    /// Device errors.
    fn forward(&self, gpu: &Gpu, x: &Buffer, y: &Buffer) -> Result<Pass>;

    /// Binds `x <- H' y`.
    ///
    /// # Errors
    /// Device errors.
    fn adjoint(&self, gpu: &Gpu, y: &Buffer, x: &Buffer) -> Result<Pass>;

    /// The operator whose matrix entries are the absolute values of this one's; `None` if they are nonnegative anyway.
    fn magnitude(&self) -> Option<Box<dyn LinearOperator>> {
        None
    }

    /// Sets to zero what of a measurement this operator leaves out: values that are zero in `H x` for every `x`, so that no image
    /// accounts for them.
    fn clear_unmeasured(&self, _measured: &mut [f32]) {}

    /// At most this many additions stand between an element of `x` and one of `H' H x`: what rounding in f32 grows with.
    fn additions(&self) -> usize;

    /// A lower bound, above 0, of the least eigenvalue of `H' H`, where one is known rigorously: `|H x|^2` is at least so many times
    /// `|x|^2` for every image.
    fn least_squared(&self) -> Option<f64> {
        None
    }

    /// `|H|^2`: unless an operator knows better, the bound of Collatz and Wielandt for the magnitudes, which is rigorous.
    ///
    /// # Errors
    /// Device errors.
    fn norm_squared(&self, gpu: &Gpu) -> Result<OperatorNorm> {
        let squared = match self.magnitude() {
            Some(magnitude) => perron_bound(gpu, magnitude.as_ref())?,
            None => perron_bound(gpu, self)?,
        };
        Ok(OperatorNorm {
            squared,
            kind: NormKind::Bound,
        })
    }
}

/// Dispatches in order, bound to their buffers: one application of an operator.
#[derive(Debug, Default)]
pub struct Pass {
    steps: Vec<(Bound, [u32; 3], usize)>,
}

impl Pass {
    /// Appends `groups` workgroups of a kernel with entry `entry` of its parameter table.
    pub(crate) fn push(&mut self, bound: Bound, groups: [u32; 3], entry: usize) {
        self.steps.push((bound, groups, entry));
    }

    /// Appends what comes afterwards.
    pub(crate) fn append(&mut self, next: Self) {
        self.steps.extend(next.steps);
    }

    /// Records the pass.
    pub fn record(&self, recorder: &mut Recorder<'_>) {
        for (bound, groups, entry) in &self.steps {
            recorder.dispatch(bound, *groups, *entry);
        }
    }

    /// For [`Gpu::warm_up`].
    pub fn kernels(&self) -> impl Iterator<Item = &Bound> {
        self.steps.iter().map(|(bound, _, _)| bound)
    }
}

/// Refuses buffers that do not hold `shape`.
fn check_buffer(what: &str, buffer: &Buffer, [rows, cols]: [usize; 2]) -> Result<()> {
    if buffer.len() < rows * cols {
        return Err(Error::Internal(format!(
            "the buffer of the {what} holds {} values, {rows} x {cols} are needed",
            buffer.len()
        )));
    }
    Ok(())
}

/// Applies `H`, or its adjoint, once: values in, values out. For set-up and tests; solvers record a [`Pass`].
///
/// # Errors
/// [`Error::Data`] for the wrong number of values; device errors.
pub fn apply(gpu: &Gpu, operator: &dyn LinearOperator, values: &[f32], adjoint: bool) -> Result<Vec<f32>> {
    let count = |[rows, cols]: [usize; 2]| rows * cols;
    let (from, to) = if adjoint {
        (count(operator.range()), count(operator.domain()))
    } else {
        (count(operator.domain()), count(operator.range()))
    };
    if values.len() != from {
        return Err(Error::Data(format!(
            "the operator takes {from} values, {} were given",
            values.len()
        )));
    }
    let source = gpu.buffer("operator source", from)?;
    let result = gpu.buffer("operator result", to)?;
    let pass = if adjoint {
        operator.adjoint(gpu, &source, &result)?
    } else {
        operator.forward(gpu, &source, &result)?
    };
    gpu.write(&source, values)?;
    let mut recorder = gpu.record();
    pass.record(&mut recorder);
    recorder.submit();
    gpu.read(&result)
}
