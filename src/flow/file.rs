//! Model files of flows.
//!
//! Tensors: `frames` f32 (layer, 2) of (tau, shift); `slopes` and, in two dimensions, `shears`, splines.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::certificate::FlowCertificate;
use super::model::{Flow, Frame};
use crate::model::container::{self, Container, SCHEMA, Tensors};
use crate::spline::SlopeBounds;
use crate::{Error, Result};

/// Relative difference up to which constants that were stored and those that are recomputed count as equal.
const AGREEMENT: f64 = 1e-9;

/// The flows that come with the program, trained by `train flow` with the settings of the same name in `assets/configs`.
const SHIPPED: [(&str, &[u8]); 3] = [
    (
        "flow-moons",
        include_bytes!("../../assets/models/flow-moons.safetensors"),
    ),
    ("flow-ring", include_bytes!("../../assets/models/flow-ring.safetensors")),
    (
        "flow-hills",
        include_bytes!("../../assets/models/flow-hills.safetensors"),
    ),
];

/// What model files of flows call themselves.
pub(crate) const ARCHITECTURE: &str = "flow";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    schema: u32,
    architecture: String,
    name: String,
    mean: Vec<f64>,
    scale: Vec<f64>,
    slope_bounds: (f64, f64),
    shear_bound: f64,
    certificate: FlowCertificate,
    provenance: serde_json::Value,
}

impl Flow {
    /// Serialises the model. Equal models give equal bytes.
    ///
    /// # Errors
    /// [`Error::Data`] if the model breaks its bounds.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        self.check()?;
        let mut tensors = Tensors::default();
        add_parts(&mut tensors, self);
        tensors.serialise(&Description {
            schema: SCHEMA,
            architecture: ARCHITECTURE.into(),
            name: self.name.clone(),
            mean: self.mean.clone(),
            scale: self.scale.clone(),
            slope_bounds: (self.slope_bounds.min(), self.slope_bounds.max()),
            shear_bound: self.shear_bound,
            certificate: self.certificate(),
            provenance: self.provenance.clone(),
        })
    }

    /// Writes the model file, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Output`]; [`Error::Data`] if the model breaks its bounds.
    pub fn write(&self, path: &Path) -> Result<()> {
        container::write(path, &self.to_bytes()?)
    }

    /// Reads and checks a model file: its bounds hold, and its certificate is the one that its numbers give.
    ///
    /// # Errors
    /// [`Error::Input`] with the first thing that is wrong.
    pub fn read(path: &Path) -> Result<Self> {
        container::read(path, Self::from_bytes)
    }

    /// Whether `name` is that of a shipped flow.
    pub fn is_shipped(name: &str) -> bool {
        SHIPPED.iter().any(|(shipped, _)| *shipped == name)
    }

    /// The model at `path`: a file, or the name of a shipped flow if there is no such file.
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
        let description: Description = file.description(ARCHITECTURE, "a flow")?;
        let mut flow = Self {
            name: description.name,
            mean: description.mean,
            scale: description.scale,
            frames: Vec::new(),
            slopes: Vec::new(),
            shears: Vec::new(),
            slope_bounds: SlopeBounds::new(description.slope_bounds.0, description.slope_bounds.1)?,
            shear_bound: description.shear_bound,
            provenance: description.provenance,
        };
        read_parts(&file, &mut flow)?;
        flow.check()?;
        let (stated, found) = (&description.certificate, flow.certificate());
        for (name, stated, found) in [
            ("Lipschitz constant", stated.lipschitz, found.lipschitz),
            (
                "Lipschitz constant of the inverse",
                stated.inverse_lipschitz,
                found.inverse_lipschitz,
            ),
        ] {
            // Written so that infinities and NaN are refused, too.
            let agrees = found.is_finite() && (stated - found).abs() <= AGREEMENT * found;
            if !agrees {
                return Err(Error::Data(format!(
                    "the certificate states the {name} {stated}, but the model has {found}; it was tampered with or damaged"
                )));
            }
        }
        Ok(flow)
    }
}

/// The tensors of a flow.
pub(super) fn add_parts(tensors: &mut Tensors, flow: &Flow) {
    let frames: Vec<f32> = flow.frames.iter().flat_map(|f| [f.tau, f.shift]).collect();
    tensors.add_f32("frames", vec![flow.layers(), 2], &frames);
    tensors.add_splines("slopes", &flow.slopes);
    if flow.dims() == 2 {
        tensors.add_splines("shears", &flow.shears);
    }
}

/// Fills in frames and splines; the flow's dimensions are known.
pub(super) fn read_parts(file: &Container<'_>, flow: &mut Flow) -> Result<()> {
    let frames = file.f32s("frames")?;
    if !frames.len().is_multiple_of(2) {
        return Err(Error::Data("tensor 'frames' does not hold pairs".into()));
    }
    flow.frames = frames
        .chunks_exact(2)
        .map(|f| Frame { tau: f[0], shift: f[1] })
        .collect();
    flow.slopes = file.splines("slopes")?;
    if flow.dims() == 2 {
        flow.shears = file.splines("shears")?;
    }
    Ok(())
}
