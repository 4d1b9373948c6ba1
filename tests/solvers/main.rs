//! Solvers: denoising, reconstruction, plug-and-play.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test should panic")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/program.rs"]
mod program;
#[path = "../reference/mod.rs"]
mod reference;

mod at_once;
mod denoise;
mod descent;
mod energy_history;
mod error_bound;
mod linear;
mod pnp;
mod pnp_kernels;
mod reconstruction_bound;
mod splitting;
