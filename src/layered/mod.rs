//! Networks of convolution layers and splines that are stable by construction: every layer of filters has norm at most 1 and
//! every activation keeps slope bounds.
//!
//! Two architectures share their parts ([`Parts`]), their passes and their training ([`LayeredTrainer`]):
//!
//! * the **denoiser** `N = W_L phi_{L-1}(W_{L-1} .. phi_1(W_1 x + b_1) ..)`, slopes in [-1, 1]: `|N(x) - N(y)| <= |x - y|`. What
//!   denoises is `D = (1 - a) Id + a N`, firmly non-expansive for `a <= 1/2`;
//! * the **unrolled proximal gradient network** `x_{t+1} = P_t(x_t - gamma H'(H x_t - y))` with `P_t = W_t' phi_t(W_t . + b_t)`, slopes
//!   in [0, 1]: every `P_t` is the proximal operator of a convex function, and with tied parameters the iteration converges.
//!
//! [`Layered`] is a model on the host with its file and certificate; [`unit_norm`] keeps the norms of layers; [`LayeredRunner`]
//! applies a model to images; [`start_model`] is what a training begins with.

mod adapt;
mod backward;
mod config;
mod denoise;
pub(crate) mod file;
mod model;
mod parts;
mod runner;
mod start;
mod state;
mod tape;
mod trainer;
mod training;
pub mod unit_norm;

pub use config::{ActivationKind, Held, Kind, LayeredConfig, LayeredSettings, Rates};
pub use denoise::LayeredDenoiser;
pub use model::{Architecture, Layered};
pub use parts::Parts;
pub use runner::LayeredRunner;
pub use start::start_model;
pub use state::LayeredState;
pub use tape::{CombinationParams, PlaneSumParams};
pub use trainer::LayeredTrainer;
pub use training::LossGradient;
pub use unit_norm::{GramParams, UnitNorm, UnitNormPull};
