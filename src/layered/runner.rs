//! A model applied to images.

use super::model::{Architecture, Layered};
use super::parts::Parts;
use super::tape::{Maker, Op, Tape};
use crate::gpu::{Buffer, Gpu, Recorder};
use crate::model::Tiling;
use crate::{Error, Result};

/// A network on the device for images of one size: `output <- N(input)` of a denoiser without averaging, all steps of an
/// unrolled network, or what plug-and-play takes of either. Planes are kept only while they are read, two sets of them.
#[derive(Debug)]
pub struct LayeredRunner {
    input: Buffer,
    output: Buffer,
    tape: Tape,
    slots: u32,
    size: [usize; 2],
    lipschitz: f64,
    _parts: Parts,
}

impl LayeredRunner {
    /// Prepares `model` for `slots` images of `size` rows and columns.
    ///
    /// # Errors
    /// [`Error::Data`] for an empty size; [`Error::OutOfMemory`] if the planes of one layer do not fit a binding; device errors.
    pub fn new(gpu: &Gpu, model: &Layered, slots: usize, size: [usize; 2]) -> Result<Self> {
        Self::with(
            gpu,
            model,
            (slots, size),
            model.lipschitz(),
            |make, ends| match &model.architecture {
                Architecture::Denoiser { .. } => chain(make, ends),
                Architecture::Unrolled { steps, step, .. } => unrolled(make, (*steps, *step), model, ends),
            },
        )
    }

    /// Prepares the map `N` that makes `(Id + N) / 2` firmly non-expansive: the network of a denoiser, and of an unrolled one whose
    /// steps share their parameters `N = 2 P - Id`, so that `(Id + N) / 2` is the proximal operator `P` of its steps
    /// ([`Layered::plugged_lipschitz`]).
    ///
    /// # Errors
    /// [`Error::Data`] for an unrolled network whose steps differ; as [`Self::new`].
    pub fn plugged(gpu: &Gpu, model: &Layered, slots: usize, size: [usize; 2]) -> Result<Self> {
        let lipschitz = model.plugged_lipschitz()?;
        match &model.architecture {
            Architecture::Denoiser { .. } => Self::new(gpu, model, slots, size),
            Architecture::Unrolled { .. } => Self::with(gpu, model, (slots, size), lipschitz, reflected),
        }
    }

    fn with(
        gpu: &Gpu,
        model: &Layered,
        (slots, size): (usize, [usize; 2]),
        lipschitz: f64,
        passes: impl Fn(&Maker<'_>, [&Buffer; 2]) -> Result<Tape>,
    ) -> Result<Self> {
        model.check()?;
        let [height, width] = size;
        if slots * height * width == 0 {
            return Err(Error::Data(format!(
                "{slots} images of {height} x {width} pixels are nothing to work on"
            )));
        }
        let parts = Parts::new(gpu, model, false)?;
        let halo = parts.radius().max(model.blur()?.map_or(0, |b| b.radius()));
        let tiling = Tiling::framed(halo, height, width);
        let make = Maker::new(gpu, &parts, &tiling, slots)?;
        let pixels = slots * height * width;
        let (input, output) = (gpu.buffer("images", pixels)?, gpu.buffer("results", pixels)?);
        let tape = passes(&make, [&input, &output])?;
        drop(make);
        Ok(Self {
            input,
            output,
            tape,
            slots: slots as u32,
            size,
            lipschitz,
            _parts: parts,
        })
    }

    /// Records the network.
    pub fn record(&self, recorder: &mut Recorder<'_>) {
        self.tape.record(recorder, self.slots);
    }

    /// What it reads, (slot, row, column).
    pub fn input(&self) -> &Buffer {
        &self.input
    }

    /// What it writes, (slot, row, column).
    pub fn output(&self) -> &Buffer {
        &self.output
    }

    /// Rows and columns.
    pub fn size(&self) -> [usize; 2] {
        self.size
    }

    /// A certified bound of its Lipschitz constant: [`Layered::lipschitz`] or [`Layered::plugged_lipschitz`] of the model.
    pub fn lipschitz(&self) -> f64 {
        self.lipschitz
    }

    /// The network of `images`, (slot, row, column), waiting for the device.
    ///
    /// # Errors
    /// [`Error::Data`] for another number of values; device errors.
    pub fn run(&self, gpu: &Gpu, images: &[f32]) -> Result<Vec<f32>> {
        if images.len() != self.input.len() {
            return Err(Error::Data(format!(
                "{} values for images of {} in all",
                images.len(),
                self.input.len()
            )));
        }
        gpu.write(&self.input, images)?;
        let mut recorder = gpu.record();
        self.record(&mut recorder);
        recorder.submit();
        drop(recorder);
        gpu.read(&self.output)
    }
}

/// The chain of all layers with an activation behind each but the last.
fn chain(make: &Maker<'_>, [input, output]: [&Buffer; 2]) -> Result<Tape> {
    let parts = make.parts;
    let frame = make.frame("image frame", 1)?;
    let responses = [responses(make)?, responses(make)?];
    let mut tape = Tape::default();
    tape.0.push(make.load(input, &frame)?);
    let last = parts.layers().len() - 1;
    for set in 0..last {
        let from = if set == 0 { &frame } else { &responses[(set + 1) % 2] };
        let to = &responses[set % 2];
        tape.0.push(make.conv(set, false, from, to)?);
        tape.0.push(make.shift(set, to)?);
        tape.0.push(make.activate_in_place(set, to)?);
    }
    tape.0
        .push(make.conv_out(last, false, &responses[(last + 1) % 2], output)?);
    Ok(tape)
}

/// All steps from `x_0 = y`, the input.
fn unrolled(
    make: &Maker<'_>,
    (steps, step): (usize, f64),
    model: &Layered,
    [input, output]: [&Buffer; 2],
) -> Result<Tape> {
    let blur = model.blur()?;
    let single = || make.frame("image frame", 1);
    let (y, x, z, r, s) = (single()?, single()?, single()?, single()?, single()?);
    let u = responses(make)?;
    let mut tape = Tape::default();
    tape.0.push(make.load(input, &y)?);
    for t in 0..steps {
        let own = t.min(make.parts.layers().len() - 1);
        let from = if t == 0 { &y } else { &x };
        tape.0
            .extend(data_step(make, blur.as_ref(), step, from, &y, [&r, &s], &z)?);
        tape.0.extend(proximal(make, own, &z, &u)?);
        tape.0.push(if t + 1 == steps {
            make.conv_out(own, true, &u, output)?
        } else {
            make.conv(own, true, &u, &x)?
        });
    }
    Ok(tape)
}

/// `2 P - Id` with the only layer.
fn reflected(make: &Maker<'_>, [input, output]: [&Buffer; 2]) -> Result<Tape> {
    let (frame, u) = (make.frame("image frame", 1)?, responses(make)?);
    let result = make.gpu.buffer("proximal operator", output.len())?;
    let mut tape = Tape::default();
    tape.0.push(make.load(input, &frame)?);
    tape.0.extend(proximal(make, 0, &frame, &u)?);
    tape.0.push(make.conv_out(0, true, &u, &result)?);
    tape.0.push(make.combine(2.0, &result, -1.0, input, output)?);
    Ok(tape)
}

/// `u = phi(W z + b)` of layer `index`, to which `W'` is still to be applied.
fn proximal(make: &Maker<'_>, index: usize, z: &Buffer, u: &Buffer) -> Result<[Op; 3]> {
    Ok([
        make.conv(index, false, z, u)?,
        make.shift(index, u)?,
        make.activate_in_place(index, u)?,
    ])
}

fn responses(make: &Maker<'_>) -> Result<Buffer> {
    let planes = make.parts.banks().iter().map(|b| b.channels()).max().unwrap_or(1);
    make.frame("responses", planes)
}

/// `z = x - step H'(H x - y)`, all in frames; `scratch` is used where there is a blur.
pub(super) fn data_step(
    make: &Maker<'_>,
    blur: Option<&crate::filters::ConvLayer>,
    step: f64,
    x: &Buffer,
    y: &Buffer,
    scratch: [&Buffer; 2],
    z: &Buffer,
) -> Result<Vec<Op>> {
    let Some(blur) = blur else {
        return Ok(vec![make.combine(1.0 - step, x, step, y, z)?]);
    };
    let [r, s] = scratch;
    Ok(vec![
        make.blur(blur, x, r)?,
        make.combine(1.0, r, -1.0, y, s)?,
        make.blur(&blur.adjoint(), s, r)?,
        make.combine(1.0, x, -step, r, z)?,
    ])
}
