//! Splines on the host and on the device, and fits with them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test should panic")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../reference/mod.rs"]
mod reference;

mod fit;
mod penalty;
mod spline_bank;
mod spline_clip;
mod spline_function;
mod spline_gradient;
mod spline_kernels;
mod spline_project;
mod spline_sparsify;
mod spline_tv2;
mod tv2_prox;
