//! Rigorous upper bounds of the norm of a filter bank, valid for images of every size.
//!
//! Power iteration gives a *lower* bound of `|W|^2`; a convergence proof needs an upper one. The frequency response of
//! the Gram operator is a trigonometric polynomial, and a real trigonometric polynomial of degree `n` in one variable is
//! at most its maximum over `N > 2n` equispaced points divided by `cos(pi n / N)` (Ehlich and Zeller, 1964); in two
//! variables the factor applies twice. Restricting to an image (zero padding) can only lower the norm.

use nalgebra::{Complex, DMatrix};

use super::bank::{ConvLayer, FilterBank};

/// Grid points per axis for a single layer, and for the matrix-valued symbols of several layers.
pub(crate) const GRID: usize = 1024;
const MATRIX_GRID: usize = 96;
/// Of weighted bounds, which are needed whenever a model is used.
const WEIGHTED_GRID: usize = 256;

/// Covers the rounding of the f64 evaluation itself, which is near 1e-13.
const ROUNDING: f64 = 1.0 + 1e-9;

/// An upper bound of `|W|^2 = |W'W|` over all image sizes.
///
/// One layer: the supremum of `sum_c |w_c(omega)|^2` up to 0.3 %. Several layers, padded one by one: cancellation between
/// layers is lost at the border, so frequencies cannot be followed through; instead a constant matrix `M` that dominates
/// `T(omega)* M' T(omega)` at every frequency is passed from the last layer to the first, which is safe but loose.
pub fn upper_bound(bank: &FilterBank) -> f64 {
    match bank.layers() {
        [layer] => scalar_bound(layer, &vec![1.0; layer.outputs], GRID) * ROUNDING,
        layers => {
            let bounds = [true, false].map(|adapted| {
                let mut majorant = DMatrix::<f64>::identity(bank.channels(), bank.channels());
                for layer in layers.iter().rev() {
                    majorant = matrix_majorant(layer, &majorant, adapted);
                }
                majorant[(0, 0)]
            });
            bounds[0].min(bounds[1]) * ROUNDING
        }
    }
}

/// An upper bound of `|W' diag(weights) W|` over all image sizes for a layer with one input plane and a weight `>= 0` per filter:
/// the supremum of `sum_c weights_c |w_c(omega)|^2` up to 1 % for filters of 9x9.
pub fn weighted_bound(layer: &ConvLayer, weights: &[f64]) -> f64 {
    scalar_bound(layer, weights, WEIGHTED_GRID.max(8 * layer.size)) * ROUNDING
}

/// What the maximum over `points` equispaced points must be divided by, for degree `degree` in both variables.
pub(crate) fn grid_factor(degree: usize, points: usize) -> f64 {
    (std::f64::consts::PI * degree as f64 / points as f64).cos().powi(2)
}

/// `sup sum_c weights_c |w_c(omega)|^2` of a layer with one input plane, from a grid of `points` by `points` frequencies.
fn scalar_bound(layer: &ConvLayer, weights: &[f64], points: usize) -> f64 {
    let reach = layer.size - 1;
    let side = 2 * reach + 1;
    let at = |lag: i64| (lag + reach as i64) as usize;
    let mut correlation = vec![0.0; side * side];
    for (channel, weight) in weights.iter().enumerate() {
        for (y0, x0, y1, x1) in tap_pairs(layer.size) {
            let product = f64::from(layer.weight(channel, 0, y0, x0)) * f64::from(layer.weight(channel, 0, y1, x1));
            correlation[at(y1 as i64 - y0 as i64) * side + at(x1 as i64 - x0 as i64)] += weight * product;
        }
    }
    let angle = |index: usize, lag: usize| std::f64::consts::TAU * ((index * lag) % points) as f64 / points as f64;
    let table: Vec<(f64, f64)> = (0..points).map(|i| angle(i, 1).sin_cos()).collect();
    let wave = |index: usize, lag: i64| {
        let (sin, cos) = table[(index as i64 * lag).rem_euclid(points as i64) as usize];
        Complex::new(cos, sin)
    };
    let lags = -(reach as i64)..=reach as i64;
    let mut largest: f64 = 0.0;
    // The symbol is even: half of the rows is enough.
    for row in 0..=points / 2 {
        let columns: Vec<Complex<f64>> = lags
            .clone()
            .map(|x| {
                lags.clone()
                    .map(|y| wave(row, y) * correlation[at(y) * side + at(x)])
                    .sum()
            })
            .collect();
        for col in 0..points {
            let value: Complex<f64> = lags.clone().zip(&columns).map(|(x, c)| wave(col, x) * c).sum();
            largest = largest.max(value.re);
        }
    }
    largest / grid_factor(reach, points)
}

fn tap_pairs(size: usize) -> impl Iterator<Item = (usize, usize, usize, usize)> {
    (0..size.pow(4)).map(move |i| (i / size.pow(3), i / size.pow(2) % size, i / size % size, i % size))
}

/// A constant matrix that dominates `T(omega)* M T(omega)` at every frequency: `B sup lambda_max(B^-1/2 . B^-1/2)` with
/// `B` the mean over all frequencies (`adapted`) or the identity.
fn matrix_majorant(layer: &ConvLayer, majorant: &DMatrix<f64>, adapted: bool) -> DMatrix<f64> {
    let n = layer.inputs;
    let tap = |ky: usize, kx: usize| DMatrix::from_fn(layer.outputs, n, |o, i| f64::from(layer.weight(o, i, ky, kx)));
    let taps: Vec<DMatrix<f64>> = (0..layer.size.pow(2))
        .map(|t| tap(t / layer.size, t % layer.size))
        .collect();
    let mean: DMatrix<f64> = taps.iter().map(|t| t.transpose() * majorant * t).sum();
    let base = if adapted && mean.trace() > 0.0 {
        &mean + DMatrix::identity(n, n) * (1e-6 * mean.trace() / n as f64)
    } else {
        DMatrix::identity(n, n)
    };
    let eigen = base.clone().symmetric_eigen();
    let inverse_root = &eigen.eigenvectors
        * DMatrix::from_diagonal(&eigen.eigenvalues.map(|v| 1.0 / v.sqrt()))
        * eigen.eigenvectors.transpose();
    let root = majorant.clone().symmetric_eigen();
    let root = DMatrix::from_diagonal(&root.eigenvalues.map(|v| v.max(0.0).sqrt())) * root.eigenvectors.transpose();
    // M^1/2 T_k B^-1/2: the spectral norm of its symbol squared is what is sought.
    let taps: Vec<DMatrix<f64>> = taps.iter().map(|t| &root * t * &inverse_root).collect();
    let mut largest: f64 = 0.0;
    let angle = std::f64::consts::TAU / MATRIX_GRID as f64;
    for row in 0..=MATRIX_GRID / 2 {
        for col in 0..MATRIX_GRID {
            let mut symbol = DMatrix::<Complex<f64>>::zeros(layer.outputs, n);
            for (t, tap) in taps.iter().enumerate() {
                let phase = angle * ((row * (t / layer.size) + col * (t % layer.size)) % MATRIX_GRID) as f64;
                let wave = Complex::new(phase.cos(), phase.sin());
                symbol.zip_apply(tap, |s, w| *s += wave * w);
            }
            let gram = symbol.adjoint() * &symbol;
            largest = largest.max(gram.symmetric_eigenvalues().max());
        }
    }
    base * (largest / grid_factor(layer.size - 1, MATRIX_GRID))
}

/// An upper bound of `|W|^2` for a layer with any numbers of planes, over all image sizes.
///
/// With the correlations `c` of the filters on the side with fewer planes (`shaders/lib/gram.wgsl`), every entry of the Gram
/// operator is at most that of `M[b, b'] = sum_tau |c[b, b'](tau)|` convolved over lags, so that `|W|^2 <= |M|`, a symmetric
/// matrix. The rounding of the correlations is added to them: a sum of n products is off by at most `n u` times the sum of
/// their magnitudes.
pub fn row_sum_bound(layer: &ConvLayer) -> f64 {
    let by_outputs = layer.outputs < layer.inputs;
    let (channels, others) = if by_outputs {
        (layer.outputs, layer.inputs)
    } else {
        (layer.inputs, layer.outputs)
    };
    let weight = |a: usize, b: usize, y: usize, x: usize| {
        f64::from(if by_outputs {
            layer.weight(b, a, y, x)
        } else {
            layer.weight(a, b, y, x)
        })
    };
    let side = 2 * layer.size - 1;
    let rounding = (others * layer.size.pow(2)) as f64 * f64::EPSILON;
    let mut magnitudes = vec![0.0; channels * channels];
    for (b, c) in (0..channels).flat_map(|b| (b..channels).map(move |c| (b, c))) {
        let (mut correlation, mut size) = (vec![0.0; side * side], 0.0);
        for a in 0..others {
            for (y0, x0, y1, x1) in tap_pairs(layer.size) {
                let lag = (y1 + layer.size - 1 - y0) * side + x1 + layer.size - 1 - x0;
                let product = weight(a, b, y0, x0) * weight(a, c, y1, x1);
                correlation[lag] += product;
                size += product.abs();
            }
        }
        let sum = correlation.iter().map(|c| c.abs()).sum::<f64>() + rounding * size;
        magnitudes[b * channels + c] = sum;
        magnitudes[c * channels + b] = sum;
    }
    matrix_bound(&magnitudes, channels) * ROUNDING
}

/// Squarings of the Gram matrix: the bound is then within a factor `n^(2^-25)` of the norm, far below rounding in f32.
const SQUARINGS: i32 = 24;

/// An upper bound of the largest singular value of a matrix given row by row.
///
/// With the Gram matrix `G` of its shorter side (n x n, positive semidefinite), `|W|^2 = lambda_max(G) <=
/// |G^(2^k)|_F^(1 / 2^k)`, too large by at most the factor `n^(1 / 2^(k+1))`. G is squared and rescaled k times. A computed
/// square has an error of at most `n u |G_i|_F^2` in the Frobenius norm (u: rounding unit of f64), and `lambda_max` of the
/// scaled square is at least `1/sqrt n`, so rounding changes the bound of `lambda_max` in step i by less than the factor
/// `1 + 2 n^2 u`, which enters with the power `1 / 2^i`; the sum of these powers is below 2, doubled to be safe.
pub fn matrix_bound(weights: &[f64], columns: usize) -> f64 {
    let matrix = DMatrix::from_row_slice(weights.len() / columns, columns, weights);
    let mut gram = if matrix.nrows() < columns {
        &matrix * matrix.transpose()
    } else {
        matrix.transpose() * &matrix
    };
    let mut logarithm = 0.0;
    for squaring in 0..=SQUARINGS {
        let size = gram.norm();
        if size == 0.0 {
            return 0.0;
        }
        logarithm += size.ln() * 0.5_f64.powi(squaring);
        gram /= size;
        if squaring < SQUARINGS {
            gram = &gram * &gram;
        }
    }
    let n = matrix.nrows().max(columns) as f64;
    let rounding = 8.0 * n * n * f64::EPSILON;
    // What the sum of logarithms loses is of the order of their own rounding.
    (0.5 * logarithm).exp() * (1.0 + rounding + 64.0 * f64::EPSILON)
}
