//! The forward passes that remember what their gradients need, and the backward passes.

use std::sync::Arc;

use super::parts::Parts;
use super::runner::data_step;
use super::tape::{Maker, Op, Tape};
use crate::Result;
use crate::filters::{ConvLayer, GradientPair, WeightGradient, WeightGradientPlan};
use crate::gpu::{Bound, Buffer, Gpu, Recorder};
use crate::model::Tiling;
use crate::spline::device::BankGradient;

/// A part of the backward pass.
#[derive(Debug)]
pub(super) enum Back {
    /// Anything that the forward pass is made of as well.
    Op(Op),
    /// Nodal values and scalings of a set of activations.
    Bank {
        set: usize,
        gradient: Arc<BankGradient>,
        accumulate: bool,
    },
    /// Filters of a layer.
    Weights(Arc<WeightGradient>, bool),
    /// Shifts of a set.
    Shifts(Arc<Bound>, u32, bool),
    /// Planes to where a later part wants them.
    Copy(Arc<Buffer>, Arc<Buffer>),
    /// The same for the adaptation of knots only.
    Keep(Arc<Buffer>, Arc<Buffer>),
}

impl Back {
    pub fn record(&self, recorder: &mut Recorder<'_>, slots: u32, keep: bool) {
        match self {
            Self::Op(op) => op.record(recorder, slots),
            Self::Bank {
                gradient, accumulate, ..
            } => gradient.record(recorder, 0, *accumulate),
            Self::Weights(gradient, accumulate) => gradient.record(recorder, *accumulate),
            Self::Shifts(sums, channels, accumulate) => {
                recorder.dispatch(sums, [*channels, 1, 1], usize::from(*accumulate));
            }
            Self::Copy(from, to) => recorder.copy(from.all(), to.all()),
            Self::Keep(from, to) if keep => recorder.copy(from.all(), to.all()),
            Self::Keep(..) => {}
        }
    }
}

/// Planes and their number.
type Stack<'b> = (&'b Buffer, usize);

/// Collects both passes of an architecture.
pub(super) struct Builder<'a> {
    make: Maker<'a>,
    pub forward: Tape,
    pub backward: Vec<Back>,
    /// Gradients of the weights of all layers and of the shifts of all sets.
    pub weights: Buffer,
    pub shifts: Buffer,
    /// Per set and use of it: responses, and the gradient with respect to the activations' values.
    pub kept: Vec<Vec<[Arc<Buffer>; 2]>>,
}

/// The gradients of the parameters of one set of activations, from its responses and the gradient of its values in fixed buffers.
struct SetGradients {
    set: usize,
    u: Arc<Buffer>,
    g: Arc<Buffer>,
    bank: Arc<BankGradient>,
    shifts: Arc<Bound>,
}

impl<'a> Builder<'a> {
    pub fn new(gpu: &'a Gpu, parts: &'a Parts, tiling: &'a Tiling, slots: usize) -> Result<Self> {
        let make = Maker::new(gpu, parts, tiling, slots)?;
        Ok(Self {
            kept: parts.banks().iter().map(|_| Vec::new()).collect(),
            forward: Tape::default(),
            backward: Vec::new(),
            weights: gpu.buffer("weight gradient", parts.raw().len())?,
            shifts: gpu.buffer("shift gradient", parts.shifts().len())?,
            make,
        })
    }

    /// `out = W_L phi_{L-1}(.. phi_1(W_1 in + b_1) ..)` and back from `slope = dL/d out`.
    pub fn chain(&mut self, input: &Buffer, output: &Buffer, slope: &Buffer) -> Result<()> {
        let parts = self.make.parts;
        let last = parts.layers().len() - 1;
        let frame = Arc::new(self.make.frame("image frame", 1)?);
        self.forward.0.push(self.make.load(input, &frame)?);
        // What each layer reads, and its responses.
        let mut read = vec![frame];
        let mut responses = Vec::new();
        for set in 0..last {
            let channels = parts.banks()[set].channels();
            let u = Arc::new(self.make.frame("responses", channels)?);
            let a = Arc::new(self.make.frame("activations", channels)?);
            let ops = [
                self.make.conv(set, false, &read[set], &u)?,
                self.make.shift(set, &u)?,
                self.make.activate(set, &u, &a)?,
            ];
            self.forward.0.extend(ops);
            responses.push(u);
            read.push(a);
        }
        self.forward
            .0
            .push(self.make.conv_out(last, false, &read[last], output)?);

        let mut upstream = Arc::new(self.make.frame("output gradient", 1)?);
        self.op(self.make.load(slope, &upstream)?);
        let mut planes = 1;
        for layer in (0..=last).rev() {
            let shape = parts.layers()[layer].shape();
            let gradient = self.weight_gradient(layer, &[((&upstream, planes), (&read[layer], shape.inputs))])?;
            self.backward.push(Back::Weights(gradient, false));
            if layer == 0 {
                break;
            }
            let g = Arc::new(self.make.frame("activation gradient", shape.inputs)?);
            self.op(self.make.conv(layer, true, &upstream, &g)?);
            let set = self.set_gradients(layer - 1, &responses[layer - 1], &g)?;
            self.through(&set, false)?;
            (upstream, planes) = (g, shape.inputs);
        }
        Ok(())
    }

    /// All steps `x <- W' phi(W (x - step H'(H x - y)) + b)` and back; of each the forward pass keeps one plane, `z`, the argument
    /// of `W`, and the backward pass computes the responses again.
    pub fn unrolled(
        &mut self,
        [steps, layers]: [usize; 2],
        step: f64,
        blur: Option<&ConvLayer>,
        [input, output, slope]: [&Buffer; 3],
    ) -> Result<()> {
        let parts = self.make.parts;
        let single = |this: &Self| this.make.frame("image frame", 1).map(Arc::new);
        let (y, x, r, s) = (single(self)?, single(self)?, single(self)?, single(self)?);
        let widest = parts.banks().iter().map(|b| b.channels()).max().unwrap_or(1);
        let planes = |this: &Self, label: &str| this.make.frame(label, widest).map(Arc::new);
        let (u, a, g) = (
            planes(self, "responses")?,
            planes(self, "activations")?,
            planes(self, "activation gradient")?,
        );
        self.forward.0.push(self.make.load(input, &y)?);
        let mut arguments = Vec::new();
        for t in 0..steps {
            let layer = t.min(layers - 1);
            let z = single(self)?;
            let from = if t == 0 { &y } else { &x };
            let data = data_step(&self.make, blur, step, from, &y, [&r, &s], &z)?;
            self.forward.0.extend(data);
            let ops = [
                self.make.conv(layer, false, &z, &u)?,
                self.make.shift(layer, &u)?,
                self.make.activate_in_place(layer, &u)?,
                if t + 1 == steps {
                    self.make.conv_out(layer, true, &u, output)?
                } else {
                    self.make.conv(layer, true, &u, &x)?
                },
            ];
            self.forward.0.extend(ops);
            arguments.push(z);
        }

        // The gradient with respect to x_{t+1}, and z of the step at hand where the filters' gradient reads it.
        let (upstream, argument) = (single(self)?, single(self)?);
        self.op(self.make.load(slope, &upstream)?);
        let mut own = Vec::new();
        for layer in 0..layers {
            let channels = parts.banks()[layer].channels();
            // With x = W' a, the gradient of W is that of a layer that reads the gradient of x and has a upstream.
            let pairs = [((&*g, channels), (&*argument, 1)), ((&*a, channels), (&*upstream, 1))];
            own.push((self.set_gradients(layer, &u, &g)?, self.weight_gradient(layer, &pairs)?));
        }
        for t in (0..steps).rev() {
            let layer = t.min(layers - 1);
            // The first of a layer's steps on the way back replaces the gradients, the others add.
            let accumulate = t + 1 < steps && layers == 1;
            self.backward
                .push(Back::Copy(Arc::clone(&arguments[t]), Arc::clone(&argument)));
            self.op(self.make.conv(layer, false, &argument, &u)?);
            self.op(self.make.shift(layer, &u)?);
            self.op(self.make.activate(layer, &u, &a)?);
            self.op(self.make.conv(layer, false, &upstream, &g)?);
            let (set, weights) = &own[layer];
            self.through(set, accumulate)?;
            self.backward.push(Back::Weights(Arc::clone(weights), accumulate));
            if t == 0 {
                break;
            }
            self.op(self.make.conv(layer, true, &g, &x)?);
            match blur {
                None => self.op(self.make.combine(1.0 - step, &x, 0.0, &y, &upstream)?),
                Some(blur) => {
                    self.op(self.make.blur(blur, &x, &r)?);
                    self.op(self.make.blur(&blur.adjoint(), &r, &s)?);
                    self.op(self.make.combine(1.0, &x, -step, &s, &upstream)?);
                }
            }
        }
        Ok(())
    }

    fn op(&mut self, op: Op) {
        self.backward.push(Back::Op(op));
    }

    /// The gradient of layer `layer` over pairs of an upstream gradient of its outputs and what it read.
    fn weight_gradient(&self, layer: usize, pairs: &[(Stack<'_>, Stack<'_>)]) -> Result<Arc<WeightGradient>> {
        let parts = self.make.parts;
        let shape = parts.layers()[layer].shape();
        let pairs: Vec<_> = pairs
            .iter()
            .map(|(g, x)| GradientPair {
                g: g.0,
                g_region: self.make.region(g.1),
                x: x.0,
                x_region: self.make.region(x.1),
            })
            .collect();
        let plan = WeightGradientPlan::new(parts.style(), shape.inputs, shape.outputs, shape.size);
        let (slots, first) = (self.make.slots, parts.first_weight(layer));
        let gradient = WeightGradient::new(self.make.gpu, &plan, shape, slots, &pairs, &self.weights, first)?;
        Ok(Arc::new(gradient))
    }

    fn set_gradients(&self, set: usize, u: &Arc<Buffer>, g: &Arc<Buffer>) -> Result<SetGradients> {
        let bank = &self.make.parts.banks()[set];
        let regions = [self.make.region(bank.channels())];
        let gradient = BankGradient::new(self.make.gpu, bank, &regions, self.make.slots, u, g)?;
        Ok(SetGradients {
            set,
            u: Arc::clone(u),
            g: Arc::clone(g),
            bank: Arc::new(gradient),
            shifts: Arc::new(self.make.shift_gradient(set, g, &self.shifts)?),
        })
    }

    /// Through the activations of a set: from the gradient with respect to their values in place to the one with respect to their
    /// responses, with those of the parameters on the way.
    fn through(&mut self, own: &SetGradients, accumulate: bool) -> Result<()> {
        let mut pair = Vec::new();
        for from in [&own.u, &own.g] {
            let to = Arc::new(self.make.gpu.buffer("kept planes", from.len())?);
            self.backward.push(Back::Keep(Arc::clone(from), Arc::clone(&to)));
            pair.push(to);
        }
        self.kept[own.set].extend(<[_; 2]>::try_from(pair));
        self.backward.push(Back::Bank {
            set: own.set,
            gradient: Arc::clone(&own.bank),
            accumulate,
        });
        self.op(self.make.derivative(own.set, &own.u, &own.g)?);
        let channels = self.make.parts.banks()[own.set].channels() as u32;
        self.backward
            .push(Back::Shifts(Arc::clone(&own.shifts), channels, accumulate));
        Ok(())
    }
}
