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

/// A way to cut such kernels. Results depend on it by rounding at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KernelStyle {
    /// Outputs of an invocation.
    pub blocks: Blocks,
    /// Where it loads from. Frames that do not fit a texture are loaded from storage whatever stands here.
    pub source: Source,
}

impl KernelStyle {
    /// What suits a software driver.
    pub const SOFTWARE: Self = Self::new(Blocks::Large, Source::Texels);
    /// What suits a GPU.
    pub const HARDWARE: Self = Self::new(Blocks::Small, Source::Storage);
    /// All there are.
    pub const ALL: [Self; 4] = [
        Self::SOFTWARE,
        Self::new(Blocks::Large, Source::Storage),
        Self::HARDWARE,
        Self::new(Blocks::Small, Source::Texels),
    ];

    const fn new(blocks: Blocks, source: Source) -> Self {
        Self { blocks, source }
    }

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match (self.blocks, self.source) {
            (Blocks::Large, Source::Texels) => "large-texels",
            (Blocks::Large, Source::Storage) => "large-storage",
            (Blocks::Small, Source::Texels) => "small-texels",
            (Blocks::Small, Source::Storage) => "small-storage",
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
