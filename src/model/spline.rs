//! A single spline as a model file: what `train fit` writes.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::container::{self, Container, SCHEMA, Tensors};
use crate::spline::{SlopeBounds, Spline};
use crate::{Error, Result};

/// Slopes that are computed from stored values may lie outside the bounds by this part of the largest slope.
const ROUNDING: f64 = 1e-6;

/// A spline inside slope bounds.
#[derive(Clone, Debug, PartialEq)]
pub struct SplineModel {
    /// The function.
    pub spline: Spline,
    /// The bounds that its slopes keep.
    pub bounds: SlopeBounds,
    /// How it came about.
    pub provenance: serde_json::Value,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    schema: u32,
    architecture: String,
    /// As text, because JSON has no infinity.
    slope_bounds: String,
    provenance: serde_json::Value,
}

impl SplineModel {
    /// Writes the model file, whole or not at all. Equal models give equal bytes.
    ///
    /// # Errors
    /// [`Error::Output`].
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut tensors = Tensors::default();
        tensors.add_splines("spline", std::slice::from_ref(&self.spline));
        let description = Description {
            schema: SCHEMA,
            architecture: "spline".into(),
            slope_bounds: self.bounds.to_string(),
            provenance: self.provenance.clone(),
        };
        container::write(path, &tensors.serialise(&description)?)
    }

    /// Reads and checks a model file.
    ///
    /// # Errors
    /// [`Error::Input`] with the first thing that is wrong.
    pub fn read(path: &Path) -> Result<Self> {
        container::read(path, |bytes| {
            let file = Container::open(bytes)?;
            let description: Description = file.description("spline", "a single spline")?;
            let bounds: SlopeBounds = description.slope_bounds.parse()?;
            let mut splines = file.splines("spline")?;
            let (Some(spline), true) = (splines.pop(), splines.is_empty()) else {
                return Err(Error::Data("the model does not hold exactly one spline".into()));
            };
            let (low, high) = spline.slope_range();
            if let Some(violation) = bounds.violation(&spline)
                && violation.excess > ROUNDING * low.abs().max(high.abs())
            {
                return Err(Error::Data(format!(
                    "slope {} of segment {} is outside the bounds {bounds} that the model states",
                    violation.slope, violation.segment
                )));
            }
            Ok(Self {
                spline,
                bounds,
                provenance: description.provenance,
            })
        })
    }
}
