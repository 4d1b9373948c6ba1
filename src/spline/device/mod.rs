//! Splines on the device: what the kernels read of a bank, banks whose values are trained, and the kernels on them.
//!
//! [`Pointwise`] applies the splines of a constant bank or of a [`TrainableBank`] to responses.

mod pointwise;
mod trainable;

pub use pointwise::{Activations, Pointwise, PointwiseParams};
pub use trainable::TrainableBank;
