//! Filter banks: layers of zero-padded convolutions, their adjoint, the gradient of their weights, and bounds of their norm.

mod bank;
mod calibration;
mod correlation;
mod gradient;
pub mod norm;
mod plan;
mod points;
mod stage;
mod texels;
mod weights;

pub use bank::{ConvLayer, FilterBank};
pub use calibration::style_times;
pub use correlation::FilterNormParams;
pub(crate) use correlation::{Correlation, waves};
pub use gradient::{GradientPair, WeightGradient, WeightGradientParams, WeightGradientPlan, WeightTotalsParams};
pub use plan::ConvPlan;
pub use points::POINT_AMPLIFICATION;
pub use stage::{ConvParams, ConvStage, Region};
pub(crate) use stage::{Ends, ProximalStep};
pub use texels::Texels;
pub use weights::{LayerShape, PackedBank};
pub(crate) use weights::{PackedLayer, Packer};
