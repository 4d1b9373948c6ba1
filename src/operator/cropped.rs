//! An operator that sees the inner part of larger images.

use super::frame::Frame;
use super::{Boundary, LinearOperator, OperatorNorm, Pass};
use crate::Result;
use crate::gpu::{Buffer, Gpu};

/// `H C`, where `C` takes so many pixels away on every side of an image: what lies there is not measured.
#[derive(Clone, Copy)]
pub struct Cropped<'o> {
    inner: &'o dyn LinearOperator,
    by: usize,
}

impl<'o> Cropped<'o> {
    /// `inner` on images that are larger by `by` pixels on every side.
    pub fn new(inner: &'o dyn LinearOperator, by: usize) -> Self {
        Self { inner, by }
    }

    fn frame(&self) -> Frame {
        Frame {
            size: self.domain(),
            lead: [self.by; 2],
            image: self.inner.domain(),
            step: 1,
            boundary: Boundary::Zero,
        }
    }

    fn plane(&self, gpu: &Gpu) -> Result<Buffer> {
        let [rows, cols] = self.inner.domain();
        gpu.buffer("inner part of the image", rows * cols)
    }
}

impl LinearOperator for Cropped<'_> {
    fn domain(&self) -> [usize; 2] {
        self.inner.domain().map(|side| side + 2 * self.by)
    }

    fn range(&self) -> [usize; 2] {
        self.inner.range()
    }

    fn forward(&self, gpu: &Gpu, x: &Buffer, y: &Buffer) -> Result<Pass> {
        let plane = self.plane(gpu)?;
        let mut pass = Pass::default();
        let (bound, groups) = self.frame().fold(gpu, x, &plane)?;
        pass.push(bound, groups, 0);
        pass.append(self.inner.forward(gpu, &plane, y)?);
        Ok(pass)
    }

    fn adjoint(&self, gpu: &Gpu, y: &Buffer, x: &Buffer) -> Result<Pass> {
        let plane = self.plane(gpu)?;
        let mut pass = self.inner.adjoint(gpu, y, &plane)?;
        let (bound, groups) = self.frame().pad(gpu, &plane, x)?;
        pass.push(bound, groups, 0);
        Ok(pass)
    }

    fn clear_unmeasured(&self, measured: &mut [f32]) {
        self.inner.clear_unmeasured(measured);
    }

    fn additions(&self) -> usize {
        self.inner.additions()
    }

    /// `|C|` is 1.
    fn norm_squared(&self, gpu: &Gpu) -> Result<OperatorNorm> {
        self.inner.norm_squared(gpu)
    }
}
