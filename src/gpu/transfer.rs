//! Data to the device and back.

use std::sync::atomic::Ordering;
use std::sync::mpsc;

use super::buffer::{Buffer, Slice};
use super::device::Gpu;
use crate::{Error, Result};

/// Host-visible memory made by [`Gpu::readback`].
#[derive(Debug)]
pub struct Readback(pub(super) Buffer);

impl Gpu {
    /// Overwrites the front of `buffer`; reaches the device before anything submitted later.
    ///
    /// # Errors
    /// [`Error::Internal`] if a recorder holds unsubmitted work, which would see the new data too, or on overrun.
    pub fn write<T: bytemuck::Pod>(&self, buffer: &Buffer, data: &[T]) -> Result<()> {
        let bytes: &[u8] = bytemuck::cast_slice(data);
        if self.recording.load(Ordering::Relaxed) != 0 {
            return Err(Error::Internal(
                "write to the device while dispatches wait to be submitted".into(),
            ));
        }
        if bytes.len() as u64 > buffer.bytes {
            return Err(Error::Internal(format!(
                "{} bytes do not fit a buffer of {}",
                bytes.len(),
                buffer.bytes
            )));
        }
        self.scoped("write", |_| self.queue().write_buffer(&buffer.raw, 0, bytes))
    }

    /// Host-visible memory for `len` elements that a recorder can copy to again and again.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn readback(&self, len: usize) -> Result<Readback> {
        let bytes = len as u64 * 4;
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        Ok(Readback(self.allocate("readback", bytes, usage)?))
    }

    /// Waits for everything submitted and reads what a recorder copied to `readback`.
    ///
    /// # Errors
    /// As [`Gpu::wait`]: a failed batch fails the read instead of returning stale bytes.
    pub fn fetch<T: bytemuck::Pod>(&self, readback: &Readback) -> Result<Vec<T>> {
        let (send, receive) = mpsc::channel();
        readback.0.raw.map_async(wgpu::MapMode::Read, .., move |outcome| {
            // The receiver lives until the wait below is over; a failed send has nobody to tell.
            let _ = send.send(outcome);
        });
        self.wait()?;
        match receive.try_recv() {
            Ok(Ok(())) => {}
            Ok(Err(e)) => return Err(Error::DeviceLost(format!("cannot read from the device: {e}"))),
            Err(_) => {
                return Err(Error::DeviceLost(
                    "the device finished without mapping its result".into(),
                ));
            }
        }
        let view = readback
            .0
            .raw
            .get_mapped_range(..)
            .map_err(|e| Error::Internal(e.to_string()))?;
        let mut data = vec![T::zeroed(); view.len() / size_of::<T>()];
        bytemuck::cast_slice_mut::<T, u8>(&mut data).copy_from_slice(&view);
        drop(view);
        readback.0.raw.unmap();
        Ok(data)
    }

    /// Reads memory back: submits a copy, waits, maps.
    ///
    /// # Errors
    /// As [`Gpu::fetch`].
    pub fn read<'a, T: bytemuck::Pod>(&self, memory: impl Into<Slice<'a>>) -> Result<Vec<T>> {
        let slice = memory.into();
        let readback = self.readback((slice.bytes / 4) as usize)?;
        let mut recorder = self.record();
        recorder.copy_out(slice, &readback);
        recorder.submit();
        self.fetch(&readback)
    }
}
