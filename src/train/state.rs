//! Everything that a training needs to go on, and its file.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{AdamClock, RidgeConfig};
use crate::filters::{ConvLayer, FilterBank};
use crate::model::container::{self, Container, SCHEMA, Tensors};
use crate::model::{Border, NormKind, Ridge, Scaling};
use crate::spline::Spline;
use crate::{Error, Result};

/// Refused steps in a row after which training gives up.
const MOST_REFUSED: u64 = 10;

/// Adam's moments (m, v) per parameter.
pub type Moments = Vec<[f32; 2]>;

/// The state of a training between two steps: parameters as they are trained (filters before mean and norm are taken away),
/// the optimiser's memory, and counters. What a step does depends on this, the configuration and the data only.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingState {
    /// The configuration.
    pub config: RidgeConfig,
    /// What the data were, see [`super::data::Corpus::hash`].
    pub data: String,
    /// Filters, (layer, output, input, row, column).
    pub weights: Vec<f32>,
    /// Activations, with knots and values that are f32.
    pub activations: Vec<Spline>,
    /// Logarithms of the scalings, the same.
    pub scalings: Vec<Spline>,
    /// Moments of the three groups; those of the filters belong to their coefficients in the basis of cosines.
    pub moments: [Moments; 3],
    /// Counters.
    pub progress: Progress,
}

/// The counters of a training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// Steps done, refused ones included.
    pub step: u64,
    /// Steps refused because something was not finite.
    pub refused: u64,
    /// Refused steps since the last that was not.
    pub refused_in_a_row: u64,
    /// Optimiser's steps.
    pub moves: u32,
    /// Its `beta1^moves`.
    pub decay1: f32,
    /// Its `beta2^moves`.
    pub decay2: f32,
    /// Best mean PSNR of a validation so far, and its step.
    pub best: Option<(f64, u64)>,
    /// Seconds spent so far.
    pub seconds: f64,
}

impl Progress {
    /// Before the first step.
    pub fn start() -> Self {
        Self {
            decay1: 1.0,
            decay2: 1.0,
            ..Self::default()
        }
    }

    /// Counts a step that was taken or refused.
    ///
    /// # Errors
    /// [`Error::Diverged`] after too many refused ones in a row.
    pub(crate) fn count(&mut self, taken: bool) -> Result<()> {
        self.step += 1;
        if taken {
            self.refused_in_a_row = 0;
        } else {
            self.refused += 1;
            self.refused_in_a_row += 1;
        }
        if self.refused_in_a_row < MOST_REFUSED {
            return Ok(());
        }
        Err(Error::Diverged(format!(
            "{MOST_REFUSED} steps in a row were not finite, up to step {}; lower the learning rates and resume from the last checkpoint",
            self.step
        )))
    }

    /// Remembers `psnr` of the present step if it is the best so far; whether it is.
    pub(crate) fn note_validation(&mut self, psnr: f64) -> bool {
        let better = self.best.is_none_or(|(best, _)| psnr > best);
        if better {
            self.best = Some((psnr, self.step));
        }
        better
    }

    pub(crate) fn clock(&self) -> AdamClock {
        AdamClock {
            step: self.moves,
            decay1: self.decay1,
            decay2: self.decay2,
            ..AdamClock::start()
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    schema: u32,
    architecture: String,
    config: RidgeConfig,
    data: String,
    progress: Progress,
}

const ARCHITECTURE: &str = "ridge-training";
const GROUPS: [&str; 3] = ["moments.cosines", "moments.values", "moments.scalings"];

impl TrainingState {
    /// The state before the first step, with all moments 0.
    pub fn start(config: &RidgeConfig, data: &str, model: &Ridge) -> Self {
        let weights: Vec<f32> = model
            .bank
            .layers()
            .iter()
            .flat_map(|l| l.weights.iter().copied())
            .collect();
        let count = |splines: &[Spline]| splines.iter().map(Spline::len).sum();
        let zeros = |count: usize| vec![[0.0; 2]; count];
        Self {
            config: config.clone(),
            data: data.into(),
            moments: [
                zeros(weights.len()),
                zeros(count(&model.activations)),
                zeros(count(&model.scaling.log)),
            ],
            weights,
            activations: model.activations.clone(),
            scalings: model.scaling.log.clone(),
            progress: Progress::start(),
        }
    }

    /// The parameters in the shape of a regularizer; its filters are those before mean and norm are taken away.
    ///
    /// # Errors
    /// [`Error::Data`] if the parts do not fit the configuration.
    pub fn raw_model(&self) -> Result<Ridge> {
        let model = &self.config.model;
        let mut rest = self.weights.as_slice();
        let layers = model.layers().into_iter().map(|[inputs, outputs]| {
            let (own, behind) = rest.split_at((inputs * outputs * model.size.pow(2)).min(rest.len()));
            rest = behind;
            ConvLayer::new(inputs, outputs, model.size, own.to_vec())
        });
        let bank = FilterBank::new(layers.collect::<Result<_>>()?)?;
        if !rest.is_empty() {
            return Err(Error::Data(format!("{} weights belong to no filter", rest.len())));
        }
        Ok(Ridge {
            bank,
            activations: self.activations.clone(),
            scaling: Scaling {
                log: self.scalings.clone(),
                epsilon: super::start::EPSILON,
            },
            slope_bounds: (-model.rho, model.mu),
            sigma_range: (0.0, model.sigma_max),
            norm_squared: 1.0,
            norm_kind: NormKind::Estimate,
            border: match self.config.objective.margin {
                0 => Border::Zero,
                _ => Border::Mirror,
            },
            name: self.config.name.clone(),
            provenance: serde_json::Value::Null,
        })
    }

    /// Serialises the state. Equal states give equal bytes.
    ///
    /// # Errors
    /// [`Error::Internal`].
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut tensors = Tensors::default();
        tensors.add_f32("weights", vec![self.weights.len()], &self.weights);
        tensors.add_splines("activations", &self.activations);
        tensors.add_splines("scalings", &self.scalings);
        for (name, moments) in GROUPS.iter().zip(&self.moments) {
            tensors.add_f32(name, vec![moments.len(), 2], moments.as_flattened());
        }
        tensors.serialise(&Description {
            schema: SCHEMA,
            architecture: ARCHITECTURE.into(),
            config: self.config.clone(),
            data: self.data.clone(),
            progress: self.progress,
        })
    }

    /// Writes the state, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Output`].
    pub fn write(&self, path: &Path) -> Result<()> {
        container::write(path, &self.to_bytes()?)
    }

    /// Reads and checks a state.
    ///
    /// # Errors
    /// [`Error::Input`] with the first thing that is wrong.
    pub fn read(path: &Path) -> Result<Self> {
        container::read(path, Self::from_bytes)
    }

    /// Parses and checks the bytes of a state.
    ///
    /// # Errors
    /// [`Error::Data`] with the first thing that is wrong.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let file = Container::open(bytes)?;
        let description: Description = file.description(ARCHITECTURE, "the checkpoint of a training")?;
        description.config.check()?;
        if file.shape("moments.filters").is_some() {
            return Err(Error::Data(
                "the checkpoint of a program whose filters had no cosine coefficients; finish with that program, or start \
                 anew from the model it wrote: [model] start = \"model.safetensors\""
                    .into(),
            ));
        }
        let pairs = |name: &&str| file.f32s(name).map(|m| m.as_chunks::<2>().0.to_vec());
        let moments = GROUPS.iter().map(pairs).collect::<Result<Vec<_>>>()?;
        let state = Self {
            config: description.config,
            data: description.data,
            weights: file.f32s("weights")?,
            activations: file.splines("activations")?,
            scalings: file.splines("scalings")?,
            moments: moments.try_into().map_err(|_| Error::Internal("three groups".into()))?,
            progress: description.progress,
        };
        state.check()?;
        Ok(state)
    }

    fn check(&self) -> Result<()> {
        self.raw_model()?;
        let entries = |splines: &[Spline]| splines.iter().map(Spline::len).sum::<usize>();
        let model = &self.config.model;
        let fits = self.moments[0].len() == self.weights.len()
            && self.moments[1].len() == entries(&self.activations)
            && self.moments[2].len() == entries(&self.scalings)
            && self.activations.len() == if model.shared { 1 } else { model.filters }
            && self.scalings.len() == model.filters;
        let finite = self.moments.iter().flatten().flatten().all(|m| m.is_finite());
        match (fits, finite) {
            (true, true) => Ok(()),
            (false, _) => Err(Error::Data("the parts of the checkpoint do not fit each other".into())),
            (_, false) => Err(Error::Data("the checkpoint holds moments that are not finite".into())),
        }
    }
}
