//! Samples (x, y, weight) of a function, from delimited text (CSV and its kin) or NPY: the input of a fit.
//!
//! Text has one sample per line, in the forms that `delimited.rs` reads.

use super::delimited::{self, Rows, is_array, single};
use super::input::{self, Reasoned};
use super::npy::Array;
use crate::{Error, Result};
use std::path::Path;

/// Samples in the order of the file, columns of equal length, at least two rows. All x and y are finite in f32, which the
/// device stores; weights are finite and not negative.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleTable {
    /// Where the function was sampled, in no particular order.
    pub x: Vec<f64>,
    /// What was seen there.
    pub y: Vec<f64>,
    /// How much each sample counts, where the file says it.
    pub weights: Option<Vec<f64>>,
}

impl SampleTable {
    /// Reads text or, if the file begins as such, an NPY array of shape (M, 2) or (M, 3) with columns x, y, weight.
    ///
    /// Columns of text are found by a header that names `x`, `y` and perhaps `w`, `weight` or `weights`, in any order,
    /// among others and in either case. Under any other header, and without one, two or three columns are x, y and
    /// weight.
    ///
    /// # Errors
    /// [`Error::Input`] naming the file and, for text, line and column (for arrays, the index): not a number, not
    /// finite, a negative weight, rows of different lengths, columns that cannot be told, fewer than two rows, a file
    /// that is missing, no regular file, empty or beyond 256 MiB.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::from_bytes(&delimited::read(path, "samples")?).map_err(|reason| Error::input(path, reason))
    }

    /// The samples in the bytes of a file, or the reason why there are none.
    pub fn from_bytes(bytes: &[u8]) -> std::result::Result<Self, String> {
        if is_array(bytes) {
            from_array(&Array::from_bytes(bytes)?)
        } else {
            from_text(bytes)
        }
    }

    /// An empty table with room for `rows`.
    fn with_capacity(rows: usize, weighted: bool) -> Reasoned<Self> {
        Ok(Self {
            x: input::reserve(rows)?,
            y: input::reserve(rows)?,
            weights: if weighted { Some(input::reserve(rows)?) } else { None },
        })
    }

    /// Appends a sample after checking it; a refusal names the role of the offending value: 0 x, 1 y, 2 weight.
    fn push(&mut self, x: f64, y: f64, weight: Option<f64>) -> std::result::Result<(), (usize, String)> {
        for (role, value) in [(0, x), (1, y)] {
            single(value).map_err(|why| (role, why))?;
        }
        if let (Some(weights), Some(weight)) = (&mut self.weights, weight) {
            if !(weight.is_finite() && weight >= 0.0) {
                return Err((2, format!("the weight {weight} is not finite and at least 0; mend it")));
            }
            weights.push(weight);
        }
        self.x.push(x);
        self.y.push(y);
        Ok(())
    }

    /// The table if it has enough rows.
    fn finished(self) -> Reasoned<Self> {
        match self.x.len() {
            0 => Err("holds no samples; give one line `x,y` for each".into()),
            1 => Err("holds one sample; a fit needs at least two".into()),
            _ => Ok(self),
        }
    }
}

fn from_array(array: &Array) -> Reasoned<SampleTable> {
    let &[rows, columns @ (2 | 3)] = array.shape() else {
        let transposed = matches!(array.shape(), [2 | 3, _]);
        return Err(format!(
            "has shape {:?}, want (M, 2) or (M, 3) for x, y and weight{}",
            array.shape(),
            if transposed { "; save its transpose" } else { "" }
        ));
    };
    if array.values().is_complex() {
        return Err("has complex numbers, want real samples; save numpy.real(array)".to_owned());
    }
    let mut table = SampleTable::with_capacity(rows, columns == 3)?;
    for (index, row) in array.values().to_f64().chunks_exact(columns).enumerate() {
        table
            .push(row[0], row[1], row.get(2).copied())
            .map_err(|(role, why)| format!("element [{index}, {role}]: {why}"))?;
    }
    table.finished()
}

/// Which columns hold what.
struct Columns {
    x: usize,
    y: usize,
    weight: Option<usize>,
}

impl Columns {
    /// From the fields of the first line, which may be a header.
    fn of(fields: &[&str], header: bool) -> Reasoned<Self> {
        let count = fields.len();
        if count < 2 {
            return Err("one column, want x and y separated by a comma, semicolon, tab or space".into());
        }
        let find = |names: &[&str]| -> Reasoned<Option<usize>> {
            let named = |field: &&str| header && names.iter().any(|name| field.eq_ignore_ascii_case(name));
            let mut found = (0..count).filter(|&n| named(&fields[n]));
            let (first, second) = (found.next(), found.next());
            match second {
                Some(_) => Err(format!("the header names {} twice; rename one", names[0])),
                None => Ok(first),
            }
        };
        let (x, y, weight) = (find(&["x"])?, find(&["y"])?, find(&["w", "weight", "weights"])?);
        if let (Some(x), Some(y)) = (x, y) {
            return Ok(Self { x, y, weight });
        }
        // Columns go by their places. A name in the place of another shows that this would be wrong.
        let misplaced = [x, y, weight]
            .into_iter()
            .enumerate()
            .any(|(place, named)| named.is_some_and(|n| n != place));
        if misplaced {
            return Err("the header does not name both x and y; write these names over their columns".into());
        }
        if count > 3 {
            return Err(format!(
                "{count} columns, and no header says which are x and y; add a line with their names"
            ));
        }
        Ok(Self {
            x: 0,
            y: 1,
            weight: (count == 3).then_some(2),
        })
    }
}

fn from_text(bytes: &[u8]) -> Reasoned<SampleTable> {
    let mut rows = Rows::new(bytes)?;
    let Some(first) = rows.next().transpose()? else {
        return SampleTable::with_capacity(0, false)?.finished();
    };
    let header = first.is_header();
    let columns = Columns::of(&first.fields, header).map_err(|why| first.fail(why))?;
    let mut table = SampleTable::with_capacity(rows.at_most(), columns.weight.is_some())?;
    let first = (!header).then_some(Ok(first));
    for row in first.into_iter().chain(rows) {
        let row = row?;
        let weight = columns.weight.map(|column| row.number(column)).transpose()?;
        table
            .push(row.number(columns.x)?, row.number(columns.y)?, weight)
            .map_err(|(role, why)| {
                let column = [columns.x, columns.y, columns.weight.unwrap_or(2)][role];
                row.fail_in(column, why)
            })?;
    }
    table.finished()
}
