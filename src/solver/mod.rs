//! Solvers: they record iterations on preallocated buffers and look at the device only every few iterations.

mod agd;
mod power;

pub use agd::{AgdParams, AgdState, Denoiser, Outcome, Settings, Stop};
pub use power::{NormaliseParams, gram_norm};
