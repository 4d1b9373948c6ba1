//! Splines whose values are trained, on the device: the bank and the kernels that work on it.

mod trainable;

pub use trainable::TrainableBank;
