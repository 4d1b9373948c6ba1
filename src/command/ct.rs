//! `reconstruct ct`: images from sinograms of parallel rays or fans.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::inverse::{Inverse, InverseArgs};
use super::pixels::blame;
use super::problem::{Gain, Method, Problem};
use super::stack::Measurements;
use crate::gpu::Gpu;
use crate::io::image::{Format, Image, StackKind};
use crate::io::{noise, toml_file};
use crate::model::{Border, DENOISING};
use crate::operator::{Geometry, LinearOperator, Radon, filtered_back_projection};
use crate::{Error, Result};

/// Arguments of `reconstruct ct`.
#[derive(Args, Clone, Debug)]
pub struct CtArgs {
    /// Geometry of the scan (TOML), as `reconstruct simulate ct` writes it [default: the input's name with .geometry.toml]
    #[arg(long, value_name = "FILE")]
    pub geometry: Option<PathBuf>,
    /// Common options; the input is a sinogram (angles, detectors) or a stack (slices, angles, detectors), NPY or TIFF, in units of length times those of the image
    #[command(flatten)]
    pub common: InverseArgs,
}

/// `scan.npy` -> `scan.geometry.toml`.
pub(super) fn geometry_beside(sinogram: &Path) -> PathBuf {
    sinogram.with_extension("geometry.toml")
}

/// Reads and checks a geometry.
pub(super) fn read_geometry(path: &Path) -> Result<Geometry> {
    let geometry: Geometry = toml_file::read(path)?;
    blame(path, geometry.check())?;
    Ok(geometry)
}

/// The noise level of the model is set to this multiple of the noise of filtered back projection, whose errors are correlated and so
/// look larger to filters than white noise does; found on phantoms.
const LEVEL: f64 = 2.0;

/// Standard deviation of white noise in a sinogram (angle, detector) from its fourth differences along the detectors, which
/// are `sqrt(70)` times as noisy: what is measured varies smoothly from detector to detector.
fn estimate_noise(sinogram: &[f32], detectors: usize) -> Option<f64> {
    let fourth = |w: &[f32]| {
        let [a, b, c, d, e] = std::array::from_fn(|i| f64::from(w[i]));
        (a - 4.0 * b + 6.0 * c - 4.0 * d + e) / 70.0_f64.sqrt()
    };
    let rows = sinogram.chunks_exact(detectors);
    let differences = rows.flat_map(|row| row.windows(5)).map(fourth).collect();
    let least = noise::least(sinogram.iter().copied());
    Some(noise::deviation(differences).unwrap_or(least).max(least))
}

impl Inverse for CtArgs {
    fn common(&self) -> &InverseArgs {
        &self.common
    }

    fn unnamed_files(&self) -> Vec<(&'static str, PathBuf)> {
        let beside = geometry_beside(&self.common.input);
        self.geometry
            .is_none()
            .then_some(("geometry", beside))
            .into_iter()
            .collect()
    }

    fn problem(&self) -> Result<Problem> {
        self.problem_of(Image::read(&self.common.input)?)
    }

    fn stack(&self) -> Result<Option<(Problem, Box<dyn Measurements>)>> {
        let Some((first, stack)) = self.common.stack(StackKind::Gray)? else {
            return Ok(None);
        };
        Ok(Some((self.problem_of(first)?, Box::new(stack))))
    }
}

impl CtArgs {
    fn problem_of(&self, measured: Image) -> Result<Problem> {
        let input = &self.common.input;
        let path = self.geometry.clone().unwrap_or_else(|| geometry_beside(input));
        if self.geometry.is_none() && !path.exists() {
            return Err(Error::input(
                &path,
                "no such file; name the geometry of the scan with --geometry",
            ));
        }
        let geometry = read_geometry(&path)?;
        let (angles, detectors) = (geometry.angles.len(), geometry.detectors);
        if measured.channels != 1 || [measured.height, measured.width] != [angles, detectors] {
            return Err(Error::input(
                input,
                format!(
                    "a sinogram of {} x {} x {} values, the geometry {} has {angles} angles x {detectors} detectors",
                    measured.channels,
                    measured.height,
                    measured.width,
                    path.display()
                ),
            ));
        }
        let operator = Radon::new(geometry.clone())?;
        let parameters = json!({
            "angles": angles,
            "detectors": detectors,
            "size": operator.domain(),
            "fan": geometry.fan,
        });
        let direct = move |gpu: &Gpu, y: &[f32]| filtered_back_projection(gpu, &geometry, y);
        Ok(Problem {
            name: "ct",
            operator: Box::new(operator),
            noise: estimate_noise(&measured.planes, detectors),
            estimate: Some(Box::new(move |sinogram| estimate_noise(sinogram, detectors))),
            measured: vec![measured.planes],
            direct: Box::new(direct),
            direct_method: Some(Method::Fbp),
            gain: Gain::OfDirect(LEVEL),
            border: Border::Zero,
            limits: (0.0, f32::MAX),
            format: Format::NpyF32,
            model: DENOISING,
            convex: None,
            files: vec![("geometry", path)],
            parameters,
        })
    }
}
