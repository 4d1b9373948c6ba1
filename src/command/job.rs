//! The commands that make one image from one file, so that others can run many of them.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::Value;

use super::ct::CtArgs;
use super::denoise::{DenoiseArgs, denoise};
use super::inverse::{Inverse, reconstruct};
use super::mri::MriArgs;
use super::options::RunArgs;
use super::pixels::{DeblurArgs, InpaintArgs, UpscaleArgs};
use crate::Result;
use crate::gpu::Gpu;
use crate::io::image::Image;

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
    /// Reconstruct a slice from a sinogram
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

    /// The model that is named, by an option or in the file of settings.
    ///
    /// # Errors
    /// [`crate::Error::Input`] for a file of settings that cannot be used.
    pub fn model(&self) -> Result<Option<PathBuf>> {
        match (self, self.inverse()) {
            (Self::Denoise(args), _) => Ok(args.solve.solver.model.clone()),
            (_, Some(inverse)) => Ok(inverse.common().strength()?.model),
            (_, None) => Ok(None),
        }
    }

    /// The denoiser that is named, by an option or in the file of settings.
    ///
    /// # Errors
    /// As [`Self::model`].
    pub fn denoiser(&self) -> Result<Option<PathBuf>> {
        self.inverse()
            .map_or(Ok(None), |inverse| Ok(inverse.common().strength()?.denoiser))
    }

    /// Files it reads although no option names them, and what for.
    pub fn unnamed_files(&self) -> Vec<(&'static str, PathBuf)> {
        self.inverse().map_or_else(Vec::new, |inverse| inverse.unnamed_files())
    }

    /// Reads and checks all images and measurements, on no device, and returns the size of the result in bytes before compression.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub fn result_bytes(&self) -> Result<u64> {
        let (channels, size, format, output) = match (self, self.inverse()) {
            (_, Some(inverse)) => {
                let problem = inverse.problem()?;
                let size = problem.operator.domain();
                (
                    problem.measured.len(),
                    size,
                    problem.format,
                    Some(&inverse.common().output),
                )
            }
            (Self::Denoise(args), _) => {
                let image = Image::read(&args.input)?;
                (
                    image.channels,
                    [image.height, image.width],
                    image.format,
                    args.output.as_ref(),
                )
            }
            (_, None) => return Err(crate::Error::Internal("a job that nobody does".into())),
        };
        self.run_args().read_clean(channels, size)?;
        let format = output.map_or(Ok(format), |output| format.for_output(output))?;
        Ok((channels * size[0] * size[1] * format.value_bytes()) as u64)
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
        self.run_args().common.console().result(&result)
    }
}
