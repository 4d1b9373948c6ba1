//! Power iteration for the norm of a filter bank: an estimate from below, for comparison with the certified bound.

use crate::gpu::reduce::InnerProduct;
use crate::gpu::{Gpu, Work};
use crate::model::Ridge;
use crate::model::device::{Extra, Images, RidgeOnDevice, RunOptions};
use crate::{Result, shader_struct};

shader_struct! {
    /// Parameters of `normalise.wgsl`.
    pub struct NormaliseParams {
        /// Pixels of the image.
        pub pixels: u32,
        /// Pixels per row of workgroups.
        pub row: u32,
        /// Padding.
        pub pad0: u32,
        /// Padding.
        pub pad1: u32,
    }
}

/// Estimates `|W|^2`, the largest eigenvalue of `W'W`, on images of `height` x `width` by `iterations` power iterations
/// from a fixed pseudo-random start. The model's activations and scaling play no part.
///
/// # Errors
/// Device errors.
pub fn gram_norm(gpu: &Gpu, model: &Ridge, [height, width]: [usize; 2], iterations: usize) -> Result<f64> {
    let pixels = height * width;
    let start: Vec<f32> = crate::io::noise::gaussian(1, 0, pixels);
    let vector = gpu.buffer("vector", pixels)?;
    let product = gpu.buffer("product", pixels)?;
    let active = gpu.upload("active", &[0_u32])?;
    let images = Images {
        height,
        width,
        source: &vector,
        active: &active,
        slots: 1,
    };
    let options = RunOptions {
        sigma: model.sigma_range.1,
        style: None,
        tile: None,
    };
    let on_device = RidgeOnDevice::new(gpu, model, &options, &images, &product, Extra::None)?;
    let sums = InnerProduct::new(gpu, &product, &product, 1, pixels)?;
    let groups = pixels.div_ceil(256) as u32;
    let across = groups.min(gpu.limits().max_compute_workgroups_per_dimension);
    let params = gpu.params(&[NormaliseParams {
        pixels: pixels as u32,
        row: across * 256,
        ..Default::default()
    }])?;
    let memory = [
        ("params", params.binding()),
        ("totals", sums.totals().into()),
        ("src", (&product).into()),
        ("dst", (&vector).into()),
    ];
    let kernel = gpu.kernel("normalise", &[])?;
    let work = Work {
        bytes: kernel.element_bytes(&["src", "dst"]) * pixels as u64,
        multiply_adds: 0,
    };
    let normalise = kernel.bind(gpu, &memory)?.with_work(None, [work]);
    gpu.write(&vector, &start)?;
    let mut recorder = gpu.record();
    for _ in 0..iterations {
        on_device.record_gram(&mut recorder, 1);
        sums.record(&mut recorder, 1);
        recorder.dispatch(&normalise, [across, groups.div_ceil(across), 1], 0);
    }
    recorder.submit();
    // The last product came from a unit vector: its length is the estimate.
    let totals: Vec<f32> = gpu.read(sums.totals())?;
    Ok(f64::from(totals[2]).sqrt())
}
