//! The proximal operator of the data term, by a fixed number of steps that keep it firmly nonexpansive.

use crate::gpu::reduce::VALUES_PER_GROUP;
use crate::gpu::{Bound, Buffer, Gpu, Recorder, Work};
use crate::operator::{LinearOperator, Pass};
use crate::{Error, Result, shader_struct};

shader_struct! {
    /// Parameters of the `prox_*` kernels (`shaders/lib/prox.wgsl`).
    pub struct ProxParams {
        /// Pixels of the image.
        pub pixels: u32,
        /// `gamma`.
        pub gamma: f32,
        /// Weight of the last direction in the next.
        pub keep: f32,
        /// Weight of the residual in it.
        pub add: f32,
    }
}

/// The relative error of the operator, as large as what f32 loses in the sums of `H' H`.
const ACCURACY: f64 = 1e-6;

/// More steps than this are a step `gamma` that no one wants.
const MOST_STEPS: usize = 200;

/// `x <- (I + gamma H'H)^-1 (z + gamma H'y)`, the proximal operator of `gamma |H x - y|^2 / 2`, by Chebyshev's iteration from 0.
///
/// The eigenvalues of `A = I + gamma H'H` lie in `[1, kappa]`, `kappa = 1 + gamma |H|^2`, and the bound of `|H|^2` is certified:
/// no inner products are needed, as conjugate gradients need them, and a fixed list of dispatches guarantees the accuracy. After `n`
/// steps from 0, `x = q(A) b` with `q(t) = (1 - r(t)) / t`, `|r(t)| <= eps = 1 / T_n((kappa + 1) / (kappa - 1))`, `T_n` Chebyshev's
/// polynomial: symmetric, linear and at most `eps` off. `0 < q <= 1` wherever `-r(t) <= t - 1`; since `r >= 0` up to its first zero,
/// at `1 + (kappa - 1) sin^2(pi / 4n)`, `eps <= (kappa - 1) sin^2(pi / 4n)` is enough. `n` is chosen so that it holds: then the
/// operator as it is computed is firmly nonexpansive itself, and the convergence of Douglas-Rachford needs no exact solution.
pub(super) struct DataProx {
    start: Bound,
    forward: Pass,
    adjoint: Pass,
    step: Bound,
    back: Pass,
    groups: [u32; 3],
    steps: usize,
}

/// What the operator is bound to.
pub(super) struct ProxMemory<'b> {
    /// The argument, (pixel).
    pub z: &'b Buffer,
    /// The measurement.
    pub y: &'b Buffer,
    /// The result, (pixel).
    pub x: &'b Buffer,
    /// Scratch of the measurement's shape.
    pub product: &'b Buffer,
    /// Scratch, (pixel).
    pub scratch: &'b Buffer,
}

/// Steps for the eigenvalues `[1, kappa]`, and `(keep, add)` of each.
fn coefficients(kappa: f64) -> Result<Vec<(f64, f64)>> {
    let (middle, radius) = ((kappa + 1.0) / 2.0, (kappa - 1.0) / 2.0);
    let ratio = middle / radius;
    let enough = |&n: &usize| {
        let error = 1.0 / (n as f64 * ratio.acosh()).cosh();
        let zero = 2.0 * radius * (std::f64::consts::FRAC_PI_4 / n as f64).sin().powi(2);
        error <= ACCURACY && error <= zero
    };
    let count = (1..=MOST_STEPS).find(enough).ok_or_else(|| {
        Error::Usage(format!(
            "with gamma |H|^2 = {} the data term's proximal operator takes more than {MOST_STEPS} steps; use a step of 100 at most",
            kappa - 1.0
        ))
    })?;
    let mut all = vec![(0.0, 1.0 / middle)];
    let mut last = 1.0 / ratio;
    for _ in 1..count {
        let next = 1.0 / (2.0 * ratio - last);
        all.push((next * last, 2.0 * next / radius));
        last = next;
    }
    Ok(all)
}

impl DataProx {
    /// Prepares the operator; `gamma_norm` is `gamma |H|^2`.
    ///
    /// # Errors
    /// [`Error::Usage`] for a step that takes too long; device errors.
    pub fn new(
        gpu: &Gpu,
        operator: &dyn LinearOperator,
        gamma: f64,
        gamma_norm: f64,
        on: &ProxMemory<'_>,
    ) -> Result<Self> {
        let [rows, cols] = operator.domain();
        let pixels = rows * cols;
        let entries: Vec<ProxParams> = coefficients(1.0 + gamma_norm)?
            .into_iter()
            .map(|(keep, add)| ProxParams {
                pixels: pixels as u32,
                gamma: gamma as f32,
                keep: keep as f32,
                add: add as f32,
            })
            .collect();
        let (back, r) = (gpu.buffer("H' y", pixels)?, gpu.buffer("prox residual", pixels)?);
        let d = gpu.buffer("prox direction", pixels)?;
        let params = gpu.params(&entries)?;
        let bind = |name: &str, memory: &[(&str, &Buffer)], values: u64| -> Result<Bound> {
            let all = memory.iter().map(|&(n, b)| (n, b.into()));
            let all: Vec<_> = [("params", params.binding())].into_iter().chain(all).collect();
            let work = Work {
                bytes: 4 * values * pixels as u64,
                multiply_adds: 4 * pixels as u64,
            };
            Ok(gpu
                .kernel(name, &[])?
                .bind(gpu, &all)?
                .with_work(None, vec![work; entries.len()]))
        };
        let (z, x) = (on.z, on.x);
        let memory = [("z", z), ("back", &back), ("r", &r), ("d", &d), ("x", x)];
        let start = bind("prox_start", &memory, 5)?;
        let memory = [("h", on.scratch), ("r", &r), ("d", &d), ("x", x)];
        let step = bind("prox_step", &memory, 7)?;
        Ok(Self {
            start,
            forward: operator.forward(gpu, &d, on.product)?,
            adjoint: operator.adjoint(gpu, on.product, on.scratch)?,
            step,
            back: operator.adjoint(gpu, on.y, &back)?,
            groups: [pixels.div_ceil(VALUES_PER_GROUP) as u32, 1, 1],
            steps: entries.len(),
        })
    }

    /// Records `H'y`, once for every measurement.
    pub fn record_measurement(&self, recorder: &mut Recorder<'_>) {
        self.back.record(recorder);
    }

    /// Records the operator.
    pub fn record(&self, recorder: &mut Recorder<'_>) {
        recorder.dispatch(&self.start, self.groups, 0);
        for entry in 1..self.steps {
            self.forward.record(recorder);
            self.adjoint.record(recorder);
            recorder.dispatch(&self.step, self.groups, entry);
        }
    }

    /// For [`Gpu::warm_up`].
    pub fn kernels(&self) -> impl Iterator<Item = &Bound> {
        let own = [&self.start, &self.step].into_iter();
        own.chain(self.forward.kernels())
            .chain(self.adjoint.kernels())
            .chain(self.back.kernels())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The iteration on one eigenvalue, from the coefficients: `q(t)`.
    fn polynomial(coefficients: &[(f64, f64)], t: f64) -> f64 {
        let mut r = 1.0;
        let mut d = coefficients[0].1;
        let mut x = d;
        for (keep, add) in &coefficients[1..] {
            r -= t * d;
            d = keep * d + add * r;
            x += d;
        }
        x
    }

    #[test]
    fn the_operator_is_accurate_and_firmly_nonexpansive_at_every_eigenvalue() {
        let mut most = 0;
        for gamma_norm in [1e-8, 1e-4, 0.01, 0.1, 0.5, 1.0, 1.99, 10.0, 100.0] {
            let all = coefficients(1.0 + gamma_norm).unwrap();
            most = most.max(all.len());
            for n in 0..=4000 {
                let t = 1.0 + gamma_norm * f64::from(n) / 4000.0;
                let q = polynomial(&all, t);
                assert!(q > 0.0 && q <= 1.0 + 1e-13, "{gamma_norm} {t}: {q}");
                // f64 adds a few roundings per step.
                assert!(
                    (q * t - 1.0).abs() <= ACCURACY + 1e-13,
                    "{gamma_norm} {t}: {}",
                    q * t - 1.0
                );
            }
        }
        assert!((10..MOST_STEPS).contains(&most), "{most}");
        assert!(coefficients(1e5).is_err() && coefficients(f64::INFINITY).is_err());
    }
}
