//! Masks of what was measured, as files have them.

use std::path::Path;

use crate::io::image::Image;
use crate::io::npy::{Array, Values};
use crate::{Error, Result};

/// The mask in a file for `size` = rows, columns of pixels or samples, (row, column): an image, or an NPY array of shape (row, column) or,
/// the same for every row, (column). Measured is what has the value 1, the largest of the type, or true. Whether all others are 0 is left
/// to whoever takes it.
///
/// # Errors
/// [`Error::Input`] for a file that is none or of another size.
pub(super) fn read_mask(path: &Path, [rows, cols]: [usize; 2]) -> Result<Vec<f32>> {
    let is_npy = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("npy"));
    let (shape, values) = if is_npy { of_array(path)? } else { of_image(path)? };
    match *shape {
        [r, c] | [1, r, c] if [r, c] == [rows, cols] => Ok(values),
        [c] if c == cols => Ok(values.repeat(rows)),
        _ => Err(Error::input(
            path,
            format!(
                "a mask of shape {shape:?} where {rows} x {cols} were to be measured; want ({rows}, {cols}) or ({cols},) of zeros and ones"
            ),
        )),
    }
}

fn of_array(path: &Path) -> Result<(Vec<usize>, Vec<f32>)> {
    let array = Array::read(path)?;
    let largest = match array.values() {
        Values::U8(_) => f32::from(u8::MAX),
        Values::U16(_) => f32::from(u16::MAX),
        Values::C64(_) | Values::C128(_) => {
            return Err(Error::input(
                path,
                "has complex numbers; a mask has zeros and ones, convert it with array.real",
            ));
        }
        _ => 1.0,
    };
    let mut values = array.values().to_f32();
    values.iter_mut().filter(|v| **v == largest).for_each(|v| *v = 1.0);
    Ok((array.shape().to_vec(), values))
}

/// Images hold fractions of the largest value of their type.
fn of_image(path: &Path) -> Result<(Vec<usize>, Vec<f32>)> {
    let image = Image::read(path)?;
    let ones = [u8::MAX.into(), u16::MAX].map(|largest| 1.0 / f32::from(largest));
    let highest = image.planes.iter().copied().fold(0.0, f32::max);
    let mut values = image.planes;
    if ones.contains(&highest) {
        values.iter_mut().filter(|v| **v == highest).for_each(|v| *v = 1.0);
    }
    let shape = match image.channels {
        1 => vec![image.height, image.width],
        channels => vec![channels, image.height, image.width],
    };
    Ok((shape, values))
}
