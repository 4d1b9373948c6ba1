//! How kernels that use every value they load many times are cut, to suit a device.

use std::fmt;
use std::str::FromStr;

/// How large a block of outputs one invocation computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blocks {
    /// For software drivers: loads are dear and registers spill into a cache.
    Large,
    /// For GPUs: what stays in registers.
    Small,
}

/// Where invocations load pixels from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// The frames themselves, storage buffers.
    Storage,
    /// A copy of the frames in a texture, four columns a texel ([`super::Texture`]).
    Texels,
}

/// How weights get to the invocations that use all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Weights {
    /// Each loads them from a uniform.
    Uniform,
    /// Each loads some and passes them on within its subgroup, where the device says how large subgroups are
    /// ([`super::AdapterSummary::lanes`]).
    Lanes,
}

/// Lanes of a software driver from which on it pays to pass weights on: with 4 of them lavapipe took 1.4 times as long, with 8 it
/// took 0.8 of the time.
const WIDE: u32 = 8;

/// A way to cut such kernels. Results depend on it by rounding at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KernelStyle {
    /// Outputs of an invocation.
    pub blocks: Blocks,
    /// Where it loads from. Frames that do not fit a texture are loaded from storage whatever stands here.
    pub source: Source,
    /// How it gets its weights. Devices without subgroups of a fixed size load them from a uniform whatever stands here.
    pub weights: Weights,
}

impl KernelStyle {
    /// What suits a software driver with subgroups of 8 lanes or more.
    pub const SOFTWARE: Self = Self::new(Blocks::Large, Source::Texels, Weights::Lanes);
    /// What suits a GPU.
    pub const HARDWARE: Self = Self::new(Blocks::Small, Source::Storage, Weights::Uniform);
    /// What suits other software drivers.
    pub const NARROW_SOFTWARE: Self = Self::new(Blocks::Large, Source::Texels, Weights::Uniform);
    /// All there are.
    pub const ALL: [Self; 5] = [
        Self::SOFTWARE,
        Self::NARROW_SOFTWARE,
        Self::new(Blocks::Large, Source::Storage, Weights::Uniform),
        Self::HARDWARE,
        Self::new(Blocks::Small, Source::Texels, Weights::Uniform),
    ];

    const fn new(blocks: Blocks, source: Source, weights: Weights) -> Self {
        Self {
            blocks,
            source,
            weights,
        }
    }

    /// What suits a kind of adapter, whose subgroups have `lanes` invocations.
    pub(super) fn suiting(software: bool, lanes: Option<u32>) -> Self {
        match (software, lanes) {
            (true, Some(lanes)) if lanes >= WIDE => Self::SOFTWARE,
            (true, _) => Self::NARROW_SOFTWARE,
            (false, _) => Self::HARDWARE,
        }
    }

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match (self.blocks, self.source, self.weights) {
            (Blocks::Large, Source::Texels, Weights::Uniform) => "large-texels",
            (Blocks::Large, Source::Storage, Weights::Uniform) => "large-storage",
            (Blocks::Small, Source::Texels, Weights::Uniform) => "small-texels",
            (Blocks::Small, Source::Storage, Weights::Uniform) => "small-storage",
            (Blocks::Large, Source::Texels, Weights::Lanes) => "large-texels-lanes",
            (Blocks::Large, Source::Storage, Weights::Lanes) => "large-storage-lanes",
            (Blocks::Small, Source::Texels, Weights::Lanes) => "small-texels-lanes",
            (Blocks::Small, Source::Storage, Weights::Lanes) => "small-storage-lanes",
        }
    }
}

impl fmt::Display for KernelStyle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for KernelStyle {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = Self::ALL.map(Self::name);
        Self::ALL
            .into_iter()
            .find(|s| s.name() == text)
            .ok_or_else(|| format!("want one of {}", all.join(", ")))
    }
}
