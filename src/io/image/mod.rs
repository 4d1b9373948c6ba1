//! Images in and out: PNG, TIFF and NPY, read by content and written in the format they came in; JPEG, BMP, PGM and PPM
//! are read too. Stacks of images, in TIFF and NPY, go slice by slice.

mod format;
mod npy_codec;
mod png_codec;
mod read_only;
mod samples;
mod stack;
mod tiff_codec;

pub use format::{Axes, Format};
pub use stack::{Stack, StackKind, StackWriter};

use super::atomic;
use super::input::{self, Reasoned};
use crate::{Error, Result};
use format::{Container, Content};
use std::io::{self, Cursor, Seek, Write};
use std::path::Path;

/// Above this many pixels a header is taken for damage rather than an image.
const MAX_PIXELS: u64 = 1 << 31;

/// An image of one (gray) or three (red, green, blue) colour planes.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    /// Number of colour planes, 1 or 3.
    pub channels: usize,
    /// Number of rows.
    pub height: usize,
    /// Number of columns.
    pub width: usize,
    /// Values by channel, row, column. Integers are divided by the maximum of their type, so they are in [0, 1]; floats
    /// are as they were.
    pub planes: Vec<f32>,
    /// Opacity by row and column on the same scale, to be passed through untouched. PNG and TIFF only.
    pub alpha: Option<Vec<f32>>,
    /// How the file it came from stores its pixels.
    pub format: Format,
    /// How an NPY file orders its axes; the other formats have but one order.
    pub axes: Axes,
}

impl Image {
    /// A gray image from its rows one after the other.
    pub fn gray(height: usize, width: usize, planes: Vec<f32>, format: Format) -> Result<Self> {
        Self::new(1, height, width, planes, format)
    }

    /// An image from its colour planes, each row by row.
    pub fn new(channels: usize, height: usize, width: usize, planes: Vec<f32>, format: Format) -> Result<Self> {
        let image = Self {
            channels,
            height,
            width,
            planes,
            alpha: None,
            format,
            axes: Axes::Planar,
        };
        image.check()?;
        Ok(image)
    }

    /// Read an image. The type is recognised by content, never by name.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = input::read_bytes(path)?;
        Self::from_bytes(&bytes).map_err(|reason| Error::input(path, reason))
    }

    /// The image in the bytes of a file, or the reason why there is none.
    pub fn from_bytes(bytes: &[u8]) -> std::result::Result<Self, String> {
        input::guard_panics(|| match format::recognise(bytes)? {
            Content::Stored(Container::Png) => png_codec::decode(bytes),
            Content::Stored(Container::Tiff) => tiff_codec::decode(bytes),
            Content::Stored(Container::Npy) => npy_codec::decode(bytes),
            Content::ReadOnly => read_only::decode(bytes),
        })?
        .finite()
    }

    /// The image that was read, if all of its values are numbers.
    fn finite(self) -> Reasoned<Self> {
        match self.describe_non_finite() {
            Some(defect) => Err(format!("{defect}; replace them, for instance with numpy.nan_to_num")),
            None => Ok(self),
        }
    }

    /// Write the image in `format`, whole or not at all. Integer formats clamp to [0, 1] and round to nearest; float
    /// formats keep the values. NPY has no place for opacity and drops it. Equal images give equal bytes.
    pub fn write(&self, path: impl AsRef<Path>, format: Format) -> Result<()> {
        self.check_for_writing()?;
        atomic::write_atomically(path, |file| self.encode(format, file))
    }

    /// The bytes of the file that [`Image::write`] would write.
    ///
    /// # Errors
    /// [`Error::Data`] for an image that does not fit together or is not finite, or that `format` cannot hold.
    pub fn to_bytes(&self, format: Format) -> Result<Vec<u8>> {
        self.check_for_writing()?;
        let mut bytes = Cursor::new(Vec::new());
        self.encode(format, &mut bytes)
            .map_err(|error| Error::Data(format!("the image cannot be encoded ({error}); choose another format")))?;
        Ok(bytes.into_inner())
    }

    fn encode(&self, format: Format, mut file: impl Write + Seek) -> io::Result<()> {
        match format.container() {
            Container::Png => png_codec::encode(self, format, file),
            Container::Tiff => tiff_codec::encode(self, format, file),
            Container::Npy => npy_codec::encode(self, format, &mut file),
        }
    }

    /// The rows of colour plane `channel`, one after the other.
    ///
    /// # Panics
    ///
    /// When there is no such channel.
    pub fn plane(&self, channel: usize) -> &[f32] {
        let pixels = self.height * self.width;
        &self.planes[channel * pixels..(channel + 1) * pixels]
    }

    /// The fields are public; what depends on their agreement asks first.
    fn check(&self) -> Result<()> {
        let pixels = self.height.checked_mul(self.width).filter(|&pixels| pixels > 0);
        let fits = |pixels: usize| {
            matches!(self.channels, 1 | 3)
                && pixels.checked_mul(self.channels) == Some(self.planes.len())
                && self.alpha.as_ref().is_none_or(|alpha| alpha.len() == pixels)
        };
        if pixels.is_some_and(fits) {
            Ok(())
        } else {
            Err(Error::Data(format!(
                "an image of {} channels, {} rows and {} columns cannot hold {} values; it needs 1 or 3 channels and \
                 one value per pixel and channel",
                self.channels,
                self.height,
                self.width,
                self.planes.len()
            )))
        }
    }

    fn check_for_writing(&self) -> Result<()> {
        self.check()?;
        match self.describe_non_finite() {
            Some(defect) => Err(Error::Data(format!("the image to be written {defect}"))),
            None => Ok(()),
        }
    }

    /// How many values are NaN or infinite and where the first is, if there are any.
    fn describe_non_finite(&self) -> Option<String> {
        let all = || self.planes.iter().chain(self.alpha.iter().flatten());
        let pixel = all().position(|value| !value.is_finite())? % (self.height * self.width);
        let count = all().filter(|value| !value.is_finite()).count();
        Some(format!(
            "has {count} values that are not finite numbers, the first at row {}, column {}",
            pixel / self.width,
            pixel % self.width
        ))
    }
}

/// Images of the same height in one row, separated by white columns, `gap` of them. Gray ones become coloured where
/// another has colours. The result has the format of the first and no opacity.
pub fn side_by_side(images: &[&Image], gap: usize) -> Result<Image> {
    let Some(first) = images.first() else {
        return Err(Error::Data("no images to put side by side".to_owned()));
    };
    for image in images {
        image.check()?;
        if image.height != first.height {
            return Err(Error::Data(format!(
                "images of {} and {} rows cannot stand side by side; crop them alike",
                first.height, image.height
            )));
        }
    }
    let channels = images.iter().map(|image| image.channels).max().unwrap_or(1);
    let width = images.iter().map(|image| image.width).sum::<usize>() + gap * (images.len() - 1);
    let mut planes = Vec::with_capacity(channels * first.height * width);
    for channel in 0..channels {
        for row in 0..first.height {
            for (position, image) in images.iter().enumerate() {
                if position > 0 {
                    planes.extend(std::iter::repeat_n(1.0, gap));
                }
                let plane = image.plane(channel.min(image.channels - 1));
                planes.extend_from_slice(&plane[row * image.width..(row + 1) * image.width]);
            }
        }
    }
    Image::new(channels, first.height, width, planes, first.format)
}

/// The number of pixels a header declares, once it is plausible: some, not absurdly many, and no more than a file of
/// `file_length` bytes can hold when each of its bytes expands to at most `expansion` bytes.
fn plausible_pixels(
    (height, width): (u64, u64),
    bits_per_pixel: u64,
    file_length: usize,
    expansion: u64,
) -> Reasoned<usize> {
    if height == 0 || width == 0 {
        return Err(format!(
            "has no pixels ({height} rows, {width} columns); export it again"
        ));
    }
    let pixels = height
        .checked_mul(width)
        .filter(|&pixels| pixels <= MAX_PIXELS)
        .ok_or_else(|| {
            format!("declares {height} rows and {width} columns, more than {MAX_PIXELS} pixels; cut it into tiles")
        })?;
    if pixels * bits_per_pixel / 8 > (file_length as u64).saturating_mul(expansion) {
        return Err(format!(
            "declares {height} rows and {width} columns, more than its {file_length} bytes can hold, so it is truncated \
             or corrupt; copy or export it again"
        ));
    }
    usize::try_from(pixels).map_err(|_| format!("has {pixels} pixels, too many for this machine; cut it into tiles"))
}
