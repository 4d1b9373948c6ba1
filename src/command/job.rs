//! The commands that make one image, or one stack, from one file, so that others can run many of them.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::Value;

use super::ct::CtArgs;
use super::denoise::{DENOISING_LAMBDA, DenoiseArgs, denoise};
use super::inverse::{Inverse, reconstruct};
use super::mri::MriArgs;
use super::options::{MAX_ITERATIONS, RunArgs};
use super::pixels::{DeblurArgs, InpaintArgs, UpscaleArgs};
use super::problem::Problem;
use super::stack::{Measurements, first_pass};
use crate::Result;
use crate::gpu::Gpu;
use crate::io::image::{Image, StackKind};

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

    /// What options that were left out amount to, of those whose defaults the parser does not know because it matters whether they are
    /// given: their names as it has them, and a value.
    pub fn unsaid(&self) -> Vec<(&'static str, String)> {
        let mut values = vec![("max_iter", MAX_ITERATIONS.to_string())];
        if matches!(self, Self::Denoise(_)) {
            values.push(("lambda", DENOISING_LAMBDA.to_string()));
        }
        values
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
        let run = self.run_args();
        // Slices that are wanted, channels, rows and columns, format.
        let found = match (self, self.inverse()) {
            (_, Some(inverse)) => {
                let of = |problem: &Problem| (problem.measured.len(), problem.operator.domain(), problem.format);
                match inverse.stack()? {
                    Some((problem, stack)) => (Some(stack), of(&problem)),
                    None => (None, of(&inverse.problem()?)),
                }
            }
            (Self::Denoise(args), _) => {
                let of = |image: &Image| (image.channels, [image.height, image.width], image.format);
                match run.stack.open(&args.input, StackKind::Images)? {
                    Some(mut stack) => {
                        let first = stack.read(run.stack.range(&args.input, stack.slices())?.start)?;
                        let stack: Box<dyn Measurements> = Box::new(stack);
                        (Some(stack), of(&first))
                    }
                    None => (None, of(&Image::read(&args.input)?)),
                }
            }
            (_, None) => return Err(crate::Error::Internal("a job that nobody does".into())),
        };
        let (stack, (channels, size, format)) = found;
        let slices = match stack {
            Some(mut stack) => {
                let all = stack.slices();
                let each = |index| stack.read(index).map(drop);
                first_pass(run, self.input(), all, (channels, size), None, each)?
                    .0
                    .len()
            }
            None => {
                run.read_clean(channels, size)?;
                1
            }
        };
        let format = self.output().map_or(Ok(format), |output| format.for_output(output))?;
        Ok((slices * channels * size[0] * size[1] * format.value_bytes()) as u64)
    }

    fn input(&self) -> &Path {
        match self {
            Self::Denoise(args) => &args.input,
            Self::Inpaint(InpaintArgs { common, .. })
            | Self::Deblur(DeblurArgs { common, .. })
            | Self::Upscale(UpscaleArgs { common, .. })
            | Self::Ct(CtArgs { common, .. })
            | Self::Mri(MriArgs { common, .. }) => &common.input,
        }
    }

    /// Where the result goes, if the user says so.
    fn output(&self) -> Option<&PathBuf> {
        match (self, self.inverse()) {
            (Self::Denoise(args), _) => args.output.as_ref(),
            (_, inverse) => inverse.map(|inverse| &inverse.common().output),
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
        self.run_args().common.console().result(&result)
    }
}
