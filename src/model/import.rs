//! Published (W)CRR checkpoints (arXiv 2308.10542) as models.
//!
//! `W` is a chain of convolutions, the first with the mean of every filter removed; `phi = e^mu phi_+ - rho phi_-` from
//! raw coefficients on a uniform grid; `alpha_c(s) = exp(spline_c(s)) / (s + 1e-5)` with `s = 255 sigma`.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::ridge::{Border, NormKind, Ridge, Scaling};
use crate::filters::{ConvLayer, FilterBank};
use crate::io::checkpoint::{Tensor, read_json_lenient, read_pth};
use crate::spline::Spline;
use crate::{Error, Result};

/// Grey levels per unit of the image range: checkpoints count noise levels in these.
const LEVELS: f64 = 255.0;

/// Added to the noise level by the published code.
const EPSILON: f64 = 1e-5;

/// Reads a checkpoint and its configuration. The filters are as stored: their norm is still to be found and divided out
/// (see [`Ridge::normalised`]).
///
/// # Errors
/// [`Error::Input`] naming the file and the missing or misshapen part.
pub fn read_checkpoint(checkpoint: &Path, config: &Path) -> Result<Ridge> {
    let tensors = Tensors {
        path: checkpoint,
        all: read_pth(checkpoint)?,
    };
    let settings = Config {
        path: config,
        value: read_json_lenient(config)?,
    };
    let rho = settings.number(&["rho_wcvx"])?;
    let growth = f64::from(tensors.get("mu_")?.data.first().copied().unwrap_or(0.0)).exp();
    let (x_min, x_max) = (
        settings.number(&["spline_activation", "x_min"])?,
        settings.number(&["spline_activation", "x_max"])?,
    );
    let slopes = (
        settings.number(&["spline_activation", "slope_min"])?,
        settings.number(&["spline_activation", "slope_max"])?,
    );
    let part = |name: &str| -> Result<Vec<f64>> {
        let raw = tensors.get(&format!("activation_{name}.coefficients"))?;
        if raw.data.len() < 3 || raw.shape.first() != Some(&1) {
            return Err(tensors.fail(&format!(
                "activation_{name}: want one shared spline of at least 3 knots"
            )));
        }
        Ok(odd_clipped(
            &raw.data,
            (x_max - x_min) / (raw.data.len() - 1) as f64,
            slopes,
        ))
    };
    let (rising, falling) = (part("cvx")?, part("ccv")?);
    if rising.len() != falling.len() {
        return Err(tensors.fail("activation_cvx and activation_ccv have different sizes"));
    }
    let values = rising.iter().zip(&falling).map(|(p, m)| growth * p - rho * m).collect();
    let phi = Spline::uniform(x_min, x_max, values)?;

    let scaling = tensors.get("spline_scaling.coefficients")?;
    let [channels, knots] = scaling.shape[..] else {
        return Err(tensors.fail("spline_scaling.coefficients is no matrix"));
    };
    let (s_min, s_max) = (
        settings.number(&["spline_scaling", "x_min"])?,
        settings.number(&["spline_scaling", "x_max"])?,
    );
    // exp(s) / (255 sigma + eps) = exp(s - ln 255) / (sigma + eps / 255).
    let log = scaling
        .data
        .chunks_exact(knots.max(1))
        .map(|row| {
            let values = row.iter().map(|&v| f64::from(v) - LEVELS.ln()).collect();
            Spline::uniform(s_min / LEVELS, s_max / LEVELS, values)
        })
        .collect::<Result<Vec<_>>>()?;
    let bank = FilterBank::new(layers(&tensors)?).map_err(|e| tensors.fail(&e.to_string()))?;
    if bank.channels() != channels {
        return Err(tensors.fail(&format!("{} filters but {channels} scalings", bank.channels())));
    }
    let name = if rho > 0.0 { "wcrr" } else { "crr" };
    Ok(Ridge {
        bank,
        activations: vec![phi],
        scaling: Scaling {
            log,
            epsilon: EPSILON / LEVELS,
        },
        slope_bounds: (-rho * slopes.1, growth * slopes.1),
        sigma_range: (s_min / LEVELS, s_max / LEVELS),
        norm_squared: 1.0,
        norm_kind: NormKind::Estimate,
        border: Border::Zero,
        name: format!("imported-{name}"),
        provenance: json!({
            "made_by": concat!("train import, knotwork ", env!("CARGO_PKG_VERSION")),
            "checkpoint": crate::io::hash::blake3_file(checkpoint)?,
            "experiment": settings.value.get("exp_name").cloned().unwrap_or(Value::Null),
        }),
    })
}

/// Nodal values of one part of the activation: slopes clipped to their bounds, the end slopes 0, made odd.
fn odd_clipped(raw: &[f32], step: f64, (low, high): (f64, f64)) -> Vec<f64> {
    let last = raw.len() - 2;
    let mut nodes = vec![0.0];
    for (n, pair) in raw.windows(2).enumerate() {
        let slope = if n == 0 || n == last {
            0.0
        } else {
            (f64::from(pair[1] - pair[0]) / step).clamp(low, high)
        };
        nodes.push(nodes[n] + step * slope);
    }
    nodes
        .iter()
        .zip(nodes.iter().rev())
        .map(|(a, b)| (a - b) / 2.0)
        .collect()
}

fn layers(tensors: &Tensors<'_>) -> Result<Vec<ConvLayer>> {
    let mut layers = Vec::new();
    loop {
        let prefix = format!("conv_layer.conv_layers.{}", layers.len());
        let centred = tensors.all.get(&format!("{prefix}.parametrizations.weight.original"));
        let Some(tensor) = centred.or_else(|| tensors.all.get(&format!("{prefix}.weight"))) else {
            break;
        };
        let [outputs, inputs, size, other] = tensor.shape[..] else {
            return Err(tensors.fail(&format!("{prefix} is no 4-dimensional filter")));
        };
        if size != other || tensor.data.is_empty() {
            return Err(tensors.fail(&format!("{prefix}: filters of {size} x {other}, want square ones")));
        }
        let mut weights = tensor.data.clone();
        if centred.is_some() {
            for filter in weights.chunks_exact_mut(inputs * size * size) {
                let mean = filter.iter().map(|&w| f64::from(w)).sum::<f64>() / filter.len() as f64;
                filter.iter_mut().for_each(|w| *w = (f64::from(*w) - mean) as f32);
            }
        }
        layers
            .push(ConvLayer::new(inputs, outputs, size, weights).map_err(|e| tensors.fail(&format!("{prefix}: {e}")))?);
    }
    Ok(layers)
}

struct Tensors<'p> {
    path: &'p Path,
    all: BTreeMap<String, Tensor>,
}

impl Tensors<'_> {
    fn get(&self, key: &str) -> Result<&Tensor> {
        self.all.get(key).ok_or_else(|| {
            let there: Vec<_> = self.all.keys().map(String::as_str).take(4).collect();
            self.fail(&format!(
                "no tensor '{key}' (there is {}, ..); want a WCRR or CRR checkpoint",
                there.join(", ")
            ))
        })
    }

    fn fail(&self, why: &str) -> Error {
        Error::input(self.path, why)
    }
}

struct Config<'p> {
    path: &'p Path,
    value: Value,
}

impl Config<'_> {
    fn number(&self, keys: &[&str]) -> Result<f64> {
        let found = keys
            .iter()
            .try_fold(&self.value, |v, k| v.get(k))
            .and_then(Value::as_f64);
        found.ok_or_else(|| Error::input(self.path, format!("no number '{}'", keys.join("."))))
    }
}
