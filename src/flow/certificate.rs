//! What is guaranteed about a flow: constants computed in f64 from the stored numbers.

use serde::{Deserialize, Serialize};

use super::exact::flat;
use super::model::Flow;
use crate::spline::Spline;

/// Relative room for the rounding of a bound's own computation, some twenty operations.
const ROUNDING: f64 = 64.0 * f64::EPSILON;

/// Constants of a layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerCertificate {
    /// Least and largest slope of `M`, then of `N`.
    pub slopes: Vec<(f64, f64)>,
    /// Largest `|T'|`; 0 in one dimension.
    pub shear: f64,
    /// `|y - y'| <= lipschitz |x - x'|` for all points of the plane.
    pub lipschitz: f64,
    /// `|x - x'| <= inverse_lipschitz |y - y'|`.
    pub inverse_lipschitz: f64,
}

/// Constants of a flow, each an upper bound (or a lower one, for least slopes) that holds for the stored numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowCertificate {
    /// One per layer.
    pub layers: Vec<LayerCertificate>,
    /// A Lipschitz constant of the flow, data to normal points: the product of those of its layers and of the standardisation.
    pub lipschitz: f64,
    /// The same of its inverse.
    pub inverse_lipschitz: f64,
}

impl Flow {
    /// The constants.
    ///
    /// The Jacobian matrix of a layer behind its rotation is `[m, 0; T', n]`. Spectral norms of matrices grow with the
    /// absolute values of their entries, so on a segment on which `T'` is constant the norm is at most that of
    /// `[max m, 0; |T'|, max n]`, and that of the inverse at most that of `[1 / min m, 0; |T'| / (min m min n), 1 / min n]`. The
    /// constants of the layer are the largest over all segments of `T` and `m` and the two tails.
    pub fn certificate(&self) -> FlowCertificate {
        let layers: Vec<LayerCertificate> = (0..self.layers()).map(|l| self.layer_certificate(l)).collect();
        let widest = self.scale.iter().copied().fold(0.0, f64::max);
        let narrowest = self.scale.iter().copied().fold(f64::INFINITY, f64::min);
        let product = |of: fn(&LayerCertificate) -> f64| layers.iter().map(of).product::<f64>();
        let rounding = 1.0 + ROUNDING * (layers.len() + 1) as f64;
        FlowCertificate {
            lipschitz: product(|l| l.lipschitz) / narrowest * rounding,
            inverse_lipschitz: product(|l| l.inverse_lipschitz) * widest * rounding,
            layers,
        }
    }

    fn layer_certificate(&self, layer: usize) -> LayerCertificate {
        let m = &self.slopes[layer];
        let Some(shear) = self.shears.get(layer) else {
            let (low, high) = range(m);
            return LayerCertificate {
                slopes: vec![(low, high)],
                shear: 0.0,
                lipschitz: high,
                inverse_lipschitz: 1.0 / low * (1.0 + ROUNDING),
            };
        };
        let (n_low, n_high) = range(&self.slopes[self.layers() + layer]);
        let mut edges = [m.knots(), shear.knots()].concat();
        edges.sort_by(f64::total_cmp);
        let (t, last) = (shear.knots(), shear.len() - 1);
        let (mut lipschitz, mut inverse) = (0.0_f64, 0.0_f64);
        let mut include = |left: f64, right: f64, slope: f64| {
            let (a, b) = (flat(m, left), flat(m, right));
            let (low, high) = (a.min(b), a.max(b));
            lipschitz = lipschitz.max(norm(high, slope.abs(), n_high));
            inverse = inverse.max(norm(1.0 / low, slope.abs() / (low * n_low), 1.0 / n_low));
        };
        include(edges[0], edges[0], 0.0);
        include(edges[edges.len() - 1], edges[edges.len() - 1], 0.0);
        for pair in edges.windows(2) {
            let inside = pair[0] >= t[0] && pair[1] <= t[last];
            include(pair[0], pair[1], if inside { shear.slope(pair[0]) } else { 0.0 });
        }
        let (falling, rising) = shear.slope_range();
        LayerCertificate {
            slopes: vec![range(m), (n_low, n_high)],
            shear: rising.max(-falling),
            lipschitz,
            inverse_lipschitz: inverse,
        }
    }
}

/// Least and largest value, which are taken at knots.
fn range(spline: &Spline) -> (f64, f64) {
    let of = |(low, high): (f64, f64), v: &f64| (low.min(*v), high.max(*v));
    spline.values().iter().fold((f64::INFINITY, f64::NEG_INFINITY), of)
}

/// The largest singular value of `[a, 0; c, d]`: with `S = a^2 + c^2 + d^2`, its square is
/// `(S + sqrt(S^2 - 4 a^2 d^2)) / 2`, and `S^2 - 4 a^2 d^2 = ((a - d)^2 + c^2) ((a + d)^2 + c^2)` without cancellation.
fn norm(a: f64, c: f64, d: f64) -> f64 {
    let sum = a * a + c * c + d * d;
    let root = (((a - d).powi(2) + c * c) * ((a + d).powi(2) + c * c)).sqrt();
    (0.5 * (sum + root)).sqrt() * (1.0 + ROUNDING)
}
