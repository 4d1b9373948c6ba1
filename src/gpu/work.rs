//! How much a launch does, stated by whoever cuts the work into launches: what a profile sets its times against.

use std::ops::{Add, Mul};
use std::sync::Arc;

/// Bytes moved and multiply-adds done.
///
/// Bytes are those of the loads and stores that the kernel's text states, caches or not, for the elements that the caller
/// asked for; what invocations beyond them load, and weights and parameters in uniforms, are left out. Comparisons and
/// additions alone do not count as multiply-adds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Work {
    /// Bytes loaded and stored.
    pub bytes: u64,
    /// Multiply-adds.
    pub multiply_adds: u64,
}

impl Add for Work {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            bytes: self.bytes + other.bytes,
            multiply_adds: self.multiply_adds + other.multiply_adds,
        }
    }
}

impl Mul<u64> for Work {
    type Output = Self;
    fn mul(self, times: u64) -> Self {
        Self {
            bytes: self.bytes * times,
            multiply_adds: self.multiply_adds * times,
        }
    }
}

/// The work of a bound kernel's launches.
#[derive(Debug)]
pub(super) struct WorkTable {
    /// The axis of workgroups along which the work repeats: images, planes.
    pub(super) axis: Option<usize>,
    /// One for each parameter entry.
    pub(super) entries: Arc<[Work]>,
}

impl WorkTable {
    pub(super) fn of(&self, groups: [u32; 3], entry: usize) -> Option<Work> {
        let times = self.axis.map_or(1, |axis| u64::from(groups[axis]));
        self.entries.get(entry).map(|&work| work * times)
    }
}
