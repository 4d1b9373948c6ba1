//! Solvers: they record iterations on preallocated buffers and look at the device only every few iterations.

mod agd;
mod agd_kernels;
mod descent;
mod error_bound;
mod mirror;
mod planes;
mod pnp;
mod power;
mod search;
mod splitting;

pub use agd::{Denoiser, Method, Outcome, Settings, Stop, TOLERANCE};
pub(crate) use agd_kernels::{AgdKernels, Iterates, NOT_FINITE, RUNNING};
pub use agd_kernels::{AgdParams, AgdState};
pub use descent::{
    Constants, DescentParams, DescentState, EnergyHistory, Given, Reconstructor, Regularizer, SubtractParams, TvParams,
};
pub use planes::{SizedPlane, denoise_planes, measurements_at_once, planes_at_once};
pub use pnp::{
    Algorithm, Nonexpansive, PlugAndPlay, PnpConstants, PnpOutcome, PnpParams, PnpSettings, PnpState, ProxParams,
    composed,
};
pub use power::{NormaliseParams, gram_norm};
pub use search::{Point, Search};
pub(crate) use splitting::{Filters, LARGEST_SIDE, MOST_ITERATIONS, PENALTY, SplitSettings, Splitting};
pub use splitting::{SplitParams, split_planes};
