//! Adam's step of filters, on their coefficients in the basis of cosines.

use super::filter_norm::check_side;
use super::{Adam, AdamSettings};
use crate::filters::FilterBank;
use crate::gpu::{Bound, Buffer, Gpu, Recorder};
use crate::{Result, shader_struct};

shader_struct! {
    /// Parameters of `filter_cosines.wgsl`: one layer of filters.
    pub struct CosineParams {
        /// Its first weight.
        pub first: u32,
        /// Side of its filters.
        pub size: u32,
        /// Where its matrix of cosines begins.
        pub cosines: u32,
        /// Padding.
        pub pad0: u32,
    }
}

/// Moves filters by Adam on their coefficients in the orthonormal basis of cosines (DCT-II), filter by filter.
///
/// Images have far more energy at low frequencies than at high ones, and so have the gradient and the curvature of the loss as
/// functions of a filter. Adam divides every parameter's step by the usual size of its own gradient. On taps, which all mix the same
/// frequencies, that leaves the proportions; on coefficients high frequencies learn as fast as low ones.
#[derive(Debug)]
pub(super) struct FiltersStep {
    analysis: [Bound; 2],
    synthesis: Bound,
    filters: Vec<u32>,
    pub adam: Adam,
}

impl FiltersStep {
    /// Prepares steps of `weights`, those of all layers of `bank`, along `gradient`.
    ///
    /// # Errors
    /// [`crate::Error::Usage`] for filters that are too large; as [`Adam::new`].
    pub fn new(
        gpu: &Gpu,
        bank: &FilterBank,
        [weights, gradient]: [&Buffer; 2],
        rate: f64,
        settings: &AdamSettings,
    ) -> Result<Self> {
        let (mut entries, mut cosines, mut first) = (Vec::new(), Vec::new(), 0);
        for layer in bank.layers() {
            check_side(layer.size)?;
            entries.push(CosineParams {
                first,
                size: layer.size as u32,
                cosines: cosines.len() as u32,
                ..Default::default()
            });
            cosines.extend(cosine_matrix(layer.size));
            first += layer.weights.len() as u32;
        }
        let params = gpu.params(&entries)?;
        let cosines = gpu.upload("cosines", &cosines)?;
        let buffer = |what: &str| gpu.buffer(what, weights.len());
        let (coefficients, slopes) = (buffer("coefficients of filters")?, buffer("gradient of coefficients")?);
        let turn = |inverse: bool, source: &Buffer, target: &Buffer| {
            let memory = [
                ("params", params.binding()),
                ("cosines", (&cosines).into()),
                ("source", source.into()),
                ("target_filters", target.into()),
            ];
            gpu.kernel("filter_cosines", &[("INVERSE", u32::from(inverse))])?
                .bind(gpu, &memory)
        };
        Ok(Self {
            analysis: [turn(false, weights, &coefficients)?, turn(false, gradient, &slopes)?],
            synthesis: turn(true, &coefficients, weights)?,
            filters: bank.layers().iter().map(|l| (l.inputs * l.outputs) as u32).collect(),
            adam: Adam::new(
                gpu,
                settings,
                &[(0, weights.len(), rate as f32)],
                &coefficients,
                &slopes,
            )?,
        })
    }

    /// Records the step at the present state of the clock.
    pub fn record(&self, recorder: &mut Recorder<'_>) {
        self.analysis.iter().for_each(|a| self.turn(recorder, a));
        self.adam.record_moves(recorder);
        self.turn(recorder, &self.synthesis);
    }

    fn turn(&self, recorder: &mut Recorder<'_>, kernel: &Bound) {
        for (layer, filters) in self.filters.iter().enumerate() {
            recorder.dispatch(kernel, [*filters, 1, 1], layer);
        }
    }
}

/// `C[u, k] = sqrt((2 - [u = 0]) / size) cos(pi (k + 1/2) u / size)`.
fn cosine_matrix(size: usize) -> impl Iterator<Item = f32> {
    (0..size * size).map(move |n| {
        let (u, k) = (n / size, n % size);
        let scale = if u == 0 { 1.0 } else { 2.0 } / size as f64;
        let angle = std::f64::consts::PI * (k as f64 + 0.5) * u as f64 / size as f64;
        (scale.sqrt() * angle.cos()) as f32
    })
}
