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

pub mod data;
mod gradient;
pub mod log;
mod passes;
mod ridge;

pub use gradient::ParameterGradient;
pub use passes::{GradientPass, HessianPass};
pub use ridge::{Batch, CentreParams, ScalingParams, TrainableRidge};
