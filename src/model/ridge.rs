//! The (weakly) convex ridge regularizer on the host.

use crate::filters::FilterBank;
use crate::filters::norm::weighted_bound;
use crate::spline::Spline;
use crate::{Error, Result};

/// How the activations are stretched with the noise level: `alpha_c(sigma) = exp(s_c(sigma)) / (sigma + epsilon)`, with
/// `sigma` in units of the image range.
#[derive(Clone, Debug, PartialEq)]
pub struct Scaling {
    /// `s_c`, one per channel or one for all.
    pub log: Vec<Spline>,
    /// Keeps `alpha` finite at `sigma = 0`.
    pub epsilon: f64,
}

/// How `norm_squared` of a model came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NormKind {
    /// A rigorous upper bound for every image size.
    Bound,
    /// A power iteration, which may lie below the true value: steps derived from it are not certified.
    Estimate,
}

/// What filters see beyond the borders of an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Border {
    /// Zeros.
    #[default]
    Zero,
    /// A larger image, of which only the inner part is measured, or its mirror image where an image is denoised: what is minimised is the
    /// energy of the larger one, which starts as the mirror image.
    Mirror,
}

/// The ridge regularizer (arXiv 2308.10542)
///
/// `R(x) = sum_c alpha_c^-2 <1, psi_c(alpha_c W_c x)>`, `grad R(x) = W'[ phi_c(alpha_c W_c x) / alpha_c ]`, `phi = psi'`,
///
/// with `alpha_c = alpha_c(sigma)` and slopes of every `phi_c` in `[slope_min, slope_max]`. Its gradient has Lipschitz
/// constant `max(slope_max, -slope_min) |W|^2` or less, and `R + rho/2 |x|^2` is convex for `rho = -slope_min |W|^2`.
#[derive(Clone, Debug, PartialEq)]
pub struct Ridge {
    /// The filters `W`.
    pub bank: FilterBank,
    /// `phi_c`, one per channel or one for all.
    pub activations: Vec<Spline>,
    /// `alpha_c`.
    pub scaling: Scaling,
    /// Bounds that the slopes of all activations keep.
    pub slope_bounds: (f64, f64),
    /// Noise levels for which the model is meant, in units of the image range.
    pub sigma_range: (f64, f64),
    /// `|W|^2` from which step sizes follow.
    pub norm_squared: f64,
    /// Where `norm_squared` comes from.
    pub norm_kind: NormKind,
    /// What lies beyond the borders of images, unless they end there.
    pub border: Border,
    /// Short name for reports.
    pub name: String,
    /// How the model was made, free JSON.
    pub provenance: serde_json::Value,
}

impl Ridge {
    /// Checks that the parts fit and that every bound holds.
    ///
    /// # Errors
    /// [`Error::Data`] with the first thing that is wrong.
    pub fn check(&self) -> Result<()> {
        let fail = |why: String| Err(Error::Data(why));
        let channels = self.bank.channels();
        for (what, count) in [
            ("activations", self.activations.len()),
            ("scalings", self.scaling.log.len()),
        ] {
            if count != 1 && count != channels {
                return fail(format!("{count} {what} for {channels} channels: want 1 or {channels}"));
            }
        }
        let (min, max) = self.slope_bounds;
        if !(min.is_finite() && max.is_finite() && min <= max && max > 0.0) {
            return fail(format!(
                "slope bounds [{min}, {max}] are no interval that reaches above 0"
            ));
        }
        // Slopes are recomputed from values, which carry f64 rounding relative to the knot spacing.
        let slack = 1e-9 * max.max(-min).max(1.0);
        for (index, activation) in self.activations.iter().enumerate() {
            let (low, high) = activation.slope_range();
            if low < min - slack || high > max + slack {
                return fail(format!(
                    "activation {index} has slopes in [{low}, {high}], outside [{min}, {max}]"
                ));
            }
        }
        let (low, high) = self.sigma_range;
        if !(low.is_finite() && high.is_finite() && 0.0 <= low && low < high) {
            return fail(format!("noise range [{low}, {high}] is no interval of levels"));
        }
        if !(self.scaling.epsilon.is_finite() && self.scaling.epsilon >= 0.0) {
            return fail(format!(
                "scaling epsilon {} is no small positive number",
                self.scaling.epsilon
            ));
        }
        if !(self.norm_squared.is_finite() && self.norm_squared > 0.0) {
            return fail(format!(
                "squared filter norm {} is no positive number",
                self.norm_squared
            ));
        }
        Ok(())
    }

    /// `alpha_c(sigma)` of every channel.
    ///
    /// # Errors
    /// [`Error::Data`] outside the model's range of noise levels.
    pub fn alphas(&self, sigma: f64) -> Result<Vec<f64>> {
        let (low, high) = self.sigma_range;
        if !(sigma > 0.0 && sigma >= low && sigma <= high * (1.0 + 1e-6)) {
            return Err(Error::Data(format!(
                "sigma {sigma:.5} ({:.2}/255) is outside the range of model '{}': above {low:.5} and at most {high:.5} \
                 ({:.2}/255)",
                255.0 * sigma,
                self.name,
                255.0 * high
            )));
        }
        let alpha = |s: &Spline| s.value(sigma).exp() / (sigma + self.scaling.epsilon);
        Ok((0..self.bank.channels())
            .map(|c| alpha(&self.scaling.log[c.min(self.scaling.log.len() - 1)]))
            .collect())
    }

    /// The model with its filters divided by `sqrt(norm_squared)`, so that `|W|^2` is 1 in the sense of `kind`.
    pub fn normalised(mut self, norm_squared: f64, kind: NormKind) -> Self {
        self.bank = self.bank.scaled(1.0 / norm_squared.sqrt());
        self.norm_squared = 1.0;
        self.norm_kind = kind;
        self
    }

    /// Pixels by which an image goes on beyond its borders: what lies outside of that has no part in the gradient at the pixels inside.
    pub fn extension(&self) -> usize {
        match self.border {
            Border::Zero => 0,
            Border::Mirror => 2 * self.bank.radius(),
        }
    }

    /// An image's rows and columns with that.
    pub fn extended(&self, size: [usize; 2]) -> [usize; 2] {
        size.map(|side| side + 2 * self.extension())
    }

    /// Lipschitz constant of `grad R`: `max(slope_max, -slope_min) |W|^2`, or less where the filters tell. The Hessian is
    /// `W' D W` with slopes in `D`, at least `slope_min |W|^2` and, for a bank of one layer, at most `|W' diag(m) W|`, `m_c` the steepest
    /// slope of channel `c`.
    pub fn gradient_lipschitz(&self) -> f64 {
        let (min, max) = self.slope_bounds;
        let declared = max.max(-min) * self.norm_squared;
        match self.bank.layers() {
            [layer] if self.norm_kind == NormKind::Bound => {
                let steepest = |c: usize| {
                    self.activations[c.min(self.activations.len() - 1)]
                        .slope_range()
                        .1
                        .max(0.0)
                };
                let slopes: Vec<f64> = (0..layer.outputs).map(steepest).collect();
                declared.min(weighted_bound(layer, &slopes).max(-min * self.norm_squared))
            }
            _ => declared,
        }
    }

    /// The modulus `rho >= 0` for which `R + rho/2 |x|^2` is convex.
    pub fn weak_convexity(&self) -> f64 {
        (-self.slope_bounds.0).max(0.0) * self.norm_squared
    }
}
