//! What is read and written: images, arrays, tables, checkpoints, models, figures. No test here needs an adapter.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test should panic")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/image_files.rs"]
mod image_files;
#[path = "../common/model_files.rs"]
mod model_files;

mod io_atomic;
mod io_checkpoint;
mod io_hostile_images;
mod io_images;
mod io_noise;
mod io_npy;
mod io_points;
mod io_read_only;
mod io_stack;
mod io_table;
mod metrics;
mod model_file;
mod plot;
mod shard;
