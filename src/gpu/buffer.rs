//! Device memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A buffer's share in the device's account of allocated bytes, given back when the buffer goes.
#[derive(Debug)]
pub(super) struct Charge {
    pub(super) account: Arc<AtomicU64>,
    pub(super) bytes: u64,
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.account.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A device buffer of 4-byte elements, made by [`super::Gpu::buffer`] and its relatives.
#[derive(Debug)]
pub struct Buffer {
    pub(super) raw: wgpu::Buffer,
    pub(super) bytes: u64,
    pub(super) _charge: Charge,
}

impl Buffer {
    /// Number of 4-byte elements.
    pub fn len(&self) -> usize {
        (self.bytes / 4) as usize
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// The whole buffer.
    pub fn all(&self) -> Slice<'_> {
        Slice {
            buffer: self,
            offset: 0,
            bytes: self.bytes,
        }
    }

    /// `len` elements from element `start`. For a binding, `start` must be a multiple of 64 elements.
    pub fn slice(&self, start: usize, len: usize) -> Slice<'_> {
        Slice {
            buffer: self,
            offset: start as u64 * 4,
            bytes: len as u64 * 4,
        }
    }
}

/// A range of a [`Buffer`].
#[derive(Clone, Copy, Debug)]
pub struct Slice<'a> {
    pub(super) buffer: &'a Buffer,
    pub(super) offset: u64,
    pub(super) bytes: u64,
}

impl<'a> From<&'a Buffer> for Slice<'a> {
    fn from(buffer: &'a Buffer) -> Self {
        buffer.all()
    }
}
