//! A flow on the device: its parameters, and passes over samples in both directions.

use super::model::{Flow, Frame};
use crate::gpu::{Bound, Buffer, Gpu, ParamTable, Recorder};
use crate::spline::Spline;
use crate::spline::device::TrainableBank;
use crate::{Error, Result, shader_struct};

shader_struct! {
    /// Parameters of the `flow_*` kernels (`shaders/lib/flow.wgsl`).
    pub struct FlowParams {
        /// Quads of the batch.
        pub quads: u32,
        /// Samples that count.
        pub samples: u32,
        /// First quad of the batch in a plane of the points.
        pub source: u32,
        /// Quads of a plane of the points.
        pub stride: u32,
        /// Where the first frame is among the parameters.
        pub frames: u32,
        /// Where the loss of the batch goes.
        pub entry: u32,
        /// What a sample counts in the loss.
        pub share: f32,
        /// Of the negative log-density.
        pub constant: f32,
    }
}

/// Samples that an evaluation works on at a time, at most.
const MOST_SAMPLES: usize = 1 << 16;

/// Roundings by which the slopes of trained shears may be outside of their bound: running sums over at most 33 knots.
pub(super) const ROUNDINGS: f64 = 64.0;

/// The parameters of a flow on the device, and what the kernels derive from them.
#[derive(Debug)]
pub struct FlowDevice {
    bank: TrainableBank,
    parameters: Buffer,
    dims: usize,
    layers: usize,
    slots: usize,
}

impl FlowDevice {
    /// Uploads `flow`.
    ///
    /// # Errors
    /// [`Error::Data`] for a flow that breaks its own bounds; device errors.
    pub fn new(gpu: &Gpu, flow: &Flow) -> Result<Self> {
        flow.check_within(ROUNDINGS)?;
        let splines: Vec<Spline> = flow.splines().cloned().collect();
        let bank = TrainableBank::new(gpu, &splines, &vec![1.0; splines.len()])?;
        let values = splines.iter().flat_map(Spline::values).map(|v| *v as f32);
        let frames = flow.frames.iter().flat_map(|f| [f.tau, f.shift]);
        let parameters: Vec<f32> = values.chain(frames).collect();
        Ok(Self {
            parameters: gpu.upload("flow parameters", &parameters)?,
            bank,
            dims: flow.dims(),
            layers: flow.layers(),
            slots: splines.iter().map(Spline::len).max().unwrap_or(2),
        })
    }

    /// The splines: slopes, then shears.
    pub fn bank(&self) -> &TrainableBank {
        &self.bank
    }

    /// Nodal values of all splines, then (tau, shift) per layer.
    pub fn parameters(&self) -> &Buffer {
        &self.parameters
    }

    /// Layers.
    pub fn layers(&self) -> usize {
        self.layers
    }

    /// Dimensions.
    pub fn dims(&self) -> usize {
        self.dims
    }

    /// What kernels that evaluate splines are specialised with; others take all but the first.
    pub(super) fn constants(&self) -> [(&'static str, u32); 3] {
        [
            ("PIVOTS", self.slots as u32 - 1),
            ("LAYERS", self.layers as u32),
            ("DIMS", self.dims as u32),
        ]
    }

    /// The parameters of one batch; `source` and `entry` are 0.
    pub(super) fn params(&self, flow: &Flow, quads: usize, samples: usize) -> FlowParams {
        FlowParams {
            quads: quads as u32,
            samples: samples as u32,
            stride: quads as u32,
            frames: self.bank.entries() as u32,
            share: 1.0 / samples as f32,
            constant: flow.constant() as f32,
            ..Default::default()
        }
    }

    /// Reads the frames and the splines, slopes and shears, waiting for the device.
    ///
    /// # Errors
    /// [`Error::Diverged`] if a parameter is not finite; device errors.
    pub fn read(&self, gpu: &Gpu) -> Result<(Vec<Frame>, Vec<Spline>)> {
        let parameters: Vec<f32> = gpu.read(&self.parameters)?;
        if parameters.iter().any(|p| !p.is_finite()) {
            return Err(Error::Diverged(
                "the flow's parameters are not finite; lower the learning rates".into(),
            ));
        }
        let frames = parameters[self.bank.entries()..]
            .chunks_exact(2)
            .map(|f| Frame { tau: f[0], shift: f[1] })
            .collect();
        Ok((frames, self.bank.splines(gpu)?))
    }
}

/// The forward pass over a batch: states between the layers and the negative log-density.
#[derive(Debug)]
pub struct ForwardPass {
    /// What goes into every layer, and z: (layer + 1, coordinate, sample).
    pub states: Buffer,
    /// Negative log-density, (sample).
    pub nll: Buffer,
    bound: Bound,
    quads: u32,
}

impl ForwardPass {
    /// Prepares the pass for batches of `points`, planes (coordinate, sample), as the entries of `params` name them.
    ///
    /// # Errors
    /// Device errors.
    pub fn new(
        gpu: &Gpu,
        device: &FlowDevice,
        points: &Buffer,
        params: &ParamTable<FlowParams>,
        quads: usize,
    ) -> Result<Self> {
        let states = gpu.buffer("flow states", 4 * quads * device.dims * (device.layers + 1))?;
        let nll = gpu.buffer("negative log-density", 4 * quads)?;
        let bound = gpu.kernel("flow_forward", &device.constants())?.bind(
            gpu,
            &[
                ("params", params.binding()),
                ("parameters", device.parameters().into()),
                ("knots", device.bank.table().into()),
                ("records", device.bank.records().into()),
                ("points", points.into()),
                ("states", (&states).into()),
                ("nll", (&nll).into()),
            ],
        )?;
        Ok(Self {
            states,
            nll,
            bound,
            quads: quads as u32,
        })
    }

    /// Records the pass over the batch of parameter entry `entry`.
    pub fn record(&self, recorder: &mut Recorder<'_>, entry: usize) {
        recorder.dispatch(&self.bound, self.bound.groups([self.quads, 1, 1]), entry);
    }
}

/// A flow ready to be evaluated on the device: densities and samples. [`Flow::latent`] and [`Flow::inverse`] are for points.
pub struct Evaluator<'g> {
    gpu: &'g Gpu,
    flow: Flow,
    device: FlowDevice,
    capacity: usize,
    points: Buffer,
    forward: ForwardPass,
    samples: Buffer,
    inverse: Bound,
}

impl<'g> Evaluator<'g> {
    /// Uploads `flow`, with memory for about `points` points at a time.
    ///
    /// # Errors
    /// As [`FlowDevice::new`].
    pub fn new(gpu: &'g Gpu, flow: &Flow, points: usize) -> Result<Self> {
        let device = FlowDevice::new(gpu, flow)?;
        let capacity = points.clamp(1, MOST_SAMPLES).next_multiple_of(4);
        let quads = capacity / 4;
        let params = gpu.params(&[device.params(flow, quads, capacity)])?;
        let points = gpu.buffer("flow points", capacity * device.dims)?;
        let samples = gpu.buffer("flow samples", capacity * device.dims)?;
        let forward = ForwardPass::new(gpu, &device, &points, &params, quads)?;
        let inverse = gpu.kernel("flow_inverse", &device.constants())?.bind(
            gpu,
            &[
                ("params", params.binding()),
                ("parameters", device.parameters().into()),
                ("knots", device.bank.table().into()),
                ("records", device.bank.records().into()),
                ("latent", (&points).into()),
                ("samples", (&samples).into()),
            ],
        )?;
        Ok(Self {
            gpu,
            flow: flow.clone(),
            device,
            capacity,
            points,
            forward,
            samples,
            inverse,
        })
    }

    /// The flow.
    pub fn flow(&self) -> &Flow {
        &self.flow
    }

    /// `log p(x) = -|F(x)|^2 / 2 - dims / 2 log 2 pi + log |det F'(x)|` in nats, of points (point, coordinate).
    ///
    /// # Errors
    /// [`Error::Data`] for points that are not finite or not whole; device errors.
    pub fn log_density(&self, points: &[f64]) -> Result<Vec<f32>> {
        let mut found = self.pass(points, |chunk| {
            let nll: Vec<f32> = self.gpu.read(&self.forward.nll)?;
            Ok(nll[..chunk].iter().map(|v| -v).collect())
        })?;
        // A point so far out that its square overflows has the density 0.
        found
            .iter_mut()
            .filter(|v| v.is_nan())
            .for_each(|v| *v = f32::NEG_INFINITY);
        Ok(found)
    }

    /// What goes into the splines at `points`: per spline in the order of [`Flow::splines`], one value per point.
    ///
    /// # Errors
    /// As [`Self::log_density`].
    pub fn inputs(&self, points: &[f64]) -> Result<Vec<Vec<f64>>> {
        let (dims, layers) = (self.device.dims, self.device.layers);
        let mut inputs = vec![Vec::with_capacity(points.len() / dims); (2 * dims - 1) * layers];
        self.pass(points, |chunk| {
            let states: Vec<f32> = self.gpu.read(&self.forward.states)?;
            for (l, frame) in self.flow.frames.iter().enumerate() {
                let [c, s] = frame.rotation();
                for n in 0..chunk {
                    let at = |i: usize| f64::from(states[(l * dims + i) * self.capacity + n]);
                    if dims == 1 {
                        inputs[l].push(at(0));
                        continue;
                    }
                    let (u, v) = (c * at(0) - s * at(1), s * at(0) + c * at(1));
                    inputs[l].push(u);
                    inputs[layers + l].push(v);
                    inputs[2 * layers + l].push(u);
                }
            }
            Ok(Vec::new())
        })?;
        Ok(inputs)
    }

    fn pass(&self, points: &[f64], mut take: impl FnMut(usize) -> Result<Vec<f32>>) -> Result<Vec<f32>> {
        self.flow.check_points(points)?;
        let dims = self.device.dims;
        let mut all = Vec::with_capacity(points.len());
        for chunk in points.chunks(dims * self.capacity) {
            self.gpu
                .write(&self.points, &self.flow.standardised(chunk, self.capacity))?;
            let mut recorder = self.gpu.record();
            self.forward.record(&mut recorder, 0);
            recorder.submit();
            drop(recorder);
            all.append(&mut take(chunk.len() / dims)?);
        }
        Ok(all)
    }

    /// `count` independent samples, (sample, coordinate): the inverse of standard normal points that depend on `seed` and
    /// their number only, never on `count`. In single precision: see [`Flow::inverse`] for given latent points.
    ///
    /// # Errors
    /// Device errors.
    pub fn sample(&self, seed: u64, count: usize) -> Result<Vec<f64>> {
        let dims = self.device.dims;
        let latent: Vec<f32> = crate::io::noise::gaussian(seed, 0, count * dims);
        let mut all = Vec::with_capacity(latent.len());
        for chunk in latent.chunks(dims * self.capacity) {
            let mut planes = vec![0.0; dims * self.capacity];
            for (k, z) in chunk.iter().enumerate() {
                planes[k % dims * self.capacity + k / dims] = *z;
            }
            self.gpu.write(&self.points, &planes)?;
            let mut recorder = self.gpu.record();
            let groups = self.inverse.groups([self.capacity as u32 / 4, 1, 1]);
            recorder.dispatch(&self.inverse, groups, 0);
            recorder.submit();
            drop(recorder);
            let samples: Vec<f32> = self.gpu.read(&self.samples)?;
            all.append(&mut self.flow.restored(&samples, chunk.len() / dims));
        }
        Ok(all)
    }
}

impl Frame {
    /// Cosine and sine of the angle.
    pub fn rotation(&self) -> [f64; 2] {
        let tau = f64::from(self.tau);
        let scale = 1.0 / (1.0 + tau * tau);
        [(1.0 - tau * tau) * scale, 2.0 * tau * scale]
    }
}
