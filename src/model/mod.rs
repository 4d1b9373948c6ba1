//! Models: what is learned, how it is stored, and how it runs on the device.

pub mod dct;
pub mod device;
pub mod file;
pub mod import;
mod reduce;
mod ridge;
mod tiles;

pub use reduce::{KnotBudget, KnotReduction};
pub use ridge::{NormKind, Ridge, Scaling};
pub use tiles::{Tile, Tiling};
