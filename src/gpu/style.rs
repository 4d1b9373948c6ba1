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

/// How sums over the taps of filters are formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Products {
    /// Tap by tap.
    Taps,
    /// At points of a row, with two fifths of the products (`lib/conv_points.wgsl`), for layers that gain by it.
    Points,
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
    /// What it multiplies.
    pub products: Products,
}

impl KernelStyle {
    /// What suits a software driver with subgroups of 8 lanes or more.
    pub const SOFTWARE: Self = Self::new(Blocks::Large, Source::Texels, Weights::Lanes, Products::Points);
    /// What suits a GPU.
    pub const HARDWARE: Self = Self::new(Blocks::Small, Source::Storage, Weights::Uniform, Products::Taps);
    /// What suits other software drivers.
    pub const NARROW_SOFTWARE: Self = Self::new(Blocks::Large, Source::Texels, Weights::Uniform, Products::Points);
    /// All there are.
    pub const ALL: [Self; 8] = [
        Self::SOFTWARE,
        Self::new(Blocks::Large, Source::Texels, Weights::Lanes, Products::Taps),
        Self::NARROW_SOFTWARE,
        Self::new(Blocks::Large, Source::Texels, Weights::Uniform, Products::Taps),
        Self::new(Blocks::Large, Source::Storage, Weights::Uniform, Products::Taps),
        Self::HARDWARE,
        Self::new(Blocks::Small, Source::Texels, Weights::Uniform, Products::Taps),
        Self::new(Blocks::Small, Source::Storage, Weights::Uniform, Products::Points),
    ];

    const fn new(blocks: Blocks, source: Source, weights: Weights, products: Products) -> Self {
        Self {
            blocks,
            source,
            weights,
            products,
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

    /// The name on the command line: blocks, source, then what is not the default of weights and products.
    pub fn name(self) -> String {
        let blocks = match self.blocks {
            Blocks::Large => "large",
            Blocks::Small => "small",
        };
        let source = match self.source {
            Source::Storage => "-storage",
            Source::Texels => "-texels",
        };
        let weights = match self.weights {
            Weights::Uniform => "",
            Weights::Lanes => "-lanes",
        };
        let products = match self.products {
            Products::Taps => "",
            Products::Points => "-points",
        };
        [blocks, source, weights, products].concat()
    }
}

impl fmt::Display for KernelStyle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_passes_weights_on_where_subgroups_are_wide() {
        let suiting = |lanes| KernelStyle::suiting(true, lanes);
        assert_eq!(suiting(Some(8)), KernelStyle::SOFTWARE);
        assert_eq!(suiting(Some(4)), KernelStyle::NARROW_SOFTWARE);
        assert_eq!(suiting(None), KernelStyle::NARROW_SOFTWARE);
        assert_eq!(KernelStyle::suiting(false, Some(32)), KernelStyle::HARDWARE);
    }
}
