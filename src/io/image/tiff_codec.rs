//! TIFF of 8- and 16-bit integers and 32-bit floats, gray or colours, page by page.

use super::samples::{self, Layout, Sample};
use super::{Axes, Format, Image, plausible_pixels};
use crate::io::input::Reasoned;
use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek, Write};
use tiff::TiffError;
use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::encoder::colortype::{ColorType, Gray8, Gray16, Gray32Float, RGB8, RGB16, RGB32Float};
use tiff::encoder::{TiffEncoder, TiffKind, TiffKindBig, TiffKindStandard, TiffValue};
use tiff::tags::{ExtraSamples, Tag};

/// The densest compression of TIFF, LZW, expands one byte to somewhat less than this.
const MAX_EXPANSION: u64 = 4096;
/// Offsets of the plain variant have 32 bits; this leaves room for the tags.
const MAX_PLAIN_BYTES: u64 = (1 << 32) - (1 << 20);

/// What the list of strips of a page, or the text that goes with it, may take in memory: as much as the decoder allows by default.
const DIRECTORY_BYTES: usize = 1 << 20;

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
    let page = Page::new(&mut decoder, bytes.len())?;
    page.read(&mut decoder.with_limits(page.limits(bytes.len())))
}

/// How the current page of a file is stored.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Page {
    layout: Layout,
    bits: u8,
    /// Bytes of all samples.
    size: usize,
}

impl Page {
    /// What the directory of the current page says, checked against the `length` of the file.
    fn new<R: Read + Seek>(decoder: &mut Decoder<R>, length: usize) -> Reasoned<Self> {
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
        let pixels = plausible_pixels(extents, bits_per_pixel, length, expansion)?;
        let size = (pixels as u64).saturating_mul(bits_per_pixel / 8);
        let size = usize::try_from(size).map_err(|_| "is too large for this machine; cut it into tiles")?;
        Ok(Self { layout, bits, size })
    }

    /// What a decoder of such pages may ask for.
    fn limits(&self, length: usize) -> Limits {
        let mut limits = Limits::default();
        limits.decoding_buffer_size = self.size;
        limits.ifd_value_size = length;
        // A chunk may be padded to whole tiles, which can exceed a small image.
        limits.intermediate_buffer_size = limits.intermediate_buffer_size.max(self.size);
        limits
    }

    /// The current page.
    fn read<R: Read + Seek>(&self, decoder: &mut Decoder<R>) -> Reasoned<Image> {
        let mut result = DecodingResult::U8(Vec::new());
        decoder.read_image_to_buffer(&mut result).map_err(damaged)?;
        match result {
            DecodingResult::U8(values) => samples::to_image(&values, self.layout, Format::Tiff8, Axes::Planar),
            DecodingResult::U16(values) => samples::to_image(&values, self.layout, Format::Tiff16, Axes::Planar),
            DecodingResult::F32(values) => samples::to_image(&values, self.layout, Format::TiffF32, Axes::Planar),
            _ => Err(format!(
                "has {}-bit samples of a type that is not read; export it with unsigned integers of 8 or 16 bits or \
                 32-bit floats",
                self.bits
            )),
        }
    }
}

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Layout {
            height,
            width,
            channels,
            alpha,
            ..
        } = self.layout;
        let samples = channels + usize::from(alpha);
        write!(
            f,
            "{height} x {width} pixels of {samples} samples of {} bits",
            self.bits
        )
    }
}

/// The pages of a file, one in memory at a time.
pub(super) struct Pages {
    decoder: Decoder<BufReader<File>>,
    first: Page,
    length: usize,
    count: usize,
}

impl Pages {
    /// Follows the chain of directories to its end, which finds a file that was cut off before them.
    pub fn open(file: File, length: u64) -> Reasoned<Self> {
        let length = usize::try_from(length).map_err(|_| "is too large for this machine; cut it into parts")?;
        let mut decoder = Decoder::new(BufReader::new(file)).map_err(damaged)?;
        let first = Page::new(&mut decoder, length)?;
        let mut limits = first.limits(length);
        // Directories are read under it, too, and those of a small page take more memory than its samples.
        limits.decoding_buffer_size = limits.decoding_buffer_size.max(DIRECTORY_BYTES);
        let mut decoder = decoder.with_limits(limits);
        let mut count = 1;
        while decoder.more_images() {
            let found = decoder.seek_to_image(count);
            found.map_err(|error| format!("slice {count} {}", damaged(error)))?;
            count += 1;
        }
        let pages = Self {
            decoder,
            first,
            length,
            count,
        };
        pages.refuse_hidden()
    }

    /// ImageJ writes stacks beyond 4 GB as one page, with the others behind it that no directory mentions.
    fn refuse_hidden(mut self) -> Reasoned<Self> {
        if self.count == 1 {
            let text = self
                .decoder
                .get_tag_ascii_string(Tag::ImageDescription)
                .unwrap_or_default();
            let images = text
                .lines()
                .find_map(|line| line.strip_prefix("images=")?.trim().parse().ok());
            if text.starts_with("ImageJ=") && images.is_some_and(|images: usize| images > 1) {
                return Err(
                    "is an ImageJ stack whose slices are not pages of the file; save it as BigTIFF or NPY".to_owned(),
                );
            }
        }
        Ok(self)
    }

    fn arranged(page: Page, planar: bool) -> Page {
        let layout = Layout { planar, ..page.layout };
        Page { layout, ..page }
    }

    /// How many pages there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Page `index`, which must be like the first.
    pub fn read(&mut self, index: usize) -> Reasoned<Image> {
        self.decoder.seek_to_image(index).map_err(damaged)?;
        let page = Page::new(&mut self.decoder, self.length)?;
        let planar = self.first.layout.planar;
        if Self::arranged(page, planar) != self.first {
            return Err(format!(
                "has {page}, slice 0 has {}; export pages of different kinds on their own",
                self.first
            ));
        }
        page.read(&mut self.decoder)
    }
}

/// Whether a file of so many bytes of samples, and tags for so many pages, is left to the variant for large files.
fn is_large(bytes: u64, pages: u64) -> bool {
    // The encoder writes some twelve tags for a page, and an offset and a size for each of its strips of a megabyte.
    let tags = pages.saturating_mul(1024).saturating_add(bytes >> 16);
    bytes.saturating_add(tags) > MAX_PLAIN_BYTES
}

/// Write a TIFF file: one page, no compression, in the variant for large files where it is needed.
pub(super) fn encode(image: &Image, format: Format, file: impl Write + Seek) -> io::Result<()> {
    PageWriter::new(image, format, 1, file)?.push(image)
}

/// Writes pages, one in memory at a time, without compression.
pub(super) struct PageWriter<W: Write + Seek> {
    encoder: Encoder<W>,
    format: Format,
}

enum Encoder<W: Write + Seek> {
    Plain(TiffEncoder<W, TiffKindStandard>),
    Large(TiffEncoder<W, TiffKindBig>),
}

impl<W: Write + Seek> PageWriter<W> {
    /// For `pages` images like `image`, in the variant for large files where it is needed.
    pub fn new(image: &Image, format: Format, pages: usize, file: W) -> io::Result<Self> {
        let values = image.planes.len() + image.alpha.as_ref().map_or(0, Vec::len);
        let bytes = (values as u64 * format.value_bytes() as u64).saturating_mul(pages as u64);
        let encoder = if is_large(bytes, pages as u64) {
            Encoder::Large(TiffEncoder::new_big(file).map_err(io_error)?)
        } else {
            Encoder::Plain(TiffEncoder::new(file).map_err(io_error)?)
        };
        Ok(Self { encoder, format })
    }

    /// The next page.
    pub fn push(&mut self, image: &Image) -> io::Result<()> {
        match &mut self.encoder {
            Encoder::Plain(encoder) => encode_page(encoder, image, self.format),
            Encoder::Large(encoder) => encode_page(encoder, image, self.format),
        }
        .map_err(io_error)
    }
}

fn io_error(error: TiffError) -> io::Error {
    match error {
        TiffError::IoError(error) => error,
        other => io::Error::other(other),
    }
}

fn encode_page<W: Write + Seek, K: TiffKind>(
    encoder: &mut TiffEncoder<W, K>,
    image: &Image,
    format: Format,
) -> Result<(), TiffError> {
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
    encoder: &mut TiffEncoder<W, K>,
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
