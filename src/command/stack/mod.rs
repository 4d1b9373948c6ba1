//! Stacks: slices of one size that go through one command, one model and one set of kernels, with few of them in memory.
//!
//! A first pass reads everything, so that a defect in the last slice costs no hours; a second one reconstructs and writes slice by slice
//! into a temporary file, which takes the output's name at the end.

mod denoise;
mod inverse;
mod output;

use std::ops::Range;
use std::path::Path;
use std::str::FromStr;

use clap::Args;

pub(super) use denoise::denoise_stack;
pub(super) use inverse::reconstruct_stack;
pub(super) use output::first_pass;

use crate::io::image::{Stack, StackKind};
use crate::{Error, Result};

/// Which files are stacks, and what of them is wanted.
#[derive(Args, Clone, Debug, Default)]
pub struct StackArgs {
    /// The input is a stack (slices, ..), whatever its shape. Without it an image array (3, H, W) or (H, W, 3) is one of colours, one of
    /// (1, H, W) is gray, k-space of three axes is that of several coils, and a TIFF file of one page is an image
    #[arg(long)]
    pub stack: bool,
    /// Reconstruct the slices A to B - 1 of a stack only, counted from 0; A or B may be left out
    #[arg(long, value_name = "A..B")]
    pub slices: Option<Part>,
}

/// Some slices of a stack that follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The first.
    pub begin: usize,
    /// The one after the last; that of the stack if absent.
    pub end: Option<usize>,
}

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (begin, end) = text.split_once("..").ok_or("want A..B, such as 100..200")?;
        let number = |t: &str| {
            t.trim()
                .parse::<usize>()
                .map_err(|_| format!("'{t}' is no whole number"))
        };
        let part = Self {
            begin: if begin.is_empty() { 0 } else { number(begin)? },
            end: if end.is_empty() { None } else { Some(number(end)?) },
        };
        if part.end.is_some_and(|end| end <= part.begin) {
            return Err(format!("'{text}' holds no slice; B is the one after the last"));
        }
        Ok(part)
    }
}

impl StackArgs {
    /// The input as a stack; `None` if it is one image, as `kind` sees it unless the user insists.
    ///
    /// # Errors
    /// [`Error::Input`] for a file that cannot be read; [`Error::Usage`] where slices of one image are wanted.
    pub(super) fn open(&self, input: &Path, kind: StackKind) -> Result<Option<Stack>> {
        let stack = Stack::open(input, if self.stack { StackKind::Always } else { kind })?;
        self.check(input, stack.is_some())?;
        Ok(stack)
    }

    /// Slices are for stacks.
    pub(super) fn check(&self, input: &Path, is_stack: bool) -> Result<()> {
        if self.slices.is_some() && !is_stack {
            return Err(Error::Usage(format!(
                "{} is one image and has no --slices; leave them out, or say --stack if it is a stack",
                input.display()
            )));
        }
        Ok(())
    }

    /// The slices that are wanted of `count`.
    ///
    /// # Errors
    /// [`Error::Usage`] where there are not so many.
    pub(super) fn range(&self, input: &Path, count: usize) -> Result<Range<usize>> {
        let part = self.slices.unwrap_or(Part { begin: 0, end: None });
        let end = part.end.unwrap_or(count);
        if end > count || part.begin >= end {
            return Err(Error::Usage(format!(
                "--slices {}..{end}: {} has the slices 0..{count}",
                part.begin,
                input.display()
            )));
        }
        Ok(part.begin..end)
    }
}

/// The slices of a stack of measurements.
pub trait Measurements {
    /// How many there are, at least one.
    fn slices(&self) -> usize;

    /// The measured planes of slice `index`, counted from 0.
    ///
    /// # Errors
    /// [`Error::Input`] with the slice and what is wrong with it.
    fn read(&mut self, index: usize) -> Result<Vec<Vec<f32>>>;
}

impl Measurements for Stack {
    fn slices(&self) -> usize {
        self.slices()
    }

    fn read(&mut self, index: usize) -> Result<Vec<Vec<f32>>> {
        let image = self.read(index)?;
        Ok((0..image.channels)
            .map(|channel| image.plane(channel).to_vec())
            .collect())
    }
}
