//! PSNR and SSIM against identities and against scikit-image.

use knotwork::report::metrics::{psnr, ssim};

/// Two images whose values f32 holds exactly; the Python below has the same formula.
fn pair(height: i32, width: i32) -> (Vec<f32>, Vec<f32>) {
    let at = || (0..height).flat_map(|r| (0..width).map(move |c| (r, c)));
    let x = |(r, c): (i32, i32)| ((7 * r + 13 * c + r * c) % 64) as f32 / 64.0;
    let change = |(r, c): (i32, i32)| ((5 * r + 11 * c) % 16 - 8) as f32 / 128.0;
    (at().map(x).collect(), at().map(|p| x(p) + change(p)).collect())
}

/// ```python
/// import numpy as np
/// from skimage.metrics import structural_similarity, peak_signal_noise_ratio
/// def ssim(x, y):
///     return structural_similarity(
///         x, y, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1)
/// for h, w in [(11, 11), (17, 23), (40, 12)]:
///     r, c = np.mgrid[0:h, 0:w]
///     x = (7 * r + 13 * c + r * c) % 64 / 64
///     y = x + ((5 * r + 11 * c) % 16 - 8) / 128
///     print(peak_signal_noise_ratio(x, y, data_range=1), ssim(x, y), ssim(x, 1 - x))
/// ```
const SCIKIT_IMAGE: [(i32, i32, f64, f64, f64); 3] = [
    (11, 11, 28.645566495990803, 0.9916595101052688, -0.9890890642325074),
    (17, 23, 28.805116097664595, 0.9921534096494354, -0.9826347636107698),
    (40, 12, 28.7929649721503, 0.9922845686171403, -0.9858600349958918),
];

#[test]
fn both_agree_with_scikit_image() {
    for (height, width, want_psnr, want_ssim, want_opposite) in SCIKIT_IMAGE {
        let (x, y) = pair(height, width);
        let opposite: Vec<f32> = x.iter().map(|v| 1.0 - v).collect();
        let [h, w] = [height as usize, width as usize];
        // Both sides compute in f64 from exact inputs; the sums differ in order only.
        assert!((psnr(&y, &x).unwrap() - want_psnr).abs() < 1e-10);
        assert!((ssim(&y, &x, h, w).unwrap() - want_ssim).abs() < 1e-10);
        assert!((ssim(&x, &opposite, h, w).unwrap() - want_opposite).abs() < 1e-10);
    }
}

#[test]
fn psnr_of_a_known_error() {
    let x = pair(9, 14).0;
    // An error of 2^-k everywhere has PSNR 20 k log10 2, whatever its sign, and values beyond [0, 1] count in full.
    for k in 0..8 {
        let error = 0.5_f32.powi(k);
        let y: Vec<f32> = x
            .iter()
            .enumerate()
            .map(|(i, v)| if i % 2 == 0 { v + error } else { v - error })
            .collect();
        let want = 20.0 * f64::from(k) * 2.0_f64.log10();
        assert!((psnr(&y, &x).unwrap() - want).abs() < 1e-10, "2^-{k}");
        assert_eq!(psnr(&y, &x).unwrap(), psnr(&x, &y).unwrap());
    }
    // One wrong pixel in n: the mean, not the sum.
    let mut y = x.clone();
    y[17] += 1.0;
    assert!((psnr(&y, &x).unwrap() - 10.0 * (x.len() as f64).log10()).abs() < 1e-10);
    assert_eq!(psnr(&x, &x).unwrap(), f64::INFINITY);
}

#[test]
fn psnr_refuses_what_cannot_be_compared() {
    psnr(&[0.0; 4], &[0.0; 5]).unwrap_err();
    psnr(&[], &[]).unwrap_err();
}

#[test]
fn ssim_is_one_for_equals_symmetric_and_bounded() {
    for [height, width] in [[11, 11], [13, 30], [31, 12]] {
        let (x, y) = pair(height, width);
        let constant = vec![0.25; x.len()];
        let negative: Vec<f32> = x.iter().map(|v| -v).collect();
        let [h, w] = [height as usize, width as usize];
        for image in [&x, &y, &constant] {
            assert!((ssim(image, image, h, w).unwrap() - 1.0).abs() < 1e-12);
        }
        for (a, b) in [(&x, &y), (&x, &constant), (&y, &negative)] {
            let score = ssim(a, b, h, w).unwrap();
            assert!((-1.0..1.0).contains(&score), "{score}");
            assert!((score - ssim(b, a, h, w).unwrap()).abs() < 1e-12);
        }
    }
}

#[test]
fn ssim_needs_a_whole_window_and_matching_sizes() {
    for [h, w] in [[10, 30], [30, 10], [1, 1], [0, 0]] {
        assert_eq!(ssim(&vec![0.5; h * w], &vec![0.5; h * w], h, w), None);
    }
    assert_eq!(ssim(&[0.5; 144], &[0.5; 143], 12, 12), None);
    assert_eq!(ssim(&[0.5; 143], &[0.5; 143], 12, 12), None);
}
