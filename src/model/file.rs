//! Model files: safetensors with a checked JSON description in the metadata entry `knotwork`.
//!
//! Tensors: `filters.N` f32 (output, input, row, column) per layer; `activations.knots`, `activations.values` f64, all
//! splines behind each other, `activations.counts` u32; `scaling.knots`, `scaling.values`, `scaling.counts` likewise.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use safetensors::{Dtype, SafeTensors, View};
use serde::{Deserialize, Serialize};

use super::ridge::{NormKind, Ridge, Scaling};
use crate::filters::{ConvLayer, FilterBank};
use crate::io::atomic::write_atomically;
use crate::io::input;
use crate::spline::Spline;
use crate::{Error, Result};

/// Version of the layout; readers refuse others.
pub const SCHEMA: u32 = 1;

/// Largest model file read; real ones have some hundred kilobytes.
const MAX_BYTES: u64 = 1 << 30;

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

struct Owned {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl View for Owned {
    fn dtype(&self) -> Dtype {
        self.dtype
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }
    fn data_len(&self) -> usize {
        self.bytes.len()
    }
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
            boundary: if self.bank.layers().len() == 1 {
                "zero"
            } else {
                "layerwise-zero"
            }
            .into(),
            slope_bounds: self.slope_bounds,
            sigma_range: self.sigma_range,
            scaling_epsilon: self.scaling.epsilon,
            norm_squared: self.norm_squared,
            norm_kind: self.norm_kind,
            provenance: self.provenance.clone(),
        };
        let text = serde_json::to_string(&description).map_err(|e| Error::Internal(e.to_string()))?;
        let mut tensors = Vec::new();
        for (index, layer) in self.bank.layers().iter().enumerate() {
            let shape = vec![layer.outputs, layer.inputs, layer.size, layer.size];
            let bytes = layer.weights.iter().flat_map(|w| w.to_le_bytes()).collect();
            tensors.push((
                format!("filters.{index}"),
                Owned {
                    dtype: Dtype::F32,
                    shape,
                    bytes,
                },
            ));
        }
        for (name, splines) in [("activations", &self.activations), ("scaling", &self.scaling.log)] {
            let concat = |part: fn(&Spline) -> &[f64]| Owned {
                dtype: Dtype::F64,
                shape: vec![splines.iter().map(Spline::len).sum()],
                bytes: splines.iter().flat_map(part).flat_map(|v| v.to_le_bytes()).collect(),
            };
            let counts = Owned {
                dtype: Dtype::U32,
                shape: vec![splines.len()],
                bytes: splines.iter().flat_map(|s| (s.len() as u32).to_le_bytes()).collect(),
            };
            tensors.push((format!("{name}.knots"), concat(Spline::knots)));
            tensors.push((format!("{name}.values"), concat(Spline::values)));
            tensors.push((format!("{name}.counts"), counts));
        }
        let metadata = HashMap::from([("knotwork".to_owned(), text)]);
        safetensors::serialize(tensors, Some(metadata)).map_err(|e| Error::Internal(e.to_string()))
    }

    /// Writes the model file, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Output`]; [`Error::Data`] if the model is inconsistent.
    pub fn write(&self, path: &Path) -> Result<()> {
        use std::io::Write;
        let bytes = self.to_bytes()?;
        write_atomically(path, |file| file.write_all(&bytes))
    }

    /// Reads and checks a model file.
    ///
    /// # Errors
    /// [`Error::Input`] with the first thing that is wrong.
    pub fn read(path: &Path) -> Result<Self> {
        let (_, size) = input::open(path)?;
        if size > MAX_BYTES {
            return Err(Error::input(
                path,
                format!("{} MiB is no model file; name another", size >> 20),
            ));
        }
        let bytes = input::read_bytes(path)?;
        Self::from_bytes(&bytes).map_err(|e| match e {
            Error::Data(why) => Error::input(path, why),
            other => other,
        })
    }

    /// Parses and checks the bytes of a model file.
    ///
    /// # Errors
    /// [`Error::Data`] with the first thing that is wrong.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let damaged = |e: String| {
            Error::Data(format!(
                "not a readable model file ({e}); it may be truncated, fetch it again"
            ))
        };
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|e| damaged(e.to_string()))?;
        let tensors = SafeTensors::deserialize(bytes).map_err(|e| damaged(e.to_string()))?;
        let text = metadata
            .metadata()
            .as_ref()
            .and_then(|m| m.get("knotwork"))
            .ok_or_else(|| {
                Error::Data("a safetensors file, but no knotwork model; convert checkpoints with `train import`".into())
            })?;
        check_schema(text)?;
        let description: Description =
            serde_json::from_str(text).map_err(|e| Error::Data(format!("model description: {e}")))?;
        if description.architecture != "ridge" {
            return Err(Error::Data(format!(
                "a '{}' model, want a ridge regularizer",
                description.architecture
            )));
        }
        let file = File(&tensors);
        let mut layers = Vec::new();
        while let Ok(view) = tensors.tensor(&format!("filters.{}", layers.len())) {
            let name = format!("filters.{}", layers.len());
            let [outputs, inputs, size, other] = view.shape()[..] else {
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
        let model = Self {
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

/// The version is checked before anything else, so that a newer file is named as such.
fn check_schema(text: &str) -> Result<()> {
    let value: serde_json::Value =
        serde_json::from_str(text).map_err(|e| Error::Data(format!("model description: {e}")))?;
    match value.get("schema").and_then(serde_json::Value::as_u64) {
        Some(version) if version == u64::from(SCHEMA) => Ok(()),
        Some(version) => Err(Error::Data(format!(
            "model file of schema {version}, this program reads {SCHEMA}; use a matching version of knotwork"
        ))),
        None => Err(Error::Data("the model description has no schema version".into())),
    }
}

struct File<'f>(&'f SafeTensors<'f>);

impl File<'_> {
    fn bytes(&self, name: &str, dtype: Dtype) -> Result<&[u8]> {
        let view = self
            .0
            .tensor(name)
            .map_err(|_| Error::Data(format!("the model has no tensor '{name}'")))?;
        if view.dtype() != dtype {
            return Err(Error::Data(format!(
                "tensor '{name}' is {:?}, want {dtype:?}",
                view.dtype()
            )));
        }
        Ok(view.data())
    }

    fn f32s(&self, name: &str) -> Result<Vec<f32>> {
        Ok(self
            .bytes(name, Dtype::F32)?
            .as_chunks::<4>()
            .0
            .iter()
            .map(|b| f32::from_le_bytes(*b))
            .collect())
    }

    fn f64s(&self, name: &str) -> Result<Vec<f64>> {
        Ok(self
            .bytes(name, Dtype::F64)?
            .as_chunks::<8>()
            .0
            .iter()
            .map(|b| f64::from_le_bytes(*b))
            .collect())
    }

    fn splines(&self, name: &str) -> Result<Vec<Spline>> {
        let (knots, values) = (
            self.f64s(&format!("{name}.knots"))?,
            self.f64s(&format!("{name}.values"))?,
        );
        let counts = self.bytes(&format!("{name}.counts"), Dtype::U32)?;
        let counts: Vec<usize> = counts
            .as_chunks::<4>()
            .0
            .iter()
            .map(|b| u32::from_le_bytes(*b) as usize)
            .collect();
        let total = counts.iter().try_fold(0_usize, |sum, &n| sum.checked_add(n));
        if total != Some(knots.len()) || knots.len() != values.len() || counts.is_empty() {
            return Err(Error::Data(format!(
                "'{name}': {} knots and {} values do not match the counts {counts:?}",
                knots.len(),
                values.len()
            )));
        }
        let mut at = 0;
        counts
            .iter()
            .enumerate()
            .map(|(index, &count)| {
                let range = at..at + count;
                at += count;
                Spline::new(knots[range.clone()].to_vec(), values[range].to_vec())
                    .map_err(|e| Error::Data(format!("'{name}' spline {index}: {e}")))
            })
            .collect()
    }
}
