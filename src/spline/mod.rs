//! Continuous piecewise-linear functions on nonuniform knots.
