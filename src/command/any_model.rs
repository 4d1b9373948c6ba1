//! A model of any kind that a command takes by file or by name.

use std::path::Path;

use serde_json::Value;

use crate::Result;
use crate::flow::{ARCHITECTURE as FLOW, Flow};
use crate::layered::{Layered, file::ARCHITECTURE};
use crate::model::container::{self, Container};
use crate::model::{Ridge, SHIPPED, Shipped};
use crate::report::certificate;

/// A regularizer, a network of layers or a flow.
pub(super) enum AnyModel {
    /// Denoises by minimising an energy.
    Ridge(Box<Ridge>),
    /// Denoises by being applied.
    Layered(Box<Layered>),
    /// A density of points, not of images.
    Flow(Box<Flow>),
}

impl AnyModel {
    /// The model in the file `path`, or the shipped one of that name; `default` is a regularizer.
    ///
    /// # Errors
    /// [`crate::Error::Input`] with the first thing that is wrong with the file.
    pub fn open(path: &Path) -> Result<Self> {
        let name = path.to_str().unwrap_or_default();
        if !path.exists() && (name == "default" || SHIPPED.iter().any(|s| s.name == name)) {
            return Ok(Self::Ridge(Box::new(Shipped::or_file(path)?)));
        }
        if !path.exists() && Layered::is_shipped(name) {
            return Ok(Self::Layered(Box::new(Layered::shipped_or_file(path)?)));
        }
        if !path.exists() && Flow::is_shipped(name) {
            return Ok(Self::Flow(Box::new(Flow::shipped_or_file(path)?)));
        }
        container::read(path, |bytes| match Container::open(bytes)?.architecture() {
            FLOW => Ok(Self::Flow(Box::new(Flow::from_bytes(bytes)?))),
            ARCHITECTURE => Ok(Self::Layered(Box::new(Layered::from_bytes(bytes)?))),
            _ => Ok(Self::Ridge(Box::new(Ridge::from_bytes(bytes)?))),
        })
    }

    /// Where it came from.
    pub fn provenance(&self) -> &Value {
        match self {
            Self::Ridge(model) => &model.provenance,
            Self::Layered(model) => &model.provenance,
            Self::Flow(model) => &model.provenance,
        }
    }

    /// What is guaranteed about it, for a regularizer with weight `lambda`.
    pub fn certificate(&self, lambda: f64) -> Value {
        match self {
            Self::Ridge(model) => certificate(model, lambda),
            Self::Layered(model) => model.certificate(),
            Self::Flow(model) => serde_json::to_value(model.certificate()).unwrap_or_default(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Ridge(model) => &model.name,
            Self::Layered(model) => &model.name,
            Self::Flow(model) => &model.name,
        }
    }
}
