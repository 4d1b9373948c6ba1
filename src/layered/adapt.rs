//! Moving the knots of a network in training: those that matter little go, new ones come where the loss asks for them.

use super::config::LayeredConfig;
use super::trainer::LayeredTrainer;
use crate::spline::{Budget, Spline, clip_slopes, input_histogram, insert_knots, propose_knots, reduce};
use crate::train::data::Batch;
use crate::train::{KnotEvent, Moments, Training, interpolated, rounded};
use crate::{Error, Result};

/// Responses per activation that are looked at.
const SAMPLES: usize = 20_000;

/// Inputs of one activation and by how much a rise of `phi` there would lower the loss.
#[derive(Clone, Debug, Default)]
struct Samples {
    t: Vec<f64>,
    descent: Vec<f64>,
}

impl LayeredTrainer<'_> {
    /// Adapts the knots of every activation to its responses to `patches` and to the gradient there, and goes on from there, as
    /// for ridge regularizers: removal refits what remains within the configured error of `phi(alpha u) / alpha`, insertion takes
    /// the knots whose hat functions promise most and leaves the function as it is; Adam's moments are interpolated.
    ///
    /// # Errors
    /// [`Error::Usage`] for activations whose knots are fixed; [`Error::Data`] if a parameter or the loss is not finite; device errors.
    pub fn adapt(&mut self, patches: &Batch) -> Result<KnotEvent> {
        if !self.config().network.trains_values() {
            return Err(Error::Usage("the knots of these activations are fixed".into()));
        }
        if self.loss(patches, true)?.is_none() {
            return Err(Error::Data(
                "knots cannot be moved by patches whose loss is not finite".into(),
            ));
        }
        let before = self.state()?;
        let mut after = before.clone();
        let mut event = KnotEvent {
            step: before.progress.step,
            removed: 0,
            inserted: 0,
            knots: 0,
            largest: 0,
            rms_error: 0.0,
        };
        // Values are the last groups, one per set.
        let first_values = before.moments.len() - before.raw.activations.len();
        for set in 0..before.raw.activations.len() {
            let samples = self.samples(set, &before.raw.scalings[set])?;
            let (mut moments, mut first) = (Moments::new(), 0);
            for (channel, samples) in samples.iter().enumerate() {
                let spline = &before.raw.activations[set][channel];
                let alpha = f64::from(before.raw.scalings[set][channel]);
                let moved = moved(&before.config, spline, samples, alpha, &mut event)?;
                let old = &before.moments[first_values + set][first..first + spline.len()];
                moments.extend(moved.knots().iter().map(|t| interpolated(spline.knots(), old, *t)));
                first += spline.len();
                after.raw.activations[set][channel] = moved;
            }
            after.moments[first_values + set] = moments;
        }
        *self = LayeredTrainer::new(self.gpu(), &after)?;
        Ok(event)
    }

    fn samples(&self, set: usize, alphas: &[f32]) -> Result<Vec<Samples>> {
        let gpu = self.gpu();
        let (region, uses) = self.gradient.responses(set);
        let channels = self.parts().banks()[set].channels();
        let slots = self.batch();
        let (rows, cols) = (region.inside_rows as usize, region.inside_cols as usize);
        let stride = (uses.len() * slots * rows * cols).div_ceil(SAMPLES);
        let mut samples = vec![Samples::default(); channels];
        for [u, g] in uses {
            let (u, g): (Vec<f32>, Vec<f32>) = (gpu.read(&**u)?, gpu.read(&**g)?);
            for (slot, channel) in (0..slots * channels).map(|n| (n / channels, n % channels)) {
                let alpha = f64::from(alphas[channel]);
                let plane = region.first as usize
                    + slot * region.image_stride as usize
                    + channel * region.plane_stride as usize
                    + region.inside_top as usize * region.row_stride as usize
                    + region.inside_left as usize;
                for n in (slot % stride..rows * cols).step_by(stride) {
                    let at = plane + n / cols * region.row_stride as usize + n % cols;
                    samples[channel].t.push(alpha * f64::from(u[at]));
                    samples[channel].descent.push(-f64::from(g[at]) / alpha);
                }
            }
        }
        Ok(samples)
    }
}

/// The spline with fewer and then with new knots.
fn moved(
    config: &LayeredConfig,
    spline: &Spline,
    samples: &Samples,
    alpha: f64,
    event: &mut KnotEvent,
) -> Result<Spline> {
    let settings = &config.adaptation;
    let bounds = config.network.trained_bounds()?;
    let feasible = clip_slopes(spline, &bounds)?;
    let budget = Budget {
        max_error: settings.max_error * alpha,
        max_knots: (settings.max_knots - settings.insert).min(spline.len()),
    };
    let histogram = input_histogram(&feasible, &samples.t);
    let reduction = reduce(&feasible, &bounds, Some(&histogram), budget)?;
    let kept = rounded(&reduction.spline)?;
    let room = (settings.max_knots - kept.len()).min(settings.insert);
    let new = propose_knots(&kept, &samples.t, &samples.descent, &vec![1.0; samples.t.len()], room)?;
    let new: Vec<f64> = new.iter().map(|t| f64::from(*t as f32)).collect();
    let after = rounded(&insert_knots(&kept, &new)?)?;
    event.removed += spline.len() - kept.len();
    event.inserted += after.len() - kept.len();
    event.knots += after.len();
    event.largest = event.largest.max(after.len());
    event.rms_error = event.rms_error.max(reduction.rms_error / alpha);
    Ok(after)
}
