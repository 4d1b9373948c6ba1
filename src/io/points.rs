//! Points of the line or the plane, from delimited text or NPY: what a flow is trained on.
//!
//! Text has one point per line, in the forms that [`super::table`] reads: one or two columns, an optional header line, `#`
//! before comments, blank lines anywhere.

use super::input::{self, Reasoned};
use super::npy::Array;
use super::table::{BYTE_ORDER_MARK, MAX_BYTES, Separator, no_number};
use crate::{Error, Result};
use std::path::Path;

/// Points in the order of the file, all coordinates finite in f32, which the device stores.
#[derive(Debug, Clone, PartialEq)]
pub struct PointTable {
    /// Coordinates of a point, 1 or 2.
    pub dims: usize,
    /// (point, coordinate).
    pub points: Vec<f64>,
}

impl PointTable {
    /// Number of points.
    #[allow(clippy::len_without_is_empty, reason = "a table has at least one point")]
    pub fn len(&self) -> usize {
        self.points.len() / self.dims
    }

    /// Reads text of one or two columns or, if the file begins as such, an NPY array of shape (M,), (M, 1) or (M, 2).
    ///
    /// # Errors
    /// [`Error::Input`] naming the file and the place: not a number, not finite, rows of different lengths, other columns; a
    /// file that is missing, no regular file, without a point or beyond 256 MiB.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let (_, size) = input::open(path)?;
        if size > MAX_BYTES {
            return Err(Error::input(
                path,
                format!(
                    "has {} MiB, points are read up to {} MiB; keep every n-th of them",
                    size >> 20,
                    MAX_BYTES >> 20
                ),
            ));
        }
        Self::from_bytes(&input::read_bytes(path)?).map_err(|reason| Error::input(path, reason))
    }

    /// The points in the bytes of a file, or the reason why there are none.
    pub fn from_bytes(bytes: &[u8]) -> std::result::Result<Self, String> {
        if bytes.starts_with(b"\x93NUMPY") {
            from_array(&Array::from_bytes(bytes)?)
        } else {
            from_text(bytes)
        }
    }
}

/// A coordinate that the device can hold, or the reason why not.
fn coordinate(x: f64) -> Reasoned<f64> {
    if !x.is_finite() {
        return Err(format!("{x} is not finite; remove the row"));
    }
    if !(x as f32).is_finite() {
        return Err(format!("{x:e} is beyond single precision; rescale the column"));
    }
    Ok(x)
}

fn from_array(array: &Array) -> Reasoned<PointTable> {
    let dims = match array.shape() {
        [_] | [_, 1] => 1,
        [_, 2] => 2,
        shape => {
            let transposed = matches!(shape, [1 | 2, _]);
            return Err(format!(
                "has shape {shape:?}, want (M,), (M, 1) or (M, 2), a point per row{}",
                if transposed { "; save its transpose" } else { "" }
            ));
        }
    };
    if array.values().is_complex() {
        return Err("has complex numbers, want real points; save numpy.real(array)".to_owned());
    }
    let mut points = input::reserve(array.values().len())?;
    for (index, x) in array.values().to_f64().into_iter().enumerate() {
        points.push(coordinate(x).map_err(|why| format!("element [{}, {}]: {why}", index / dims, index % dims))?);
    }
    finished(PointTable { dims, points })
}

fn finished(table: PointTable) -> Reasoned<PointTable> {
    if table.points.is_empty() {
        return Err("holds no points; give one line `x` or `x,y` for each".into());
    }
    Ok(table)
}

fn from_text(bytes: &[u8]) -> Reasoned<PointTable> {
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err("is UTF-16 text; save it as UTF-8".into());
    }
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    let mut layout: Option<(Separator, PointTable)> = None;
    for (index, line) in bytes.split(|&b| b == b'\n').enumerate() {
        let place = |why: String| format!("line {}: {why}", index + 1);
        // Comments are cut off as bytes: their encoding does not matter.
        let line = line.split(|&b| b == b'#').next().unwrap_or(line);
        let line = std::str::from_utf8(line)
            .ok()
            .filter(|line| !line.contains('\0'))
            .ok_or_else(|| place("is no UTF-8 text; give CSV text or an NPY array".into()))?;
        // Only what cannot separate columns is cut off: a line may begin or end with an empty column.
        let line = line.trim_matches([' ', '\r']);
        if line.trim().is_empty() {
            continue;
        }
        let (separator, table) = match &mut layout {
            Some(layout) => layout,
            None => {
                let separator = Separator::of(line);
                let fields = separator.split(line);
                let dims = fields.len();
                if !(1..=2).contains(&dims) {
                    return Err(place(format!("{dims} columns, want one or two: the coordinates")));
                }
                let points = input::reserve(dims * (bytes.iter().filter(|&&b| b == b'\n').count() + 1 - index))?;
                let layout = layout.insert((separator, PointTable { dims, points }));
                if fields.iter().all(|field| field.parse::<f64>().is_err()) {
                    continue;
                }
                layout
            }
        };
        let fields = separator.split(line);
        if fields.len() != table.dims {
            return Err(place(format!(
                "{} columns, the first line has {}; complete or remove it",
                fields.len(),
                table.dims
            )));
        }
        for (column, field) in fields.iter().enumerate() {
            let in_column = |why: String| format!("line {}, column {}: {why}", index + 1, column + 1);
            let x = field.parse::<f64>().map_err(|_| in_column(no_number(field)))?;
            table.points.push(coordinate(x).map_err(in_column)?);
        }
    }
    layout.map_or_else(
        || Err("holds no points; give one line `x` or `x,y` for each".into()),
        |(_, table)| finished(table),
    )
}
