//! Moving the knots of a regularizer in training: those that matter little go, new ones come where the loss asks for them.

use serde::Serialize;

use super::adam::interpolated;
use super::state::Moments;
use super::{Trainer, TrainingState};
use crate::Result;
use crate::spline::{Budget, SlopeBounds, Spline, clip_slopes, input_histogram, insert_knots, propose_knots, reduce};

/// What one event did to all activations together.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct KnotEvent {
    /// Training step after which it happened.
    pub step: u64,
    /// Knots that went.
    pub removed: usize,
    /// Knots that came.
    pub inserted: usize,
    /// Knots of all activations afterwards.
    pub knots: usize,
    /// Knots of the activation with the most.
    pub largest: usize,
    /// Largest root-mean-square change of `phi(alpha u)` by removal, relative to its own root mean square.
    pub rms_error: f64,
}

/// Responses of one activation and what the loss asks of it there.
#[derive(Clone, Debug, Default)]
struct Samples {
    /// `alpha u`, folded to the right of 0.
    t: Vec<f64>,
    /// By how much a rise of `phi` there would lower the loss, folded likewise.
    descent: Vec<f64>,
}

/// Responses per activation that are looked at.
const SAMPLES: usize = 20_000;

impl Trainer<'_> {
    /// Adapts the knots of every activation to the responses and the gradient of the last step, and goes on from there.
    ///
    /// Removal refits the remaining knots by least squares under the histogram of the responses and the slope bounds
    /// ([`reduce`]) within the configured error, and further if needed to leave room for new ones. Insertion then takes the
    /// pairs of knots whose hat functions would decrease the loss most to second order ([`propose_knots`]); it leaves the
    /// function as it is. Activations stay antisymmetric. Adam's moments are interpolated linearly.
    ///
    /// # Errors
    /// [`crate::Error::Data`] if a parameter is not finite; device errors.
    pub fn adapt(&mut self) -> Result<KnotEvent> {
        let samples = self.samples()?;
        let before = self.state()?;
        let (after, event) = adapted(&before, &samples)?;
        *self = Trainer::new(self.gpu(), &after)?;
        Ok(event)
    }

    fn samples(&self) -> Result<Vec<Samples>> {
        let (gpu, ridge) = (self.gpu(), self.ridge());
        let mut recorder = gpu.record();
        self.hypergradient().gradient().record_responses(&mut recorder);
        recorder.submit();
        drop(recorder);
        let [(_, u), (_, v)] = ridge.frames();
        let (u, v): (Vec<f32>, Vec<f32>) = (gpu.read(u)?, gpu.read(v)?);
        let records: Vec<[u32; 4]> = gpu.read(ridge.activations().records())?;
        let (batch, channels) = (ridge.batch(), ridge.activations().channels());
        let region = ridge.responses_region();
        let splines = ridge.activations().ranges().len();
        let mut samples = vec![Samples::default(); splines];
        let stride = (batch.patches * batch.height * batch.width * channels / splines).div_ceil(SAMPLES);
        for (slot, channel) in (0..batch.patches * channels).map(|n| (n / channels, n % channels)) {
            let alpha = f64::from(f32::from_bits(records[slot * channels + channel][2]));
            let own = channel.min(splines - 1);
            let plane = region.first as usize
                + slot * region.image_stride as usize
                + channel * region.plane_stride as usize
                + region.inside_top as usize * region.row_stride as usize
                + region.inside_left as usize;
            // A stride that shares no factor with the width would be best; an offset per patch does nearly as well.
            for n in (slot % stride..batch.height * batch.width).step_by(stride) {
                let at = plane + n / batch.width * region.row_stride as usize + n % batch.width;
                let t = alpha * f64::from(u[at]);
                let pull = -f64::from(v[at]) / alpha;
                samples[own].t.push(t.abs());
                samples[own].descent.push(if t < 0.0 { -pull } else { pull });
            }
        }
        Ok(samples)
    }
}

/// The state with moved knots.
fn adapted(before: &TrainingState, samples: &[Samples]) -> Result<(TrainingState, KnotEvent)> {
    let settings = &before.config.adaptation;
    let bounds = SlopeBounds::new(-before.config.model.rho, before.config.model.mu)?;
    let mut event = KnotEvent {
        step: before.progress.step,
        removed: 0,
        inserted: 0,
        knots: 0,
        largest: 0,
        rms_error: 0.0,
    };
    let (mut activations, mut moments) = (Vec::new(), Moments::new());
    let mut first = 0;
    for (spline, samples) in before.activations.iter().zip(samples) {
        let feasible = clip_slopes(spline, &bounds)?;
        let size = root_mean_square(&feasible, &samples.t);
        let budget = Budget {
            max_error: settings.max_error * size,
            max_knots: (settings.max_knots - settings.insert).min(spline.len()),
        };
        let mirrored: Vec<f64> = samples.t.iter().flat_map(|t| [*t, -t]).collect();
        let reduction = reduce(&feasible, &bounds, Some(&input_histogram(&feasible, &mirrored)), budget)?;
        let kept = &reduction.spline;
        let room = (settings.max_knots - kept.len()).min(settings.insert) / 2;
        let new = propose_knots(
            &right_half(kept)?,
            &samples.t,
            &samples.descent,
            &vec![1.0; samples.t.len()],
            room,
        )?;
        let pairs: Vec<f64> = new.iter().map(|t| f64::from(*t as f32)).flat_map(|t| [t, -t]).collect();
        let after = rounded(&insert_knots(&rounded(kept)?, &pairs)?)?;
        event.removed += spline.len() - kept.len();
        event.inserted += after.len() - kept.len();
        event.knots += after.len();
        event.largest = event.largest.max(after.len());
        if size > 0.0 {
            event.rms_error = event.rms_error.max(reduction.rms_error / size);
        }
        let old = &before.moments[1][first..first + spline.len()];
        moments.extend(after.knots().iter().map(|t| interpolated(spline.knots(), old, *t)));
        first += spline.len();
        activations.push(after);
    }
    let [filters, _, scalings] = before.moments.clone();
    let state = TrainingState {
        activations,
        moments: [filters, moments, scalings],
        ..before.clone()
    };
    Ok((state, event))
}

/// Root mean square of the values at `t`.
fn root_mean_square(spline: &Spline, t: &[f64]) -> f64 {
    let squares: f64 = t.iter().map(|t| spline.value(*t).powi(2)).sum();
    (squares / t.len().max(1) as f64).sqrt()
}

/// An antisymmetric spline to the right of 0.
fn right_half(spline: &Spline) -> Result<Spline> {
    let right = spline.knots().iter().copied().filter(|t| *t > 0.0);
    spline.resampled(&std::iter::once(0.0).chain(right).collect::<Vec<_>>())
}

/// Knots and values as f32 holds them: what is trained.
pub(crate) fn rounded(spline: &Spline) -> Result<Spline> {
    let round = |v: &[f64]| v.iter().map(|v| f64::from(*v as f32)).collect();
    Spline::new(round(spline.knots()), round(spline.values()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::{Gpu, GpuOptions};
    use crate::io::noise;
    use crate::train::data::{Batch, DataSettings};
    use crate::train::{ModelSettings, RidgeConfig, start_model};

    /// A filter that is still small keeps the bends of its activation: what knots may cost is relative to it.
    #[test]
    fn which_knots_go_does_not_depend_on_the_size_of_an_activation() {
        let mut config = RidgeConfig::default();
        config.model.filters = 2;
        config.model.size = 5;
        let mut state = TrainingState::start(&config, "none", &start_model(&config).unwrap());
        let bent = &state.activations[0];
        let small = bent.values().iter().map(|f| 1e-3 * f).collect();
        state.activations[1] = Spline::new(bent.knots().to_vec(), small).unwrap();
        let samples = Samples {
            t: (1..2000).map(|n| 1e-3 * f64::from(n)).collect(),
            descent: vec![0.0; 1999],
        };
        let (after, event) = adapted(&state, &[samples.clone(), samples]).unwrap();
        assert_eq!(after.activations[0].len(), after.activations[1].len());
        assert!(event.removed > 0 && after.activations[0].len() > 2, "{event:?}");
    }

    /// The pull of the samples on an antisymmetric pair of hats must be the gradient that the device sums with other kernels.
    #[test]
    fn samples_pull_as_the_gradient_does() {
        let gpu = Gpu::open(GpuOptions::default()).unwrap();
        for shared in [false, true] {
            let config = RidgeConfig {
                batch: 3,
                model: ModelSettings {
                    filters: 5,
                    size: 5,
                    start_knots: 8,
                    shared,
                    ..ModelSettings::default()
                },
                data: DataSettings {
                    patch: 13,
                    ..DataSettings::default()
                },
                ..RidgeConfig::default()
            };
            let state = TrainingState::start(&config, "noise", &start_model(&config).unwrap());
            let mut trainer = Trainer::new(&gpu, &state).unwrap();
            let clean: Vec<f32> = (0..3 * 169)
                .map(|n| if n % 13 > n / 13 % 13 { 0.7 } else { 0.3 })
                .collect();
            let noisy = clean
                .iter()
                .zip(noise::gaussian(1, 0, clean.len()))
                .map(|(c, n)| c + 0.05 * n);
            let patches = Batch {
                noisy: noisy.collect(),
                clean,
                sigmas: vec![0.05, 0.02, 0.1],
                first_sample: 0,
            };
            // Three steps, so that activations and responses differ from channel to channel.
            for _ in 0..3 {
                trainer.step(&patches).unwrap();
            }
            let gradient: Vec<f32> = gpu.read(trainer.hypergradient().gradient().activations()).unwrap();
            let mut first = 0;
            for (spline, samples) in trainer.activations().unwrap().iter().zip(trainer.samples().unwrap()) {
                let count = spline.len();
                let own: Vec<f64> = gradient[first..first + count].iter().map(|g| f64::from(*g)).collect();
                let largest = own.iter().fold(0.0_f64, |m, g| m.max(g.abs()));
                first += count;
                for n in count / 2..count {
                    // The odd function that is 1 at knot n, -1 at its mirror image and 0 at the others.
                    let pair =
                        (0..count).map(|m| f64::from(u8::from(m == n)) - f64::from(u8::from(m == count - 1 - n)));
                    let pair = Spline::new(spline.knots().to_vec(), pair.collect()).unwrap();
                    let pull: f64 = samples
                        .t
                        .iter()
                        .zip(&samples.descent)
                        .map(|(t, d)| d * pair.value(*t))
                        .sum();
                    let want = -(own[n] - own[count - 1 - n]);
                    assert!((pull - want).abs() < 1e-4 * largest, "knot {n}: {pull} against {want}");
                }
            }
        }
    }
}
