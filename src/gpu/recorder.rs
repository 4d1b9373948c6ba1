//! Recording of dispatches; nothing here blocks or allocates device memory.

use super::buffer::Slice;
use super::device::Gpu;
use super::kernel::Bound;
use super::profile::Block;
use super::texture::{PlaneCopy, TexelPlanes};
use super::transfer::Readback;

/// Dispatches are handed to the device in batches of this many, so that it never waits for the host to finish recording
/// a long list and no single submission grows long enough for a driver's hang detection.
pub(super) const DISPATCHES_PER_SUBMIT: usize = 64;

/// Collects dispatches and copies in order and submits them. Errors surface at the next read. On a device that profiles,
/// each dispatch is a pass of its own, with a timestamp before and behind it.
pub struct Recorder<'g> {
    gpu: &'g Gpu,
    encoder: Option<wgpu::CommandEncoder>,
    pass: Option<wgpu::ComputePass<'static>>,
    pending: usize,
    timed: bool,
    times: Option<Block>,
}

impl<'g> Recorder<'g> {
    pub(super) fn new(gpu: &'g Gpu, timed: bool) -> Self {
        Self {
            gpu,
            encoder: None,
            pass: None,
            pending: 0,
            timed,
            times: None,
        }
    }

    fn encoder(&mut self) -> &mut wgpu::CommandEncoder {
        let gpu = self.gpu;
        self.encoder.get_or_insert_with(|| {
            gpu.recording(1);
            gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor {
                label: Some("recorder"),
            })
        })
    }

    /// Records `groups` workgroups of a bound kernel with entry `entry` of its parameter table (0 if it has none).
    /// A dispatch without any group is left out.
    pub fn dispatch(&mut self, bound: &Bound, groups: [u32; 3], entry: usize) {
        if groups.contains(&0) {
            return;
        }
        let limit = self.gpu.limits().max_compute_workgroups_per_dimension;
        if groups.iter().any(|&g| g > limit) || entry >= bound.entries as usize {
            // Both are defects of the caller; the next read reports them instead of stale results.
            self.gpu.report(format!(
                "kernel '{}': {groups:?} groups or parameter entry {entry} out of range",
                bound.kernel.name
            ));
            return;
        }
        let Some(pipeline) = self.gpu.compiled(&bound.pipeline) else {
            return; // the next read says why
        };
        let mut pass = match self.pass.take() {
            Some(pass) => pass,
            None => self.begin_pass(bound, groups, entry),
        };
        pass.set_pipeline(pipeline);
        match bound.stride {
            Some(stride) => pass.set_bind_group(0, &bound.group, &[stride * entry as u32]),
            None => pass.set_bind_group(0, &bound.group, &[]),
        }
        pass.dispatch_workgroups(groups[0], groups[1], groups[2]);
        // A pass with timestamps ends here.
        self.pass = (!self.timed).then_some(pass);
        self.pending += 1;
        if self.pending >= DISPATCHES_PER_SUBMIT {
            self.submit();
        }
    }

    fn begin_pass(&mut self, bound: &Bound, groups: [u32; 3], entry: usize) -> wgpu::ComputePass<'static> {
        let gpu = self.gpu;
        let profiler = gpu.profiler().filter(|_| self.timed);
        if let (Some(profiler), None) = (profiler, &self.times) {
            self.times = profiler.reserve(gpu);
        }
        let times = self.times.as_mut();
        let writes = profiler
            .zip(times)
            .map(|(profiler, block)| profiler.time(block, bound, groups, entry));
        let label = if self.timed { &bound.kernel.name } else { "recorder" };
        self.encoder()
            .begin_compute_pass(&wgpu::ComputePassDescriptor {
                label: Some(label),
                timestamp_writes: writes,
            })
            .forget_lifetime()
    }

    /// Records a copy of `slice` to where the host will read it.
    pub fn copy_out(&mut self, slice: Slice<'_>, readback: &Readback) {
        self.pass = None;
        self.encoder()
            .copy_buffer_to_buffer(&slice.buffer.raw, slice.offset, &readback.0.raw, 0, Some(slice.bytes));
        self.pending += 1;
    }

    /// Records that `slice` becomes 0.
    pub fn clear(&mut self, slice: Slice<'_>) {
        self.pass = None;
        self.encoder()
            .clear_buffer(&slice.buffer.raw, slice.offset, Some(slice.bytes));
        self.pending += 1;
    }

    /// Records a copy between buffers.
    pub fn copy(&mut self, from: Slice<'_>, to: Slice<'_>) {
        self.pass = None;
        self.encoder().copy_buffer_to_buffer(
            &from.buffer.raw,
            from.offset,
            &to.buffer.raw,
            to.offset,
            Some(from.bytes),
        );
        self.pending += 1;
    }

    /// Records a copy of the first `planes` planes to where kernels read them as texels.
    pub fn copy_planes(&mut self, PlaneCopy { from, to }: &PlaneCopy, planes: u32) {
        self.pass = None;
        let planes = (planes as usize).min(to.planes.planes);
        let TexelPlanes {
            row_stride, plane_rows, ..
        } = to.planes;
        let bytes_per_row = 4 * row_stride as u64;
        let layer_rows = to.per_layer * plane_rows;
        let whole = planes / to.per_layer;
        // Whole layers, then what remains of one.
        for (first, layers, rows) in [
            (0, whole, layer_rows),
            (whole, 1, (planes - whole * to.per_layer) * plane_rows),
        ] {
            if layers * rows == 0 {
                continue;
            }
            let source = wgpu::TexelCopyBufferInfo {
                buffer: from,
                layout: wgpu::TexelCopyBufferLayout {
                    offset: (first * layer_rows) as u64 * bytes_per_row,
                    bytes_per_row: Some(bytes_per_row as u32),
                    rows_per_image: Some(layer_rows as u32),
                },
            };
            let target = wgpu::TexelCopyTextureInfo {
                texture: &to.raw,
                mip_level: 0,
                origin: wgpu::Origin3d {
                    x: 0,
                    y: 0,
                    z: first as u32,
                },
                aspect: wgpu::TextureAspect::All,
            };
            let size = wgpu::Extent3d {
                width: (row_stride / 4) as u32,
                height: rows as u32,
                depth_or_array_layers: layers as u32,
            };
            self.encoder().copy_buffer_to_texture(source, target, size);
            self.pending += 1;
        }
    }

    /// Hands everything recorded so far to the device and returns at once.
    pub fn submit(&mut self) {
        self.pass = None;
        self.pending = 0;
        if let Some(mut encoder) = self.encoder.take() {
            let times = self.gpu.profiler().zip(self.times.take());
            if let Some((profiler, block)) = &times {
                profiler.resolve(&mut encoder, block);
            }
            self.gpu.queue().submit([encoder.finish()]);
            self.gpu.recording(-1);
            if let Some((profiler, block)) = times {
                profiler.submitted(block);
            }
        }
    }
}

impl Drop for Recorder<'_> {
    fn drop(&mut self) {
        self.submit();
    }
}
