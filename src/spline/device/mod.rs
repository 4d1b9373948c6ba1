//! Splines whose values change on the device.

pub mod tv2;

pub use tv2::{NodalProx, Tv2Problem, Tv2Solver};
