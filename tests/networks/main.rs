//! Small networks, networks of layers, flows.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test should panic")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../reference/mod.rs"]
mod reference;

mod flow;
mod flow_kernels;
mod layered;
mod layered_files;
mod layered_pairs;
mod layered_solver;
mod layered_training;
mod network_gradient;
mod network_trained;
mod network_training;
