//! Textures that convolutions read instead of frames.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::Region;
use crate::Result;
use crate::gpu::{Gpu, KernelStyle, Source, TexelPlanes, Texture};

/// Textures for frames of one layout, one for each number of planes: every stage fills its own before it reads it, so that
/// stages share them.
#[derive(Debug)]
pub struct Texels {
    source: Source,
    row_stride: usize,
    plane_rows: usize,
    textures: Mutex<BTreeMap<usize, Arc<Texture>>>,
}

impl Texels {
    /// For frames with `row_stride` elements a row and `plane_stride` a plane.
    pub fn new(style: KernelStyle, row_stride: usize, plane_stride: usize) -> Self {
        Self {
            source: style.source,
            row_stride,
            plane_rows: plane_stride / row_stride,
            textures: Mutex::default(),
        }
    }

    /// The texture for `planes` planes in all; `None` if pixels are to be loaded from storage, or do not fit a texture.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`].
    pub fn of(&self, gpu: &Gpu, planes: usize) -> Result<Option<Arc<Texture>>> {
        let layout = TexelPlanes {
            row_stride: self.row_stride,
            plane_rows: self.plane_rows,
            planes,
        };
        if self.source == Source::Storage || !layout.fit(gpu.limits()) {
            return Ok(None);
        }
        let mut textures = self.textures.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(texture) = textures.get(&planes) {
            return Ok(Some(Arc::clone(texture)));
        }
        let texture = Arc::new(gpu.texture("texels", layout)?);
        textures.insert(planes, Arc::clone(&texture));
        Ok(Some(texture))
    }
}

/// Where the first window of a stage lies in the frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Corner {
    /// Row of its topmost pixels.
    pub row: usize,
    /// Column of its leftmost pixels.
    pub col: usize,
}

impl Corner {
    /// The corner of windows of radius `radius` around `source`, images of `inputs` planes, if `planes` hold such frames and
    /// no window reaches out of its plane.
    pub fn of(source: &Region, inputs: usize, radius: usize, planes: &TexelPlanes) -> Option<Self> {
        let (first, stride, rows) = (source.first as usize, planes.row_stride, planes.plane_rows);
        let same = [source.row_stride, source.plane_stride, source.image_stride].map(|n| n as usize)
            == [stride, stride * rows, stride * rows * inputs];
        let row = (first / stride).checked_sub(radius)?;
        let col = (first % stride).checked_sub(radius)?;
        let ends = [row + source.rows as usize, col + source.cols as usize].map(|end| end + 2 * radius);
        (same && ends[0] <= rows && ends[1] <= stride).then_some(Self { row, col })
    }
}
