//! Errors that arrive outside of any call.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{Error, Result};

/// The first error that arrived; it fails every later read.
#[derive(Debug, Default)]
pub(super) struct Faults(Mutex<Option<Fault>>);

#[derive(Debug)]
pub(super) enum Fault {
    OutOfMemory(String),
    Lost(String),
    Defect(String),
}

/// The lock of a mutex whose data stay sound even if a holder panicked.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Faults {
    pub(super) fn set(&self, fault: Fault) {
        lock(&self.0).get_or_insert(fault);
    }

    pub(super) fn check(&self) -> Result<()> {
        lock(&self.0).as_ref().map_or(Ok(()), |fault| Err(fault.error()))
    }
}

/// Runs device calls that return invalid objects instead of errors, and turns what they report into a value.
pub(super) fn scoped<T>(
    device: &wgpu::Device,
    label: &str,
    make: impl FnOnce(&wgpu::Device) -> T,
) -> std::result::Result<T, Fault> {
    let memory = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
    let internal = device.push_error_scope(wgpu::ErrorFilter::Internal);
    let validation = device.push_error_scope(wgpu::ErrorFilter::Validation);
    let made = make(device);
    let errors = [validation, internal, memory].map(|scope| pollster::block_on(scope.pop()));
    match errors.into_iter().flatten().next() {
        None => Ok(made),
        Some(error) => Err(Fault::of(error, label)),
    }
}

impl Fault {
    /// The fault as the error of a call.
    pub(super) fn error(&self) -> Error {
        match self {
            Self::OutOfMemory(what) => Error::OutOfMemory(what.clone()),
            Self::Lost(what) => Error::DeviceLost(what.clone()),
            Self::Defect(what) => Error::Internal(what.clone()),
        }
    }

    pub(super) fn of(error: wgpu::Error, label: &str) -> Self {
        let first_line = |text: String| {
            text.lines()
                .map(str::trim)
                .filter(|l| !l.is_empty())
                .collect::<Vec<_>>()
                .join(": ")
        };
        match error {
            wgpu::Error::OutOfMemory { .. } => Self::OutOfMemory(format!("out of device memory ({label})")),
            wgpu::Error::Validation { description, .. } | wgpu::Error::Internal { description, .. } => {
                Self::Defect(first_line(description))
            }
        }
    }
}
