//! A rigorous bound of the norm of operators with nonnegative entries.

use super::LinearOperator;
use crate::gpu::Gpu;
use crate::{Error, Result};

/// Applications of `H' H` at most; fewer once the bound is this close to a bound from below.
const APPLICATIONS: usize = 40;
const CLOSE: f64 = 1.01;

/// The least weight of a pixel relative to the largest. Any positive vector gives a bound; this keeps pixels that no
/// measurement sees from dividing by zero.
const FLOOR: f64 = 1e-3;

/// An upper bound of `|H|^2` for an `H` without negative entries, which is the caller's promise.
///
/// For any positive vector `p`, the largest eigenvalue of the nonnegative matrix `H' H` is at most
/// `max_i (H' H p)_i / p_i` (Collatz and Wielandt). Power iteration drives the bound down towards the eigenvalue, so that
/// it is tight, and yet it holds after any number of steps. The rounding of the f32 sums, all of positive terms, is added:
/// `additions` relative roundings.
///
/// # Errors
/// [`Error::Data`] if the operator is zero or gives values that no such operator gives; device errors.
pub(super) fn perron_bound(gpu: &Gpu, operator: &(impl LinearOperator + ?Sized)) -> Result<f64> {
    let [rows, cols] = operator.domain();
    let [range_rows, range_cols] = operator.range();
    let vector = gpu.buffer("vector", rows * cols)?;
    let measured = gpu.buffer("measured vector", range_rows * range_cols)?;
    let product = gpu.buffer("product", rows * cols)?;
    let forward = operator.forward(gpu, &vector, &measured)?;
    let adjoint = operator.adjoint(gpu, &measured, &product)?;
    let out = gpu.readback(product.len())?;
    let mut p = vec![1.0_f32; rows * cols];
    let mut best = f64::INFINITY;
    for _ in 0..APPLICATIONS {
        gpu.write(&vector, &p)?;
        let mut recorder = gpu.record();
        forward.record(&mut recorder);
        adjoint.record(&mut recorder);
        recorder.copy_out(product.all(), &out);
        recorder.submit();
        drop(recorder);
        let q: Vec<f32> = gpu.fetch(&out)?;
        if let Some(value) = q.iter().find(|q| !(q.is_finite() && **q >= 0.0)) {
            return Err(Error::Data(format!(
                "H' H of a positive vector is {value}: no operator without negative entries"
            )));
        }
        let quotients = q.iter().zip(&p).map(|(q, p)| f64::from(*q) / f64::from(*p));
        let bound = quotients.fold(0.0, f64::max);
        best = best.min(bound);
        let squares = |v: &[f32]| v.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>();
        // Power iteration's own estimate, from below.
        if best <= CLOSE * (squares(&q) / squares(&p)).sqrt() {
            break;
        }
        let largest = f64::from(q.iter().copied().fold(0.0, f32::max));
        p = q.iter().map(|q| (f64::from(*q) / largest).max(FLOOR) as f32).collect();
    }
    if best <= 0.0 {
        return Err(Error::Data("the operator measures nothing; check its geometry".into()));
    }
    Ok(best * (1.0 + operator.additions() as f64 * f64::from(f32::EPSILON)))
}
