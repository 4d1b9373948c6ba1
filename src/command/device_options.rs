//! Device options that all commands share.

use std::time::Duration;

use clap::Args;

use crate::gpu::{AdapterChoice, GpuOptions};

/// Which device to use and how.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Device")]
pub struct DeviceArgs {
    /// Adapter: a part of its name, index:N or pci:BUS as `reconstruct info` lists them. Without it WGPU_ADAPTER_NAME
    /// decides, else discrete comes before integrated before software
    #[arg(long, value_name = "WHICH")]
    pub adapter: Option<AdapterChoice>,
    /// Keep the drivers' bounds checks inside shaders (slower; for finding defects)
    #[arg(long)]
    pub shader_checks: bool,
    /// Stay within the limits every WebGPU adapter has (128 MiB per array)
    #[arg(long)]
    pub default_limits: bool,
    /// Seconds after which a silent device counts as hung
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..))]
    pub timeout: u64,
}

impl DeviceArgs {
    /// The options for [`crate::gpu::Gpu::open`].
    pub fn options(&self) -> GpuOptions {
        let default = GpuOptions::default();
        GpuOptions {
            adapter: self.adapter.clone().unwrap_or_default(),
            shader_checks: self.shader_checks || default.shader_checks,
            default_limits: self.default_limits,
            timeout: Duration::from_secs(self.timeout),
        }
    }
}
