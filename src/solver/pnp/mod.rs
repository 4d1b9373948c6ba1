//! Plug-and-play reconstruction: a denoiser `D` in the place of a regularizer's proximal operator.
//!
//! `D(v) = (1 - a) v + a s N(v / s)` with a network `N` that is 1-Lipschitz, which [`Nonexpansive`] certifies, an averaging
//! `a` in (0, 1) and a strength `s > 0`: whatever `s`, `D` is `a`-averaged. With `f(x) = |H x - y|^2 / 2`:
//!
//! **Forward-backward.** `x_{k+1} = P D(x_k - gamma grad f(x_k))`, `P` the projection onto the box. Below `gamma = 2 / |H|^2` the
//! gradient step is `gamma |H|^2 / 2`-averaged (Baillon and Haddad, 1977), `P` is 1/2-averaged, and so the whole is averaged with
//! the constant that [`composed`] gives (Combettes and Yamada, 2015).
//!
//! **ADMM**, written as Douglas-Rachford: `x_k = prox_{gamma f}(z_k)`, `w_k = D(2 x_k - z_k)`, `z_{k+1} = z_k + w_k - x_k`. For
//! any `gamma > 0` and `a <= 1/2`, for which `D` is firmly nonexpansive, the map of `z` is 1/2-averaged. `x = w` at a fixed point, and
//! `x = D(x - gamma grad f(x))`: the same images as forward-backward has without a box. The box does not enter; the image `w` is
//! projected onto it.
//!
//! For an averaged map `T` with a fixed point, `x_{k+1} = T x_k` converges to one and `|x_{k+1} - x_k|` never grows
//! (Krasnoselskii and Mann). The constants are checked before anything is computed, and refused if that does not follow from them.

mod prox;
mod solver;

use serde::{Deserialize, Serialize};

pub use prox::ProxParams;
pub use solver::{PlugAndPlay, PnpOutcome, PnpParams, PnpState};

use crate::gpu::{Buffer, Recorder};
use crate::model::NormKind;
use crate::operator::OperatorNorm;
use crate::{Error, Result};

/// A map `N` of images (row, column), bound to its buffers, whose Lipschitz constant is known.
pub trait Nonexpansive {
    /// Records `output <- N(input)`.
    fn record(&self, recorder: &mut Recorder<'_>);

    /// The argument, (row, column).
    fn input(&self) -> &Buffer;

    /// The value, (row, column).
    fn output(&self) -> &Buffer;

    /// A rigorous upper bound of the Lipschitz constant.
    fn lipschitz(&self) -> f64;
}

/// Which iteration is run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// Forward-backward splitting: a gradient step, then the denoiser
    #[default]
    Fbs,
    /// ADMM: the data term's proximal operator, then the denoiser
    Admm,
}

/// How to reconstruct.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PnpSettings {
    /// The iteration.
    pub algorithm: Algorithm,
    /// `gamma |H|^2`: the step in units of `1 / |H|^2`, so that it means the same for every operator.
    pub step: f64,
    /// `a`.
    pub averaging: f64,
    /// `s`: the denoiser takes away `s` times the noise that the network does.
    pub strength: f64,
    /// Stop when the fixed-point residual falls to this: `|T x - x| / |x|` of forward-backward; of ADMM, whose map `T` moves `z`,
    /// `|T z - z| / |x| = |w - x| / |x|`, how far the two images are from each other.
    pub tolerance: f64,
    /// Stop after this many iterations.
    pub max_iterations: usize,
    /// Keep pixels in this interval.
    pub limits: Option<(f32, f32)>,
}

impl Default for PnpSettings {
    fn default() -> Self {
        Self {
            algorithm: Algorithm::Fbs,
            step: 1.0,
            averaging: 0.5,
            strength: 1.0,
            tolerance: 1e-5,
            max_iterations: 3000,
            limits: None,
        }
    }
}

/// The constants from which convergence follows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PnpConstants {
    /// `|H|^2`.
    pub operator: OperatorNorm,
    /// The bound of the network's Lipschitz constant.
    pub network: f64,
    /// `gamma`.
    pub gamma: f64,
    /// The iteration is averaged with this constant, below 1.
    pub averagedness: f64,
}

/// A network is taken for nonexpansive if its bound exceeds 1 by no more than this: the bounds are computed from f32 weights, and the
/// device rounds what it computes by as much.
const ROUNDING: f64 = 1e-6;

/// The constant of the composition of an `a`-averaged and a `b`-averaged map, `a` and `b` in [0, 1): `(a + b - 2 a b) / (1 - a b)`.
pub fn composed(a: f64, b: f64) -> f64 {
    (a + b - 2.0 * a * b) / (1.0 - a * b)
}

impl PnpSettings {
    /// The constants of the iteration with an operator of this norm and a network of this Lipschitz constant.
    ///
    /// # Errors
    /// [`Error::Usage`] with the remedy where convergence does not follow from them, or for settings that make no sense.
    pub fn constants(&self, operator: OperatorNorm, network: f64) -> Result<PnpConstants> {
        let fail = |why: String| Err(Error::Usage(why));
        let positive = |v: f64| v.is_finite() && v > 0.0;
        if !positive(self.tolerance) {
            return fail(format!("the tolerance {} must be above 0", self.tolerance));
        }
        if self.max_iterations == 0 {
            return fail("at least one iteration is needed".into());
        }
        if !(positive(self.strength) && (self.strength as f32).is_normal()) {
            return fail(format!("the strength {} must be above 0 and finite", self.strength));
        }
        if let Some((low, high)) = self
            .limits
            .filter(|(low, high)| low.is_nan() || high.is_nan() || low > high)
        {
            return fail(format!(
                "no pixel lies in the box {low},{high}; give the lower end first"
            ));
        }
        // Written so that NaN is refused, too.
        if !(0.0..=1.0 + ROUNDING).contains(&network) {
            return fail(format!(
                "the denoiser's certified Lipschitz constant is {network:.6}, above 1: plug-and-play need not converge; use a \
                 network that `train denoiser` made"
            ));
        }
        let most = match self.algorithm {
            Algorithm::Fbs => 1.0_f64.next_down(),
            Algorithm::Admm => 0.5,
        };
        if !(self.averaging > 0.0 && self.averaging <= most) {
            return fail(match self.algorithm {
                Algorithm::Fbs => format!("an averaging of {} is not between 0 and 1; use 0.5", self.averaging),
                Algorithm::Admm => format!(
                    "with an averaging of {} the denoiser is not firmly nonexpansive, as ADMM needs; use one above 0 and \
                     up to 0.5, or forward-backward",
                    self.averaging
                ),
            });
        }
        if operator.kind != NormKind::Bound || !positive(operator.squared) {
            return fail(format!(
                "no bound of |H|^2 is known, only the value {}: no step is certified; use --method model",
                operator.squared
            ));
        }
        if !positive(self.step) || (self.algorithm == Algorithm::Fbs && self.step >= 2.0) {
            return fail(format!(
                "a step of {} / |H|^2 = {:.4e} is not above 0 and below 2 / |H|^2 = {:.4e}, where forward-backward converges; use a \
                 step of 1.9 at most, or ADMM, which takes every step above 0",
                self.step,
                self.step / operator.squared,
                2.0 / operator.squared
            ));
        }
        let projection = self.limits.map_or(0.0, |_| 0.5);
        Ok(PnpConstants {
            operator,
            network,
            gamma: self.step / operator.squared,
            averagedness: match self.algorithm {
                Algorithm::Fbs => composed(composed(self.step / 2.0, self.averaging), projection),
                Algorithm::Admm => 0.5,
            },
        })
    }
}
