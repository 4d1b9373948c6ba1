//! `reconstruct inpaint`, `deblur` and `upscale`: images from linear measurements that are images themselves.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::inverse::{Inverse, InverseArgs};
use super::masks::read_mask;
use super::problem::{Direct, Gain, Problem};
use super::stack::Measurements;
use crate::gpu::Gpu;
use crate::io::image::{Image, StackKind};
use crate::io::noise;
use crate::model::{Border, CONVEX, DENOISING};
use crate::operator::{Blur, Boundary, LinearOperator, Mask};
use crate::{Error, Result};

/// Arguments of `reconstruct inpaint`.
#[derive(Args, Clone, Debug)]
pub struct InpaintArgs {
    /// Image or NPY array of the same size: 0 (false) where a pixel is missing, 1, the largest value (255) or true where it was measured
    #[arg(long, value_name = "FILE")]
    pub mask: PathBuf,
    /// Common options
    #[command(flatten)]
    pub common: InverseArgs,
}

/// Arguments of `reconstruct deblur`.
#[derive(Args, Clone, Debug)]
pub struct DeblurArgs {
    /// The kernel
    #[command(flatten)]
    pub blur: BlurArgs,
    /// Common options
    #[command(flatten)]
    pub common: InverseArgs,
}

/// A blur.
#[derive(Args, Clone, Debug)]
pub struct BlurArgs {
    /// Kernel as a gray image or NPY array, a correlation about its centre; its sum becomes 1
    #[arg(long, value_name = "FILE")]
    pub kernel: PathBuf,
    /// How the blur continued the image beyond its border
    #[arg(long, value_name = "RULE", default_value = "reflect")]
    pub boundary: Boundary,
}

/// Arguments of `reconstruct upscale`.
#[derive(Args, Clone, Debug)]
pub struct UpscaleArgs {
    /// How many times larger the sides become: 2, 3 or 4
    #[arg(long, value_name = "N")]
    pub factor: usize,
    /// Common options
    #[command(flatten)]
    pub common: InverseArgs,
}

/// Complaints of an operator about its data are about the file at `path`.
pub(super) fn blame<T>(path: &Path, result: Result<T>) -> Result<T> {
    result.map_err(|e| match e {
        Error::Data(why) => Error::input(path, why),
        other => other,
    })
}

impl BlurArgs {
    /// The blur of images of `size`.
    ///
    /// # Errors
    /// [`Error::Input`] for a kernel that is none.
    pub(super) fn operator(&self, size: [usize; 2]) -> Result<Blur> {
        let kernel = Image::read(&self.kernel)?;
        if kernel.channels != 1 {
            return Err(Error::input(&self.kernel, "has several channels; a kernel has one"));
        }
        let sum: f64 = kernel.planes.iter().map(|k| f64::from(*k)).sum();
        // A sum of zero is left to the operator, which refuses it.
        let scale = if sum == 0.0 { 1.0 } else { 1.0 / sum };
        let taps: Vec<f32> = kernel.planes.iter().map(|k| (f64::from(*k) * scale) as f32).collect();
        blame(
            &self.kernel,
            Blur::new(size, taps, [kernel.height, kernel.width], self.boundary),
        )
    }
}

/// Noise of an image that was sharpened: 8 times the noise of the measurement made a convex model best in deblurring and up-scaling a
/// photograph, of 1 to 11 tried. Down to 4/255, because with less weakly convex ones sharpen what was not measured.
const SHARPENED: Gain = Gain::Pixels {
    factor: 8.0,
    least_level: 4.0 / 255.0,
};

/// The problem of images measured as images, where their mask, if they have one, is not 0.
fn problem(
    name: &'static str,
    (measured, mask): (&Image, Option<Vec<f32>>),
    operator: Box<dyn LinearOperator>,
    direct: Box<Direct>,
    gain: Gain,
    files: Vec<(&'static str, PathBuf)>,
    parameters: serde_json::Value,
) -> Problem {
    let cols = measured.width;
    let estimate = move |y: &[f32]| noise::of_image(y, cols, mask.as_deref());
    let planes: Vec<Vec<f32>> = (0..measured.channels).map(|c| measured.plane(c).to_vec()).collect();
    Problem {
        name,
        operator,
        direct,
        direct_method: None,
        gain,
        // One level for all channels, the least that any of them asks for: colours that an image hardly has say little.
        noise: planes.iter().filter_map(|y| estimate(y)).min_by(f64::total_cmp),
        estimate: Some(Box::new(estimate)),
        measured: planes,
        border: Border::Mirror,
        limits: (0.0, 1.0),
        format: measured.format,
        model: DENOISING,
        convex: Some(CONVEX),
        files,
        parameters,
    }
}

impl Inverse for InpaintArgs {
    fn common(&self) -> &InverseArgs {
        &self.common
    }

    fn problem(&self) -> Result<Problem> {
        self.problem_of(&Image::read(&self.common.input)?)
    }

    fn stack(&self) -> Result<Option<(Problem, Box<dyn Measurements>)>> {
        let stack = self.common.stack(StackKind::Images)?;
        stack.map_or(Ok(None), |(first, stack)| {
            Ok(Some((self.problem_of(&first)?, Box::new(stack))))
        })
    }
}

impl InpaintArgs {
    fn problem_of(&self, measured: &Image) -> Result<Problem> {
        let size = [measured.height, measured.width];
        let operator = blame(&self.mask, Mask::new(size, read_mask(&self.mask, size)?))?;
        let mask = operator.values().to_vec();
        let seen = Some(mask.clone());
        // Missing pixels start at the mean of the others.
        let direct = move |_: &Gpu, y: &[f32]| {
            let seen = || y.iter().zip(&mask).filter(|(_, m)| **m > 0.0).map(|(y, _)| *y);
            let mean = seen().sum::<f32>() / seen().count() as f32;
            let fill = |(y, m): (&f32, &f32)| if *m > 0.0 { *y } else { mean };
            Ok(y.iter().zip(&mask).map(fill).collect())
        };
        let files = vec![("mask", self.mask.clone())];
        let inpaint = problem(
            "inpaint",
            (measured, seen),
            Box::new(operator),
            Box::new(direct),
            Gain::Pixels {
                factor: 1.0,
                least_level: 0.0,
            },
            files,
            json!({}),
        );
        // The weakly convex ones need many more iterations here for little.
        Ok(Problem {
            model: CONVEX,
            ..inpaint
        })
    }
}

impl Inverse for DeblurArgs {
    fn common(&self) -> &InverseArgs {
        &self.common
    }

    fn problem(&self) -> Result<Problem> {
        self.problem_of(&Image::read(&self.common.input)?)
    }

    fn stack(&self) -> Result<Option<(Problem, Box<dyn Measurements>)>> {
        let stack = self.common.stack(StackKind::Images)?;
        stack.map_or(Ok(None), |(first, stack)| {
            Ok(Some((self.problem_of(&first)?, Box::new(stack))))
        })
    }
}

impl DeblurArgs {
    fn problem_of(&self, measured: &Image) -> Result<Problem> {
        let operator = self.blur.operator([measured.height, measured.width])?;
        let direct = |_: &Gpu, y: &[f32]| Ok(y.to_vec());
        let files = vec![("kernel", self.blur.kernel.clone())];
        let parameters = json!({ "boundary": self.blur.boundary });
        Ok(problem(
            "deblur",
            (measured, None),
            Box::new(operator),
            Box::new(direct),
            SHARPENED,
            files,
            parameters,
        ))
    }
}

/// Checks a factor of resolution.
pub(super) fn check_factor(factor: usize) -> Result<()> {
    if !(2..=4).contains(&factor) {
        return Err(Error::Usage(format!("--factor {factor}: use 2, 3 or 4")));
    }
    Ok(())
}

impl Inverse for UpscaleArgs {
    fn common(&self) -> &InverseArgs {
        &self.common
    }

    fn problem(&self) -> Result<Problem> {
        self.problem_of(&Image::read(&self.common.input)?)
    }

    fn stack(&self) -> Result<Option<(Problem, Box<dyn Measurements>)>> {
        let stack = self.common.stack(StackKind::Images)?;
        stack.map_or(Ok(None), |(first, stack)| {
            Ok(Some((self.problem_of(&first)?, Box::new(stack))))
        })
    }
}

impl UpscaleArgs {
    fn problem_of(&self, measured: &Image) -> Result<Problem> {
        let factor = self.factor;
        check_factor(factor)?;
        let [rows, cols] = [measured.height * factor, measured.width * factor];
        let operator = blame(&self.common.input, Blur::downsampling([rows, cols], factor))?;
        let direct = move |_: &Gpu, y: &[f32]| {
            let pixel = |n: usize| y[n / cols / factor * (cols / factor) + n % cols / factor];
            Ok((0..rows * cols).map(pixel).collect())
        };
        let parameters = json!({ "factor": factor });
        Ok(problem(
            "upscale",
            (measured, None),
            Box::new(operator),
            Box::new(direct),
            SHARPENED,
            Vec::new(),
            parameters,
        ))
    }
}
