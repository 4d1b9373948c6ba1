//! The least response of a circular blur, rigorously.

use std::f64::consts::TAU;

/// A lower bound of `min |K(w)|^2` over the frequencies `w` of images of `size` = rows, columns, `K` the transform of a `kernel`, (row,
/// column) of `kernel_size`: the least eigenvalue of `H' H` for the circular blur `H`, whose eigenvectors are the waves. Where the kernel
/// is anchored makes no difference. Summed in f64, first along rows, for half of the frequencies, since the others are conjugate; what
/// rounding may have added is taken away.
pub(super) fn least_response(kernel: &[f32], [kernel_rows, kernel_cols]: [usize; 2], [rows, cols]: [usize; 2]) -> f64 {
    let waves = |n: usize| -> Vec<[f64; 2]> {
        let angles = (0..n).map(|k| TAU * k as f64 / n as f64);
        angles.map(|angle| [angle.cos(), angle.sin()]).collect()
    };
    let (down, right) = (waves(rows), waves(cols));
    let mut least = f64::INFINITY;
    for v in 0..=cols / 2 {
        let along = |row: usize| {
            let mut sum = [0.0; 2];
            for col in 0..kernel_cols {
                let (weight, wave) = (f64::from(kernel[row * kernel_cols + col]), right[v * col % cols]);
                sum = [sum[0] + weight * wave[0], sum[1] + weight * wave[1]];
            }
            sum
        };
        let lines: Vec<[f64; 2]> = (0..kernel_rows).map(along).collect();
        for u in 0..rows {
            let mut sum = [0.0; 2];
            for (row, line) in lines.iter().enumerate() {
                let wave = down[u * row % rows];
                sum[0] += line[0] * wave[0] - line[1] * wave[1];
                sum[1] += line[0] * wave[1] + line[1] * wave[0];
            }
            least = least.min(sum[0].hypot(sum[1]));
        }
    }
    // A wave has an angle with three roundings, of at most TAU, and one of its own; products and sums follow.
    let roundings = (kernel_rows + kernel_cols + 4) as f64 + 8.0 * TAU;
    let size: f64 = kernel.iter().map(|weight| f64::from(weight.abs())).sum();
    let lost = 2.0 * roundings * f64::EPSILON * size;
    (least - lost).max(0.0).powi(2)
}
