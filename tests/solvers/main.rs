//! Solvers: denoising, reconstruction, plug-and-play.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test should panic")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/program.rs"]
mod program;
#[path = "../reference/mod.rs"]
mod reference;

mod denoise;
mod descent;
mod error_bound;
mod pnp;
mod pnp_kernels;
mod splitting;
