//! The models that come with the program.

use std::path::Path;

use super::Ridge;
use crate::{Error, Result};

/// A model inside the program.
#[derive(Clone, Copy, Debug)]
pub struct Shipped {
    /// What it is asked for by.
    pub name: &'static str,
    /// What it is, in a few words.
    pub what: &'static str,
    bytes: &'static [u8],
}

macro_rules! shipped {
    ($($name:literal: $what:literal),* $(,)?) => {
        &[$(Shipped {
            name: $name,
            what: $what,
            bytes: include_bytes!(concat!("../../assets/models/", $name, ".safetensors")),
        }),*]
    };
}

/// All of them; the first is what is used where none is named.
pub const SHIPPED: &[Shipped] = shipped![
    "wcrr-small": "weakly convex, 24 trained filters of 7x7, up to sigma 30/255",
    "crr-small": "convex, the same shape",
    "dct5": "convex, 24 cosines of 5x5, not trained, any sigma",
];

/// What denoising uses where none is named.
pub const DENOISING: &Shipped = &SHIPPED[0];

/// What other reconstructions use: where a measurement does not see everything, responses grow far beyond those of noisy images,
/// and a weakly convex regularizer may reward them for growing on. A convex one never does.
pub const CONVEX: &Shipped = &SHIPPED[1];

/// The one for noise levels beyond the range of the first.
const ANY_LEVEL: &str = "dct5";

impl Shipped {
    /// Parses the model.
    ///
    /// # Errors
    /// [`Error::Data`], which would be a defect of this program.
    pub fn model(&self) -> Result<Ridge> {
        Ridge::from_bytes(self.bytes)
    }

    /// The shipped model called `name`.
    ///
    /// # Errors
    /// [`Error::Usage`] that lists the names.
    pub fn named(name: &str) -> Result<&'static Self> {
        let names = || SHIPPED.iter().map(|s| s.name).collect::<Vec<_>>().join(", ");
        let found = SHIPPED.iter().find(|s| s.name == name);
        found.ok_or_else(|| Error::Usage(format!("no shipped model is called '{name}': there are {}", names())))
    }

    /// The model at `path`: a file, or the name of a shipped model if there is no such file; `default` is the first.
    ///
    /// # Errors
    /// As [`Ridge::read`].
    pub fn or_file(path: &Path) -> Result<Ridge> {
        let name = path.to_str().filter(|_| !path.exists());
        match SHIPPED.iter().find(|s| Some(s.name) == name) {
            Some(shipped) => shipped.model(),
            None if name == Some("default") => SHIPPED[0].model(),
            None => Ridge::read(path),
        }
    }

    /// What is used for noise of `sigma` where no model is named: `choice`, or the cosine model `dct5` beyond its range.
    ///
    /// # Errors
    /// As [`Self::model`].
    pub fn for_level(choice: &Self, sigma: f64) -> Result<Ridge> {
        let first = choice.model()?;
        if sigma <= first.sigma_range.1 {
            return Ok(first);
        }
        log::warn!(
            "sigma {sigma:.4} is beyond {:.4}, up to which '{}' was trained: '{ANY_LEVEL}' is used, which is not trained",
            first.sigma_range.1,
            first.name
        );
        Self::named(ANY_LEVEL)?.model()
    }
}
