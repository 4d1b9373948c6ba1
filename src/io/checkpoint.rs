//! Published PyTorch checkpoints and the configuration files beside them, read without Python.

use super::input::{self, Reasoned};
use crate::{Error, Result};
use pytorch_reader::{DType, PytorchError, PytorchReader};
use std::collections::BTreeMap;
use std::path::Path;

/// A view can declare far more elements than its file holds, so the file gives no bound; this one (1 GiB of f32) is far
/// above any regularizer.
const MAX_ELEMENTS: usize = 1 << 28;

/// One array of a checkpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Extents, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
    /// Values in row-major order.
    pub data: Vec<f32>,
}

/// All tensors of a `.pt` or `.pth` file by their dotted names: those under its `state_dict` key, or of its root where
/// there is no such key. Only finite float32 and float64 tensors are accepted; float64 is rounded to float32.
pub fn read_pth(path: impl AsRef<Path>) -> Result<BTreeMap<String, Tensor>> {
    let path = path.as_ref();
    input::open(path)?;
    input::guard_panics(|| read_tensors(path)).map_err(|reason| Error::input(path, reason))
}

fn read_tensors(path: &Path) -> Reasoned<BTreeMap<String, Tensor>> {
    let reader = match PytorchReader::with_top_level_key(path, "state_dict") {
        Err(PytorchError::KeyNotFound(_)) => PytorchReader::new(path),
        other => other,
    }
    .map_err(|error| {
        format!("is not a PyTorch checkpoint, or a damaged one ({error}); download it again or save it with torch.save")
    })?;

    let tensors = reader.tensors();
    if tensors.is_empty() {
        return Err("holds no tensors; save model.state_dict() with torch.save".to_owned());
    }
    let elements = tensors.values().try_fold(0_usize, |sum, tensor| {
        sum.checked_add(tensor.byte_len() / tensor.dtype().size())
    });
    if elements.is_none_or(|elements| elements > MAX_ELEMENTS) {
        return Err(format!(
            "declares more than {MAX_ELEMENTS} values, no regularizer of this kind; check the file"
        ));
    }
    tensors
        .iter()
        .map(|(name, tensor)| Ok((name.clone(), read_tensor(name, tensor)?)))
        .collect()
}

fn read_tensor(name: &str, tensor: &pytorch_reader::Tensor) -> Reasoned<Tensor> {
    let bytes = || {
        tensor
            .read()
            .map_err(|error| format!("is damaged ({error}); download or save it again"))
    };
    let data: Vec<f32> = match tensor.dtype() {
        DType::F32 => bytes()?
            .as_chunks()
            .0
            .iter()
            .map(|&chunk| f32::from_ne_bytes(chunk))
            .collect(),
        DType::F64 => bytes()?
            .as_chunks()
            .0
            .iter()
            .map(|&chunk| f64::from_ne_bytes(chunk) as f32)
            .collect(),
        other => {
            return Err(format!(
                "tensor '{name}' has type {other:?}; convert it with .float() and save again"
            ));
        }
    };
    match data.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(format!(
            "tensor '{name}' holds {} at element {index}; a model with such weights is unusable, take another checkpoint",
            data[index]
        )),
        None => Ok(Tensor {
            shape: tensor.shape().to_vec(),
            data,
        }),
    }
}

/// A JSON file in which `//` starts a comment that ends with its line, as in the configurations published beside the
/// checkpoints; not inside strings.
pub fn read_json_lenient(path: impl AsRef<Path>) -> Result<serde_json::Value> {
    let path = path.as_ref();
    let mut bytes = input::read_bytes(path)?;
    blank_comments(&mut bytes);
    serde_json::from_slice(&bytes)
        .map_err(|error| Error::input(path, format!("is not valid JSON: {error}; correct it")))
}

/// Overwrite comments with spaces, which keeps the line and column of every later complaint right.
fn blank_comments(bytes: &mut [u8]) {
    let mut in_string = false;
    let mut index = 0;
    while index < bytes.len() {
        match bytes[index] {
            // The escaped character, a quote perhaps, is part of the string.
            b'\\' if in_string => index += 1,
            b'"' => in_string = !in_string,
            b'/' if !in_string && bytes.get(index + 1) == Some(&b'/') => {
                while index < bytes.len() && bytes[index] != b'\n' {
                    bytes[index] = b' ';
                    index += 1;
                }
            }
            _ => {}
        }
        index += 1;
    }
}
