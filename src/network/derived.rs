//! What evaluation reads, made from the parameters on the device: weight matrices of norm at most 1, splines with bounded
//! slopes.

use super::architecture::Layout;
use super::ensemble::EnsembleSettings;
use super::params::{MatrixParams, MatrixRecord, SplineParams};
use super::state::State;
use crate::Result;
use crate::gpu::{Bound, Buffer, Gpu, ParamTable, Recorder};

/// Bjorck iterations per step where every step starts from orthonormal matrices that an optimiser step has moved.
const PROJECTED_ITERATIONS: u32 = 2;

/// Entries of the parameter table: as in every step, and with all iterations from any start.
const STEP: usize = 0;
const FULL: usize = 1;

/// The parameters, what is derived from them, and the kernels that do so.
#[derive(Debug)]
pub(super) struct Derived {
    /// As [`Layout`] says.
    pub parameters: Buffer,
    /// Knots (spline, slot).
    pub positions: Buffer,
    /// Knots per spline.
    pub counts: Buffer,
    /// (member, dense): the orthonormalised weights.
    pub matrices: Buffer,
    /// (spline, slot) of (t, f, s, n).
    pub table: Buffer,
    /// Kernel constants of the matrices.
    pub constants: [(&'static str, u32); 2],
    /// For the kernels that work on matrices.
    pub params: ParamTable<MatrixParams>,
    /// Where the matrices lie.
    pub records: Buffer,
    /// Bjorck iterates (member, iteration, dense).
    pub iterates: Buffer,
    /// Frobenius norms (member, layer).
    pub norms: Buffer,
    orthonormalise: Bound,
    refresh: Bound,
    matrix_groups: [u32; 3],
    spline_groups: [u32; 3],
}

impl Derived {
    pub fn new(gpu: &Gpu, layout: &Layout, settings: &EnsembleSettings, state: &State) -> Result<Self> {
        let architecture = &layout.architecture;
        let records: Vec<MatrixRecord> = (0..architecture.layers())
            .map(|layer| {
                let (rows, columns) = architecture.matrix(layer);
                MatrixRecord {
                    weights: architecture.weights(layer) as u32,
                    rows: rows as u32,
                    columns: columns as u32,
                    pad0: 0,
                }
            })
            .collect();
        let entries = records.iter().map(|r| r.columns * r.rows.max(r.columns)).max();
        let constants = [
            ("LAYERS", records.len() as u32),
            ("ENTRIES", entries.unwrap_or_default()),
        ];
        let dense = architecture.dense();
        let full = MatrixParams {
            dense: dense as u32,
            iterations: settings.iterations,
            normalise: 1,
            project: u32::from(settings.project),
        };
        let again = MatrixParams {
            iterations: PROJECTED_ITERATIONS.min(settings.iterations),
            normalise: 0,
            ..full
        };
        let params = gpu.params(&[if settings.project { again } else { full }, full])?;
        let matrix_groups = [records.len() as u32, layout.members as u32, 1];
        let parameters = gpu.upload("parameters", &state.parameters)?;
        let positions = gpu.upload("knot positions", &state.positions)?;
        let counts = gpu.upload("knot counts", &state.counts)?;
        let matrices = gpu.buffer("weight matrices", layout.members * dense)?;
        let table = gpu.buffer("knot table", 4 * layout.splines() * layout.slots)?;
        let iterates = gpu.buffer("iterates", layout.members * settings.iterations as usize * dense)?;
        let norms = gpu.buffer("Frobenius norms", layout.members * records.len())?;
        let records = gpu.uniform("matrix records", &records)?;
        let memory = [
            ("params", params.binding()),
            ("layers", (&records).into()),
            ("parameters", (&parameters).into()),
            ("matrices", (&matrices).into()),
            ("iterates", (&iterates).into()),
            ("norms", (&norms).into()),
        ];
        let orthonormalise = gpu.kernel("network_orthonormalise", &constants)?.bind(gpu, &memory)?;
        // The number of samples is of no interest here.
        let spline_table = gpu.params(&[spline_params(layout, settings, 0)])?;
        let memory = [
            ("params", spline_table.binding()),
            ("positions", (&positions).into()),
            ("counts", (&counts).into()),
            ("parameters", (&parameters).into()),
            ("knots", (&table).into()),
        ];
        let refresh = gpu.kernel("network_spline_table", &[])?.bind(gpu, &memory)?;
        Ok(Self {
            spline_groups: refresh.groups([layout.splines() as u32, 1, 1]),
            parameters,
            positions,
            counts,
            matrices,
            table,
            constants,
            params,
            records,
            iterates,
            norms,
            orthonormalise,
            refresh,
            matrix_groups,
        })
    }

    /// Records the renewal from parameters of any norm.
    pub fn record_start(&self, recorder: &mut Recorder<'_>) {
        recorder.dispatch(&self.orthonormalise, self.matrix_groups, FULL);
        recorder.dispatch(&self.refresh, self.spline_groups, 0);
    }

    /// Records the renewal, needed before evaluation whenever parameters changed.
    pub fn record(&self, recorder: &mut Recorder<'_>) {
        recorder.dispatch(&self.orthonormalise, self.matrix_groups, STEP);
        recorder.dispatch(&self.refresh, self.spline_groups, 0);
    }
}

/// Parameters of the spline kernels for `samples` samples per member.
pub(super) fn spline_params(layout: &Layout, settings: &EnsembleSettings, samples: usize) -> SplineParams {
    let architecture = &layout.architecture;
    SplineParams {
        samples: samples as u32,
        units: architecture.units() as u32,
        first_unit: architecture.unit(1) as u32,
        splines: architecture.splines() as u32,
        total: layout.splines() as u32,
        slots: layout.slots as u32,
        values: layout.values(0) as u32,
        alphas: layout.alpha(0) as u32,
        slope_min: settings.bounds.min() as f32,
        slope_max: settings.bounds.max() as f32,
        ..Default::default()
    }
}
