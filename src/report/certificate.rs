//! The constants of a ridge regularizer and what they guarantee.

use serde_json::{Value, json};

use crate::filters::norm;
use crate::model::{NormKind, Ridge};

/// The constants that a run with weight `lambda` rests on. Slopes are recomputed in f64 from the stored values;
/// `norm_squared_upper_bound` is rigorous (see [`norm::upper_bound`]), `norm_squared` is what steps are computed from, and
/// `norm_kind` says whether that is a bound, too.
pub fn certificate(model: &Ridge, lambda: f64) -> Value {
    let slopes = model
        .activations
        .iter()
        .map(|a| a.slope_range())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), (l, h)| {
            (low.min(l), high.max(h))
        });
    json!({
        "slope_bounds": model.slope_bounds,
        "slopes": slopes,
        "norm_squared": model.norm_squared,
        "norm_kind": model.norm_kind,
        "norm_squared_upper_bound": norm::upper_bound(&model.bank),
        "gradient_lipschitz": model.gradient_lipschitz(),
        "weak_convexity": model.weak_convexity(),
        "border": model.border,
        "energy_convex": lambda * model.weak_convexity() <= 1.0 + 1e-6,
        "step": 1.0 / (1.0 + lambda * model.gradient_lipschitz()),
        "step_certified": model.norm_kind == NormKind::Bound,
    })
}
