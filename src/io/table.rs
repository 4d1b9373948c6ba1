//! Samples (x, y, weight) of a function, from delimited text (CSV and its kin) or NPY: the input of a fit.
//!
//! Text is read as people write it: one sample per line, columns separated by semicolons, tabs, commas or spaces (the
//! first of these that the first line contains), an optional header line, `#` before comments, blank lines anywhere,
//! CRLF, a byte order mark. Nothing is guessed about numbers: what is not one is named with its line and column.

use super::input::{self, Reasoned};
use super::npy::Array;
use crate::{Error, Result};
use std::path::Path;

/// The longest file read; at one sample in 4 bytes, the shortest there is, its columns take 24 bytes a sample.
pub(super) const MAX_BYTES: u64 = 256 << 20;
/// How much of an offending field a message repeats.
const QUOTED: usize = 40;
pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

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
        let (_, size) = input::open(path)?;
        if size > MAX_BYTES {
            return Err(Error::input(
                path,
                format!(
                    "has {} MiB, samples are read up to {} MiB; keep every n-th of them",
                    size >> 20,
                    MAX_BYTES >> 20
                ),
            ));
        }
        Self::from_bytes(&input::read_bytes(path)?).map_err(|reason| Error::input(path, reason))
    }

    /// The samples in the bytes of a file, or the reason why there are none.
    pub fn from_bytes(bytes: &[u8]) -> std::result::Result<Self, String> {
        if bytes.starts_with(b"\x93NUMPY") {
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
            if !value.is_finite() {
                return Err((role, format!("{value} is not finite; remove the row")));
            }
            if !(value as f32).is_finite() {
                return Err((
                    role,
                    format!("{value:e} is beyond single precision; rescale the column"),
                ));
            }
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

/// Between the columns of a line.
#[derive(Clone, Copy)]
pub(super) enum Separator {
    Character(char),
    Spaces,
}

impl Separator {
    /// The separator of a file whose first line this is. Semicolons and tabs come first: beside them a comma may be part
    /// of a number, which then is refused as such.
    pub(super) fn of(line: &str) -> Self {
        match [';', '\t', ','].into_iter().find(|&c| line.contains(c)) {
            Some(c) => Self::Character(c),
            None => Self::Spaces,
        }
    }

    /// The columns of a line without spaces and quotes around them. An empty one after the last separator is no column.
    pub(super) fn split(self, line: &str) -> Vec<&str> {
        match self {
            Self::Spaces => line.split_whitespace().map(unquoted).collect(),
            Self::Character(c) => {
                let mut fields: Vec<&str> = line.split(c).map(|field| unquoted(field.trim())).collect();
                fields.pop_if(|last| last.is_empty());
                fields
            }
        }
    }
}

fn unquoted(field: &str) -> &str {
    let inner = field.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inner.map_or(field, str::trim)
}

/// Which columns hold what, of how many.
struct Columns {
    x: usize,
    y: usize,
    weight: Option<usize>,
    count: usize,
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
            return Ok(Self { x, y, weight, count });
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
            count,
        })
    }
}

fn from_text(bytes: &[u8]) -> Reasoned<SampleTable> {
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err("is UTF-16 text; save it as UTF-8".into());
    }
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    let mut layout: Option<(Separator, Columns, SampleTable)> = None;
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
        let (separator, columns, table) = match &mut layout {
            Some(layout) => layout,
            None => {
                let separator = Separator::of(line);
                let fields = separator.split(line);
                let header = !fields.is_empty() && fields.iter().all(|field| field.parse::<f64>().is_err());
                let columns = Columns::of(&fields, header).map_err(place)?;
                let rows = bytes.iter().filter(|&&b| b == b'\n').count() + 1 - index;
                let table = SampleTable::with_capacity(rows, columns.weight.is_some())?;
                let layout = layout.insert((separator, columns, table));
                if header {
                    continue;
                }
                layout
            }
        };
        let fields = separator.split(line);
        if fields.len() != columns.count {
            return Err(place(format!(
                "{} columns, the first line has {}; complete or remove it",
                fields.len(),
                columns.count
            )));
        }
        let in_column = |column: usize, why: String| format!("line {}, column {}: {why}", index + 1, column + 1);
        let number = |column: usize| {
            fields[column]
                .parse::<f64>()
                .map_err(|_| in_column(column, no_number(fields[column])))
        };
        let weight = columns.weight.map(number).transpose()?;
        table
            .push(number(columns.x)?, number(columns.y)?, weight)
            .map_err(|(role, why)| {
                let column = [columns.x, columns.y, columns.weight.unwrap_or(2)][role];
                in_column(column, why)
            })?;
    }
    layout.map_or_else(
        || Err("holds no samples; give one line `x,y` for each".into()),
        |(_, _, table)| table.finished(),
    )
}

/// Why a field is no number.
pub(super) fn no_number(field: &str) -> String {
    if field.is_empty() {
        return "is empty; complete or remove the row".into();
    }
    let shown: String = field.chars().take(QUOTED).flat_map(char::escape_debug).collect();
    let dots = if field.chars().nth(QUOTED).is_some() { ".." } else { "" };
    let decimal_comma = field.replacen(',', ".", 1).parse::<f64>().is_ok();
    let remedy = if decimal_comma {
        "write a decimal point"
    } else {
        "correct it or put # before the row"
    };
    format!("'{shown}{dots}' is no number; {remedy}")
}
