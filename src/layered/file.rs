//! The model file of a [`Layered`].

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::model::{Architecture, Layered};
use crate::filters::ConvLayer;
use crate::model::container::{self, Container, SCHEMA, Tensors};
use crate::{Error, Result};

/// What model files of networks call themselves.
pub(crate) const ARCHITECTURE: &str = "layered";

/// Relative room of constants that were stored against those that are recomputed.
const AGREEMENT: f64 = 1e-9;

/// Entries of the certificate that promise something: stating less than what is found is no lie. All other numbers are settings.
const PROMISES: [&str; 6] = [
    "largest_slopes",
    "norm_upper_bounds",
    "lipschitz",
    "data_norm_squared",
    "firmly_nonexpansive",
    "every_step_is_proximal",
];

/// The networks inside the program.
const SHIPPED: &[(&str, &[u8])] = &[
    (
        "denoiser-25",
        include_bytes!("../../assets/models/denoiser-25.safetensors"),
    ),
    ("deblur-8", include_bytes!("../../assets/models/deblur-8.safetensors")),
    (
        "unrolled-25",
        include_bytes!("../../assets/models/unrolled-25.safetensors"),
    ),
];

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    schema: u32,
    architecture: String,
    name: String,
    network: Architecture,
    slope_bounds: (f64, f64),
    sigma: f64,
    provenance: Value,
    /// For readers; it is computed anew from the parameters, and may promise no more than is found.
    certificate: Value,
}

impl Layered {
    /// Serialises the model. Equal models give equal bytes.
    ///
    /// # Errors
    /// [`Error::Data`] if the model is inconsistent.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        self.check()?;
        let mut tensors = Tensors::default();
        self.add_to(&mut tensors);
        tensors.serialise(&Description {
            schema: SCHEMA,
            architecture: ARCHITECTURE.into(),
            name: self.name.clone(),
            network: self.architecture.clone(),
            slope_bounds: self.slope_bounds,
            sigma: self.sigma,
            provenance: self.provenance.clone(),
            certificate: self.certificate(),
        })
    }

    /// Writes the model file, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Output`]; [`Error::Data`] if the model is inconsistent.
    pub fn write(&self, path: &Path) -> Result<()> {
        container::write(path, &self.to_bytes()?)
    }

    /// Reads and checks a model file: its constants are recomputed, and its certificate promises no more than they allow.
    ///
    /// # Errors
    /// [`Error::Input`] with the first thing that is wrong.
    pub fn read(path: &Path) -> Result<Self> {
        container::read(path, Self::from_bytes)
    }

    /// Whether `name` is that of a shipped network.
    pub fn is_shipped(name: &str) -> bool {
        SHIPPED.iter().any(|(shipped, _)| *shipped == name)
    }

    /// A BLAKE3 hash of all of them, in hexadecimal.
    pub fn shipped_hash() -> String {
        let mut hasher = blake3::Hasher::new();
        for (_, bytes) in SHIPPED {
            hasher.update(blake3::hash(bytes).as_bytes());
        }
        hasher.finalize().to_hex().to_string()
    }

    /// The model at `path`: a file, or the name of a shipped network if there is no such file.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn shipped_or_file(path: &Path) -> Result<Self> {
        let name = path.to_str().filter(|_| !path.exists());
        match SHIPPED.iter().find(|(shipped, _)| Some(*shipped) == name) {
            Some((_, bytes)) => Self::from_bytes(bytes),
            None => Self::read(path),
        }
    }

    /// Parses and checks the bytes of a model file.
    ///
    /// # Errors
    /// [`Error::Data`] with the first thing that is wrong.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let file = Container::open(bytes)?;
        let description: Description = file.description(ARCHITECTURE, "a network of layers")?;
        let mut model = Self {
            name: description.name,
            architecture: description.network,
            filters: Vec::new(),
            shifts: Vec::new(),
            activations: Vec::new(),
            scalings: Vec::new(),
            slope_bounds: description.slope_bounds,
            sigma: description.sigma,
            provenance: description.provenance,
        };
        model.take_from(&file)?;
        model.check()?;
        let (stated, found) = (&description.certificate, model.certificate());
        for (name, found) in found.as_object().into_iter().flatten() {
            if !holds(&stated[name], found, PROMISES.contains(&name.as_str())) {
                return Err(Error::Data(format!(
                    "the certificate states {name} {}, but the model has {found}; it was tampered with or damaged",
                    stated[name]
                )));
            }
        }
        Ok(model)
    }

    /// The parameters as tensors.
    pub(super) fn add_to(&self, tensors: &mut Tensors) {
        for (index, layer) in self.filters.iter().enumerate() {
            let shape = vec![layer.outputs, layer.inputs, layer.size, layer.size];
            tensors.add_f32(&format!("filters.{index}"), shape, &layer.weights);
        }
        for (index, activations) in self.activations.iter().enumerate() {
            tensors.add_splines(&format!("activations.{index}"), activations);
            let channels = activations.len();
            tensors.add_f32(&format!("shifts.{index}"), vec![channels], &self.shifts[index]);
            tensors.add_f32(&format!("scalings.{index}"), vec![channels], &self.scalings[index]);
        }
    }

    /// Replaces the parameters by the tensors of a file.
    pub(super) fn take_from(&mut self, file: &Container<'_>) -> Result<()> {
        self.filters.clear();
        self.shifts.clear();
        self.scalings.clear();
        self.activations.clear();
        loop {
            let name = format!("filters.{}", self.filters.len());
            let Some(shape) = file.shape(&name) else { break };
            let [outputs, inputs, size, other] = shape[..] else {
                return Err(Error::Data(format!("tensor '{name}' is no 4-dimensional filter")));
            };
            if size != other {
                return Err(Error::Data(format!(
                    "tensor '{name}': filters of {size} x {other}, want square ones"
                )));
            }
            let layer = ConvLayer::new(inputs, outputs, size, file.f32s(&name)?);
            self.filters
                .push(layer.map_err(|e| Error::Data(format!("tensor '{name}': {e}")))?);
        }
        while file.shape(&format!("shifts.{}", self.shifts.len())).is_some() {
            let index = self.shifts.len();
            self.shifts.push(file.f32s(&format!("shifts.{index}"))?);
            self.scalings.push(file.f32s(&format!("scalings.{index}"))?);
            self.activations.push(file.splines(&format!("activations.{index}"))?);
        }
        Ok(())
    }
}

/// Whether what a certificate states agrees with what is found; a promise may also be weaker. Texts are for readers.
fn holds(stated: &Value, found: &Value, promise: bool) -> bool {
    match (stated, found) {
        (Value::Array(stated), Value::Array(found)) => {
            let all = stated.iter().zip(found).all(|(s, f)| holds(s, f, promise));
            all && stated.len() == found.len()
        }
        (Value::Bool(stated), Value::Bool(found)) => stated == found || (promise && *found),
        (Value::String(_), Value::String(_)) => true,
        _ => match (stated.as_f64(), found.as_f64()) {
            (Some(stated), Some(found)) => {
                let room = AGREEMENT * found.abs();
                stated >= found - room && (promise || stated <= found + room)
            }
            _ => false,
        },
    }
}
