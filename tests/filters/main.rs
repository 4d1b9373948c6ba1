//! Convolution layers, their norms and gradients, and the ridge regularizer that stands on them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test should panic")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../reference/mod.rs"]
mod reference;

mod conv;
mod conv_weight_gradient;
mod filter_norm;
mod norm;
mod ridge;
mod trainable_ridge;
