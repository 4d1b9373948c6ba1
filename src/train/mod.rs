//! Training on the device: models whose parameters change there, and the gradients that training needs.
//!
//! A denoiser `x*(y) = argmin_x |x - y|^2 / 2 + R(x; theta)` is trained by implicit differentiation. At the fixed point,
//! with `(I + Hess R(x*)) q = dL/dx*`,
//!
//! `dL/dtheta = -d/dtheta <q, grad R(x*; theta)>`.
//!
//! [`TrainableRidge`] holds `theta` for a batch of patches and makes the three passes that this takes: [`GradientPass`]
//! (`grad R`, for the solver that finds `x*`), [`HessianPass`] (products with `Hess R(x*)`, for the solver that finds `q`) and
//! [`ParameterGradient`] (`d/dtheta <q, grad R(x*)>` for every group of parameters). [`Hypergradient`] puts them together for a
//! batch, [`Optimiser`] moves the parameters, [`Trainer`] does both and moves knots, and [`Run`] is a whole training in a folder:
//! patches from [`data`], checkpoints ([`TrainingState`]), validation, and the [`log`].

mod adam;
mod adapt;
mod composition;
mod config;
pub mod data;
mod filter_norm;
mod filters_step;
mod gradient;
mod hypergradient;
pub mod log;
mod optimiser;
mod passes;
mod ridge;
mod run;
mod start;
mod state;
mod trainer;
mod validation;
mod values_step;

pub(crate) use adam::interpolated;
pub use adam::{Adam, AdamClock, AdamParams, AdamSettings};
pub use adapt::KnotEvent;
pub(crate) use adapt::rounded;
pub use composition::ComposeParams;
pub use config::{KnotAdaptation, ModelSettings, ObjectiveSettings, RidgeConfig, Schedule, Validation};
pub use filter_norm::FilterPeak;
pub use filters_step::CosineParams;
pub use gradient::ParameterGradient;
pub use hypergradient::{
    BatchResult, CgState, Hypergradient, HypergradientSettings, ImageLoss, Objective, TrainingParams,
};
pub use optimiser::{Group, GroupParams, Moves, Optimiser, OptimiserSettings, StepResult, StepRule};
pub use passes::{GradientPass, HessianPass};
pub use ridge::{BatchShape, CentreParams, ScalingParams, TrainableRidge};
pub(crate) use run::first_difference;
pub use run::{Ending, Plan, Run, RunFiles, Source, Training, Watch};
pub use start::start_model;
pub use state::{Moments, Progress, TrainingState};
pub use trainer::{SolverReport, StepReport, Trainer, parameters};
pub use validation::{LevelScore, validate};
pub use values_step::{Entry, ValuesParams};
