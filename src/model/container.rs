//! The container of all model files: safetensors with a checked JSON description in the metadata entry `knotwork`.
//!
//! Splines are three tensors: `NAME.knots` and `NAME.values` f64, all splines behind each other, and `NAME.counts` u32.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use safetensors::{Dtype, SafeTensors, View};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::io::atomic::write_atomically;
use crate::io::input;
use crate::spline::Spline;
use crate::{Error, Result};

/// Version of the layout; readers refuse others.
pub const SCHEMA: u32 = 1;

/// Largest model file read; real ones have some hundred kilobytes.
const MAX_BYTES: u64 = 1 << 30;

/// The metadata entry with the description.
const ENTRY: &str = "knotwork";

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

/// The tensors of a file to be written.
#[derive(Default)]
pub(crate) struct Tensors(Vec<(String, Owned)>);

impl Tensors {
    /// Adds an f32 tensor.
    pub fn add_f32(&mut self, name: &str, shape: Vec<usize>, values: &[f32]) {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.add(name, Dtype::F32, shape, bytes);
    }

    /// Adds splines as three tensors.
    pub fn add_splines(&mut self, name: &str, splines: &[Spline]) {
        let total = splines.iter().map(Spline::len).sum();
        let concat =
            |part: fn(&Spline) -> &[f64]| splines.iter().flat_map(part).flat_map(|v| v.to_le_bytes()).collect();
        self.add(&format!("{name}.knots"), Dtype::F64, vec![total], concat(Spline::knots));
        self.add(
            &format!("{name}.values"),
            Dtype::F64,
            vec![total],
            concat(Spline::values),
        );
        let counts = splines.iter().flat_map(|s| (s.len() as u32).to_le_bytes()).collect();
        self.add(&format!("{name}.counts"), Dtype::U32, vec![splines.len()], counts);
    }

    fn add(&mut self, name: &str, dtype: Dtype, shape: Vec<usize>, bytes: Vec<u8>) {
        self.0.push((name.to_owned(), Owned { dtype, shape, bytes }));
    }

    /// The bytes of the file. Equal models give equal bytes.
    pub fn serialise(self, description: &impl Serialize) -> Result<Vec<u8>> {
        let text = serde_json::to_string(description).map_err(|e| Error::Internal(e.to_string()))?;
        let metadata = HashMap::from([(ENTRY.to_owned(), text)]);
        safetensors::serialize(self.0, Some(metadata)).map_err(|e| Error::Internal(e.to_string()))
    }
}

/// Writes a model file, whole or not at all.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    use std::io::Write;
    write_atomically(path, |file| file.write_all(bytes))
}

/// The bytes of a model file, parsed by `parse`, whose complaints about data are said of the file.
pub(crate) fn read<T>(path: &Path, parse: impl FnOnce(&[u8]) -> Result<T>) -> Result<T> {
    let (_, size) = input::open(path)?;
    if size > MAX_BYTES {
        return Err(Error::input(
            path,
            format!("{} MiB is no model file; name another", size >> 20),
        ));
    }
    let bytes = input::read_bytes(path)?;
    parse(&bytes).map_err(|e| match e {
        Error::Data(why) => Error::input(path, why),
        other => other,
    })
}

/// An opened model file.
pub(crate) struct Container<'f> {
    tensors: SafeTensors<'f>,
    description: Value,
}

impl<'f> Container<'f> {
    /// Parses the container and checks its version before anything else, so that a newer file is named as such.
    pub fn open(bytes: &'f [u8]) -> Result<Self> {
        let damaged = |e: String| {
            Error::Data(format!(
                "not a readable model file ({e}); it may be truncated, fetch it again"
            ))
        };
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|e| damaged(e.to_string()))?;
        let tensors = SafeTensors::deserialize(bytes).map_err(|e| damaged(e.to_string()))?;
        let text = metadata.metadata().as_ref().and_then(|m| m.get(ENTRY)).ok_or_else(|| {
            Error::Data("a safetensors file, but no knotwork model; convert checkpoints with `train import`".into())
        })?;
        let description: Value =
            serde_json::from_str(text).map_err(|e| Error::Data(format!("model description: {e}")))?;
        match description.get("schema").and_then(Value::as_u64) {
            Some(version) if version == u64::from(SCHEMA) => Ok(Self { tensors, description }),
            Some(version) => Err(Error::Data(format!(
                "model file of schema {version}, this program reads {SCHEMA}; use a matching version of knotwork"
            ))),
            None => Err(Error::Data("the model description has no schema version".into())),
        }
    }

    /// What kind of model it says it is.
    pub fn architecture(&self) -> &str {
        self.description
            .get("architecture")
            .and_then(Value::as_str)
            .unwrap_or("")
    }

    /// The description, if it is one of `architecture`; `wanted` names that to the user.
    pub fn description<T: DeserializeOwned>(&self, architecture: &str, wanted: &str) -> Result<T> {
        let found = self.description.get("architecture").and_then(Value::as_str);
        if let Some(other) = found.filter(|found| *found != architecture) {
            return Err(Error::Data(format!("a '{other}' model, want {wanted}")));
        }
        serde_json::from_value(self.description.clone()).map_err(|e| Error::Data(format!("model description: {e}")))
    }

    /// The shape of a tensor, if there is one of that name.
    pub fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.tensors.tensor(name).ok().map(|view| view.shape().to_vec())
    }

    fn bytes(&self, name: &str, dtype: Dtype) -> Result<&[u8]> {
        let view = self
            .tensors
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

    /// The values of an f32 tensor.
    pub fn f32s(&self, name: &str) -> Result<Vec<f32>> {
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

    /// The splines under `name`, checked.
    pub fn splines(&self, name: &str) -> Result<Vec<Spline>> {
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
