//! Knotwork: learned, provably convergent image reconstruction on any GPU.
//!
//! Freeform pointwise nonlinearities (continuous piecewise-linear splines on nonuniform knots) inside convex and weakly
//! convex ridge regularizers, evaluated by WGSL compute shaders through wgpu. See the README for the commands and the
//! layout.
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test should panic")
)]

pub mod command;
pub mod error;
pub mod filters;
pub mod fit;
pub mod flow;
pub mod gpu;
pub mod io;
pub mod layered;
pub mod model;
pub mod network;
pub mod operator;
pub mod report;
pub mod solver;
pub mod spline;
pub mod train;

pub use error::{Error, Result};
