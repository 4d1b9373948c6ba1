//! Between the samples of files, integers or floats in either order, and colour planes of floats.

use super::{Axes, Format, Image};
use crate::io::input::{self, Reasoned};

/// A type of sample, and its scale.
pub(super) trait Sample: Copy {
    fn to_unit(self) -> f32;
    fn from_unit(value: f32) -> Self;
}

macro_rules! integer_sample {
    ($integer:ty) => {
        impl Sample for $integer {
            fn to_unit(self) -> f32 {
                f32::from(self) / f32::from(Self::MAX)
            }

            fn from_unit(value: f32) -> Self {
                (f64::from(value).clamp(0.0, 1.0) * f64::from(Self::MAX)).round() as Self
            }
        }
    };
}

integer_sample!(u8);
integer_sample!(u16);

impl Sample for f32 {
    fn to_unit(self) -> f32 {
        self
    }

    fn from_unit(value: f32) -> Self {
        value
    }
}

impl Sample for f64 {
    fn to_unit(self) -> f32 {
        self as f32
    }

    fn from_unit(value: f32) -> Self {
        Self::from(value)
    }
}

/// Where the samples of a decoded file are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    pub height: usize,
    pub width: usize,
    pub channels: usize,
    /// Whether a sample of opacity follows those of the colours.
    pub alpha: bool,
    /// Whether whole planes follow one another, rather than the samples of a pixel.
    pub planar: bool,
}

impl Layout {
    fn samples_per_pixel(&self) -> usize {
        self.channels + usize::from(self.alpha)
    }
}

/// Build an image from all samples of a file.
pub(super) fn to_image<T: Sample>(samples: &[T], layout: Layout, format: Format, axes: Axes) -> Reasoned<Image> {
    let pixels = layout.height * layout.width;
    let per_pixel = layout.samples_per_pixel();
    if samples.len() != pixels * per_pixel {
        return Err("does not hold the pixels its header declares; copy or export it again".to_owned());
    }
    let extend_by_plane = |plane: usize, values: &mut Vec<f32>| {
        if layout.planar {
            values.extend(
                samples[plane * pixels..][..pixels]
                    .iter()
                    .map(|sample| sample.to_unit()),
            );
        } else {
            values.extend(
                samples[plane..]
                    .iter()
                    .step_by(per_pixel)
                    .map(|sample| sample.to_unit()),
            );
        }
    };
    let mut planes = input::reserve(pixels * layout.channels)?;
    for channel in 0..layout.channels {
        extend_by_plane(channel, &mut planes);
    }
    let alpha = if layout.alpha {
        let mut values = input::reserve(pixels)?;
        extend_by_plane(layout.channels, &mut values);
        Some(values)
    } else {
        None
    };
    Ok(Image {
        channels: layout.channels,
        height: layout.height,
        width: layout.width,
        planes,
        alpha,
        format,
        axes,
    })
}

/// The samples of an image by row, column, channel, with opacity last where wanted and there.
pub(super) fn interleave<T: Sample>(image: &Image, with_alpha: bool) -> Vec<T> {
    let mut planes: Vec<&[f32]> = (0..image.channels).map(|channel| image.plane(channel)).collect();
    planes.extend(image.alpha.as_deref().filter(|_| with_alpha));
    (0..image.height * image.width)
        .flat_map(|pixel| planes.iter().map(move |plane| T::from_unit(plane[pixel])))
        .collect()
}

/// The samples of an image by channel, row, column.
pub(super) fn by_plane<T: Sample>(image: &Image) -> Vec<T> {
    image.planes.iter().map(|&value| T::from_unit(value)).collect()
}
