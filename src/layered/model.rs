//! The model on the host: parameters as they are used, and what is guaranteed about them.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::filters::{ConvLayer, norm};
use crate::spline::{Penalty, Spline};
use crate::{Error, Result};

/// How the layers are put together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Architecture {
    /// `D = (1 - a) Id + a N`, `N` the chain of all layers with an activation behind each but the last.
    Denoiser {
        /// `a` in (0, 1].
        averaging: f64,
    },
    /// `x_{t+1} = W_t' phi_t(W_t (x_t - step H'(H x_t - y)) + b_t)` from `x_0 = y`.
    Unrolled {
        /// Number of steps; a model with one layer uses it in all of them.
        steps: usize,
        /// The step of the data term, in (0, 2 / |H|^2).
        step: f64,
        /// What `H` blurs with, a square kernel by rows with zeros outside the image; empty for denoising.
        blur: Vec<f64>,
    },
}

/// A network of convolution layers and splines, `|W| <= 1` for every layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Layered {
    /// Its name.
    pub name: String,
    /// How the layers are put together.
    pub architecture: Architecture,
    /// The layers.
    pub filters: Vec<ConvLayer>,
    /// `b`, per layer with an activation and channel.
    pub shifts: Vec<Vec<f32>>,
    /// `phi`, likewise.
    pub activations: Vec<Vec<Spline>>,
    /// `alpha` in `phi(alpha u) / alpha`, likewise.
    pub scalings: Vec<Vec<f32>>,
    /// What the slopes of all activations keep.
    pub slope_bounds: (f64, f64),
    /// The noise level it was trained for, in units of the image range.
    pub sigma: f64,
    /// Where it came from.
    pub provenance: Value,
}

/// Norms and slopes may exceed 1 by this: the rounding of f64 bounds.
const SLACK: f64 = 1e-8;
/// The same for their product over all layers.
const LIPSCHITZ_SLACK: f64 = 1e-6;

/// How the norms of layers are bounded: [`norm::row_sum_bound`].
const NORM_KIND: &str =
    "bound: norm of the matrix of absolute sums of filter correlations, zero padding, all image sizes";

/// Sizes up to which every launch fits and constants are computed in seconds.
pub(super) const MOST_WEIGHTS: usize = 1_500_000;
pub(super) const MOST_CHANNELS: usize = 256;
pub(super) const LARGEST_SIDE: usize = 15;
const MOST_STEPS: usize = 1000;
const MOST_TAPS: usize = 31 * 31;

impl Layered {
    /// Checks that the parts fit each other and keep their bounds.
    ///
    /// # Errors
    /// [`Error::Data`] naming what does not.
    pub fn check(&self) -> Result<()> {
        let fail = |why: String| Err(Error::Data(why));
        self.check_sizes()?;
        let layers = self.filters.len();
        let sets = self.activations.len();
        let first = |index: usize| self.filters.get(index).map_or((0, 0), |l| (l.inputs, l.outputs));
        match &self.architecture {
            Architecture::Denoiser { averaging } => {
                if !(*averaging > 0.0 && *averaging <= 1.0) {
                    return fail(format!("averaging {averaging} must lie in (0, 1]"));
                }
                let width = first(0).1;
                let chained = self
                    .filters
                    .windows(2)
                    .all(|w| w[0].outputs == width && w[1].inputs == width);
                if layers < 2 || sets + 1 != layers || !chained || first(0).0 != 1 || first(layers - 1).1 != 1 {
                    return fail(format!(
                        "{layers} layers and {sets} sets of activations are no chain from one plane to one plane"
                    ));
                }
            }
            Architecture::Unrolled { steps, step, blur } => {
                let width = first(0).1;
                let fits = (layers == 1 || layers == *steps) && sets == layers && *steps > 0;
                let fits = fits && self.filters.iter().all(|l| l.outputs == width);
                if !fits || (0..layers).any(|l| first(l).0 != 1) {
                    return fail(format!(
                        "{layers} layers and {sets} sets of activations do not serve {steps} steps on one plane"
                    ));
                }
                let norm = self.data_norm_squared()?;
                if !(*step > 0.0 && norm > 0.0 && *step < 2.0 / norm && (*step as f32).is_normal()) {
                    return fail(format!(
                        "step {step} must lie in (0, {:.4}), 2 / |H|^2 for a kernel of {} taps",
                        2.0 / norm,
                        blur.len()
                    ));
                }
            }
        }
        let (low, high) = self.slope_bounds;
        let widest = match self.architecture {
            Architecture::Denoiser { .. } => (-1.0, 1.0),
            Architecture::Unrolled { .. } => (0.0, 1.0),
        };
        if !(widest.0 <= low && low <= high && high <= widest.1) {
            return fail(format!(
                "slope bounds [{low}, {high}] leave [{}, {}]",
                widest.0, widest.1
            ));
        }
        for (set, (activations, filters)) in self.activations.iter().zip(&self.filters).enumerate() {
            let counts = [activations.len(), self.shifts[set].len(), self.scalings[set].len()];
            if counts.iter().any(|c| *c != filters.outputs) {
                return fail(format!(
                    "layer {set} has {} channels, but {counts:?} activations, shifts and scalings",
                    filters.outputs
                ));
            }
            for (channel, activation) in activations.iter().enumerate() {
                let (l, h) = activation.slope_range();
                if l < low - SLACK || h > high + SLACK {
                    return fail(format!(
                        "activation {channel} of layer {set} has slopes in [{l}, {h}], outside [{low}, {high}]"
                    ));
                }
            }
            let usable = |a: &f32| *a > 0.0 && a.is_finite() && a.recip().is_normal();
            if !self.scalings[set].iter().all(usable) || !self.shifts[set].iter().all(|b| b.is_finite()) {
                return fail(format!("a scaling or shift of layer {set} is not finite and positive"));
            }
        }
        for (index, norm) in self.norms().into_iter().enumerate() {
            if norm > 1.0 + SLACK {
                return fail(format!("layer {index} has a norm of up to {norm}, above 1"));
            }
        }
        if !(self.sigma > 1e-6 && self.sigma < 1e6) {
            return fail(format!("noise level {} is no level of noise", self.sigma));
        }
        Ok(())
    }

    /// What would take forever or does not fit a launch is refused before anything is computed from it.
    fn check_sizes(&self) -> Result<()> {
        let fail = |why: String| Err(Error::Data(why));
        let sets = [self.activations.len(), self.shifts.len(), self.scalings.len()];
        if sets.iter().any(|s| *s != sets[0]) {
            return fail(format!("{sets:?} sets of activations, shifts and scalings"));
        }
        for (index, layer) in self.filters.iter().enumerate() {
            let [channels, size] = [layer.inputs.max(layer.outputs), layer.size];
            if channels > MOST_CHANNELS || size > LARGEST_SIDE || layer.weights.len() > MOST_WEIGHTS {
                return fail(format!(
                    "layer {index} of {channels} channels and {size} x {size} filters is too large"
                ));
            }
        }
        let weights: usize = self.filters.iter().map(|l| l.weights.len()).sum();
        if weights > MOST_WEIGHTS {
            return fail(format!("{weights} weights in all are too many, at most {MOST_WEIGHTS}"));
        }
        if let Architecture::Unrolled { steps, blur, .. } = &self.architecture
            && (*steps > MOST_STEPS || blur.len() > MOST_TAPS)
        {
            return fail(format!("{steps} steps and a blur of {} taps are too many", blur.len()));
        }
        Ok(())
    }

    /// Rigorous upper bounds of the norms of all layers, for images of every size.
    pub fn norms(&self) -> Vec<f64> {
        self.filters.iter().map(|l| norm::row_sum_bound(l).sqrt()).collect()
    }

    /// The largest absolute slope of every set of activations, recomputed in f64.
    pub fn slopes(&self) -> Vec<f64> {
        let steepest = |s: &Spline| {
            let (low, high) = s.slope_range();
            low.abs().max(high.abs())
        };
        let of = |set: &Vec<Spline>| set.iter().map(steepest).fold(0.0, f64::max);
        self.activations.iter().map(of).collect()
    }

    /// A certified bound of the Lipschitz constant: of `N` for a denoiser, of one step's `P_t`, the largest, for an unrolled
    /// network.
    pub fn lipschitz(&self) -> f64 {
        self.lipschitz_of(&self.norms(), &self.slopes())
    }

    /// The same from norms and slopes that are known.
    fn lipschitz_of(&self, norms: &[f64], slopes: &[f64]) -> f64 {
        match self.architecture {
            Architecture::Denoiser { .. } => norms.iter().chain(slopes).product(),
            Architecture::Unrolled { .. } => norms.iter().zip(slopes).map(|(n, s)| n * n * s).fold(0.0, f64::max),
        }
    }

    /// A certified bound of the Lipschitz constant of what plug-and-play takes of the network: of `N` of a denoiser, of `2 P - Id` of an
    /// unrolled network with one layer. The Jacobian of `P` is `W' diag(phi') W`, symmetric with eigenvalues between `|W|^2 l` and `|W|^2 h` for
    /// slopes in `[l, h]`, `l` taken for 0 where it is above; those of `2 P - Id` are at most `max(2 |W|^2 h - 1, 1 - 2 |W|^2 l)` in size.
    ///
    /// # Errors
    /// [`Error::Data`] for an unrolled network whose steps differ: no one map is repeated.
    pub fn plugged_lipschitz(&self) -> Result<f64> {
        let Architecture::Unrolled { steps, .. } = self.architecture else {
            return Ok(self.lipschitz());
        };
        if self.filters.len() != 1 {
            return Err(Error::Data(format!(
                "is an unrolled network whose {steps} steps have parameters of their own, so none of them can be repeated until it \
                 converges; name one trained with tied = true or a model of `train denoiser`"
            )));
        }
        let least = self.activations.iter().flatten().map(|s| s.slope_range().0);
        let least = self.norms()[0].powi(2) * least.fold(0.0, f64::min);
        Ok((2.0 * self.lipschitz() - 1.0).max(1.0 - 2.0 * least))
    }

    /// The noise level that `(Id + N) / 2` with `N` of [`Self::plugged_lipschitz`] takes away: that of a denoiser is its own; `P` stands for the
    /// proximal operator of `step` times minus the logarithm of the images' density, times the variance of the noise.
    pub fn plugged_level(&self) -> f64 {
        match self.architecture {
            Architecture::Denoiser { .. } => self.sigma,
            Architecture::Unrolled { step, .. } => step.sqrt() * self.sigma,
        }
    }

    /// `|H|^2` of the blur of an unrolled network: the row sums of its Gram operator bound it.
    pub(crate) fn data_norm_squared(&self) -> Result<f64> {
        Ok(self.blur()?.map_or(1.0, |layer| norm::row_sum_bound(&layer)))
    }

    /// The blur of an unrolled network as a layer.
    ///
    /// # Errors
    /// [`Error::Data`] if the kernel is no square of odd side.
    pub fn blur(&self) -> Result<Option<ConvLayer>> {
        match &self.architecture {
            Architecture::Unrolled { blur, .. } if !blur.is_empty() => {
                let side = blur.len().isqrt();
                let taps = blur.iter().map(|w| *w as f32).collect();
                Ok(Some(ConvLayer::new(1, 1, side, taps)?))
            }
            _ => Ok(None),
        }
    }

    /// `a` in `D = (1 - a) Id + a N`; 1 for an unrolled network.
    pub fn averaging(&self) -> f64 {
        match self.architecture {
            Architecture::Denoiser { averaging } => averaging,
            Architecture::Unrolled { .. } => 1.0,
        }
    }

    /// Steps of an unrolled network; 1 for a denoiser.
    pub fn iterations(&self) -> usize {
        match self.architecture {
            Architecture::Denoiser { .. } => 1,
            Architecture::Unrolled { steps, .. } => steps,
        }
    }

    /// What the network is to undo: of clean images and the same with noise, (image, row, column), `H c + noise`. On the host, as
    /// all data are made.
    ///
    /// # Errors
    /// [`Error::Data`] for numbers of values that do not fit; as [`Self::blur`].
    pub fn measured(&self, clean: &[f32], noisy: &[f32], [height, width]: [usize; 2]) -> Result<Vec<f32>> {
        let pixels = height * width;
        if pixels == 0 || clean.len() != noisy.len() || !clean.len().is_multiple_of(pixels) {
            return Err(Error::Data(format!(
                "{} and {} values are no images of {height} x {width}",
                clean.len(),
                noisy.len()
            )));
        }
        let Some(blur) = self.blur()? else {
            return Ok(noisy.to_vec());
        };
        let radius = blur.radius();
        let mut measured = noisy.to_vec();
        for (own, clean) in measured.chunks_exact_mut(pixels).zip(clean.chunks_exact(pixels)) {
            for (row, col) in (0..pixels).map(|n| (n / width, n % width)) {
                let mut sum = 0.0;
                for (ky, kx) in (0..blur.size * blur.size).map(|n| (n / blur.size, n % blur.size)) {
                    let (y, x) = (row + ky, col + kx);
                    if (radius..height + radius).contains(&y) && (radius..width + radius).contains(&x) {
                        sum += blur.weight(0, 0, ky, kx) * clean[(y - radius) * width + x - radius];
                    }
                }
                own[row * width + col] += sum - clean[row * width + col];
            }
        }
        Ok(measured)
    }

    /// The constants that its stability rests on.
    pub fn certificate(&self) -> Value {
        let (norms, slopes) = (self.norms(), self.slopes());
        let lipschitz = self.lipschitz_of(&norms, &slopes);
        let mut certificate = json!({
            "slope_bounds": self.slope_bounds,
            "largest_slopes": slopes,
            "norm_upper_bounds": norms,
            "norm_kind": NORM_KIND,
            "lipschitz": lipschitz,
            "boundary": "zero padding of every layer",
        });
        match &self.architecture {
            Architecture::Denoiser { averaging } => {
                certificate["averaging"] = json!(averaging);
                certificate["firmly_nonexpansive"] = json!(*averaging <= 0.5 && lipschitz <= 1.0 + LIPSCHITZ_SLACK);
            }
            Architecture::Unrolled { step, .. } => {
                certificate["step"] = json!(step);
                certificate["data_norm_squared"] = json!(self.data_norm_squared().unwrap_or(f64::NAN));
                certificate["every_step_is_proximal"] =
                    json!(self.slope_bounds.0 >= 0.0 && lipschitz <= 1.0 + LIPSCHITZ_SLACK);
                certificate["tied"] = json!(self.filters.len() == 1);
            }
        }
        certificate
    }

    /// The penalties `g` of an unrolled network's activations, `phi = prox_g`, as [`Self::activations`]; none of a denoiser.
    ///
    /// Scaling, shift and filters lie outside of them. A channel applies `u -> phi(alpha (u + b)) / alpha`, which is the proximal
    /// operator of `h(z) = g(alpha z) / alpha^2 - b z`: substitute `alpha z` in the minimisation, and move the shift into a
    /// linear term. A step applies `P(x) = W' prox_h(W x)`. With `e` the conjugate of `h + |.|^2 / 2`, `P` is the gradient of
    /// `e(W x)`, and Lipschitz with 1 because `|W| <= 1`; so it is the proximal operator of the convex function
    /// `x -> inf { sum_c h_c(z_c) + |z|^2 / 2 : W'z = x } - |x|^2 / 2`, which is `h(W x)` only for orthogonal `W`.
    ///
    /// # Errors
    /// [`Error::Data`] if a slope is none of a proximal operator, which [`Self::check`] excludes.
    pub fn penalties(&self) -> Result<Vec<Vec<Penalty>>> {
        match self.architecture {
            Architecture::Denoiser { .. } => Ok(Vec::new()),
            Architecture::Unrolled { .. } => {
                let of = |set: &Vec<Spline>| set.iter().map(Penalty::of_prox).collect();
                self.activations.iter().map(of).collect()
            }
        }
    }

    /// Numbers that were trained.
    pub fn parameters(&self) -> usize {
        let splines: usize = self.activations.iter().flatten().map(Spline::len).sum();
        let channels: usize = self.shifts.iter().map(Vec::len).sum();
        self.filters.iter().map(|l| l.weights.len()).sum::<usize>() + splines + 2 * channels
    }
}
