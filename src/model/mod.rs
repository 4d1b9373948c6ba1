//! Models: what is learned, how it is stored, and how it runs on the device.

pub(crate) mod container;
pub mod dct;
pub mod device;
pub mod file;
pub mod import;
pub(crate) mod passes;
mod reduce;
mod ridge;
mod shipped;
mod spline;
pub(crate) mod split;
mod tails;
mod tiles;

pub use reduce::{KnotBudget, KnotReduction};
pub use ridge::{Border, NormKind, Ridge, Scaling};
pub use shipped::{CONVEX, DENOISING, SHIPPED, Shipped, shipped_hash};
pub use spline::SplineModel;
pub use tiles::{Tile, Tiling};
