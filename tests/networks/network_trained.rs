//! What is guaranteed about a trained network, on the host: norm bounds, certificates, the functions to be fitted.

use crate::common::values;
use knotwork::filters::norm::matrix_bound;
use knotwork::network::targets::Target;
use knotwork::network::{Architecture, Member, Network, Shape};
use knotwork::spline::{SlopeBounds, Spline};
use nalgebra::DMatrix;

#[test]
fn the_norm_bound_is_tight_and_never_too_small() {
    for (case, (rows, columns)) in [(1, 1), (10, 10), (1, 10), (10, 1), (32, 32), (7, 32)]
        .into_iter()
        .enumerate()
    {
        for scale in [1.0, 1e-12, 3e7] {
            let w: Vec<f64> = values(case as u64, rows * columns)
                .iter()
                .map(|v| scale * f64::from(*v))
                .collect();
            let largest = DMatrix::from_row_slice(rows, columns, &w).singular_values().max();
            let bound = matrix_bound(&w, columns);
            // The singular values themselves are known to a few roundings of f64; the bound may exceed by n^(2^-25).
            assert!(
                bound >= largest * (1.0 - 1e-14),
                "{rows}x{columns}: {bound} below {largest}"
            );
            assert!(
                bound <= largest * (1.0 + 2e-7),
                "{rows}x{columns}: {bound} above {largest}"
            );
        }
    }
    assert_eq!(matrix_bound(&[0.0; 6], 3), 0.0);
    // A rotation: all singular values equal, the worst case of the bound.
    let (sin, cos) = 0.7_f64.sin_cos();
    assert!((matrix_bound(&[cos, -sin, sin, cos], 2) - 1.0).abs() < 5e-8);
}

fn network(weights: Vec<f64>, values: &[f64]) -> Network {
    let architecture = Architecture::new(&[2, 2, 1]).unwrap();
    // Close and far knots, so that increments round badly.
    let knots = vec![-0.3, -0.299_99, 0.1, 0.100_001, 0.5]
        .into_iter()
        .map(|t| f64::from(t as f32));
    let spline = Spline::new(knots.collect(), values.to_vec()).unwrap();
    Network::new(architecture, weights, vec![0.1; 3], vec![spline; 2], vec![1.0; 2]).unwrap()
}

#[test]
fn certified_networks_are_within_their_bounds_exactly() {
    let above = 1.0 + 3e-7;
    let weights = [0.6, 0.8, -0.8, 0.6, 0.6, -0.8]
        .map(|w: f64| f64::from((w * above) as f32))
        .to_vec();
    let raw = network(weights, &[0.0, 1.2e-5, 0.4, 0.400_001_1, 0.1]);
    let before = raw.certificate();
    assert!(
        before.norms.iter().all(|n| *n > 1.0) && before.lipschitz > 1.0,
        "{before:?}"
    );
    let bounds = SlopeBounds::lipschitz();
    let certified = raw.clone().certified(&bounds).unwrap();
    let after = certified.certificate();
    assert!(after.norms.iter().all(|n| *n <= 1.0 && *n > 1.0 - 1e-6), "{after:?}");
    assert!(
        after.slopes.iter().all(|(low, high)| *low >= -1.0 && *high <= 1.0),
        "{after:?}"
    );
    assert!(after.lipschitz <= 1.0, "{after:?}");
    // It is the same network but for roundings and the clipped excess.
    for layer in 0..2 {
        for (a, b) in raw.weights(layer).iter().zip(certified.weights(layer)) {
            assert!((a - b).abs() < 1e-6 && f64::from(*b as f32) == *b);
        }
    }
    let excess = 0.2e-5 + 1e-6;
    for (a, b) in raw.activations()[0]
        .values()
        .iter()
        .zip(certified.activations()[0].values())
    {
        assert!((a - b).abs() < 1.5 * excess && f64::from(*b as f32) == *b, "{a} {b}");
    }
    // A network inside its bounds is only rounded.
    let inside = network(vec![0.5, 0.5, -0.5, 0.25, 0.5, 0.5], &[0.0, 0.0, 0.25, 0.25, 0.5]);
    assert_eq!(inside.clone().certified(&bounds).unwrap(), inside);
}

#[test]
fn the_lipschitz_constant_is_the_product_of_its_parts() {
    let network = network(vec![2.0, 0.0, 0.0, 0.5, 3.0, 4.0], &[0.0, 0.0, 0.2, 0.2, 0.1]);
    let certificate = network.certificate();
    let steepest = 0.2 / (f64::from(0.1_f32) - f64::from(-0.299_99_f32));
    assert!((certificate.norms[0] - 2.0).abs() < 1e-6 && (certificate.norms[1] - 5.0).abs() < 1e-6);
    assert!(
        (certificate.lipschitz / (10.0 * steepest) - 1.0).abs() < 1e-6,
        "{certificate:?}"
    );
}

#[test]
fn targets_are_one_lipschitz_with_the_slopes_they_promise() {
    let count = 20_001;
    let x: Vec<f64> = (0..count)
        .map(|n| -1.0 + 2.0 * f64::from(n) / f64::from(count - 1))
        .collect();
    for target in Target::ALL {
        let y = target.values(&x).unwrap();
        let slopes: Vec<f64> = (1..x.len()).map(|n| (y[n] - y[n - 1]) / (x[n] - x[n - 1])).collect();
        assert!(slopes.iter().all(|s| s.abs() <= 1.0 + 1e-9), "{target:?}");
        let share =
            |slope: f64| slopes.iter().filter(|s| (**s - slope).abs() < 1e-6).count() as f64 / slopes.len() as f64;
        match target {
            // But for the cells that hold one of the 11 inner breaks.
            Target::F1 => assert!(share(1.0) + share(-1.0) > 0.999 && share(1.0) > 0.3 && share(-1.0) > 0.3),
            Target::F2 => assert!(share(1.0) + share(0.0) + share(-1.0) > 0.999 && share(0.0) > 0.1),
            Target::F3 | Target::F4 => assert!(slopes.iter().any(|s| *s > 0.99)),
        }
    }
    let at = |target: Target, x: f64| target.values(&[x]).unwrap()[0];
    assert!((at(Target::F3, 0.0) - 1.0 / (7.0 * std::f64::consts::PI)).abs() < 1e-15);
    assert!((at(Target::F4, 1.0) - 0.5625).abs() < 1e-12 && at(Target::F4, -0.125).abs() < 1e-12);
}

#[test]
fn members_are_what_their_seed_says() {
    let architecture = Architecture::new(&[1, 4, 3, 1]).unwrap();
    let member = |seed, shape| Member::random(&architecture, seed, shape, 5, 0.5, 0.3).unwrap();
    assert_eq!(member(1, Shape::Mixed), member(1, Shape::Mixed));
    assert_ne!(member(1, Shape::Mixed).dense, member(2, Shape::Mixed).dense);
    let member = member(3, Shape::Mixed);
    let values: Vec<f64> = member.activations.iter().map(|s| s.value(-0.3)).collect();
    let want = [-0.3, 0.3, -0.3, 0.3, -0.3, 0.3, -0.3];
    assert!(
        values.iter().zip(want).all(|(v, w)| (v - w).abs() < 1e-12),
        "{values:?}"
    );
    let biases = &member.dense[architecture.biases(0)..];
    assert!(biases.iter().all(|b| b.abs() < 0.3) && biases[7] == 0.0 && biases[..7].iter().all(|b| *b != 0.0));
    assert!(Member::random(&architecture, 1, Shape::Identity, 2, 0.5, 0.3).is_err());
    assert!(Architecture::new(&[1, 33, 1]).is_err() && Architecture::new(&[1, 1]).is_err());
}
