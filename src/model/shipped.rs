//! The models that come with the program.

use std::path::Path;

use super::Ridge;
use crate::Result;

/// A model inside the program.
#[derive(Clone, Copy, Debug)]
pub struct Shipped {
    /// What it is asked for by.
    pub name: &'static str,
    bytes: &'static [u8],
}

macro_rules! shipped {
    ($($name:literal),* $(,)?) => {
        &[$(Shipped {
            name: $name,
            bytes: include_bytes!(concat!("../../assets/models/", $name, ".safetensors")),
        }),*]
    };
}

/// All of them, trained up to sigma 30/255 unless said otherwise: weakly convex, 64 filters of 9x9, the 48 from which that training started,
/// and the 24 of 7x7 from which theirs did; convex, 48 filters of 9x9, 44 that came from the weakly convex ones and denoise the test images better, and the 32 from which the 48 started; convex, 24 cosines of 5x5, not trained, for any noise level; the
/// small weakly convex one trained further on phantoms, for images like them.
pub const SHIPPED: &[Shipped] = shipped![
    "wcrr-64",
    "wcrr-48",
    "wcrr-small",
    "crr-48",
    "crr-44",
    "crr-32",
    "dct5",
    "wcrr-phantom"
];

/// What reconstructions use where none is named, but for inpainting.
pub const DENOISING: &Shipped = &SHIPPED[0];

/// What inpainting uses, and where sharpening starts with a weakly convex model: where a measurement does not see everything, responses may
/// grow far beyond those of noisy images, and a weakly convex regularizer may reward them for growing on. A convex one never does.
pub const CONVEX: &Shipped = &SHIPPED[3];

/// What is used for noise levels beyond the range of the trained ones.
const ANY_LEVEL: &Shipped = &SHIPPED[6];

/// A BLAKE3 hash of all of them, in hexadecimal: what tells two programs of one version apart.
pub fn shipped_hash() -> String {
    let mut hasher = blake3::Hasher::new();
    for model in SHIPPED {
        hasher.update(blake3::hash(model.bytes).as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

impl Shipped {
    /// Parses the model.
    ///
    /// # Errors
    /// [`crate::Error::Data`], which would be a defect of this program.
    pub fn model(&self) -> Result<Ridge> {
        Ridge::from_bytes(self.bytes)
    }

    /// The model at `path`: a file, or the name of a shipped model if there is no such file; `default` is [`DENOISING`].
    ///
    /// # Errors
    /// As [`Ridge::read`].
    pub fn or_file(path: &Path) -> Result<Ridge> {
        let name = path.to_str().filter(|_| !path.exists());
        match SHIPPED.iter().find(|s| Some(s.name) == name) {
            Some(shipped) => shipped.model(),
            None if name == Some("default") => DENOISING.model(),
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
            "sigma {sigma:.4} is beyond {:.4}, up to which '{}' was trained: '{}' is used, which is not trained",
            first.sigma_range.1,
            first.name,
            ANY_LEVEL.name
        );
        ANY_LEVEL.model()
    }
}
