//! Training on the device: models whose parameters change there, and the gradients that training needs.
//!
//! A denoiser `x*(y) = argmin_x |x - y|^2 / 2 + R(x; theta)` is trained by implicit differentiation. At the fixed point,
//! with `(I + Hess R(x*)) q = dL/dx*`,
//!
//! `dL/dtheta = -d/dtheta <q, grad R(x*; theta)>`.
//!
//! [`TrainableRidge`] holds `theta` for a batch of patches and makes the three passes that this takes: [`GradientPass`]
//! (`grad R`, for the solver that finds `x*`), [`HessianPass`] (products with `Hess R(x*)`, for the solver that finds `q`) and
//! [`ParameterGradient`] (`d/dtheta <q, grad R(x*)>` for every group of parameters). [`data`] makes
//! the patches, [`log`] keeps what happened.

mod adam;
pub mod data;
mod filter_norm;
mod gradient;
mod hypergradient;
pub mod log;
mod optimiser;
mod passes;
mod ridge;

pub use adam::{Adam, AdamClock, AdamParams, AdamSettings};
pub use filter_norm::{FilterNormParams, FilterPeak};
pub use gradient::ParameterGradient;
pub use hypergradient::{
    BatchResult, CgState, Hypergradient, HypergradientSettings, ImageLoss, Objective, TrainingParams,
};
pub use optimiser::{Entry, GROUPS, GroupParams, Optimiser, OptimiserSettings, StepResult, ValuesParams};
pub use passes::{GradientPass, HessianPass};
pub use ridge::{Batch, CentreParams, ScalingParams, TrainableRidge};
