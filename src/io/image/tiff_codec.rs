//! TIFF of 8- and 16-bit integers and 32-bit floats, gray or colours, one page.

use super::samples::{self, Layout, Sample};
use super::{Axes, Format, Image, plausible_pixels};
use crate::io::input::Reasoned;
use std::io::{self, Cursor, Seek, Write};
use tiff::TiffError;
use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::encoder::colortype::{ColorType, Gray8, Gray16, Gray32Float, RGB8, RGB16, RGB32Float};
use tiff::encoder::{TiffEncoder, TiffKind, TiffKindBig, TiffKindStandard, TiffValue};
use tiff::tags::{ExtraSamples, Tag};

/// The densest compression of TIFF, LZW, expands one byte to somewhat less than this.
const MAX_EXPANSION: u64 = 4096;
/// Offsets of the plain variant have 32 bits; this leaves room for the tags.
const MAX_PLAIN_BYTES: u64 = (1 << 32) - (1 << 20);

const UNCOMPRESSED: u16 = 1;
const SEPARATE_PLANES: u16 = 2;

fn damaged(error: TiffError) -> String {
    match error {
        TiffError::UnsupportedError(what) => {
            format!(
                "is a TIFF image of a kind that is not read ({what}); export it as gray or RGB, 8 or 16 bits or float"
            )
        }
        TiffError::LimitsExceeded => {
            "is a corrupt TIFF image (a tag or strip larger than the file); copy or export it again".to_owned()
        }
        other => format!("is a truncated or corrupt TIFF image ({other}); copy or export it again"),
    }
}

/// The image in the bytes of a TIFF file.
pub(super) fn decode(bytes: &[u8]) -> Reasoned<Image> {
    let mut decoder = Decoder::new(Cursor::new(bytes)).map_err(damaged)?;
    if decoder.more_images() {
        return Err("has more than one page; export the page you want on its own".to_owned());
    }
    let (width, height) = decoder.dimensions().map_err(damaged)?;
    let color = decoder.colortype().map_err(damaged)?;
    let (channels, alpha, bits) = match color {
        tiff::ColorType::Gray(bits) => (1, false, bits),
        tiff::ColorType::RGB(bits) => (3, false, bits),
        tiff::ColorType::RGBA(bits) => (3, true, bits),
        // Gray with opacity, and arrays saved without saying that their three samples are colours.
        tiff::ColorType::Multiband {
            bit_depth,
            num_samples: 2,
        } => (1, true, bit_depth),
        tiff::ColorType::Multiband {
            bit_depth,
            num_samples: 3,
        } => (3, false, bit_depth),
        other => return Err(format!("has colours of type {other:?}; export it as gray or RGB")),
    };
    if !matches!(bits, 8 | 16 | 32) {
        return Err(format!(
            "has samples of {bits} bits; export it with 8 or 16 bits or 32-bit floats"
        ));
    }
    let mut tag = |tag| decoder.find_tag_unsigned::<u16>(tag).map_err(damaged);
    let planar = tag(Tag::PlanarConfiguration)? == Some(SEPARATE_PLANES);
    let expansion = match tag(Tag::Compression)? {
        None | Some(UNCOMPRESSED) => 1,
        Some(_) => MAX_EXPANSION,
    };
    let layout = Layout {
        height: height as usize,
        width: width as usize,
        channels,
        alpha,
        planar,
    };
    let samples_per_pixel = channels as u64 + u64::from(alpha);
    let extents = (u64::from(height), u64::from(width));
    let bits_per_pixel = samples_per_pixel * u64::from(bits);
    let pixels = plausible_pixels(extents, bits_per_pixel, bytes.len(), expansion)?;

    let size = (pixels as u64).saturating_mul(bits_per_pixel / 8);
    let size = usize::try_from(size).map_err(|_| "is too large for this machine; cut it into tiles")?;
    let mut limits = Limits::default();
    limits.decoding_buffer_size = size;
    limits.ifd_value_size = bytes.len();
    // A chunk may be padded to whole tiles, which can exceed a small image.
    limits.intermediate_buffer_size = limits.intermediate_buffer_size.max(size);
    let mut decoder = decoder.with_limits(limits);
    let mut result = DecodingResult::U8(Vec::new());
    decoder.read_image_to_buffer(&mut result).map_err(damaged)?;
    match result {
        DecodingResult::U8(values) => samples::to_image(&values, layout, Format::Tiff8, Axes::Planar),
        DecodingResult::U16(values) => samples::to_image(&values, layout, Format::Tiff16, Axes::Planar),
        DecodingResult::F32(values) => samples::to_image(&values, layout, Format::TiffF32, Axes::Planar),
        _ => Err(format!(
            "has {bits}-bit samples of a type that is not read; export it with unsigned integers of 8 or 16 bits or \
             32-bit floats"
        )),
    }
}

/// Write a TIFF file: one page, no compression, in the variant for large files where it is needed.
pub(super) fn encode(image: &Image, format: Format, file: impl Write + Seek) -> io::Result<()> {
    let bytes = (image.planes.len() + image.alpha.as_ref().map_or(0, Vec::len)) as u64 * size_of::<f32>() as u64;
    if bytes <= MAX_PLAIN_BYTES {
        encode_kind::<_, TiffKindStandard>(TiffEncoder::new(file), image, format)
    } else {
        encode_kind::<_, TiffKindBig>(TiffEncoder::new_big(file), image, format)
    }
    .map_err(|error| match error {
        TiffError::IoError(error) => error,
        other => io::Error::other(other),
    })
}

type Opened<W, K> = Result<TiffEncoder<W, K>, TiffError>;

fn encode_kind<W: Write + Seek, K: TiffKind>(
    encoder: Opened<W, K>,
    image: &Image,
    format: Format,
) -> Result<(), TiffError> {
    let encoder = encoder?;
    match (format, image.channels) {
        (Format::Tiff8, 1) => encode_samples::<W, K, Gray8>(encoder, image),
        (Format::Tiff8, _) => encode_samples::<W, K, RGB8>(encoder, image),
        (Format::Tiff16, 1) => encode_samples::<W, K, Gray16>(encoder, image),
        (Format::Tiff16, _) => encode_samples::<W, K, RGB16>(encoder, image),
        (_, 1) => encode_samples::<W, K, Gray32Float>(encoder, image),
        (_, _) => encode_samples::<W, K, RGB32Float>(encoder, image),
    }
}

fn encode_samples<W: Write + Seek, K: TiffKind, C: ColorType>(
    mut encoder: TiffEncoder<W, K>,
    image: &Image,
) -> Result<(), TiffError>
where
    C::Inner: Sample,
    [C::Inner]: TiffValue,
{
    let (width, height) = (u32::try_from(image.width)?, u32::try_from(image.height)?);
    let mut page = encoder.new_image::<C>(width, height)?;
    if image.alpha.is_some() {
        page.extra_samples(&[ExtraSamples::UnassociatedAlpha])?;
    }
    page.write_data(&samples::interleave::<C::Inner>(image, true))
}
