//! PNG of 8- and 16-bit integers; palettes and fewer bits are expanded to 8.

use super::samples::{self, Layout};
use super::{Axes, Format, Image, plausible_pixels};
use crate::io::input::{self, Reasoned};
use png::{BitDepth, ColorType, Transformations};
use std::io::{self, Cursor, Write};

/// Deflate, which PNG uses, cannot expand one byte to more than this.
const MAX_EXPANSION: u64 = 1032;

fn damaged(error: impl std::fmt::Display) -> String {
    format!("is a truncated or corrupt PNG image ({error}); copy or export it again")
}

/// The image in the bytes of a PNG file.
pub(super) fn decode(bytes: &[u8]) -> Reasoned<Image> {
    // The real limit is the plausibility check; this one keeps text chunks from growing beyond any image.
    let limits = png::Limits {
        bytes: bytes.len().saturating_mul(MAX_EXPANSION as usize),
    };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), limits);
    decoder.set_ignore_text_chunk(true);
    decoder.set_transformations(Transformations::EXPAND);
    let info = decoder.read_header_info().map_err(damaged)?;
    let extents = (u64::from(info.height), u64::from(info.width));
    let bits_per_pixel = info.bits_per_pixel() as u64;
    plausible_pixels(extents, bits_per_pixel, bytes.len(), MAX_EXPANSION)?;

    let mut reader = decoder.read_info().map_err(damaged)?;
    if reader.info().is_animated() {
        return Err("is an animated PNG image; export a single frame".to_owned());
    }
    let size = reader
        .output_buffer_size()
        .ok_or("is too large for this machine; cut it into tiles")?;
    let mut buffer = input::reserve(size)?;
    buffer.resize(size, 0_u8);
    reader.next_frame(&mut buffer).map_err(damaged)?;
    // Reads up to the end mark, without which the file was cut short.
    reader.finish().map_err(damaged)?;

    let (color, depth) = reader.output_color_type();
    let (channels, alpha) = match color {
        ColorType::Grayscale => (1, false),
        ColorType::GrayscaleAlpha => (1, true),
        ColorType::Rgb => (3, false),
        ColorType::Rgba => (3, true),
        ColorType::Indexed => return Err(damaged("a palette that does not expand")),
    };
    let layout = Layout {
        height: reader.info().height as usize,
        width: reader.info().width as usize,
        channels,
        alpha,
        planar: false,
    };
    if depth == BitDepth::Sixteen {
        let mut words = input::reserve(size / 2)?;
        words.extend(buffer.as_chunks().0.iter().map(|&word| u16::from_be_bytes(word)));
        samples::to_image(&words, layout, Format::Png16, Axes::Planar)
    } else {
        samples::to_image(&buffer, layout, Format::Png8, Axes::Planar)
    }
}

/// Write a PNG file. Filter and compression are fixed, so equal images give equal bytes.
pub(super) fn encode(image: &Image, format: Format, file: impl Write) -> io::Result<()> {
    let width = u32::try_from(image.width).map_err(io::Error::other)?;
    let height = u32::try_from(image.height).map_err(io::Error::other)?;
    let mut encoder = png::Encoder::new(file, width, height);
    encoder.set_color(match (image.channels, &image.alpha) {
        (1, None) => ColorType::Grayscale,
        (1, Some(_)) => ColorType::GrayscaleAlpha,
        (_, None) => ColorType::Rgb,
        (_, Some(_)) => ColorType::Rgba,
    });
    encoder.set_compression(png::Compression::Balanced);
    encoder.set_filter(png::Filter::Adaptive);
    let bytes = if format == Format::Png16 {
        encoder.set_depth(BitDepth::Sixteen);
        let words: Vec<u16> = samples::interleave(image, true);
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    } else {
        encoder.set_depth(BitDepth::Eight);
        samples::interleave(image, true)
    };
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&bytes)?;
    writer.finish()?;
    Ok(())
}
