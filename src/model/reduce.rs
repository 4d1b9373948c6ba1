//! Fewer knots and fewer filters: a smaller model with the same guarantees.

use serde_json::{Value, json};

use super::ridge::{NormKind, Ridge, Scaling};
use crate::filters::{ConvLayer, FilterBank, norm};
use crate::spline::{Budget, SlopeBounds, Spline, reduce};
use crate::{Error, Result};

/// Errors up to this part of the largest value are rounding.
const ROUNDING: f64 = 1e-12;

/// Norm of the image detail that filters are compared at, in units of the image range.
const DETAIL: f64 = 0.1;

/// The budget of [`Ridge::reduced`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KnotBudget {
    /// Largest root-mean-square error of an activation, as a part of its largest absolute value at the knots. At 0 only
    /// knots go that do not change the function, up to rounding (1e-12).
    pub max_error: f64,
    /// Activations with more knots than this lose knots whatever the error. At least 2.
    pub max_knots: Option<usize>,
}

impl Default for KnotBudget {
    /// An error of 1e-3, any number of knots.
    fn default() -> Self {
        Self {
            max_error: 1e-3,
            max_knots: None,
        }
    }
}

/// What the reduction did to one activation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KnotReduction {
    /// Knots before.
    pub before: usize,
    /// Knots after.
    pub after: usize,
    /// Largest absolute value of the original at its knots: what errors are a part of.
    pub scale: f64,
    /// Root-mean-square difference, in units of the values; inputs count alike between the outer knots and over a quarter
    /// of that range on either side.
    pub rms_error: f64,
    /// Largest difference between the outer knots of the original, in units of the values.
    pub max_error: f64,
}

impl Ridge {
    /// The model with fewer knots in its activations, each reduced by [`reduce`] inside the model's slope bounds; what
    /// was done to each. Antisymmetric activations stay antisymmetric. The provenance gains an entry in its list
    /// `reductions`.
    ///
    /// The scaling splines stay as they are: they are evaluated once per run on the host, so their knots cost nothing.
    ///
    /// # Errors
    /// [`Error::Data`] when the budget is not `max_error >= 0`, `max_knots >= 2`, or the model is inconsistent.
    pub fn reduced(&self, budget: KnotBudget) -> Result<(Self, Vec<KnotReduction>)> {
        self.check()?;
        let bounds = SlopeBounds::new(self.slope_bounds.0, self.slope_bounds.1)?;
        let mut activations = Vec::with_capacity(self.activations.len());
        let mut reductions = Vec::with_capacity(self.activations.len());
        for (index, activation) in self.activations.iter().enumerate() {
            let scale = activation.values().iter().fold(0.0_f64, |m, v| m.max(v.abs()));
            // A plain comparison keeps NaN, which `reduce` refuses.
            let max_error = match budget.max_error {
                e if (0.0..ROUNDING).contains(&e) => ROUNDING,
                e => e,
            };
            let budget = Budget {
                max_error: max_error * scale,
                max_knots: budget.max_knots.unwrap_or(usize::MAX),
            };
            let reduced = reduce(activation, &bounds, None, budget)
                .map_err(|error| Error::Data(format!("activation {index}: {error}")))?;
            reductions.push(KnotReduction {
                before: activation.len(),
                after: reduced.spline.len(),
                scale,
                rms_error: reduced.rms_error,
                max_error: reduced.max_error,
            });
            activations.push(reduced.spline);
        }
        let count = |of: fn(&KnotReduction) -> usize| reductions.iter().map(of).sum::<usize>();
        let entry = json!({
            "made_by": concat!("train reduce, knotwork ", env!("CARGO_PKG_VERSION")),
            "max_error": budget.max_error,
            "max_knots": budget.max_knots,
            "knots_before": count(|r| r.before),
            "knots_after": count(|r| r.after),
        });
        let model = Self {
            activations,
            provenance: with_reduction(self.provenance.clone(), entry),
            ..self.clone()
        };
        model.check()?;
        Ok((model, reductions))
    }

    /// How much a channel does: the norm of its part of `grad R` at a detail of norm 0.1 that looks like its filter,
    /// `|W_c| |phi_c(alpha_c |W_c| 0.1)| / alpha_c`, in the middle of the model's range of noise levels.
    ///
    /// # Errors
    /// [`Error::Data`] for an inconsistent model or several layers.
    pub fn strengths(&self) -> Result<Vec<f64>> {
        let layer = self.only_layer()?;
        let alphas = self.alphas(0.5 * (self.sigma_range.0 + self.sigma_range.1))?;
        let filters = layer.weights.chunks(layer.weights.len() / layer.outputs);
        let strength = |(channel, (filter, alpha)): (usize, (&[f32], &f64))| {
            let norm = filter.iter().map(|w| f64::from(*w).powi(2)).sum::<f64>().sqrt();
            let phi = &self.activations[channel.min(self.activations.len() - 1)];
            norm * phi.value(alpha * norm * DETAIL).abs() / alpha
        };
        Ok(filters.zip(&alphas).enumerate().map(strength).collect())
    }

    /// The model with the `filters` strongest of its channels ([`Self::strengths`]), in their order, and the norm of what remains. What goes
    /// is the regularizer's sum over the other channels. The provenance gains an entry in its list `reductions`.
    ///
    /// # Errors
    /// As [`Self::strengths`]; [`Error::Data`] for no filters.
    pub fn narrowed(&self, filters: usize) -> Result<Self> {
        let (layer, strengths) = (self.only_layer()?, self.strengths()?);
        if filters == 0 {
            return Err(Error::Data("a regularizer without filters is none".into()));
        }
        let mut order: Vec<usize> = (0..strengths.len()).collect();
        order.sort_by(|&a, &b| strengths[b].total_cmp(&strengths[a]));
        let mut kept: Vec<usize> = order.into_iter().take(filters).collect();
        kept.sort_unstable();
        let taps = layer.weights.len() / layer.outputs;
        let weights = kept
            .iter()
            .flat_map(|&c| layer.weights[c * taps..(c + 1) * taps].iter().copied());
        let bank = FilterBank::new(vec![ConvLayer::new(
            layer.inputs,
            kept.len(),
            layer.size,
            weights.collect(),
        )?])?;
        let of_kept = |splines: &[Spline]| match splines {
            [_] => splines.to_vec(),
            all => kept.iter().map(|&c| all[c].clone()).collect(),
        };
        let entry = json!({
            "made_by": concat!("train reduce, knotwork ", env!("CARGO_PKG_VERSION")),
            "filters_before": strengths.len(),
            "filters_after": kept.len(),
        });
        let model = Self {
            norm_squared: norm::upper_bound(&bank),
            norm_kind: NormKind::Bound,
            bank,
            activations: of_kept(&self.activations),
            scaling: Scaling {
                log: of_kept(&self.scaling.log),
                ..self.scaling.clone()
            },
            provenance: with_reduction(self.provenance.clone(), entry),
            ..self.clone()
        };
        model.check()?;
        Ok(model)
    }

    /// The layer of a consistent model that has one.
    fn only_layer(&self) -> Result<&ConvLayer> {
        self.check()?;
        match self.bank.layers() {
            [layer] => Ok(layer),
            layers => Err(Error::Data(format!(
                "filters are told apart in banks of one layer, not of {}; see `train import --collapse`",
                layers.len()
            ))),
        }
    }
}

/// `provenance` with `entry` at the end of its list `reductions`. Provenance is free JSON: what is no object, or has
/// something else under that name, moves to `original`.
fn with_reduction(provenance: Value, entry: Value) -> Value {
    let fits = |map: &serde_json::Map<String, Value>| map.get("reductions").is_none_or(Value::is_array);
    let mut map = match provenance {
        Value::Object(map) if fits(&map) => map,
        Value::Null => serde_json::Map::new(),
        other => serde_json::Map::from_iter([("original".to_owned(), other)]),
    };
    match map.get_mut("reductions") {
        Some(Value::Array(list)) => list.push(entry),
        _ => drop(map.insert("reductions".into(), json!([entry]))),
    }
    Value::Object(map)
}
