//! Operators on the device against their dense matrices in f64.

use knotwork::model::NormKind;
use knotwork::operator::LinearOperator;

use crate::common::{assert_close, gpu, poison, poisoned, values};
use crate::reference::operators::Dense;
use crate::reference::{dot, norm, widen};

const GUARD: usize = 67;

/// Applies an operator between guarded buffers whose result was poisoned, twice; both results must have the same bits.
pub fn run(operator: &dyn LinearOperator, x: &[f32], adjoint: bool) -> Vec<f32> {
    let shape = if adjoint { operator.domain() } else { operator.range() };
    let count = shape[0] * shape[1];
    let source = gpu().upload("source", &[x, &[f32::NAN; GUARD]].concat()).unwrap();
    let result = gpu().buffer("result", count + GUARD).unwrap();
    let pass = if adjoint {
        operator.adjoint(gpu(), &source, &result).unwrap()
    } else {
        operator.forward(gpu(), &source, &result).unwrap()
    };
    let [first, second] = [0, 1].map(|_| {
        gpu().write(&result, &poison(count + GUARD)).unwrap();
        let mut recorder = gpu().record();
        pass.record(&mut recorder);
        recorder.submit();
        let mut all: Vec<f32> = gpu().read(&result).unwrap();
        let rest = all.split_off(count);
        assert!(rest.iter().all(|v| poisoned(*v)), "written behind the result");
        all
    });
    assert!(
        first.iter().zip(&second).all(|(a, b)| a.to_bits() == b.to_bits()),
        "not repeatable"
    );
    first
}

/// `H x` and `H' y` against the matrix, and `<H x, y> = <x, H' y>`.
pub fn check(name: &str, operator: &dyn LinearOperator, dense: &Dense) {
    let count = |[rows, cols]: [usize; 2]| rows * cols;
    let x = values(1, count(operator.domain()));
    let y = values(2, count(operator.range()));
    let (forward, adjoint) = (run(operator, &x, false), run(operator, &y, true));
    let (want, error) = dense.apply(&widen(&x), false);
    assert_close(&format!("{name}: H x"), &forward, &want, |i| error[i]);
    let (want, error) = dense.apply(&widen(&y), true);
    assert_close(&format!("{name}: H' y"), &adjoint, &want, |i| error[i]);

    let (hx, hy) = (widen(&forward), widen(&adjoint));
    let difference = (dot(&hx, &widen(&y)) - dot(&widen(&x), &hy)).abs();
    let allowed = 1e-5 * norm(&hx) * norm(&widen(&y)) / (y.len() as f64).sqrt();
    assert!(
        difference <= allowed,
        "{name}: <Hx, y> and <x, H'y> differ by {difference:e}, {allowed:e} allowed"
    );
}

/// The same for operators whose values share their rounding, as Fourier transforms do: in l2.
pub fn check_spread(name: &str, operator: &dyn LinearOperator, dense: &Dense) {
    let count = |[rows, cols]: [usize; 2]| rows * cols;
    let x = values(1, count(operator.domain()));
    let y = values(2, count(operator.range()));
    let (forward, adjoint) = (run(operator, &x, false), run(operator, &y, true));
    let size = dense.norm_squared().sqrt();
    for (what, got, from, transposed) in [("H x", &forward, &x, false), ("H' y", &adjoint, &y, true)] {
        let (want, _) = dense.apply(&widen(from), transposed);
        let off: Vec<f64> = got.iter().zip(&want).map(|(g, w)| f64::from(*g) - w).collect();
        let allowed = 1e-6 * size * norm(&widen(from));
        assert!(
            norm(&off) <= allowed,
            "{name}: {what} off by {:e}, {allowed:e} allowed",
            norm(&off)
        );
    }
    let difference = (dot(&widen(&forward), &widen(&y)) - dot(&widen(&x), &widen(&adjoint))).abs();
    let allowed = 1e-6 * size * norm(&widen(&x)) * norm(&widen(&y));
    assert!(
        difference <= allowed,
        "{name}: <Hx, y> and <x, H'y> differ by {difference:e}, {allowed:e} allowed"
    );
}

/// The bound holds and is not far off.
pub fn check_norm(name: &str, operator: &dyn LinearOperator, dense: &Dense, slack: f64) {
    let bound = operator.norm_squared(gpu()).unwrap();
    let exact = dense.norm_squared();
    assert_eq!(bound.kind, NormKind::Bound);
    assert!(
        bound.squared >= exact * (1.0 - 1e-12) && bound.squared <= slack * exact,
        "{name}: |H|^2 = {exact}, bound {}",
        bound.squared
    );
}
