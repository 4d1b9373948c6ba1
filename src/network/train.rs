//! The schedule of a training: steps, knot adaptation, progress.

use super::adapt::{Adaptation, AdaptationEvent, adapt};
use super::ensemble::Ensemble;
use crate::{Error, Result};

/// Steps recorded between two looks at the losses.
const STEPS_PER_LOOK: usize = 100;

/// When what happens.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Schedule {
    /// Training steps in all.
    pub steps: usize,
    /// How knots are adapted; `None` keeps them.
    pub adaptation: Option<Adaptation>,
    /// Steps between two adaptations.
    pub interval: usize,
    /// Step after which knots stay.
    pub last_adaptation: usize,
}

/// What a look at the training shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// Steps taken.
    pub step: usize,
    /// Mean squared error per member.
    pub losses: Vec<f32>,
    /// The adaptation that took place at this step.
    pub event: Option<AdaptationEvent>,
}

/// Trains to the end of the schedule and returns the adaptations that took place.
///
/// # Errors
/// [`Error::Usage`] for an interval of 0 or fewer than 4 knots; [`Error::Diverged`] if a loss is not finite; device errors.
pub fn train(
    ensemble: &Ensemble<'_>,
    schedule: &Schedule,
    mut report: impl FnMut(&Progress),
) -> Result<Vec<AdaptationEvent>> {
    if let Some(adaptation) = &schedule.adaptation {
        let fits = (4..=ensemble.layout().slots).contains(&adaptation.max_knots);
        if schedule.interval == 0 || !fits || adaptation.insert + 3 > adaptation.max_knots {
            return Err(Error::Usage(format!(
                "knots are adapted every 1 or more steps, with 4 to {} knots of which at most all but 3 are new, not {schedule:?}",
                ensemble.layout().slots
            )));
        }
    }
    let mut events = Vec::new();
    let mut step = 0;
    while step < schedule.steps {
        let adaptation = schedule.adaptation.filter(|_| step < schedule.last_adaptation);
        let next_event = match adaptation {
            Some(_) => (step / schedule.interval + 1) * schedule.interval,
            None => usize::MAX,
        };
        let until = next_event.min(schedule.steps).min(step + STEPS_PER_LOOK);
        let mut recorder = ensemble.gpu().record();
        for _ in step..until {
            ensemble.record_step(&mut recorder);
        }
        recorder.submit();
        drop(recorder);
        step = until;
        let losses = ensemble.losses()?;
        let mut event = None;
        if let Some(adaptation) = adaptation.filter(|_| step == next_event) {
            let happened = adapt(ensemble, &adaptation, step)?;
            log::info!("{happened:?}");
            events.push(happened);
            event = Some(happened);
        }
        report(&Progress { step, losses, event });
    }
    Ok(events)
}
