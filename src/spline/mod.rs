//! Continuous piecewise-linear functions on nonuniform knots: the host mathematics, in f64.
//!
//! [`function`] holds the type [`Spline`] and its evaluation, [`algebra`] sums, compositions, inverses and the
//! conversion between proximal operators and potentials.

pub mod algebra;
pub mod function;

pub use algebra::{ReluForm, penalty_derivative_of_prox, prox_of_potential_derivative};
pub use function::Spline;
