//! Continuous piecewise-linear functions on nonuniform knots: the host mathematics, in f64.
//!
//! [`function`] holds the type [`Spline`] and its evaluation, [`algebra`] sums, compositions, inverses and the
//! proximal operators of potentials, [`penalty`] the penalties of proximal operators, [`bounds`] the slope bounds,
//! [`mod@project`] the projections onto them, [`samples`] and [`tv2`] the exact fit of a function to data, [`sparsify`] and [`refine`] the removal and insertion
//! of knots. `bank` lays splines out for the device; [`device`] holds splines that are trained there.

pub mod algebra;
mod bank;
pub mod bounds;
pub mod device;
pub mod function;
pub mod penalty;
pub mod project;
pub mod refine;
mod rounded;
pub mod samples;
pub mod sparsify;
pub mod tv2;

pub use algebra::{ReluForm, prox_of_potential_derivative};
pub use bank::SplineBank;
pub use bounds::{SlopeBounds, Violation};
pub use function::Spline;
pub use penalty::Penalty;
pub use project::{clip_slopes, clip_slopes_vjp, project, projection_residual};
pub use refine::{divide_segments, insert_knots, propose_knots};
pub(crate) use rounded::rounded_inside;
pub use samples::Samples;
pub use sparsify::{Budget, Reduction, input_histogram, reduce, sparsest};
pub use tv2::{Fit, Loss, fit_tv2, lambda_max};
