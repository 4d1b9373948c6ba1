//! The penalties of an unrolled network as a table.

use serde_json::{Value, json};

use crate::layered::Layered;
use crate::spline::Penalty;
use crate::{Error, Result};

/// What the numbers of the table are.
const MEANING: &str = "An activation phi is the proximal operator of its penalty g, phi(v) = argmin_z (z - v)^2 / 2 + g(z): convex, \
    quadratic between its nodes, with these values and one-sided derivatives there, and with a constant second derivative \
    beyond them. null is an infinity: g is infinite outside of its domain. Scaling a, shift b and filters W lie outside of g. A \
    channel applies phi(a (u + b)) / a, the proximal operator of h(z) = g(a z) / a^2 - b z. A step applies P(x) = W' prox_h(W x), with \
    |W| <= 1 the proximal operator of inf { sum_c h_c(z_c) + |z|^2 / 2 : W' z = x } - |x|^2 / 2.";

/// The penalties of `model` with what lies outside of them, for every set of activations: the steps that use it, counted from 0, and
/// its channels. A denoiser has none.
///
/// # Errors
/// As [`Layered::penalties`].
pub fn penalties_table(model: &Layered) -> Result<Value> {
    let penalties = model.penalties()?;
    let tied = penalties.len() == 1;
    let channel = |set: usize, (channel, penalty): (usize, &Penalty)| {
        let mut entry = serde_json::to_value(penalty).map_err(|e| Error::Internal(e.to_string()))?;
        entry["domain"] = json!(penalty.domain());
        entry["scaling"] = json!(model.scalings[set][channel]);
        entry["shift"] = json!(model.shifts[set][channel]);
        Ok(entry)
    };
    let sets = penalties.iter().enumerate().map(|(set, penalties)| {
        let channels = penalties.iter().enumerate().map(|entry| channel(set, entry));
        let steps: Vec<usize> = if tied {
            (0..model.iterations()).collect()
        } else {
            vec![set]
        };
        Ok(json!({ "steps": steps, "channels": channels.collect::<Result<Vec<_>>>()? }))
    });
    Ok(json!({ "model": model.name, "meaning": MEANING, "sets": sets.collect::<Result<Vec<_>>>()? }))
}
