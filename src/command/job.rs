//! The commands that make one image from one file, so that others can run many of them.

use clap::Subcommand;
use serde_json::Value;

use super::Console;
use super::ct::CtArgs;
use super::denoise::{DenoiseArgs, denoise};
use super::inverse::{Inverse, reconstruct};
use super::mri::MriArgs;
use super::options::RunArgs;
use super::pixels::{DeblurArgs, InpaintArgs, UpscaleArgs};
use crate::Result;
use crate::gpu::Gpu;

/// One reconstruction.
#[derive(Subcommand, Clone, Debug)]
pub enum Job {
    /// Remove white Gaussian noise of known strength from an image
    Denoise(DenoiseArgs),
    /// Fill in missing pixels
    Inpaint(InpaintArgs),
    /// Undo a known blur
    Deblur(DeblurArgs),
    /// Make an image 2, 3 or 4 times as large
    Upscale(UpscaleArgs),
    /// Reconstruct a slice from a parallel-beam sinogram
    Ct(CtArgs),
    /// Reconstruct a real image from Cartesian k-space of one or several coils
    Mri(MriArgs),
}

impl Job {
    /// The arguments, where the job solves a linear inverse problem other than denoising.
    pub fn inverse(&self) -> Option<&dyn Inverse> {
        match self {
            Self::Denoise(_) => None,
            Self::Inpaint(args) => Some(args),
            Self::Deblur(args) => Some(args),
            Self::Upscale(args) => Some(args),
            Self::Ct(args) => Some(args),
            Self::Mri(args) => Some(args),
        }
    }

    /// Messages, record and device.
    pub fn run_args(&self) -> &RunArgs {
        match self {
            Self::Denoise(args) => &args.run,
            Self::Inpaint(args) => &args.common.run,
            Self::Deblur(args) => &args.common.run,
            Self::Upscale(args) => &args.common.run,
            Self::Ct(args) => &args.common.run,
            Self::Mri(args) => &args.common.run,
        }
    }

    /// Does it, on a device that is `lent` or one of its own, and returns what there is to tell.
    ///
    /// # Errors
    /// Everything a user can get wrong, as one line; nothing is written unless the whole job succeeded.
    pub fn run(&self, lent: Option<&Gpu>) -> Result<Value> {
        match (self, self.inverse()) {
            (Self::Denoise(args), _) => denoise(args, lent),
            (_, Some(inverse)) => reconstruct(inverse, lent),
            (_, None) => Err(crate::Error::Internal("a job that nobody does".into())),
        }
    }

    /// Does it and prints the result if that is wanted.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_alone(&self) -> Result<()> {
        let result = self.run(None)?;
        let run = self.run_args();
        Console::new(run.quiet, run.json).result(&result)
    }
}
