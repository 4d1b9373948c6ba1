//! Splines on the device: what the kernels read of a bank, banks whose values are trained, and the kernels on them.
//!
//! [`Pointwise`] applies the splines of a constant or trainable bank to responses. For a [`TrainableBank`] there are
//! besides the gradient with respect to its parameters ([`BankGradient`]), the histogram of its inputs
//! ([`BankHistogram`]) and the clipping of its slopes ([`SlopeClip`]).

mod clip;
mod gradient;
mod pointwise;
mod trainable;

pub use clip::{ClipParams, SlopeClip};
pub use gradient::{AlphaParams, BankGradient, BankHistogram, EntryParams, GradientParams};
pub use pointwise::{Activations, Pointwise, PointwiseParams};
pub use trainable::TrainableBank;
