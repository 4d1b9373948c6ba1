//! How image files store pixels, how a file is recognised, and which format an output gets.

use crate::io::input::Reasoned;
use crate::{Error, Result};
use std::path::Path;

/// How a file stores its pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// PNG of 8-bit integers.
    Png8,
    /// PNG of 16-bit integers.
    Png16,
    /// TIFF of 8-bit integers.
    Tiff8,
    /// TIFF of 16-bit integers.
    Tiff16,
    /// TIFF of 32-bit floats.
    TiffF32,
    /// NPY of 8-bit integers.
    NpyU8,
    /// NPY of 16-bit integers.
    NpyU16,
    /// NPY of 32-bit floats.
    NpyF32,
    /// NPY of 64-bit floats.
    NpyF64,
}

/// How an NPY file orders its axes. A shape that fits two of them, such as (3, 5, 3), is taken for the earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axes {
    /// (row, column) for gray, (channel, row, column) for colours.
    Planar,
    /// (1, row, column), gray only; colours are written as [`Axes::Planar`].
    LeadingOne,
    /// (row, column, channel), colours only; gray is written as [`Axes::Planar`].
    Interleaved,
}

/// The kinds of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Container {
    Png,
    Tiff,
    Npy,
}

/// What the first bytes of a file say it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// A kind that is written too.
    Stored(Container),
    /// JPEG, BMP, PGM or PPM.
    ReadOnly,
}

impl Format {
    /// The format for an output at `path`, from that of its input. An extension of the same kind of file keeps the
    /// format. Otherwise `.png` takes 8-bit integers for 8-bit inputs and 16-bit ones for all others; `.tif` and `.tiff`
    /// keep 8- and 16-bit integers and take 32-bit floats for floats; `.npy` takes 32-bit floats, since who leaves an
    /// integer image format for NPY wants the values before rounding. Other extensions, and none, are refused.
    pub fn for_output(self, path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        let container = match extension.as_str() {
            "png" => Container::Png,
            "tif" | "tiff" => Container::Tiff,
            "npy" => Container::Npy,
            "" => return Err(Error::output(path, "its name has no extension; add .png, .tif or .npy")),
            other => {
                return Err(Error::output(
                    path,
                    format!("images of type .{other} are not written; use .png, .tif or .npy"),
                ));
            }
        };
        if container == self.container() {
            return Ok(self);
        }
        let depth = self.depth();
        Ok(match container {
            Container::Png if depth == Depth::Int8 => Self::Png8,
            Container::Png => Self::Png16,
            Container::Tiff => match depth {
                Depth::Int8 => Self::Tiff8,
                Depth::Int16 => Self::Tiff16,
                Depth::Float => Self::TiffF32,
            },
            Container::Npy => Self::NpyF32,
        })
    }

    /// The usual extension of such files, without the dot.
    pub fn extension(self) -> &'static str {
        match self.container() {
            Container::Png => "png",
            Container::Tiff => "tif",
            Container::Npy => "npy",
        }
    }

    /// Bytes of one value, before compression.
    pub fn value_bytes(self) -> usize {
        match self {
            Self::Png8 | Self::Tiff8 | Self::NpyU8 => 1,
            Self::Png16 | Self::Tiff16 | Self::NpyU16 => 2,
            Self::TiffF32 | Self::NpyF32 => 4,
            Self::NpyF64 => 8,
        }
    }

    pub(super) fn container(self) -> Container {
        match self {
            Self::Png8 | Self::Png16 => Container::Png,
            Self::Tiff8 | Self::Tiff16 | Self::TiffF32 => Container::Tiff,
            Self::NpyU8 | Self::NpyU16 | Self::NpyF32 | Self::NpyF64 => Container::Npy,
        }
    }

    fn depth(self) -> Depth {
        match self {
            Self::Png8 | Self::Tiff8 | Self::NpyU8 => Depth::Int8,
            Self::Png16 | Self::Tiff16 | Self::NpyU16 => Depth::Int16,
            Self::TiffF32 | Self::NpyF32 | Self::NpyF64 => Depth::Float,
        }
    }
}

/// What one value of a pixel is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Depth {
    Int8,
    Int16,
    Float,
}

/// First bytes of the files that are read. TIFF comes in two byte orders, and in a variant for more than 4 GB.
const READ: [(&[u8], Content); 12] = [
    (b"\x89PNG\r\n\x1a\n", Content::Stored(Container::Png)),
    (b"II\x2a\0", Content::Stored(Container::Tiff)),
    (b"MM\0\x2a", Content::Stored(Container::Tiff)),
    (b"II\x2b\0", Content::Stored(Container::Tiff)),
    (b"MM\0\x2b", Content::Stored(Container::Tiff)),
    (b"\x93NUMPY", Content::Stored(Container::Npy)),
    (b"\xff\xd8\xff", Content::ReadOnly),
    (b"BM", Content::ReadOnly),
    (b"P2", Content::ReadOnly),
    (b"P3", Content::ReadOnly),
    (b"P5", Content::ReadOnly),
    (b"P6", Content::ReadOnly),
];

/// First bytes of files that people take for images this program reads, and what to do with them.
const NOT_READ: [(&[u8], &str); 8] = [
    (b"GIF8", "is a GIF image; convert it to PNG"),
    (b"RIFF", "is a WebP image or another RIFF file; convert it to PNG"),
    (b"\0\0\0\x0cjP  ", "is a JPEG 2000 image; convert it to TIFF"),
    (b"v/1\x01", "is an OpenEXR image; convert it to a 32-bit float TIFF"),
    (b"\x89HDF", "is an HDF5 file; save the array in it with numpy.save"),
    (
        b"PK\x03\x04",
        "is a ZIP or NPZ archive; save the array in it with numpy.save",
    ),
    (b"\x1f\x8b", "is compressed by gzip; decompress it first"),
    (b"%PDF", "is a PDF document; export the image in it as PNG"),
];

/// Recognise a file by its first bytes.
pub(super) fn recognise(bytes: &[u8]) -> Reasoned<Content> {
    if let Some((_, content)) = READ.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return Ok(*content);
    }
    Err(NOT_READ
        .iter()
        .find(|(magic, _)| bytes.starts_with(magic))
        .map_or(
            "is not a PNG, TIFF, NPY, JPEG, BMP or PGM file; convert it to PNG or TIFF",
            |(_, reason)| reason,
        )
        .to_owned())
}
