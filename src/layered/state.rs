//! Everything that a training of a network needs to go on, and its file.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::config::LayeredConfig;
use super::model::Layered;
use super::start::start_model;
use crate::model::container::{self, Container, SCHEMA, Tensors};
use crate::train::{Moments, Progress};
use crate::{Error, Result};

/// The state of a training between two steps.
#[derive(Clone, Debug, PartialEq)]
pub struct LayeredState {
    /// The configuration.
    pub config: LayeredConfig,
    /// What the data were, see [`crate::train::data::Corpus::hash`].
    pub data: String,
    /// The parameters; filters are those before their norm is divided out.
    pub raw: Layered,
    /// Logarithms of the scalings as they are trained, set by set, which the scalings in [`Self::raw`] are rounded from.
    pub logs: Vec<Vec<f32>>,
    /// The optimiser's moments, group by group; empty before the first step.
    pub moments: Vec<Moments>,
    /// Counters.
    pub progress: Progress,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    schema: u32,
    architecture: String,
    config: LayeredConfig,
    data: String,
    groups: usize,
    progress: Progress,
}

const ARCHITECTURE: &str = "layered-training";

impl LayeredState {
    /// The state before the first step.
    ///
    /// # Errors
    /// As [`LayeredConfig::check`].
    pub fn start(config: &LayeredConfig, data: &str) -> Result<Self> {
        let raw = start_model(config)?;
        Ok(Self {
            config: config.clone(),
            data: data.into(),
            logs: raw.scalings.iter().map(|set| vec![0.0; set.len()]).collect(),
            raw,
            moments: Vec::new(),
            progress: Progress::start(),
        })
    }

    /// Serialises the state. Equal states give equal bytes.
    ///
    /// # Errors
    /// [`Error::Internal`].
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut tensors = Tensors::default();
        self.raw.add_to(&mut tensors);
        for (set, logs) in self.logs.iter().enumerate() {
            tensors.add_f32(&format!("logs.{set}"), vec![logs.len()], logs);
        }
        for (group, moments) in self.moments.iter().enumerate() {
            tensors.add_f32(
                &format!("moments.{group}"),
                vec![moments.len(), 2],
                moments.as_flattened(),
            );
        }
        tensors.serialise(&Description {
            schema: SCHEMA,
            architecture: ARCHITECTURE.into(),
            config: self.config.clone(),
            data: self.data.clone(),
            groups: self.moments.len(),
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
        let mut raw = start_model(&description.config)?;
        let shapes: Vec<_> = raw.filters.iter().map(|l| l.shape()).collect();
        let channels: Vec<usize> = raw.shifts.iter().map(Vec::len).collect();
        raw.take_from(&file)?;
        let logs = (0..channels.len()).map(|set| file.f32s(&format!("logs.{set}")));
        let moments = (0..description.groups).map(|group| {
            let flat = file.f32s(&format!("moments.{group}"))?;
            Ok(flat.as_chunks::<2>().0.to_vec())
        });
        let state = Self {
            logs: logs.collect::<Result<_>>()?,
            moments: moments.collect::<Result<_>>()?,
            config: description.config,
            data: description.data,
            raw,
            progress: description.progress,
        };
        let same = state.raw.filters.iter().map(|l| l.shape()).eq(shapes)
            && state.raw.shifts.iter().map(Vec::len).eq(channels.iter().copied())
            && state.raw.activations.iter().map(Vec::len).eq(channels.iter().copied())
            && state.logs.iter().map(Vec::len).eq(channels.iter().copied());
        let finite = state.logs.iter().flatten().all(|v| v.is_finite())
            && state.raw.shifts.iter().flatten().all(|v| v.is_finite())
            && state.moments.iter().flatten().flatten().all(|v| v.is_finite());
        match (same, finite) {
            (true, true) => Ok(state),
            (false, _) => Err(Error::Data("the parts of the checkpoint do not fit each other".into())),
            (_, false) => Err(Error::Data("the checkpoint holds numbers that are not finite".into())),
        }
    }
}
