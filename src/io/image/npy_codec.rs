//! NPY arrays that are images.

use super::samples::{self, Layout, Sample};
use super::{Axes, Format, Image, plausible_pixels};
use crate::io::input::Reasoned;
use crate::io::npy::{Array, Values};
use std::io::{self, Write};

/// The image in the bytes of an NPY file.
pub(super) fn decode(bytes: &[u8]) -> Reasoned<Image> {
    to_image(&Array::from_bytes(bytes)?)
}

/// The image that an array is.
pub(super) fn to_image(array: &Array) -> Reasoned<Image> {
    let (channels, height, width, axes) = match *array.shape() {
        [height, width] => (1, height, width, Axes::Planar),
        [1, height, width] => (1, height, width, Axes::LeadingOne),
        [3, height, width] => (3, height, width, Axes::Planar),
        [height, width, 3] => (3, height, width, Axes::Interleaved),
        ref other => {
            return Err(format!(
                "has shape {other:?}, which is no image; reshape it to (H, W), (1, H, W), (3, H, W) or (H, W, 3)"
            ));
        }
    };
    // The array is in memory already, so only absurd or empty extents are left to refuse.
    plausible_pixels((height as u64, width as u64), 0, 0, 1)?;
    let layout = Layout {
        height,
        width,
        channels,
        alpha: false,
        planar: axes != Axes::Interleaved,
    };
    match array.values() {
        Values::U8(values) => samples::to_image(values, layout, Format::NpyU8, axes),
        Values::U16(values) => samples::to_image(values, layout, Format::NpyU16, axes),
        Values::F32(values) => samples::to_image(values, layout, Format::NpyF32, axes),
        Values::F64(values) => samples::to_image(values, layout, Format::NpyF64, axes),
        Values::I32(_) | Values::I64(_) => Err(
            "has signed integers, whose white is unknown; convert it with array.astype('uint8') or to floats \
                 from 0 to 1"
                .to_owned(),
        ),
        Values::C64(_) | Values::C128(_) => {
            Err("has complex numbers, which are no image; save its magnitude, numpy.abs(array)".to_owned())
        }
    }
}

/// Write an NPY file.
pub(super) fn encode(image: &Image, format: Format, file: &mut impl Write) -> io::Result<()> {
    to_array(image, format)?.write_to(file)
}

/// The array that an image is written as.
pub(super) fn to_array(image: &Image, format: Format) -> io::Result<Array> {
    let values = match format {
        Format::NpyU8 => Values::U8(arrange(image)),
        Format::NpyU16 => Values::U16(arrange(image)),
        Format::NpyF64 => Values::F64(arrange(image)),
        _ => Values::F32(arrange(image)),
    };
    let (height, width) = (image.height, image.width);
    let shape = match (image.channels, image.axes) {
        (1, Axes::LeadingOne) => vec![1, height, width],
        (1, _) => vec![height, width],
        (channels, Axes::Interleaved) => vec![height, width, channels],
        (channels, _) => vec![channels, height, width],
    };
    Array::new(shape, values).map_err(io::Error::other)
}

fn arrange<T: Sample>(image: &Image) -> Vec<T> {
    match image.axes {
        Axes::Interleaved => samples::interleave(image, false),
        Axes::Planar | Axes::LeadingOne => samples::by_plane(image),
    }
}
