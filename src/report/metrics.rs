//! Image quality against a reference, computed on the host in f64. Range 1, nothing clipped.

use crate::{Error, Result};

/// Conventions, for reports.
pub const CONVENTIONS: &str = "range 1, no clipping, mean squared error over all colour planes; SSIM: Gaussian window of \
    sigma 1.5 and radius 5, K1 0.01, K2 0.03, population covariance, mean over full windows and planes";

/// `10 log10(1 / mean (x - reference)^2)` in dB; infinite for equal images.
///
/// # Errors
/// [`Error::Data`] if the sizes differ or there is no pixel.
pub fn psnr(image: &[f32], reference: &[f32]) -> Result<f64> {
    if image.len() != reference.len() || image.is_empty() {
        return Err(Error::Data(format!(
            "{} and {} values cannot be compared",
            image.len(),
            reference.len()
        )));
    }
    let sum: f64 = image
        .iter()
        .zip(reference)
        .map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2))
        .sum();
    Ok(-10.0 * (sum / image.len() as f64).log10())
}

const RADIUS: usize = 5;
const C1: f64 = 0.01 * 0.01;
const C2: f64 = 0.03 * 0.03;

/// Structural similarity of two planes (Wang et al., 2004) with the conventions of [`CONVENTIONS`]; `None` for images
/// smaller than the window of 11 x 11.
pub fn ssim(image: &[f32], reference: &[f32], height: usize, width: usize) -> Option<f64> {
    if height <= 2 * RADIUS || width <= 2 * RADIUS || image.len() != height * width || reference.len() != image.len() {
        return None;
    }
    let weights: Vec<f64> = {
        let raw: Vec<f64> = (0..=2 * RADIUS)
            .map(|i| (-(i as f64 - RADIUS as f64).powi(2) / (2.0 * 1.5 * 1.5)).exp())
            .collect();
        let sum: f64 = raw.iter().sum();
        raw.into_iter().map(|w| w / sum).collect()
    };
    let inner = width - 2 * RADIUS;
    // Horizontally filtered moments of one row: x, y, x^2, y^2, x y.
    let filtered_row = |row: usize| -> Vec<[f64; 5]> {
        (0..inner)
            .map(|col| {
                let mut m = [0.0; 5];
                for (k, w) in weights.iter().enumerate() {
                    let at = row * width + col + k;
                    let (x, y) = (f64::from(image[at]), f64::from(reference[at]));
                    for (sum, value) in m.iter_mut().zip([x, y, x * x, y * y, x * y]) {
                        *sum += w * value;
                    }
                }
                m
            })
            .collect()
    };
    let mut window: std::collections::VecDeque<Vec<[f64; 5]>> = (0..2 * RADIUS).map(filtered_row).collect();
    let mut total = 0.0;
    for row in 2 * RADIUS..height {
        window.push_back(filtered_row(row));
        for col in 0..inner {
            let mut m = [0.0; 5];
            for (line, w) in window.iter().zip(&weights) {
                for (sum, value) in m.iter_mut().zip(line[col]) {
                    *sum += w * value;
                }
            }
            let [x, y, xx, yy, xy] = m;
            let (vx, vy, vxy) = (xx - x * x, yy - y * y, xy - x * y);
            total += (2.0 * x * y + C1) * (2.0 * vxy + C2) / ((x * x + y * y + C1) * (vx + vy + C2));
        }
        window.pop_front();
    }
    Some(total / (inner * (height - 2 * RADIUS)) as f64)
}
