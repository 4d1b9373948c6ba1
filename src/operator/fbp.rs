//! Filtered back projection: the direct inversion of the Radon transform, a baseline and a start for solvers.

use std::f64::consts::PI;

use super::radon::launches;
use super::{Geometry, RadonParams};
use crate::gpu::Gpu;
use crate::{Error, Result, shader_struct};

shader_struct! {
    /// Parameters of `ramp_filter.wgsl`.
    pub struct FilterParams {
        /// Detectors per angle.
        pub detectors: u32,
        /// Padding.
        pub pad0: u32,
        /// Padding.
        pub pad1: u32,
        /// Padding.
        pub pad2: u32,
    }
}

/// The part of the half circle each angle stands for: half of the way to its neighbours on either side, angles modulo pi.
fn angle_weights(angles: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..angles.len()).collect();
    let turned: Vec<f64> = angles.iter().map(|a| a.rem_euclid(PI)).collect();
    order.sort_by(|&a, &b| turned[a].total_cmp(&turned[b]));
    let count = order.len();
    let mut weights = vec![PI; count];
    if count > 1 {
        for (at, &angle) in order.iter().enumerate() {
            let (before, after) = (order[(at + count - 1) % count], order[(at + 1) % count]);
            // The first and the last are neighbours across pi.
            let gap = |from: f64, to: f64, wraps: bool| to - from + if wraps { PI } else { 0.0 };
            weights[angle] = 0.5
                * (gap(turned[before], turned[angle], at == 0) + gap(turned[angle], turned[after], at + 1 == count));
        }
    }
    weights
}

/// `sum_a weight_a q_a(x cos theta_a + y sin theta_a)` with `q` the projections after the ramp filter (Ram-Lak, in space),
/// linearly interpolated between detectors. `sinogram` is (angle, detector), the result (row, column).
///
/// # Errors
/// [`Error::Data`] for a sinogram that does not fit the geometry; device errors.
pub fn filtered_back_projection(gpu: &Gpu, geometry: &Geometry, sinogram: &[f32]) -> Result<Vec<f32>> {
    geometry.check()?;
    let (angles, detectors) = (geometry.angles.len(), geometry.detectors);
    if sinogram.len() != angles * detectors {
        return Err(Error::Data(format!(
            "the sinogram has {} values, the geometry {angles} angles x {detectors} detectors",
            sinogram.len()
        )));
    }
    let spacing = geometry.detector_spacing;
    let weights: Vec<f32> = angle_weights(&geometry.angles)
        .iter()
        .map(|w| (w / spacing) as f32)
        .collect();
    let middle = (detectors as f64 - 1.0) / 2.0;
    let lines: Vec<[f32; 4]> = geometry
        .angles
        .iter()
        .map(|a| {
            let per_pixel = geometry.pixel / spacing;
            let origin = middle - geometry.detector_offset / spacing;
            [origin, per_pixel * a.cos(), -per_pixel * a.sin(), 0.0].map(|v| v as f32)
        })
        .collect();

    let (weights, lines) = (gpu.upload("angle weights", &weights)?, gpu.upload("lines", &lines)?);
    let measured = gpu.upload("sinogram", sinogram)?;
    let filtered = gpu.buffer("filtered", sinogram.len())?;
    let image = gpu.buffer("image", geometry.rows * geometry.cols)?;
    let filter_params = gpu.params(&[FilterParams {
        detectors: detectors as u32,
        ..Default::default()
    }])?;
    let filter = gpu.kernel("ramp_filter", &[])?.bind(
        gpu,
        &[
            ("params", filter_params.binding()),
            ("weights", (&weights).into()),
            ("src", (&measured).into()),
            ("dst", (&filtered).into()),
        ],
    )?;
    let table: Vec<RadonParams> = launches(geometry, 1);
    let params = gpu.params(&table)?;
    let project = gpu.kernel("radon_interpolate", &[])?.bind(
        gpu,
        &[
            ("params", params.binding()),
            ("lines", (&lines).into()),
            ("sinogram", (&filtered).into()),
            ("image", (&image).into()),
        ],
    )?;
    let mut recorder = gpu.record();
    recorder.dispatch(&filter, [detectors.div_ceil(64) as u32, angles as u32, 1], 0);
    let groups = project.groups([geometry.cols as u32, geometry.rows as u32, 1]);
    for entry in 0..table.len() {
        recorder.dispatch(&project, groups, entry);
    }
    recorder.submit();
    gpu.read(&image)
}
