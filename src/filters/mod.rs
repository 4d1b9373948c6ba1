//! Filter banks: layers of zero-padded convolutions, their adjoint, and bounds of their norm.

mod bank;
pub mod norm;
mod plan;
mod stage;
mod weights;

pub use bank::{ConvLayer, FilterBank};
pub use plan::{ConvPlan, ConvStyle};
pub use stage::{ConvParams, ConvStage, Region};
pub use weights::{LayerShape, PackedBank};
