//! The device layer: adapter choice, kernels reflected from WGSL, buffers, recording and readback.
//!
//! Knows nothing of images or splines. A caller makes one [`Gpu`], asks it for [`Kernel`]s and [`Buffer`]s at set-up,
//! records dispatches with a [`Recorder`] (which never blocks) and meets the device again only in [`Gpu::read`], where
//! every error that happened in between surfaces as one value.

mod adapter;
mod buffer;
pub mod ceilings;
mod compose;
mod device;
mod faults;
mod kernel;
mod params;
mod pipeline;
mod profile;
mod recorder;
pub mod reduce;
mod rotate;
pub mod shaders;
mod style;
mod texture;
mod transfer;
mod work;

pub use adapter::{AdapterChoice, AdapterSummary, list_adapters};
pub use buffer::{Buffer, Slice};
pub use compose::{Composed, compose};
pub use device::{Gpu, GpuOptions, Timings};
pub use kernel::{Binding, BindingKind, Bound, Kernel, Reflected, Specialisation, reflect};
pub use params::{ParamTable, ShaderStruct};
pub use profile::{KernelTime, Launch, Profile};
pub use recorder::Recorder;
pub use style::{Blocks, KernelStyle, Products, Source, Weights};
pub use texture::{PlaneCopy, TexelPlanes, Texture};
pub use transfer::Readback;
pub use work::Work;
