//! A model of any kind that a command takes by file or by name.

use std::path::Path;

use crate::Result;
use crate::layered::{Layered, file::ARCHITECTURE};
use crate::model::container::{self, Container};
use crate::model::{Ridge, SHIPPED, Shipped};

/// A regularizer or a network of layers.
pub(super) enum AnyModel {
    /// Denoises by minimising an energy.
    Ridge(Box<Ridge>),
    /// Denoises by being applied.
    Layered(Box<Layered>),
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
        container::read(path, |bytes| match Container::open(bytes)?.architecture() {
            ARCHITECTURE => Ok(Self::Layered(Box::new(Layered::from_bytes(bytes)?))),
            _ => Ok(Self::Ridge(Box::new(Ridge::from_bytes(bytes)?))),
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Ridge(model) => &model.name,
            Self::Layered(model) => &model.name,
        }
    }
}
