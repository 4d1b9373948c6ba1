//! Forward operators and Fourier transforms.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test should panic")]

#[path = "../common/applied.rs"]
mod applied;
#[path = "../common/mod.rs"]
mod common;
#[path = "../reference/mod.rs"]
mod reference;

mod fft;
mod mri;
mod operators;
mod radon;
