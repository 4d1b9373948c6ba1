//! Files in and out.

pub mod atomic;
pub mod checkpoint;
pub(crate) mod delimited;
pub mod folder;
pub mod hash;
pub mod image;
pub(crate) mod input;
pub mod manifest;
pub mod noise;
pub mod npy;
pub mod points;
pub mod table;
pub mod tensorboard;
pub mod toml_file;
