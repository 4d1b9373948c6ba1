//! Solvers: they record iterations on preallocated buffers and look at the device only every few iterations.

mod agd;
mod agd_kernels;
mod descent;
mod descent_kernels;
mod energy;
mod error_bound;
mod mirror;
mod planes;
mod pnp;
mod power;
mod search;
mod splitting;
mod tv;

pub use agd::{Denoiser, Method, Outcome, Settings, Stop, TOLERANCE};
pub(crate) use agd_kernels::{AgdKernels, Iterates, NOT_FINITE, RUNNING};
pub use agd_kernels::{AgdParams, AgdState};
pub use descent::{Constants, Reconstructor, Regularizer};
pub use descent_kernels::{DescentParams, DescentState, SubtractParams};
pub use energy::EnergyHistory;
pub use planes::{SizedPlane, denoise_planes, planes_at_once};
pub use pnp::{
    Algorithm, Nonexpansive, PlugAndPlay, PnpConstants, PnpOutcome, PnpParams, PnpSettings, PnpState, ProxParams,
    composed,
};
pub use power::{NormaliseParams, gram_norm};
pub use search::{Point, Search};
pub(crate) use splitting::{Filters, LARGEST_SIDE, MOST_ITERATIONS, PENALTY, SplitSettings, Splitting};
pub use splitting::{SplitParams, split_planes};
pub use tv::TvParams;
