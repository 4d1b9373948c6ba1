//! The commands of the two binaries: each takes parsed arguments, does the work and returns what is to be printed.

mod console;
mod demo;
mod denoise;
mod device_options;
mod evaluate;
mod fit;
mod fit_network;
mod info;
mod inspect;
mod interrupt;
mod inverse;
mod model_tools;
mod reduce;
mod ridge;

pub use console::{Console, arguments, finish};
pub use demo::{DemoArgs, demo};
pub use denoise::{DenoiseArgs, RunArgs, SolveArgs, denoise};
pub use device_options::DeviceArgs;
pub use evaluate::{EvaluateArgs, evaluate};
pub use fit::{FitArgs, fit};
pub use fit_network::{FitNetworkArgs, fit_network};
pub use info::{InfoArgs, info};
pub use inspect::{InspectArgs, inspect};
pub use interrupt::Interrupt;
pub use inverse::{DeblurArgs, InpaintArgs, InverseArgs, UpscaleArgs, deblur, inpaint, upscale};
pub use model_tools::{DctArgs, ImportArgs, build_dct, import_checkpoint};
pub use reduce::{ReduceArgs, reduce_knots};
pub use ridge::{RidgeArgs, train_ridge};
