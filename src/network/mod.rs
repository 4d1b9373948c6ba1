//! Small fully connected networks with spline activations, 1-Lipschitz by construction, trained on the device.
//!
//! `u_l = W_l a_{l-1} + b_l`, `a_l = phi_l(alpha_l u_l) / alpha_l` unit by unit, `|W_l| <= 1` by orthonormalisation and the
//! slopes of every `phi` in given bounds by mean-preserving clipping (method.md 1.3, 2.2). An [`Ensemble`] trains many such
//! networks side by side, one kernel launch for all: other seeds, data and regularisation, the same shape.
//!
//! [`architecture`] numbers the parameters, [`start`] initialises them, [`ensemble`] holds the kernels,
//! [`crate::train::Adam`] is the optimiser, [`mod@adapt`] moves knots,
//! [`mod@train`] runs the schedule, [`trained`] is the result with its certificate, [`targets`] the functions of the published
//! comparison and [`experiment`] that comparison.

pub mod adapt;
pub mod architecture;
mod batch;
mod derived;
pub mod ensemble;
pub mod experiment;
mod gradient;
mod params;
pub mod start;
mod state;
pub mod targets;
pub mod train;
pub mod trained;

pub use adapt::{Adaptation, AdaptationEvent};
pub use architecture::{Architecture, Layout};
pub use ensemble::{Ensemble, EnsembleSettings, LearningRates};
pub use experiment::{Experiment, Knots, Outcome};
pub use params::{LayerParams, LossParams, MatrixParams, MatrixRecord, SplineParams};
pub use start::{Member, Shape};
pub use state::State;
pub use train::{Progress, Schedule, train};
pub use trained::{Certificate, Network};
