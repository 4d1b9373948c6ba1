//! Options for messages and devices that commands share.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::{Console, kernel_styles};
use crate::gpu::ceilings::Ceilings;
use crate::gpu::{AdapterChoice, Gpu, GpuOptions, KernelStyle};
use crate::io::atomic::{check_writable, write_atomically};
use crate::report::profile;
use crate::{Error, Result};

/// What every command takes that runs on a device.
#[derive(Args, Clone, Debug)]
pub struct CommonArgs {
    /// Print one JSON object as the last line of stdout
    #[arg(long)]
    pub json: bool,
    /// No messages but errors
    #[arg(short, long)]
    pub quiet: bool,
    /// Which device
    #[command(flatten)]
    pub device: DeviceArgs,
}

impl CommonArgs {
    /// Where the messages go.
    pub fn console(&self) -> Console {
        Console::new(self.quiet, self.json)
    }
}

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
    /// How filters are cut: large-texels-lanes, large-texels, large-storage, small-texels or small-storage (blocks of outputs, where
    /// pixels are loaded from, weights passed on within subgroups) [default: what `reconstruct info --calibrate` found, else by the
    /// kind of adapter]
    #[arg(long, value_name = "STYLE")]
    pub kernels: Option<KernelStyle>,
    /// Seconds after which a silent device counts as hung
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..))]
    pub timeout: u64,
    /// Time every kernel on the device and print a table, bytes and multiply-adds set against what the device does at
    /// best; with a FILE.json, write a trace of all launches too, for ui.perfetto.dev or chrome://tracing
    #[arg(long, value_name = "FILE.json", num_args = 0..=1, value_parser = parse_trace)]
    pub profile: Option<Option<PathBuf>>,
}

/// The device of one run: of its own, or lent by a command that makes many.
pub enum Device<'g> {
    /// Ends with the run.
    Own(Box<Gpu>),
    /// Outlives it, with its compiled kernels.
    Lent(&'g Gpu),
}

impl std::ops::Deref for Device<'_> {
    type Target = Gpu;

    fn deref(&self) -> &Gpu {
        match self {
            Self::Own(gpu) => gpu,
            Self::Lent(gpu) => gpu,
        }
    }
}

/// A trace must be called so: `--profile photo.png` with the input in the wrong place must not overwrite the photo.
fn parse_trace(text: &str) -> std::result::Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("json")) {
        Ok(path)
    } else {
        Err("a trace wants a name that ends in .json; put --profile last if no trace is wanted".into())
    }
}

impl DeviceArgs {
    /// The options for [`Gpu::open`].
    pub fn options(&self) -> GpuOptions {
        let default = GpuOptions::default();
        GpuOptions {
            adapter: self.adapter.clone().unwrap_or_default(),
            shader_checks: self.shader_checks || default.shader_checks,
            default_limits: self.default_limits,
            timeout: Duration::from_secs(self.timeout),
            profile: self.profile.is_some(),
            ..default
        }
    }

    fn trace(&self) -> Option<&Path> {
        self.profile.as_ref().and_then(|file| file.as_deref())
    }

    /// Opens the device, after making sure that a trace could be written and that the command's `record` will not
    /// replace it.
    ///
    /// # Errors
    /// [`Error::Output`], [`Error::NoAdapter`].
    pub fn open(&self, record: Option<&Path>) -> Result<Gpu> {
        if let Some(trace) = self.trace() {
            check_writable(trace)?;
            if record == Some(trace) {
                return Err(Error::output(
                    trace,
                    "the record of the run has this name; name another trace with --profile",
                ));
            }
        }
        let gpu = Gpu::open(self.options())?;
        Ok(match self.kernels.or_else(|| kernel_styles::kept(gpu.adapter())) {
            Some(style) => gpu.with_style(style),
            None => gpu,
        })
    }

    /// The device that is lent, or one of the command's own, opened as by [`Self::open`].
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn lent_or_open<'g>(&self, lent: Option<&'g Gpu>, record: Option<&Path>) -> Result<Device<'g>> {
        Ok(match lent {
            Some(gpu) => Device::Lent(gpu),
            None => Device::Own(Box::new(self.open(record)?)),
        })
    }

    /// If a profile was asked for: prints it, writes the trace and adds `profile` to `result`, null where the adapter
    /// gave no times. Call after the work, with `gpu` from [`Self::open`].
    ///
    /// # Errors
    /// [`Error::Output`], device errors.
    pub fn report(&self, gpu: &Gpu, console: &Console, result: &mut Value) -> Result<()> {
        if self.profile.is_none() {
            return Ok(());
        }
        let Some(times) = gpu.profile()? else {
            // A warning was given when the device was opened.
            result["profile"] = Value::Null;
            return Ok(());
        };
        // A device too small or too busy for the measurement must not cost the result.
        let ceilings = Ceilings::measure(gpu)
            .inspect_err(|e| log::warn!("the device's ceilings could not be measured: {e}"))
            .ok();
        console.say(profile::table(&times, ceilings.as_ref()));
        if let Some(trace) = self.trace() {
            let events = profile::chrome_trace(&times, &gpu.adapter().name);
            write_atomically(trace, |file| serde_json::to_writer(file, &events).map_err(Into::into))?;
            console.say(format!("trace: {}", trace.display()));
        }
        result["profile"] = profile::summary(&times, ceilings.as_ref());
        Ok(())
    }
}
