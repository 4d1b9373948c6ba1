//! How good the regularizer is on images that training does not see.

use serde::Serialize;

use super::Validation;
use super::data::Plane;
use crate::Result;
use crate::gpu::Gpu;
use crate::io::noise;
use crate::model::Ridge;
use crate::model::device::RunOptions;
use crate::report::metrics::psnr;
use crate::solver::{Method, Settings, denoise_planes};

/// Mean PSNR at one noise level.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LevelScore {
    /// Noise level, in units of the image range.
    pub sigma: f64,
    /// Mean over the images, in dB.
    pub psnr: f64,
    /// Iterations of the denoiser, mean over the images.
    pub iterations: f64,
}

/// Seed of the validation noise: the same in every training, so that their scores compare.
const SEED: u64 = 0x5641_4c49;

/// Denoises every image at every noise level of `settings`. The noise of image i depends on i and the place of the level in
/// the list only.
///
/// # Errors
/// [`crate::Error::Diverged`] for iterates that are not finite; device errors.
pub fn validate(
    gpu: &Gpu,
    model: &Ridge,
    images: &[(String, Plane)],
    settings: &Validation,
) -> Result<Vec<LevelScore>> {
    let solver = Settings {
        tolerance: settings.tolerance,
        method: Method::Splitting,
        ..Settings::default()
    };
    let mut scores = Vec::new();
    for (level, &sigma) in settings.sigma.iter().enumerate() {
        let options = RunOptions {
            sigma,
            style: None,
            tile: None,
        };
        let noisy = images.iter().enumerate().map(|(i, (_, plane))| {
            let noise = noise::gaussian(SEED, (level as u64) << 32 | i as u64, plane.values.len());
            let values = plane.values.iter().zip(noise).map(|(c, n)| c + sigma as f32 * n);
            ([plane.height, plane.width], values.collect())
        });
        let outcomes = denoise_planes(gpu, model, &options, solver, &noisy.collect::<Vec<_>>(), |_| ())?;
        let (mut total, mut iterations) = (0.0, 0.0);
        for ((_, plane), outcome) in images.iter().zip(&outcomes) {
            total += psnr(&outcome.image, &plane.values)?;
            iterations += outcome.iterations as f64;
        }
        let count = images.len() as f64;
        scores.push(LevelScore {
            sigma,
            psnr: total / count,
            iterations: iterations / count,
        });
    }
    Ok(scores)
}
