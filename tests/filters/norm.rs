//! The certified bound of a filter bank's norm against power iterations, dense eigenvalues and the symbol itself.

use crate::common::{gpu, values};
use crate::reference::device::turn;
use crate::reference::models::layer;
use crate::reference::{Bounded, correlate};
use knotwork::filters::{ConvLayer, FilterBank, norm};
use knotwork::model::dct::{DctSettings, dct};
use knotwork::model::{Border, NormKind, Ridge, Scaling};
use knotwork::solver::gram_norm;
use knotwork::spline::Spline;
use nalgebra::DMatrix;

fn single(seed: u64, channels: usize, size: usize) -> FilterBank {
    FilterBank::new(vec![layer(seed, 1, channels, size)]).unwrap()
}

/// Banks with one layer: random ones, and one that resonates at frequency 0, on the boundary of the grid.
fn single_layers() -> Vec<FilterBank> {
    let mean = FilterBank::new(vec![ConvLayer::new(1, 1, 5, vec![1.0; 25]).unwrap()]).unwrap();
    vec![single(1, 1, 1), single(2, 1, 3), single(3, 6, 5), single(4, 5, 7), mean]
}

fn layered() -> Vec<FilterBank> {
    let deep = |seed, planes: &[usize], sizes: &[usize]| {
        let layers = sizes.iter().enumerate();
        FilterBank::new(
            layers
                .map(|(n, &size)| layer(seed + n as u64, planes[n], planes[n + 1], size))
                .collect(),
        )
        .unwrap()
    };
    vec![deep(10, &[1, 3, 6], &[3, 5]), deep(20, &[1, 2, 3, 4], &[3, 3, 3])]
}

/// A model with the filters of `bank`; its activation plays no part.
fn model(bank: FilterBank) -> Ridge {
    let line = |slope: f64| vec![Spline::new(vec![0.0, 1.0], vec![0.0, slope]).unwrap()];
    Ridge {
        bank,
        activations: line(1.0),
        scaling: Scaling {
            log: line(0.0),
            epsilon: 0.0,
        },
        slope_bounds: (0.0, 1.0),
        sigma_range: (0.0, 1.0),
        norm_squared: 1.0,
        norm_kind: NormKind::Estimate,
        border: Border::Zero,
        name: "norm".into(),
        provenance: serde_json::Value::Null,
    }
}

/// The matrix of the bank on images of `size`, column by column.
fn matrix(bank: &FilterBank, size: [usize; 2]) -> DMatrix<f64> {
    let pixels = size[0] * size[1];
    let columns: Vec<_> = (0..pixels)
        .map(|n| {
            let mut unit = vec![0.0; pixels];
            unit[n] = 1.0;
            let layers = bank.layers().iter();
            let column = layers.fold(Bounded::exact(&unit), |x, layer| correlate(layer, &x, size));
            nalgebra::DVector::from_vec(column.value)
        })
        .collect();
    DMatrix::from_columns(&columns)
}

/// `max sum_c |sum_k w_c[k] exp(i <omega, k>)|^2` over `points`^2 frequencies, shifted off the usual grid.
fn symbol_maximum(bank: &FilterBank, points: usize) -> f64 {
    let layer = &bank.layers()[0];
    let angle = |n: usize| std::f64::consts::TAU * n as f64 / points as f64;
    let mut largest = 0.0_f64;
    for (row, col) in (0..points * points).map(|n| (n / points, n % points)) {
        let mut sum = 0.0;
        for c in 0..layer.outputs {
            let (mut re, mut im) = (0.0, 0.0);
            for (ky, kx) in (0..layer.size.pow(2)).map(|k| (k / layer.size, k % layer.size)) {
                let (sin, cos) = (angle(row) * ky as f64 + angle(col) * kx as f64).sin_cos();
                let weight = f64::from(layer.weight(c, 0, ky, kx));
                re += weight * cos;
                im += weight * sin;
            }
            sum += re * re + im * im;
        }
        largest = largest.max(sum);
    }
    largest
}

#[test]
fn a_single_layer_is_bounded_tightly_by_the_supremum_of_its_symbol() {
    for bank in single_layers() {
        let (bound, symbol) = (norm::upper_bound(&bank), symbol_maximum(&bank, 251));
        assert!(bound >= symbol, "bound {bound} below the symbol's {symbol}");
        assert!(bound <= 1.01 * symbol, "bound {bound}, supremum {symbol}");
        // The symbol is quadratic in the filters, and turning them changes nothing.
        assert!((norm::upper_bound(&bank.scaled(2.0)) / bound - 4.0).abs() < 1e-12);
    }
    // At frequency 0 the mean filter answers with the sum of its weights.
    let exact = norm::upper_bound(single_layers().last().unwrap());
    assert!((625.0..=625.0 * 1.003).contains(&exact), "{exact}");
}

#[test]
fn weights_count_like_larger_filters() {
    for bank in single_layers() {
        let layer = &bank.layers()[0];
        // Filters times 2, 0, 1/2, 1, exactly, weigh 4, 0, 1/4, 1.
        let factors: Vec<f32> = (0..layer.outputs).map(|c| [2.0, 0.0, 0.5, 1.0][c % 4]).collect();
        let weights: Vec<f64> = factors.iter().map(|f| f64::from(*f).powi(2)).collect();
        let taps = layer.size.pow(2);
        let scaled = layer.weights.iter().enumerate().map(|(n, w)| w * factors[n / taps]);
        let scaled = ConvLayer::new(1, layer.outputs, layer.size, scaled.collect()).unwrap();
        let scaled = FilterBank::new(vec![scaled]).unwrap();
        let (bound, symbol) = (norm::weighted_bound(layer, &weights), symbol_maximum(&scaled, 251));
        assert!(bound >= symbol, "bound {bound} below the symbol's {symbol}");
        assert!(bound <= 1.03 * symbol, "bound {bound}, supremum {symbol}");
    }
}

#[test]
fn the_lipschitz_constant_knows_which_channels_are_steep() {
    let bank = single(3, 6, 5);
    let norm_squared = norm::upper_bound(&bank);
    let steepest = [0.5, 9.0, 0.0, 2.0, 1.0, 3.0];
    let line = |slope: f64| Spline::new(vec![-1.0, 0.0, 1.0], vec![0.0, 0.0, slope]).unwrap();
    let dense = matrix(&bank, [9, 8]);
    let slopes = nalgebra::DVector::from_fn(dense.nrows(), |row, _| steepest[row / 72]);
    let weighted = dense.transpose() * DMatrix::from_diagonal(&slopes) * &dense;
    let largest = weighted.symmetric_eigenvalues().max();
    let tight = Ridge {
        activations: steepest.map(line).to_vec(),
        slope_bounds: (0.0, 20.0),
        norm_squared,
        norm_kind: NormKind::Bound,
        ..model(bank)
    };
    let declared = 20.0 * norm_squared;
    let constant = tight.gradient_lipschitz();
    assert!(
        (largest..1.5 * largest).contains(&constant) && constant < declared,
        "{constant}, eigenvalue {largest}"
    );
    // One activation for all, slopes that may fall as steeply, and filters whose norm is an estimate.
    let shared = Ridge {
        activations: vec![line(9.0)],
        ..tight.clone()
    };
    assert!((9.0 * norm_squared..9.2 * norm_squared).contains(&shared.gradient_lipschitz()));
    let falling = Ridge {
        slope_bounds: (-19.0, 20.0),
        ..tight.clone()
    };
    assert_eq!(falling.gradient_lipschitz(), 19.0 * norm_squared);
    let estimate = Ridge {
        norm_kind: NormKind::Estimate,
        ..tight
    };
    assert_eq!(estimate.gradient_lipschitz(), declared);
}

#[test]
fn no_bound_lies_below_the_largest_eigenvalue() {
    for bank in single_layers().into_iter().chain(layered()) {
        let bound = norm::upper_bound(&bank);
        for size in [[9, 8], [1, 11]] {
            let dense = matrix(&bank, size);
            let largest = (dense.transpose() * dense).symmetric_eigenvalues().max();
            assert!(bound >= largest, "{size:?}: bound {bound}, eigenvalue {largest}");
            assert!(
                largest > 0.05 * bound || size[0] == 1,
                "bound {bound} is idle, eigenvalue {largest}"
            );
        }
    }
}

#[test]
fn power_iteration_converges_to_the_eigenvalue_from_below_the_bound() {
    let _turn = turn();
    for bank in single_layers().into_iter().chain(layered()) {
        let bound = norm::upper_bound(&bank);
        let dense = matrix(&bank, [9, 8]);
        let largest = (dense.transpose() * dense).symmetric_eigenvalues().max();
        let model = model(bank);
        let small = gram_norm(gpu(), &model, [9, 8], 300).unwrap();
        assert!(
            (small / largest - 1.0).abs() < 1e-3,
            "power {small}, eigenvalue {largest}"
        );
        let large = gram_norm(gpu(), &model, [48, 40], 150).unwrap();
        // f32 rounding of a sum over the image and all taps stays below one part in 10^5.
        assert!(large <= bound * (1.0 + 1e-5), "power {large}, bound {bound}");
        assert!(
            large >= small * (1.0 - 1e-2),
            "{large} on a larger image, {small} on a part of it"
        );
    }
}

#[test]
fn the_cosine_models_have_norm_one() {
    for size in [3, 5, 7] {
        let model = dct(&DctSettings {
            size,
            ..DctSettings::default()
        })
        .unwrap();
        assert!(
            (model.norm_squared - 1.0).abs() < 1e-6,
            "{size}: {}",
            model.norm_squared
        );
        assert!(model.norm_squared >= symbol_maximum(&model.bank, 97));
        assert_eq!(model.norm_squared, norm::upper_bound(&model.bank));
    }
}

#[test]
fn layers_are_bounded_for_every_choice_of_weights() {
    // Padding between layers breaks the product of the symbols; the product of the layers' norms still bounds it.
    for seed in 0..6 {
        let layers = vec![layer(seed, 1, 2, 3), layer(seed + 50, 2, 3, 3)];
        let bank = FilterBank::new(layers).unwrap();
        let bound = norm::upper_bound(&bank);
        let dense = matrix(&bank, [6, 7]);
        let x = DMatrix::from_iterator(42, 1, values(seed, 42).into_iter().map(f64::from));
        let quotient = (&dense * &x).norm_squared() / x.norm_squared();
        let largest = (dense.transpose() * dense).symmetric_eigenvalues().max();
        assert!(
            quotient <= largest * (1.0 + 1e-12) && largest <= bound,
            "{quotient} {largest} {bound}"
        );
    }
}
