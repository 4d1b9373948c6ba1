//! A random order of `0..length` that needs no memory.

use crate::io::noise;

/// Rounds of the network. Three make it a pseudo-random permutation against few queries (Luby and Rackoff, 1988); short
/// words, as a small grid has, want more.
const ROUNDS: u64 = 8;

/// A pseudo-random permutation of `0..length`: a Feistel network over the smallest even number of bits that holds
/// `length`, walked along its cycle until the image falls below `length` (Black and Rogaway, 2002). The domain is less than
/// four times as large, so a value takes four walks at most on average.
#[derive(Clone, Copy, Debug)]
pub struct Permutation {
    seed: u64,
    length: u64,
    half: u32,
}

impl Permutation {
    /// The permutation of `0..length` that belongs to `seed`.
    pub fn new(seed: u64, length: u64) -> Self {
        let bits = u64::BITS - length.saturating_sub(1).leading_zeros();
        Self {
            seed,
            length,
            half: bits.div_ceil(2).max(1),
        }
    }

    /// The image of `index`, below `length` if `index` is; other indices come back unchanged.
    pub fn apply(&self, index: u64) -> u64 {
        if index >= self.length {
            return index;
        }
        // The walk ends: it follows a cycle of a permutation, and the cycle comes back to `index` at the latest.
        let mut image = self.network(index);
        while image >= self.length {
            image = self.network(image);
        }
        image
    }

    /// `(l, r) -> (r, l xor F(round, r))` in every round, which can be undone whatever `F` is.
    fn network(&self, value: u64) -> u64 {
        // Of 64 bits in all, the halves have 32: no shift overflows.
        let mask = (1_u64 << self.half) - 1;
        let (mut left, mut right) = (value >> self.half, value & mask);
        for round in 0..ROUNDS {
            (left, right) = (right, left ^ noise::bits(self.seed, round, right) & mask);
        }
        left << self.half | right
    }
}
