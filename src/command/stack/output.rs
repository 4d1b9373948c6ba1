//! Where reconstructed slices go, and what is told of them.

use std::ops::Range;
use std::path::Path;

use indicatif::ProgressBar;
use serde_json::{Value, json};

use super::super::engine::together;
use super::super::options::{RunArgs, quality};
use super::super::{Console, Interrupt};
use crate::io::image::{Format, Image, Stack, StackKind, StackWriter};
use crate::solver::Stop;
use crate::{Error, Result};

/// The clean version of a stack, opened to compare with.
pub(in super::super) struct Clean(Option<Stack>);

impl Clean {
    /// Opens the stack that `--clean` names, which must have as many slices as the input.
    ///
    /// # Errors
    /// [`Error::Input`] for another file.
    pub fn open(args: &RunArgs, slices: usize) -> Result<Self> {
        let Some(path) = &args.clean else { return Ok(Self(None)) };
        let stack = Stack::open(path, StackKind::Always)?;
        match stack.as_ref().map_or(1, Stack::slices) {
            found if found == slices => Ok(Self(stack)),
            found => Err(Error::input(
                path,
                format!("{found} slices, the input has {slices}; give the clean version of the same stack"),
            )),
        }
    }

    /// Slice `index`, which must have the shape of the result.
    ///
    /// # Errors
    /// [`Error::Input`].
    pub fn read(&mut self, index: usize, channels: usize, [rows, cols]: [usize; 2]) -> Result<Option<Image>> {
        let Some(stack) = &mut self.0 else { return Ok(None) };
        let clean = stack.read(index)?;
        if (clean.channels, clean.height, clean.width) != (channels, rows, cols) {
            return Err(Error::input(
                stack.path(),
                format!(
                    "slice {index} has {} x {} x {} pixels, the result {channels} x {rows} x {cols}; give the clean version of \
                     the same stack",
                    clean.channels, clean.height, clean.width
                ),
            ));
        }
        Ok(Some(clean))
    }
}

/// Reads all slices that are wanted, by `each`, and their clean versions once, so that a defect in the last costs no hours. `slices` are
/// those of the input; the result has so many channels, rows and columns. Returns which slices these are and the clean stack.
///
/// # Errors
/// What is wrong with one of them; [`Error::Usage`] where there are not so many; [`Error::Interrupted`].
pub(in super::super) fn first_pass(
    args: &RunArgs,
    input: &Path,
    slices: usize,
    (channels, size): (usize, [usize; 2]),
    interrupt: Option<&Interrupt>,
    mut each: impl FnMut(usize) -> Result<()>,
) -> Result<(Range<usize>, Clean)> {
    let range = args.stack.range(input, slices)?;
    let mut clean = Clean::open(args, slices)?;
    for index in range.clone() {
        if let Some(interrupt) = interrupt {
            watch(interrupt, 0, range.len())?;
        }
        each(index)?;
        drop(clean.read(index, channels, size)?);
    }
    Ok((range, clean))
}

/// How a slice came about.
pub(super) struct Done {
    /// Iterations, of the plane that took most.
    pub iterations: usize,
    pub stop: Stop,
    /// Energy at the end, where there is one.
    pub energy: Option<f64>,
    /// Of the distance to the minimiser, where one is known.
    pub error_bound: Option<f64>,
}

/// Slices on their way to the output. Work on them may be stopped between two of them.
pub(super) struct Output {
    writer: StackWriter,
    clean: Clean,
    range: Range<usize>,
    interrupt: Interrupt,
    bar: ProgressBar,
    told: Vec<Value>,
    done: Vec<Done>,
    /// By slice.
    scores: Vec<(f64, Option<f64>)>,
}

impl Output {
    /// For the slices `range`, compared with `clean`, to `path`.
    ///
    /// # Errors
    /// [`Error::Output`] where no stack of this format can be written.
    pub fn new(
        path: &Path,
        format: Format,
        clean: Clean,
        range: Range<usize>,
        interrupt: Interrupt,
        console: &Console,
    ) -> Result<Self> {
        Ok(Self {
            writer: StackWriter::create(path, range.len(), format)?,
            clean,
            interrupt,
            bar: console.progress(range.len()),
            told: Vec::with_capacity(range.len()),
            done: Vec::with_capacity(range.len()),
            scores: Vec::new(),
            range,
        })
    }

    /// Called before work that takes long.
    ///
    /// # Errors
    /// [`Error::Interrupted`] if a signal asks to stop.
    pub fn go_on(&self) -> Result<()> {
        watch(&self.interrupt, self.done.len(), self.range.len())
    }

    /// Shows what is being done with `group`, the slices at work.
    pub fn show(&self, group: usize, iterations: usize, change: f64) {
        let (from, all) = (self.done.len() + 1, self.range.len());
        let slices = match group {
            1 => format!("slice {from}"),
            _ => format!("slices {from} to {}", from + group - 1),
        };
        self.bar.set_message(format!(
            "{slices} of {all}, iteration {iterations}, change {change:.1e}"
        ));
    }

    /// The next slice.
    ///
    /// # Errors
    /// [`Error::Output`]; [`Error::Input`] for its clean version.
    pub fn push(&mut self, image: &Image, done: Done) -> Result<()> {
        let index = self.range.start + self.done.len();
        let clean = self.clean.read(index, image.channels, [image.height, image.width])?;
        let mut told = json!({
            "slice": index,
            "iterations": done.iterations,
            "stop": done.stop,
            "energy": done.energy,
            "error_bound": done.error_bound,
        });
        if let Some(clean) = clean {
            let scores = quality(&image.planes, &clean)?;
            told["psnr"] = json!(scores.0);
            told["ssim"] = json!(scores.1);
            self.scores.push(scores);
        }
        self.writer.push(image)?;
        self.told.push(told);
        self.done.push(done);
        self.bar.inc(1);
        Ok(())
    }

    /// Gives the file its name. Returns the sum of all.
    ///
    /// # Errors
    /// [`Error::Output`]; [`Error::Interrupted`] if a signal came last.
    pub fn finish(self) -> Result<Total> {
        self.go_on()?;
        self.bar.finish_and_clear();
        self.writer.finish()?;
        let count = self.scores.len() as f64;
        let mean = |values: Option<f64>| values.map(|sum| sum / count);
        let psnr = self
            .scores
            .iter()
            .map(|(psnr, _)| 10.0_f64.powf(-psnr / 10.0))
            .sum::<f64>();
        let ssim = mean(self.scores.iter().map(|(_, ssim)| *ssim).sum());
        Ok(Total {
            iterations: self.done.iter().map(|done| done.iterations).max().unwrap_or(0),
            stop: Stop::of_all(self.done.iter().map(|done| done.stop)),
            energy: self.done.iter().map(|done| done.energy).sum(),
            error_bound: together(self.done.iter().map(|done| done.error_bound)),
            scores: (count > 0.0).then(|| (-10.0 * (psnr / count).log10(), ssim)),
            slices: self.told,
        })
    }
}

/// What all slices come to.
pub(super) struct Total {
    /// Of the slice that took most.
    pub iterations: usize,
    pub stop: Stop,
    /// The sum.
    pub energy: Option<f64>,
    pub error_bound: Option<f64>,
    /// PSNR from the mean squared error of the stack, and mean SSIM.
    pub scores: Option<(f64, Option<f64>)>,
    /// What is told of each.
    pub slices: Vec<Value>,
}

impl Total {
    /// Puts it among the results of a run.
    pub fn tell(&self, result: &mut Value) {
        result["iterations"] = json!(self.iterations);
        result["stop"] = json!(self.stop);
        result["energy"] = json!(self.energy);
        result["error_bound"] = json!(self.error_bound);
        result["slices"] = json!(self.slices);
        if let Some((psnr, ssim)) = self.scores {
            result["psnr"] = json!(psnr);
            result["ssim"] = json!(ssim);
        }
    }
}

/// Whether work may go on after `done` of `all` slices.
///
/// # Errors
/// [`Error::Interrupted`] if a signal asks to stop.
fn watch(interrupt: &Interrupt, done: usize, all: usize) -> Result<()> {
    match interrupt.requested() {
        None => Ok(()),
        Some(signal) => Err(Error::Interrupted(format!(
            "stopped by {signal} after {done} of {all} slices, nothing was written; run again, or in parts with --slices"
        ))),
    }
}
