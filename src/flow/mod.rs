//! Normalising flows of the line and the plane, made of splines.
//!
//! A flow is an invertible map `z = F(x)`; with standard normal `z` the points `x` have the density
//! `p(x) = exp(-|F(x)|^2 / 2) / (2 pi)^(dims / 2) |det F'(x)|`, and `F^-1` of normal points are samples of it. In the plane
//! every layer turns its input by an angle, `u = R x`, and then takes it to
//!
//! `y_1 = M(u_1) + shift,  y_2 = N(u_2) + T(u_1)`
//!
//! `M` and `N` increase, with slopes `m = M'` and `n = N'` inside `[eps, s]`, so that both have closed-form inverses; `T` is
//! a shear with `|T'|` bounded. The log-determinant is `log m(u_1) + log n(u_2)`. On the line a layer is `y = M(x) + shift`.
//!
//! What is a continuous piecewise-linear spline is `m`, `n` and `T`; `M` and `N` are the running integrals that every bank
//! has on the device. Were `M` itself piecewise linear, `log m` would jump at its knots: the derivative of the
//! log-likelihood with respect to what lies in front of a layer would miss the jumps, and layers could not be trained
//! through each other. As it is, the density is continuous and the gradient of every parameter is exact.
//!
//! Every layer is bi-Lipschitz on the whole plane, with constants that follow from the bounds: see [`FlowCertificate`].

mod certificate;
mod config;
mod data;
mod device;
mod distribution;
mod exact;
mod file;
mod gradient;
mod grid;
mod model;
mod reduce;
mod run;
mod start;
mod state;
mod trainer;

pub use certificate::{FlowCertificate, LayerCertificate};
pub use config::{FlowConfig, FlowModelSettings, FlowOptimiser, FlowReduction, FlowSchedule, FlowValidation};
pub use data::FlowData;
pub use device::{Evaluator, FlowDevice, FlowParams, ForwardPass};
pub use distribution::Distribution;
pub(crate) use file::ARCHITECTURE;
pub use gradient::{FlowEntry, FlowGradient};
pub use grid::{DensityGrid, bounding_box, grid_points};
pub use model::{Flow, Frame, MAX_KNOTS, MAX_LAYERS};
pub use reduce::{FlowReductionReport, reduce_flow};
pub use run::{FlowRun, FlowWatch, outcome, pictures};
pub use start::start_flow;
pub use state::{FlowProgress, FlowState};
pub use trainer::{FlowScore, FlowTrainer, ProjectParams, Projection, score};
