//! Everything that a training of a flow needs to go on, and its file.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::config::FlowConfig;
use super::device::ROUNDINGS;
use super::file::{add_parts, read_parts};
use super::model::Flow;
use crate::model::container::{self, Container, SCHEMA, Tensors};
use crate::train::{AdamClock, Moments};
use crate::{Error, Result};

const ARCHITECTURE: &str = "flow-training";

/// The state of a training between two steps. What a step does depends on this and the data only.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowState {
    /// The configuration.
    pub config: FlowConfig,
    /// What the data were, see [`super::FlowData::hash`].
    pub data: String,
    /// The flow as it is on the device.
    pub flow: Flow,
    /// Adam's moments (m, v) of nodal values, then of (tau, shift) per layer.
    pub moments: Moments,
    /// Counters.
    pub progress: FlowProgress,
}

/// The counters of a training.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowProgress {
    /// Steps done.
    pub step: u64,
    /// Adam's `beta1^step`.
    pub decay1: f32,
    /// Adam's `beta2^step`.
    pub decay2: f32,
    /// Least negative log-likelihood of held-out points so far, and its step.
    pub best: Option<(f64, u64)>,
    /// Seconds spent so far.
    pub seconds: f64,
}

impl FlowProgress {
    /// Before the first step.
    pub fn start() -> Self {
        Self {
            step: 0,
            decay1: 1.0,
            decay2: 1.0,
            best: None,
            seconds: 0.0,
        }
    }

    pub(super) fn clock(&self) -> AdamClock {
        AdamClock {
            step: self.step as u32,
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
    config: FlowConfig,
    data: String,
    mean: Vec<f64>,
    scale: Vec<f64>,
    progress: FlowProgress,
}

impl FlowState {
    /// The state before the first step of `flow`, with all moments 0.
    pub fn start(config: &FlowConfig, data: &str, flow: Flow) -> Self {
        let parameters = flow.splines().map(|s| s.len()).sum::<usize>() + 2 * flow.layers();
        Self {
            config: config.clone(),
            data: data.into(),
            flow,
            moments: vec![[0.0; 2]; parameters],
            progress: FlowProgress::start(),
        }
    }

    /// Serialises the state. Equal states give equal bytes.
    ///
    /// # Errors
    /// [`Error::Internal`].
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut tensors = Tensors::default();
        add_parts(&mut tensors, &self.flow);
        tensors.add_f32("moments", vec![self.moments.len(), 2], self.moments.as_flattened());
        tensors.serialise(&Description {
            schema: SCHEMA,
            architecture: ARCHITECTURE.into(),
            config: self.config.clone(),
            data: self.data.clone(),
            mean: self.flow.mean.clone(),
            scale: self.flow.scale.clone(),
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
        let description: Description = file.description(ARCHITECTURE, "the checkpoint of a flow's training")?;
        let config = description.config;
        config.check()?;
        let mut flow = Flow {
            name: config.name.clone(),
            mean: description.mean,
            scale: description.scale,
            frames: Vec::new(),
            slopes: Vec::new(),
            shears: Vec::new(),
            slope_bounds: config.slope_bounds()?,
            shear_bound: config.model.shear,
            provenance: serde_json::Value::Null,
        };
        read_parts(&file, &mut flow)?;
        flow.check_within(ROUNDINGS)?;
        let moments = file.f32s("moments")?;
        let expected = Self::start(&config, "", flow.clone()).moments.len();
        if moments.len() != 2 * expected || flow.layers() != config.model.layers {
            return Err(Error::Data("the parts of the checkpoint do not fit each other".into()));
        }
        if moments.iter().any(|m| !m.is_finite()) {
            return Err(Error::Data(
                "the checkpoint holds moments that are not finite; take another one".into(),
            ));
        }
        Ok(Self {
            config,
            data: description.data,
            flow,
            moments: moments.as_chunks::<2>().0.to_vec(),
            progress: description.progress,
        })
    }
}
