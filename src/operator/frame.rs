//! Images inside larger frames: the boundary rule of a blur, once forward and once transposed.

use super::Boundary;
use crate::gpu::{Bound, Buffer, Gpu, Work};
use crate::{Result, shader_struct};

shader_struct! {
    /// Parameters of `frame_pad.wgsl` and `frame_fold.wgsl`.
    pub struct FrameParams {
        /// Rows of the frame.
        pub rows: u32,
        /// Columns of the frame.
        pub cols: u32,
        /// Rows of the frame above the image.
        pub top: u32,
        /// Columns of the frame left of the image.
        pub left: u32,
        /// Rows of the image.
        pub image_rows: u32,
        /// Columns of the image.
        pub image_cols: u32,
        /// Frame positions from pixel to pixel, zeros between them.
        pub step: u32,
        /// 0 zero, 1 circular, 2 reflect.
        pub boundary: u32,
    }
}

/// The image position that position `p` of a frame holds behind `lead` others, of an axis of `n` pixels; `None` for a zero. Less than `n`
/// positions lie outside at either end (`frame_source` of `shaders/lib/frame.wgsl`).
pub(super) fn continued(p: usize, lead: usize, n: usize, boundary: Boundary) -> Option<usize> {
    let (before, behind) = (lead.checked_sub(p).filter(|by| *by > 0), (p + 1).checked_sub(lead + n));
    match (boundary, before, behind.filter(|by| *by > 0)) {
        (_, None, None) => Some(p - lead),
        (Boundary::Zero, _, _) => None,
        (Boundary::Circular, Some(by), _) => Some(n - by),
        (Boundary::Circular, _, Some(by)) => Some(by - 1),
        (Boundary::Reflect, Some(by), _) => Some(by),
        (Boundary::Reflect, _, Some(by)) => Some(n - 1 - by),
    }
}

/// An image of `image` = rows, columns in a frame of `size` behind `lead` rows and columns.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub size: [usize; 2],
    pub lead: [usize; 2],
    pub image: [usize; 2],
    pub step: usize,
    pub boundary: Boundary,
}

impl Frame {
    /// Elements of the frame's buffer with what `frame_correlate.wgsl` reads behind it.
    pub fn buffer(&self, gpu: &Gpu) -> Result<Buffer> {
        let [rows, cols] = self.size;
        gpu.buffer("frame", (rows + 4) * cols + 8)
    }

    fn bind(&self, gpu: &Gpu, kernel: &str, src: &Buffer, dst: &Buffer) -> Result<Bound> {
        let params = gpu.params(&[FrameParams {
            rows: self.size[0] as u32,
            cols: self.size[1] as u32,
            top: self.lead[0] as u32,
            left: self.lead[1] as u32,
            image_rows: self.image[0] as u32,
            image_cols: self.image[1] as u32,
            step: self.step as u32,
            boundary: self.boundary as u32,
        }])?;
        let memory = [("params", params.binding()), ("src", src.into()), ("dst", dst.into())];
        let work = Work {
            bytes: 8 * (self.size[0] * self.size[1]) as u64,
            multiply_adds: 0,
        };
        Ok(gpu.kernel(kernel, &[])?.bind(gpu, &memory)?.with_work(None, [work]))
    }

    /// `frame <- image` and its workgroups.
    pub fn pad(&self, gpu: &Gpu, image: &Buffer, frame: &Buffer) -> Result<(Bound, [u32; 3])> {
        let bound = self.bind(gpu, "frame_pad", image, frame)?;
        let groups = bound.groups([self.size[1] as u32, self.size[0] as u32, 1]);
        Ok((bound, groups))
    }

    /// `image <- frame`, transposed, and its workgroups.
    pub fn fold(&self, gpu: &Gpu, frame: &Buffer, image: &Buffer) -> Result<(Bound, [u32; 3])> {
        let bound = self.bind(gpu, "frame_fold", frame, image)?;
        let groups = bound.groups([self.image[1] as u32, self.image[0] as u32, 1]);
        Ok((bound, groups))
    }
}
