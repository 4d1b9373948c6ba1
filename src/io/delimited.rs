//! Rows of numbers in delimited text (CSV and its kin), as people write it: columns separated by semicolons, tabs, commas or
//! spaces (the first of these that the first line contains), an optional header line, `#` before comments, blank lines
//! anywhere, CRLF, a byte order mark. Nothing is guessed about numbers: what is not one is named with its line and column.

use std::iter::Enumerate;
use std::path::Path;

use super::input::{self, Reasoned};
use crate::{Error, Result};

/// The longest file read; at one row in 4 bytes, the shortest there is, columns of samples take 24 bytes a row.
const MAX_BYTES: u64 = 256 << 20;
/// How much of an offending field a message repeats.
const QUOTED: usize = 40;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The bytes of a file of `what`, or of an NPY array in its place.
///
/// # Errors
/// [`Error::Input`] for a file that is missing, no regular file, or beyond 256 MiB.
pub(super) fn read(path: &Path, what: &str) -> Result<Vec<u8>> {
    let (_, size) = input::open(path)?;
    if size > MAX_BYTES {
        return Err(Error::input(
            path,
            format!(
                "has {} MiB, {what} are read up to {} MiB; keep every n-th of them",
                size >> 20,
                MAX_BYTES >> 20
            ),
        ));
    }
    input::read_bytes(path)
}

/// Whether `bytes` are an NPY array rather than text.
pub(super) fn is_array(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x93NUMPY")
}

/// The device stores a coordinate in f32: the value, or the reason why it cannot be held.
pub(super) fn single(value: f64) -> Reasoned<f64> {
    if !value.is_finite() {
        return Err(format!("{value} is not finite; remove the row"));
    }
    if !(value as f32).is_finite() {
        return Err(format!("{value:e} is beyond single precision; rescale the column"));
    }
    Ok(value)
}

/// The fields of a line that has any.
pub(super) struct Row<'t> {
    line: usize,
    /// Without spaces and quotes around them.
    pub fields: Vec<&'t str>,
}

impl Row<'_> {
    /// Whether no field is a number.
    pub fn is_header(&self) -> bool {
        !self.fields.is_empty() && self.fields.iter().all(|field| field.parse::<f64>().is_err())
    }

    /// A reason with its line.
    pub fn fail(&self, why: String) -> String {
        format!("line {}: {why}", self.line)
    }

    /// A reason with its line and its column, counted from 0.
    pub fn fail_in(&self, column: usize, why: String) -> String {
        format!("line {}, column {}: {why}", self.line, column + 1)
    }

    /// The number in a column.
    pub fn number(&self, column: usize) -> Reasoned<f64> {
        let field = self.fields[column];
        field.parse().map_err(|_| self.fail_in(column, no_number(field)))
    }
}

type Lines<'t> = std::slice::Split<'t, u8, fn(&u8) -> bool>;

/// The rows of a text in their order, all with as many fields as the first.
pub(super) struct Rows<'t> {
    lines: Enumerate<Lines<'t>>,
    at_most: usize,
    layout: Option<(Separator, usize)>,
}

impl<'t> Rows<'t> {
    /// # Errors
    /// The reason why `bytes` are no text that is read.
    pub fn new(bytes: &'t [u8]) -> Reasoned<Self> {
        if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
            return Err("is UTF-16 text; save it as UTF-8".into());
        }
        let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
        let end_of_line: fn(&u8) -> bool = |&b| b == b'\n';
        Ok(Self {
            lines: bytes.split(end_of_line).enumerate(),
            at_most: bytes.iter().filter(|b| end_of_line(b)).count() + 1,
            layout: None,
        })
    }

    /// No more rows than this are in the text.
    pub fn at_most(&self) -> usize {
        self.at_most
    }

    fn row(&mut self, index: usize, line: &'t [u8]) -> Reasoned<Option<Row<'t>>> {
        let mut row = Row {
            line: index + 1,
            fields: Vec::new(),
        };
        // Comments are cut off as bytes: their encoding does not matter.
        let line = line.split(|&b| b == b'#').next().unwrap_or(line);
        let line = std::str::from_utf8(line)
            .ok()
            .filter(|line| !line.contains('\0'))
            .ok_or_else(|| row.fail("is no UTF-8 text; give CSV text or an NPY array".into()))?;
        // Only what cannot separate columns is cut off: a line may begin or end with an empty column.
        let line = line.trim_matches([' ', '\r']);
        if line.trim().is_empty() {
            return Ok(None);
        }
        let separator = self
            .layout
            .map_or_else(|| Separator::of(line), |(separator, _)| separator);
        row.fields = separator.split(line);
        let (_, width) = *self.layout.get_or_insert((separator, row.fields.len()));
        if row.fields.len() != width {
            return Err(row.fail(format!(
                "{} columns, the first line has {width}; complete or remove it",
                row.fields.len()
            )));
        }
        Ok(Some(row))
    }
}

impl<'t> Iterator for Rows<'t> {
    type Item = Reasoned<Row<'t>>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (index, line) = self.lines.next()?;
            if let Some(row) = self.row(index, line).transpose() {
                return Some(row);
            }
        }
    }
}

/// Between the columns of a line.
#[derive(Clone, Copy)]
enum Separator {
    Character(char),
    Spaces,
}

impl Separator {
    /// The separator of a file whose first line this is. Semicolons and tabs come first: beside them a comma may be part
    /// of a number, which then is refused as such.
    fn of(line: &str) -> Self {
        match [';', '\t', ','].into_iter().find(|&c| line.contains(c)) {
            Some(c) => Self::Character(c),
            None => Self::Spaces,
        }
    }

    /// The columns of a line without spaces and quotes around them. An empty one after the last separator is no column.
    fn split(self, line: &str) -> Vec<&str> {
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

/// Why a field is no number.
fn no_number(field: &str) -> String {
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
