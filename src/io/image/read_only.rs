//! Formats that are read but never written, through the `image` crate: JPEG, BMP, PGM and PPM.

use std::io::Cursor;

use image::{DynamicImage, ImageDecoder, ImageReader, Limits};

use super::{Format, Image, plausible_pixels};
use crate::io::input::Reasoned;

/// No supported compression packs more pixels into a byte: JPEG's shortest block of 64 takes 4 bits.
const MAX_EXPANSION: u64 = 128 * 24;

fn damaged(error: impl std::fmt::Display) -> String {
    // Some decoders end their messages with a line break.
    let error = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    format!("is a truncated or corrupt image ({error}); export it again as PNG")
}

/// The image in the bytes of such a file; its values count as 8-bit, or 16-bit for deep PGM and PPM.
pub(super) fn decode(bytes: &[u8]) -> Reasoned<Image> {
    let reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(damaged)?;
    let mut decoder = reader.into_decoder().map_err(damaged)?;
    let (width, height) = decoder.dimensions();
    plausible_pixels((height.into(), width.into()), 8, bytes.len(), MAX_EXPANSION)?;
    let mut limits = Limits::no_limits();
    // Decoders may hold a few copies; the header has been found plausible for the size of the file.
    limits.max_alloc = Some(64 * u64::from(width) * u64::from(height) + (64 << 20));
    decoder.set_limits(limits).map_err(damaged)?;
    let image = DynamicImage::from_decoder(decoder).map_err(damaged)?;
    let (width, height) = (width as usize, height as usize);
    let deep = matches!(
        image,
        DynamicImage::ImageLuma16(_) | DynamicImage::ImageRgb16(_) | DynamicImage::ImageRgba16(_)
    );
    let format = if deep { Format::Png16 } else { Format::Png8 };
    if image.color().has_color() {
        let pixels = image.to_rgb32f();
        let planes = (0..3).flat_map(|c| pixels.pixels().map(move |p| p.0[c])).collect();
        Image::new(3, height, width, planes, format).map_err(damaged)
    } else {
        let planes = image
            .to_luma16()
            .pixels()
            .map(|p| f32::from(p.0[0]) / 65535.0)
            .collect();
        Image::new(1, height, width, planes, format).map_err(damaged)
    }
}
