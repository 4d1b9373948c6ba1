//! Inpainting: some pixels are measured, the others are not.

use super::{LinearOperator, OperatorNorm, Pass, check_buffer};
use crate::gpu::reduce::VALUES_PER_GROUP;
use crate::gpu::{Buffer, Gpu, Work};
use crate::model::NormKind;
use crate::{Error, Result, shader_struct};

shader_struct! {
    /// Parameters of `mask.wgsl`.
    pub struct MaskParams {
        /// Pixels of the image.
        pub pixels: u32,
        /// Padding.
        pub pad0: u32,
        /// Padding.
        pub pad1: u32,
        /// Padding.
        pub pad2: u32,
    }
}

/// `H = diag(mask)` with a mask of zeros and ones: image and measurement have the same shape, unmeasured pixels read 0.
#[derive(Clone, Debug, PartialEq)]
pub struct Mask {
    size: [usize; 2],
    mask: Vec<f32>,
}

impl Mask {
    /// From the mask of an image of `size` = rows, columns.
    ///
    /// # Errors
    /// [`Error::Data`] for the wrong number of values, one that is neither 0 nor 1, or a mask without any 1.
    pub fn new(size: [usize; 2], mask: Vec<f32>) -> Result<Self> {
        let [rows, cols] = size;
        if mask.len() != rows * cols || mask.is_empty() {
            return Err(Error::Data(format!(
                "a mask of {} values does not fit an image of {rows} x {cols} pixels",
                mask.len()
            )));
        }
        if let Some(at) = mask.iter().position(|&m| m != 0.0 && m != 1.0) {
            return Err(Error::Data(format!(
                "the mask is {} at row {}, column {}; it must be 0 (missing) or 1 (measured) everywhere",
                mask[at],
                at / cols,
                at % cols
            )));
        }
        if !mask.contains(&1.0) {
            return Err(Error::Data(
                "the mask leaves no pixel measured; 1 stands for measured".into(),
            ));
        }
        Ok(Self { size, mask })
    }

    /// The mask, (row, column).
    pub fn values(&self) -> &[f32] {
        &self.mask
    }

    fn pass(&self, gpu: &Gpu, src: &Buffer, dst: &Buffer) -> Result<Pass> {
        let pixels = self.mask.len();
        check_buffer("masked image", src, self.size)?;
        check_buffer("masked image", dst, self.size)?;
        let params = gpu.params(&[MaskParams {
            pixels: pixels as u32,
            ..Default::default()
        }])?;
        let mask = gpu.upload("mask", &self.mask)?;
        let memory = [
            ("params", params.binding()),
            ("mask", (&mask).into()),
            ("src", src.into()),
            ("dst", dst.into()),
        ];
        let work = Work {
            bytes: 12 * pixels as u64,
            multiply_adds: pixels as u64,
        };
        let bound = gpu.kernel("mask", &[])?.bind(gpu, &memory)?.with_work(None, [work]);
        let mut pass = Pass::default();
        pass.push(bound, [pixels.div_ceil(VALUES_PER_GROUP) as u32, 1, 1], 0);
        Ok(pass)
    }
}

impl LinearOperator for Mask {
    fn domain(&self) -> [usize; 2] {
        self.size
    }

    fn range(&self) -> [usize; 2] {
        self.size
    }

    fn forward(&self, gpu: &Gpu, x: &Buffer, y: &Buffer) -> Result<Pass> {
        self.pass(gpu, x, y)
    }

    fn adjoint(&self, gpu: &Gpu, y: &Buffer, x: &Buffer) -> Result<Pass> {
        self.pass(gpu, y, x)
    }

    fn clear_unmeasured(&self, measured: &mut [f32]) {
        let values = measured.iter_mut().zip(&self.mask);
        values.filter(|(_, m)| **m == 0.0).for_each(|(y, _)| *y = 0.0);
    }

    fn additions(&self) -> usize {
        1
    }

    /// 1 where every pixel is measured.
    fn least_squared(&self) -> Option<f64> {
        self.mask.iter().all(|&m| m == 1.0).then_some(1.0)
    }

    /// Exactly 1.
    fn norm_squared(&self, _: &Gpu) -> Result<OperatorNorm> {
        Ok(OperatorNorm {
            squared: 1.0,
            kind: NormKind::Bound,
        })
    }
}
