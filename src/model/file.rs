//! Model files of ridge regularizers.
//!
//! Tensors: `filters.N` f32 (output, input, row, column) per layer; `activations` and `scaling`, splines.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::container::{self, Container, SCHEMA, Tensors};
use super::ridge::{Border, NormKind, Ridge, Scaling};
use crate::filters::{ConvLayer, FilterBank};
use crate::{Error, Result};

/// What `boundary` may be.
const ZERO: &str = "zero";
const LAYERWISE_ZERO: &str = "layerwise-zero";
const MIRROR: &str = "mirror";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    schema: u32,
    architecture: String,
    name: String,
    boundary: String,
    slope_bounds: (f64, f64),
    sigma_range: (f64, f64),
    scaling_epsilon: f64,
    norm_squared: f64,
    norm_kind: NormKind,
    provenance: serde_json::Value,
}

impl Ridge {
    /// Serialises the model. Equal models give equal bytes.
    ///
    /// # Errors
    /// [`Error::Data`] if the model is inconsistent.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        self.check()?;
        let description = Description {
            schema: SCHEMA,
            architecture: "ridge".into(),
            name: self.name.clone(),
            boundary: match (self.border, self.bank.layers()) {
                (Border::Mirror, _) => MIRROR,
                (Border::Zero, [_]) => ZERO,
                (Border::Zero, _) => LAYERWISE_ZERO,
            }
            .into(),
            slope_bounds: self.slope_bounds,
            sigma_range: self.sigma_range,
            scaling_epsilon: self.scaling.epsilon,
            norm_squared: self.norm_squared,
            norm_kind: self.norm_kind,
            provenance: self.provenance.clone(),
        };
        let mut tensors = Tensors::default();
        for (index, layer) in self.bank.layers().iter().enumerate() {
            let shape = vec![layer.outputs, layer.inputs, layer.size, layer.size];
            tensors.add_f32(&format!("filters.{index}"), shape, &layer.weights);
        }
        tensors.add_splines("activations", &self.activations);
        tensors.add_splines("scaling", &self.scaling.log);
        tensors.serialise(&description)
    }

    /// Writes the model file, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Output`]; [`Error::Data`] if the model is inconsistent.
    pub fn write(&self, path: &Path) -> Result<()> {
        container::write(path, &self.to_bytes()?)
    }

    /// Reads and checks a model file.
    ///
    /// # Errors
    /// [`Error::Input`] with the first thing that is wrong.
    pub fn read(path: &Path) -> Result<Self> {
        container::read(path, Self::from_bytes)
    }

    /// Parses and checks the bytes of a model file.
    ///
    /// # Errors
    /// [`Error::Data`] with the first thing that is wrong.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let file = Container::open(bytes)?;
        let description: Description = file.description("ridge", "a ridge regularizer")?;
        let mut layers = Vec::new();
        loop {
            let name = format!("filters.{}", layers.len());
            let Some(shape) = file.shape(&name) else { break };
            let [outputs, inputs, size, other] = shape[..] else {
                return Err(Error::Data(format!("tensor '{name}' is no 4-dimensional filter")));
            };
            if size != other {
                return Err(Error::Data(format!(
                    "tensor '{name}': filters of {size} x {other}, want square ones"
                )));
            }
            layers.push(
                ConvLayer::new(inputs, outputs, size, file.f32s(&name)?)
                    .map_err(|e| Error::Data(format!("tensor '{name}': {e}")))?,
            );
        }
        let border = match description.boundary.as_str() {
            ZERO | LAYERWISE_ZERO => Border::Zero,
            MIRROR => Border::Mirror,
            other => return Err(Error::Data(format!("no boundary is called '{other}'"))),
        };
        let model = Self {
            border,
            bank: FilterBank::new(layers)?,
            activations: file.splines("activations")?,
            scaling: Scaling {
                log: file.splines("scaling")?,
                epsilon: description.scaling_epsilon,
            },
            slope_bounds: description.slope_bounds,
            sigma_range: description.sigma_range,
            norm_squared: description.norm_squared,
            norm_kind: description.norm_kind,
            name: description.name,
            provenance: description.provenance,
        };
        model.check()?;
        Ok(model)
    }
}
