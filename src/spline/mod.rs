//! Continuous piecewise-linear functions on nonuniform knots: the host mathematics, in f64.
//!
//! [`function`] holds the type [`Spline`] and its evaluation, [`algebra`] sums, compositions, inverses and the
//! conversion between proximal operators and potentials, [`bounds`] the slope bounds, [`project`] the projections onto them.

pub mod algebra;
pub mod bounds;
pub mod function;
pub mod project;

pub use algebra::{ReluForm, penalty_derivative_of_prox, prox_of_potential_derivative};
pub use bounds::{SlopeBounds, Violation};
pub use function::Spline;
pub use project::{clip_slopes, clip_slopes_vjp, project, projection_residual};
