//! Splines on the device: what the kernels read of a bank, banks whose values are trained, and the kernels on them.
//!
//! [`Pointwise`] applies the splines of a constant or trainable bank to responses. For a [`TrainableBank`] there are
//! besides the gradient with respect to its parameters ([`BankGradient`]), the histogram of its inputs
//! ([`BankHistogram`]), the clipping of its slopes ([`SlopeClip`]), and the proximal operator of TV2 under slope bounds
//! ([`NodalProx`]).

mod clip;
mod dual;
mod gradient;
mod pointwise;
mod trainable;
pub mod tv2;

pub(crate) use clip::inwards;
pub use clip::{ClipParams, SlopeClip};
pub use dual::{DualSplines, SplitTableParams};
pub use gradient::{AlphaParams, BankGradient, BankHistogram, EntryParams, GradientParams};
pub(crate) use pointwise::ConstantBank;
pub use pointwise::{Activations, Pointwise, PointwiseParams};
pub use trainable::TrainableBank;
pub use tv2::{NodalProx, Tv2Problem, Tv2Solver};
