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

/// Rounds of the iteration that tightens [`row_sum_bound`].
const ROUNDS: usize = 100;

/// An upper bound of `|W|^2` for a layer with any numbers of planes, over all image sizes: for every positive vector `q`,
///
/// `|W|^2 <= max_b (M q)_b / q_b` with `M[b, b'] = sum_tau |c[b, b'](tau)|`,
///
/// `c` the correlations of the filters on the side with fewer planes (`shaders/lib/gram.wgsl`). The Gram operator is at most
/// `M` entry by entry, so that this is the bound of Collatz and Wielandt for the spectral radius of `M`; `q` comes from power
/// iteration, which only tightens it.
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
    let mut magnitudes = DMatrix::<f64>::zeros(channels, channels);
    for (b, c) in (0..channels * channels).map(|n| (n / channels, n % channels)) {
        let mut correlation = vec![0.0; side * side];
        for a in 0..others {
            for (y0, x0, y1, x1) in tap_pairs(layer.size) {
                let lag = (y1 + layer.size - 1 - y0) * side + x1 + layer.size - 1 - x0;
                correlation[lag] += weight(a, b, y0, x0) * weight(a, c, y1, x1);
            }
        }
        magnitudes[(b, c)] = correlation.iter().map(|c| c.abs()).sum();
    }
    let mut q = nalgebra::DVector::<f64>::from_element(channels, 1.0);
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let next = &magnitudes * &q;
        let ratios = next.iter().zip(q.iter()).map(|(n, q)| n / q);
        best = best.min(ratios.fold(0.0, f64::max));
        let largest = next.max();
        if largest <= 0.0 {
            return 0.0;
        }
        // A channel without weights must stay positive for the bound to hold.
        q = next.map(|v| (v / largest).max(1e-12));
    }
    best * ROUNDING
}
