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
        match &*lock(&self.0) {
            None => Ok(()),
            Some(Fault::OutOfMemory(what)) => Err(Error::OutOfMemory(what.clone())),
            Some(Fault::Lost(what)) => Err(Error::DeviceLost(what.clone())),
            Some(Fault::Defect(what)) => Err(Error::Internal(what.clone())),
        }
    }
}

impl Fault {
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
