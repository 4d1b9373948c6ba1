//! The gradient of the mean negative log-likelihood of a batch with respect to every parameter of a flow.

use super::device::{FlowDevice, FlowParams, ForwardPass};
use super::model::Flow;
use crate::gpu::{Bound, Buffer, Gpu, ParamTable, Recorder};
use crate::{Error, Result, shader_struct};

shader_struct! {
    /// A nodal value of a flow's splines and what its gradient is summed from (`shaders/flow_spline_gradient.wgsl`).
    pub struct FlowEntry {
        /// Knot before.
        pub left: f32,
        /// Its knot.
        pub knot: f32,
        /// Knot behind.
        pub right: f32,
        /// 1 for the first of its spline, 2 for the last.
        pub ends: u32,
        /// Plane of its spline's inputs, (layer, coordinate).
        pub plane: u32,
        /// Plane of the gradient at its spline's output, (layer, coordinate).
        pub pull: u32,
        /// 1 if its spline is a shear.
        pub shear: u32,
        /// Padding.
        pub pad0: u32,
    }
}

/// Loss `L = mean(-log p(x))` of batches and its gradient, in a fixed order of additions: the same bits on every run of one
/// device. Points of several batches lie ready on the device, so that many steps can be recorded at once.
#[derive(Debug)]
pub struct FlowGradient {
    points: Buffer,
    forward: ForwardPass,
    backward: Bound,
    splines: Bound,
    totals: Bound,
    gradient: Buffer,
    losses: Buffer,
    quads: u32,
    entries: u32,
    layers: u32,
    params: ParamTable<FlowParams>,
}

impl FlowGradient {
    /// Prepares for `batches` batches of `batch` samples, of which the last quad may be filled up.
    ///
    /// # Errors
    /// [`Error::Usage`] for empty batches; device errors.
    pub fn new(gpu: &Gpu, device: &FlowDevice, flow: &Flow, batch: usize, batches: usize) -> Result<Self> {
        if batch == 0 || batches == 0 {
            return Err(Error::Usage("a flow is trained on batches of at least 1 point".into()));
        }
        let (quads, dims, layers) = (batch.div_ceil(4), device.dims(), device.layers());
        let table: Vec<FlowParams> = (0..batches)
            .map(|n| FlowParams {
                source: (n * quads) as u32,
                stride: (batches * quads) as u32,
                entry: n as u32,
                ..device.params(flow, quads, batch)
            })
            .collect();
        let params = gpu.params(&table)?;
        let points = gpu.buffer("flow points", 4 * quads * batches * dims)?;
        let forward = ForwardPass::new(gpu, device, &points, &params, quads)?;
        let inputs = gpu.buffer("flow inputs", 4 * quads * dims * layers)?;
        let pulls = gpu.buffer("flow pulls", 8 * quads * dims * layers)?;
        let torques = gpu.buffer("flow torques", 4 * quads * layers)?;
        let gradient = gpu.buffer("flow gradient", device.parameters().len())?;
        let losses = gpu.buffer("flow losses", batches)?;
        let entries = gpu.upload("flow entries", &entries(flow))?;
        let evaluating = device.constants();
        let other = &evaluating[1..];
        let bind = |name: &str, constants: &[(&str, u32)], memory: &[(&str, &Buffer)]| {
            let all = memory.iter().map(|&(name, buffer)| (name, buffer.into()));
            let all: Vec<_> = [("params", params.binding())].into_iter().chain(all).collect();
            gpu.kernel(name, constants)?.bind(gpu, &all)
        };
        let backward = bind(
            "flow_backward",
            &evaluating,
            &[
                ("parameters", device.parameters()),
                ("knots", device.bank().table()),
                ("records", device.bank().records()),
                ("states", &forward.states),
                ("inputs", &inputs),
                ("pulls", &pulls),
                ("torques", &torques),
            ],
        )?;
        let splines = bind(
            "flow_spline_gradient",
            other,
            &[
                ("entries", &entries),
                ("inputs", &inputs),
                ("pulls", &pulls),
                ("gradient", &gradient),
            ],
        )?;
        let totals = bind(
            "flow_totals",
            other,
            &[
                ("parameters", device.parameters()),
                ("pulls", &pulls),
                ("torques", &torques),
                ("nll", &forward.nll),
                ("gradient", &gradient),
                ("losses", &losses),
            ],
        )?;
        Ok(Self {
            points,
            forward,
            backward,
            splines,
            totals,
            gradient,
            losses,
            quads: quads as u32,
            entries: device.bank().entries() as u32,
            layers: layers as u32,
            params,
        })
    }

    /// Batches that lie ready at a time.
    pub fn batches(&self) -> usize {
        self.params.len()
    }

    /// Uploads the points of all batches, (batch, point, coordinate) each standardised as `flow` says.
    ///
    /// # Errors
    /// [`Error::Data`] for another number of points; as [`Gpu::write`].
    pub fn set_points(&self, gpu: &Gpu, flow: &Flow, points: &[f64]) -> Result<()> {
        let (dims, batches) = (flow.dims(), self.batches());
        if points.is_empty() || !points.len().is_multiple_of(dims * batches) {
            return Err(Error::Data(format!(
                "{} numbers do not make {batches} batches of points",
                points.len()
            )));
        }
        let (per_batch, capacity) = (points.len() / batches, 4 * self.quads as usize);
        let mut planes = vec![0.0; dims * batches * capacity];
        for (n, batch) in points.chunks_exact(per_batch).enumerate() {
            let standardised = flow.standardised(batch, capacity);
            for i in 0..dims {
                let to = (i * batches + n) * capacity;
                planes[to..to + capacity].copy_from_slice(&standardised[i * capacity..(i + 1) * capacity]);
            }
        }
        gpu.write(&self.points, &planes)
    }

    /// Records loss and gradient of batch `batch`.
    pub fn record(&self, recorder: &mut Recorder<'_>, batch: usize) {
        self.forward.record(recorder, batch);
        recorder.dispatch(&self.backward, self.backward.groups([self.quads, 1, 1]), batch);
        recorder.dispatch(&self.splines, [self.entries, 1, 1], batch);
        recorder.dispatch(&self.totals, [self.layers + 1, 1, 1], batch);
    }

    /// The gradient, in the order of [`FlowDevice::parameters`].
    pub fn gradient(&self) -> &Buffer {
        &self.gradient
    }

    /// The loss of every batch.
    pub fn losses(&self) -> &Buffer {
        &self.losses
    }
}

/// What the gradient of every nodal value is summed from.
fn entries(flow: &Flow) -> Vec<FlowEntry> {
    let (dims, layers) = (flow.dims(), flow.layers());
    let mut entries = Vec::new();
    for (index, spline) in flow.splines().enumerate() {
        let (layer, kind) = (index % layers, index / layers);
        let (coordinate, met, shear) = match kind {
            0 => (0, 0, 0),
            1 => (1, 1, 0),
            _ => (0, 1, 1),
        };
        let t: Vec<f32> = spline.knots().iter().map(|t| *t as f32).collect();
        let last = t.len() - 1;
        for (n, &knot) in t.iter().enumerate() {
            entries.push(FlowEntry {
                left: if n == 0 { knot - 1.0 } else { t[n - 1] },
                knot,
                right: if n == last { knot + 1.0 } else { t[n + 1] },
                ends: u32::from(n == 0) + 2 * u32::from(n == last),
                plane: (layer * dims + coordinate) as u32,
                pull: (layer * dims + met) as u32,
                shear,
                pad0: 0,
            });
        }
    }
    entries
}
