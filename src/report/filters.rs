//! Pictures of filter banks.

use crate::Result;
use crate::filters::FilterBank;
use crate::io::image::{Format, Image};

/// Pixels per filter tap, and between two filters.
const ZOOM: usize = 8;
const GAP: usize = 4;

/// The effective filters of a bank, each scaled so that its largest absolute tap is black or white and 0 is gray, side by side
/// in a grid that is about square.
///
/// # Errors
/// [`crate::Error::Data`] if the bank has no channel.
pub fn filters_picture(bank: &FilterBank) -> Result<Image> {
    let filters = bank.effective_filters();
    let side = 2 * bank.radius() + 1;
    let columns = (bank.channels() as f64).sqrt().ceil().max(1.0) as usize;
    let rows = bank.channels().div_ceil(columns);
    let pitch = side * ZOOM + GAP;
    let (height, width) = (rows * pitch + GAP, columns * pitch + GAP);
    let mut pixels = vec![1.0_f32; height * width];
    for (channel, filter) in filters.chunks_exact(side * side).enumerate() {
        let largest = filter.iter().fold(f64::MIN_POSITIVE, |m, w| m.max(w.abs()));
        let (top, left) = (channel / columns * pitch + GAP, channel % columns * pitch + GAP);
        for row in 0..side * ZOOM {
            for column in 0..side * ZOOM {
                let tap = filter[row / ZOOM * side + column / ZOOM];
                pixels[(top + row) * width + left + column] = (0.5 + 0.5 * tap / largest) as f32;
            }
        }
    }
    Image::gray(height, width, pixels, Format::Png8)
}
