//! Moving knots during training: those that matter little go, new ones come where the gradient asks for them.

use super::architecture::Layout;
use super::ensemble::Ensemble;
use super::state::State;
use crate::Result;
use crate::spline::{Budget, SlopeBounds, Spline, clip_slopes, input_histogram, insert_knots, propose_knots, reduce};
use crate::train::interpolated;

/// How knots are moved.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Adaptation {
    /// Most knots of an activation at any time.
    pub max_knots: usize,
    /// Most new knots of an activation per event.
    pub insert: usize,
    /// Knots are removed while the root-mean-square change of `phi(alpha u) / alpha` over the inputs that occur stays at or
    /// below this.
    pub max_error: f64,
}

/// What one event did to all members together.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct AdaptationEvent {
    /// Training step after which it happened.
    pub step: usize,
    /// Knots that went.
    pub removed: usize,
    /// Knots that came.
    pub inserted: usize,
    /// Knots of all activations afterwards.
    pub knots: usize,
    /// Knots of the activation with the most.
    pub largest: usize,
    /// Largest root-mean-square change of an activation by removal.
    pub rms_error: f64,
}

/// Adapts the knots of every activation. Call after at least one recorded step whose work was submitted.
///
/// The nodal values are replaced by the clipped ones, which the layers evaluate. Removal refits the remaining knots by least squares under the histogram of the activation's inputs and its slope bounds
/// ([`reduce`]) within `max_error`, and further if needed to leave room for `insert` new knots. Insertion then takes the
/// knots whose hat functions would decrease the loss most to second order, given the gradients of the samples
/// ([`propose_knots`]); it leaves the function as it is. Adam's moments are interpolated linearly. With `insert` 0, knots
/// are only removed.
///
/// # Errors
/// Device errors; those of the spline functions for splines out of range of f32.
pub fn adapt(ensemble: &Ensemble<'_>, adaptation: &Adaptation, step: usize) -> Result<AdaptationEvent> {
    let layout = ensemble.layout();
    let mut state = ensemble.state()?;
    let (inputs, gradients) = ensemble.responses()?;
    let architecture = &layout.architecture;
    let samples = inputs.len() / (layout.members * architecture.units());
    let mut event = AdaptationEvent {
        step,
        removed: 0,
        inserted: 0,
        knots: 0,
        largest: 0,
        rms_error: 0.0,
    };
    for s in 0..layout.splines() {
        let unit =
            s / architecture.splines() * architecture.units() + architecture.unit(1) + s % architecture.splines();
        let at = unit * samples..(unit + 1) * samples;
        let alpha = f64::from(state.parameters[layout.alpha(s)]);
        let x: Vec<f64> = inputs[at.clone()].iter().map(|u| alpha * f64::from(*u)).collect();
        let descent: Vec<f64> = gradients[at].iter().map(|g| -f64::from(*g) / alpha).collect();
        let before = clip_slopes(&spline_of(layout, &state, s)?, &ensemble.settings().bounds)?;
        let (after, removed, rms) = moved(
            &before,
            &ensemble.settings().bounds,
            adaptation,
            &x,
            &descent,
            adaptation.max_error * alpha.abs(),
        )?;
        store(layout, &mut state, s, &before, &after);
        event.removed += removed;
        event.inserted += after.len() + removed - before.len();
        event.knots += after.len();
        event.largest = event.largest.max(after.len());
        event.rms_error = event.rms_error.max(rms / alpha.abs());
    }
    ensemble.set_state(&state)?;
    Ok(event)
}

/// The spline with moved knots, the number of removed ones and the root-mean-square change.
fn moved(
    spline: &Spline,
    bounds: &SlopeBounds,
    adaptation: &Adaptation,
    x: &[f64],
    descent: &[f64],
    max_error: f64,
) -> Result<(Spline, usize, f64)> {
    // The reduction adds a knot to either end for the inputs beyond, which cost nothing to remove.
    let budget = Budget {
        max_error,
        max_knots: (adaptation.max_knots - adaptation.insert).min(spline.len()),
    };
    let reduction = reduce(spline, bounds, Some(&input_histogram(spline, x)), budget)?;
    let kept = reduction.spline;
    let removed = spline.len() - kept.len();
    let room = (adaptation.max_knots - kept.len()).min(adaptation.insert);
    let new = propose_knots(&kept, x, descent, &vec![1.0; x.len()], room)?;
    Ok((insert_knots(&kept, &new)?, removed, reduction.rms_error))
}

fn spline_of(layout: &Layout, state: &State, s: usize) -> Result<Spline> {
    let count = state.counts[s] as usize;
    let widen = |v: &[f32]| v[..count].iter().map(|v| f64::from(*v)).collect::<Vec<_>>();
    Spline::new(
        widen(&state.positions[s * layout.slots..]),
        widen(&state.parameters[layout.values(s)..]),
    )
}

/// Puts `after` in the place of `before`, moments interpolated.
fn store(layout: &Layout, state: &mut State, s: usize, before: &Spline, after: &Spline) {
    let (first, slot) = (layout.values(s), s * layout.slots);
    let old: Vec<[f32; 2]> = state.moments[first..first + before.len()].to_vec();
    for n in 0..layout.slots {
        let (mut position, mut value, mut moments) = (0.0, 0.0, [0.0; 2]);
        if let (Some(t), Some(f)) = (after.knots().get(n), after.values().get(n)) {
            (position, value) = (*t as f32, *f as f32);
            moments = interpolated(before.knots(), &old, *t);
        }
        state.positions[slot + n] = position;
        state.parameters[first + n] = value;
        state.moments[first + n] = moments;
    }
    state.counts[s] = after.len() as u32;
}
