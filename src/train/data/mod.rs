//! What a denoiser is trained with: patches of a folder of clean images, and noise.
//!
//! An epoch is the grid of patches over (image, scale, top, left) in a random order. Sample `n` of a training is patch
//! `n % len` of epoch `n / len`, and everything that is random about it, its place in the order, its symmetry, its noise
//! level and its noise, is a function of (seed, epoch, index) alone: the same sample comes out whatever the size of the
//! batches, the thread that makes it and the step at which a training was resumed.

mod corpus;
mod permutation;
mod prefetch;
mod settings;

pub use corpus::{Corpus, Plane, Sample};
pub use permutation::Permutation;
pub use prefetch::{Batch, Prefetch};
pub use settings::DataSettings;
