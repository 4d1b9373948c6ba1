//! A model applied to images.

use super::model::{Architecture, Layered};
use super::parts::Parts;
use super::tape::{Maker, Tape};
use crate::gpu::{Buffer, Gpu, Recorder};
use crate::model::Tiling;
use crate::{Error, Result};

/// A network on the device for images of one size: `output <- N(input)` of a denoiser without averaging, all steps of an
/// unrolled network. Planes are kept only while they are read, two sets of them.
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
        model.check()?;
        let [height, width] = size;
        if slots * height * width == 0 {
            return Err(Error::Data(format!(
                "{slots} images of {height} x {width} pixels are nothing to work on"
            )));
        }
        let parts = Parts::new(gpu, model, false)?;
        let blur = model.blur()?;
        let halo = parts.radius().max(blur.as_ref().map_or(0, |b| b.radius()));
        let tiling = Tiling::framed(halo, height, width);
        let make = Maker::new(gpu, &parts, &tiling, slots)?;
        let pixels = slots * height * width;
        let (input, output) = (gpu.buffer("images", pixels)?, gpu.buffer("results", pixels)?);
        let mut tape = Tape::default();
        match &model.architecture {
            Architecture::Denoiser { .. } => {
                let planes = parts.banks().iter().map(|b| b.channels()).max().unwrap_or(1);
                let frame = make.frame("image frame", 1)?;
                let responses = [make.frame("responses", planes)?, make.frame("responses", planes)?];
                tape.0.push(make.load(&input, &frame)?);
                let last = parts.layers().len() - 1;
                for set in 0..last {
                    let from = if set == 0 { &frame } else { &responses[(set + 1) % 2] };
                    let to = &responses[set % 2];
                    tape.0.push(make.conv(set, false, from, to)?);
                    tape.0.push(make.shift(set, to)?);
                    tape.0.push(make.activate_in_place(set, to)?);
                }
                tape.0
                    .push(make.conv_out(last, false, &responses[(last + 1) % 2], &output)?);
            }
            Architecture::Unrolled { steps, step, .. } => {
                let planes = parts.banks().iter().map(|b| b.channels()).max().unwrap_or(1);
                let single = || make.frame("image frame", 1);
                let (y, x, z, r, s) = (single()?, single()?, single()?, single()?, single()?);
                let u = make.frame("responses", planes)?;
                tape.0.push(make.load(&input, &y)?);
                for t in 0..*steps {
                    let own = t.min(parts.layers().len() - 1);
                    let from = if t == 0 { &y } else { &x };
                    tape.0
                        .extend(data_step(&make, blur.as_ref(), *step, from, &y, [&r, &s], &z)?);
                    tape.0.push(make.conv(own, false, &z, &u)?);
                    tape.0.push(make.shift(own, &u)?);
                    tape.0.push(make.activate_in_place(own, &u)?);
                    tape.0.push(if t + 1 == *steps {
                        make.conv_out(own, true, &u, &output)?
                    } else {
                        make.conv(own, true, &u, &x)?
                    });
                }
            }
        }
        drop(make);
        Ok(Self {
            input,
            output,
            tape,
            slots: slots as u32,
            size,
            lipschitz: model.lipschitz(),
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

    /// [`Layered::lipschitz`] of the model.
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

/// `z = x - step H'(H x - y)`, all in frames; `scratch` is used where there is a blur.
pub(super) fn data_step(
    make: &Maker<'_>,
    blur: Option<&crate::filters::ConvLayer>,
    step: f64,
    x: &Buffer,
    y: &Buffer,
    scratch: [&Buffer; 2],
    z: &Buffer,
) -> Result<Vec<super::tape::Op>> {
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
