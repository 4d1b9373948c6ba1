//! Both programs as users call them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test should panic")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/items.rs"]
mod items;
#[path = "../common/model_files.rs"]
mod model_files;
#[path = "../common/program.rs"]
mod program;
#[path = "../common/slices.rs"]
mod slice_files;

#[cfg(unix)]
mod batch_kill;
mod cli;
mod cli_batch;
mod cli_ct;
mod cli_fit;
mod cli_fit_network;
mod cli_flow;
mod cli_inverse;
mod cli_kernels;
mod cli_layered;
mod cli_measured;
mod cli_models;
mod cli_mri;
mod cli_pnp;
mod cli_profile;
mod cli_reduce;
mod cli_ridge;
mod cli_stack;
mod cli_stack_whole;
mod cli_tune;
