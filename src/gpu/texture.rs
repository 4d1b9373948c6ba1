//! Planes in texels: a copy of a buffer that kernels read with `textureLoad`.
//!
//! A software driver loads four values of a texel at once, where it loads the elements of a storage buffer lane by lane
//! with a bounds test each (`benches/README.md`).

use std::sync::Arc;

use super::buffer::{Buffer, Charge};
use super::device::Gpu;
use crate::{Error, Result};

/// How a stack of planes lies in a texture array: texel (column / 4, row) of layer `plane / per_layer`, where plane
/// `plane % per_layer` begins at row `(plane % per_layer) * plane_rows`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TexelPlanes {
    /// Elements from row to row, a multiple of [`TexelPlanes::ROW`].
    pub row_stride: usize,
    /// Rows of a plane.
    pub plane_rows: usize,
    /// Number of planes.
    pub planes: usize,
}

impl TexelPlanes {
    /// Copies move rows of whole multiples of 256 bytes.
    pub const ROW: usize = 64;

    /// Planes one above the other in a layer: as few as the number of layers allows.
    pub fn per_layer(&self, limits: &wgpu::Limits) -> usize {
        self.planes.div_ceil(limits.max_texture_array_layers as usize).max(1)
    }

    /// Whether the device can hold them.
    pub fn fit(&self, limits: &wgpu::Limits) -> bool {
        let side = limits.max_texture_dimension_2d as usize;
        self.row_stride.is_multiple_of(Self::ROW)
            && self.row_stride / 4 <= side
            && self.per_layer(limits) * self.plane_rows <= side
    }
}

/// A texture array of four floats a texel, made by [`Gpu::texture`].
#[derive(Debug)]
pub struct Texture {
    pub(super) raw: wgpu::Texture,
    pub(super) view: wgpu::TextureView,
    pub(super) planes: TexelPlanes,
    pub(super) per_layer: usize,
    pub(super) _charge: Charge,
}

impl Texture {
    /// The planes it holds.
    pub fn planes(&self) -> TexelPlanes {
        self.planes
    }

    /// Planes in a layer.
    pub fn per_layer(&self) -> usize {
        self.per_layer
    }
}

/// A copy of planes that lie at the front of a buffer into a texture: made at set-up, recorded any number of times.
#[derive(Debug)]
pub struct PlaneCopy {
    pub(super) from: wgpu::Buffer,
    pub(super) to: Arc<Texture>,
}

impl PlaneCopy {
    /// From the front of `from` to all of `to`.
    ///
    /// # Errors
    /// [`Error::Internal`] if the buffer holds fewer planes than the texture.
    pub fn new(from: &Buffer, to: &Arc<Texture>) -> Result<Self> {
        let TexelPlanes {
            row_stride,
            plane_rows,
            planes,
        } = to.planes;
        if from.len() < row_stride * plane_rows * planes {
            return Err(Error::Internal(format!(
                "a buffer of {} elements does not hold {planes} planes",
                from.len()
            )));
        }
        Ok(Self {
            from: from.raw.clone(),
            to: Arc::clone(to),
        })
    }
}

impl Gpu {
    /// A zeroed texture for `planes`, to be filled by a [`PlaneCopy`].
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], also where the planes do not [fit](TexelPlanes::fit).
    pub fn texture(&self, label: &str, planes: TexelPlanes) -> Result<Texture> {
        if !planes.fit(self.limits()) {
            return Err(Error::OutOfMemory(format!(
                "'{label}': {} planes of {} rows do not fit a texture of this adapter; use a smaller image",
                planes.planes, planes.plane_rows
            )));
        }
        let per_layer = planes.per_layer(self.limits());
        let size = wgpu::Extent3d {
            width: (planes.row_stride / 4) as u32,
            height: (per_layer * planes.plane_rows) as u32,
            depth_or_array_layers: planes.planes.div_ceil(per_layer) as u32,
        };
        let bytes = 16 * u64::from(size.width) * u64::from(size.height) * u64::from(size.depth_or_array_layers);
        let charge = self.charge(label, bytes)?;
        let raw = self.scoped(label, |device| {
            device.create_texture(&wgpu::TextureDescriptor {
                label: Some(label),
                size,
                mip_level_count: 1,
                sample_count: 1,
                dimension: wgpu::TextureDimension::D2,
                format: wgpu::TextureFormat::Rgba32Float,
                usage: wgpu::TextureUsages::TEXTURE_BINDING | wgpu::TextureUsages::COPY_DST,
                view_formats: &[],
            })
        })?;
        let view = raw.create_view(&wgpu::TextureViewDescriptor {
            dimension: Some(wgpu::TextureViewDimension::D2Array),
            ..Default::default()
        });
        Ok(Texture {
            raw,
            view,
            planes,
            per_layer,
            _charge: charge,
        })
    }
}
