//! How good the regularizer is on images that training does not see.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Validation;
use super::data::Plane;
use crate::Result;
use crate::gpu::Gpu;
use crate::io::noise;
use crate::model::Ridge;
use crate::model::device::RunOptions;
use crate::report::metrics::psnr;
use crate::solver::{Denoiser, Settings};

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

/// Images of one size that are denoised at once.
const SLOTS: usize = 4;

/// Denoises every image at every noise level of `settings`. The noise of image i depends on i and the level only.
///
/// # Errors
/// [`crate::Error::Diverged`] for iterates that are not finite; device errors.
pub fn validate(
    gpu: &Gpu,
    model: &Ridge,
    images: &[(String, Plane)],
    settings: &Validation,
) -> Result<Vec<LevelScore>> {
    let mut by_size: BTreeMap<(usize, usize), Vec<usize>> = BTreeMap::new();
    for (index, (_, plane)) in images.iter().enumerate() {
        by_size.entry((plane.height, plane.width)).or_default().push(index);
    }
    let solver = Settings {
        tolerance: settings.tolerance,
        ..Settings::default()
    };
    let mut scores = Vec::new();
    for (level, &sigma) in settings.sigma.iter().enumerate() {
        let (mut total, mut iterations) = (0.0, 0.0);
        for (&(height, width), indices) in &by_size {
            let slots = SLOTS.min(indices.len());
            let options = RunOptions {
                sigma,
                style: None,
                tile: None,
            };
            let denoiser = Denoiser::new(gpu, model, &options, solver, [height, width], slots)?;
            for chunk in indices.chunks(slots) {
                let noisy: Vec<Vec<f32>> = chunk
                    .iter()
                    .map(|&i| {
                        let clean = &images[i].1.values;
                        let stream = (level as u64) << 32 | i as u64;
                        let noise = noise::gaussian(SEED, stream, clean.len());
                        clean.iter().zip(noise).map(|(c, n)| c + sigma as f32 * n).collect()
                    })
                    .collect();
                let planes: Vec<&[f32]> = noisy.iter().map(Vec::as_slice).collect();
                for (&index, outcome) in chunk.iter().zip(denoiser.run(&planes, |_, _, _| ())?) {
                    total += psnr(&outcome.image, &images[index].1.values)?;
                    iterations += outcome.iterations as f64;
                }
            }
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
