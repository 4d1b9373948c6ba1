//! Points of the line or the plane, from delimited text or NPY: what a flow is trained on.
//!
//! Text has one point per line, in the forms that `delimited.rs` reads, in one or two columns.

use super::delimited::{self, Rows, is_array, single};
use super::input::{self, Reasoned};
use super::npy::Array;
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
        Self::from_bytes(&delimited::read(path, "points")?).map_err(|reason| Error::input(path, reason))
    }

    /// The points in the bytes of a file, or the reason why there are none.
    pub fn from_bytes(bytes: &[u8]) -> std::result::Result<Self, String> {
        if is_array(bytes) {
            from_array(&Array::from_bytes(bytes)?)
        } else {
            from_text(bytes)
        }
    }
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
        points.push(single(x).map_err(|why| format!("element [{}, {}]: {why}", index / dims, index % dims))?);
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
    let mut rows = Rows::new(bytes)?;
    let Some(first) = rows.next().transpose()? else {
        return finished(PointTable {
            dims: 1,
            points: Vec::new(),
        });
    };
    let dims = first.fields.len();
    if !(1..=2).contains(&dims) {
        return Err(first.fail(format!("{dims} columns, want one or two: the coordinates")));
    }
    let mut points = input::reserve(dims * rows.at_most())?;
    let first = (!first.is_header()).then_some(Ok(first));
    for row in first.into_iter().chain(rows) {
        let row = row?;
        for column in 0..dims {
            let x = row.number(column)?;
            points.push(single(x).map_err(|why| row.fail_in(column, why))?);
        }
    }
    finished(PointTable { dims, points })
}
