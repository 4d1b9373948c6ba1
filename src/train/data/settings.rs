//! How patches are cut and spoilt.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The largest side of a patch: batches of larger ones exceed what devices bind.
const MAX_PATCH: usize = 4096;

/// How training samples are made from a folder of images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataSettings {
    /// Side of the square patches, in pixels.
    pub patch: usize,
    /// Distance of neighbouring patches along rows and columns, in pixels.
    pub stride: usize,
    /// Factors in (0, 1] by which every image is resampled before patches are cut, each once.
    pub scales: Vec<f64>,
    /// Whether every sample is turned and mirrored at random, by one of the 8 symmetries of the square.
    pub augment: bool,
    /// The noise level of a sample is uniform between these, in units of the image range, and above 0.
    pub sigma: (f64, f64),
    /// Seed of everything that is random.
    pub seed: u64,
}

impl Default for DataSettings {
    fn default() -> Self {
        Self {
            patch: 40,
            stride: 10,
            scales: vec![1.0, 0.9, 0.8, 0.7],
            augment: true,
            sigma: (1.0 / 255.0, 30.0 / 255.0),
            seed: 1,
        }
    }
}

impl DataSettings {
    /// Whether the settings make sense.
    ///
    /// # Errors
    /// [`Error::Usage`] with the first that does not.
    pub fn check(&self) -> Result<()> {
        let refuse = |why: String| Err(Error::Usage(why));
        if !(1..=MAX_PATCH).contains(&self.patch) {
            return refuse(format!("patch {}: want a side of 1 to {MAX_PATCH} pixels", self.patch));
        }
        if self.stride == 0 {
            return refuse("stride 0: want 1 pixel or more between patches".into());
        }
        if self.scales.is_empty() {
            return refuse("scales are empty: want at least one factor, such as 1".into());
        }
        for (index, &scale) in self.scales.iter().enumerate() {
            if !(scale > 0.0 && scale <= 1.0) {
                return refuse(format!("scale {scale}: want factors above 0 and at most 1"));
            }
            if self.scales[..index].contains(&scale) {
                return refuse(format!("scale {scale} is listed twice: its patches would count double"));
            }
        }
        let (low, high) = self.sigma;
        // An upper end in counts of 255 is the likeliest mistake.
        if !(low >= 0.0 && low <= high && high > 0.0 && high <= 1.0) {
            return refuse(format!(
                "sigma from {low} to {high}: want an interval in units of the image range, 0 <= low <= high <= 1, high above \
                 0, such as 0 to 0.1"
            ));
        }
        Ok(())
    }
}
