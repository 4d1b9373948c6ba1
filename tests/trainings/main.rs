//! The training of ridge regularizers.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test should panic")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/patches.rs"]
mod patches;
#[path = "../reference/mod.rs"]
mod reference;

mod adam;
mod hypergradient;
mod optimiser;
mod training;
mod training_data;
mod training_log;
mod training_report;
mod training_samples;
