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

/// Covers the rounding of the f64 evaluation itself, which is near 1e-13.
const ROUNDING: f64 = 1.0 + 1e-9;

/// An upper bound of `|W|^2 = |W'W|` over all image sizes.
///
/// One layer: the supremum of `sum_c |w_c(omega)|^2` up to 0.3 %. Several layers, padded one by one: cancellation between
/// layers is lost at the border, so frequencies cannot be followed through; instead a constant matrix `M` that dominates
/// `T(omega)* M' T(omega)` at every frequency is passed from the last layer to the first, which is safe but loose.
pub fn upper_bound(bank: &FilterBank) -> f64 {
    match bank.layers() {
        [layer] => scalar_bound(layer) * ROUNDING,
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

/// What the maximum over `points` equispaced points must be divided by, for degree `degree` in both variables.
pub(crate) fn grid_factor(degree: usize, points: usize) -> f64 {
    (std::f64::consts::PI * degree as f64 / points as f64).cos().powi(2)
}

/// `sup sum_c |w_c(omega)|^2` of a layer with one input plane.
fn scalar_bound(layer: &ConvLayer) -> f64 {
    let reach = layer.size - 1;
    let side = 2 * reach + 1;
    let at = |lag: i64| (lag + reach as i64) as usize;
    let mut correlation = vec![0.0; side * side];
    for channel in 0..layer.outputs {
        for (y0, x0, y1, x1) in tap_pairs(layer.size) {
            let product = f64::from(layer.weight(channel, 0, y0, x0)) * f64::from(layer.weight(channel, 0, y1, x1));
            correlation[at(y1 as i64 - y0 as i64) * side + at(x1 as i64 - x0 as i64)] += product;
        }
    }
    let angle = |index: usize, lag: usize| std::f64::consts::TAU * ((index * lag) % GRID) as f64 / GRID as f64;
    let table: Vec<(f64, f64)> = (0..GRID).map(|i| angle(i, 1).sin_cos()).collect();
    let wave = |index: usize, lag: i64| {
        let (sin, cos) = table[(index as i64 * lag).rem_euclid(GRID as i64) as usize];
        Complex::new(cos, sin)
    };
    let lags = -(reach as i64)..=reach as i64;
    let mut largest: f64 = 0.0;
    // The symbol is even: half of the rows is enough.
    for row in 0..=GRID / 2 {
        let columns: Vec<Complex<f64>> = lags
            .clone()
            .map(|x| {
                lags.clone()
                    .map(|y| wave(row, y) * correlation[at(y) * side + at(x)])
                    .sum()
            })
            .collect();
        for col in 0..GRID {
            let value: Complex<f64> = lags.clone().zip(&columns).map(|(x, c)| wave(col, x) * c).sum();
            largest = largest.max(value.re);
        }
    }
    largest / grid_factor(reach, GRID)
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
