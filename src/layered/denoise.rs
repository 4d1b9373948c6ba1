//! A network as a denoiser for any noise level.

use super::model::Layered;
use super::runner::LayeredRunner;
use crate::gpu::Gpu;
use crate::{Error, Result};

/// `D_s(x) = (1 - a) x + a s N(x / s)` on images of one size, with `s = sigma / sigma_0` and `sigma_0` the noise level of the model. Scaling
/// changes no slope, so that every constant of the certificate stays.
#[derive(Debug)]
pub struct LayeredDenoiser {
    runner: LayeredRunner,
    averaging: f64,
    trained_for: f64,
}

impl LayeredDenoiser {
    /// Prepares `model` for one image of `size` rows and columns.
    ///
    /// # Errors
    /// As [`LayeredRunner::new`].
    pub fn new(gpu: &Gpu, model: &Layered, size: [usize; 2]) -> Result<Self> {
        Ok(Self {
            runner: LayeredRunner::new(gpu, model, 1, size)?,
            averaging: model.averaging(),
            trained_for: model.sigma,
        })
    }

    /// Denoises `noisy` with noise of `sigma`, in units of the image range, waiting for the device.
    ///
    /// # Errors
    /// [`Error::Usage`] for a level that is not positive; [`Error::Data`] for another number of values; device errors.
    pub fn run(&self, gpu: &Gpu, noisy: &[f32], sigma: f64) -> Result<Vec<f32>> {
        if !(sigma > 0.0 && sigma.is_finite()) {
            return Err(Error::Usage(format!("noise level {sigma} must be positive")));
        }
        let scale = (sigma / self.trained_for) as f32;
        let scaled: Vec<f32> = noisy.iter().map(|y| y / scale).collect();
        let out = self.runner.run(gpu, &scaled)?;
        let a = self.averaging as f32;
        let mixed = noisy.iter().zip(&out).map(|(y, n)| (1.0 - a) * y + a * scale * n);
        Ok(mixed.collect())
    }
}
