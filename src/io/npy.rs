//! NumPy `.npy` arrays of any rank: the float samples and reference arrays of the project, and the integers images come
//! in. Headers are untrusted: nothing is allocated before the file is known to hold it.

mod slices;

pub(crate) use slices::Slices;

use super::atomic;
use super::input::{self, Reasoned};
use crate::{Error, Result};
use std::io::{self, Write};
use std::path::Path;

const MAGIC: &[u8] = b"\x93NUMPY";
/// NumPy itself refuses longer headers; ours are below a hundred bytes.
const MAX_HEADER: usize = 10_000;
/// Headers are padded so that the data begins at a multiple of this.
const ALIGNMENT: usize = 64;

/// The elements of an [`Array`] in row-major order, in the type the file has.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Unsigned bytes, `|u1`; booleans, `|b1`, become 0 and 255, as black and white do in images.
    U8(Vec<u8>),
    /// Unsigned 16-bit integers, `u2`.
    U16(Vec<u16>),
    /// Signed 32-bit integers, `i4`.
    I32(Vec<i32>),
    /// Signed 64-bit integers, `i8`, NumPy's default.
    I64(Vec<i64>),
    /// Single precision, `f4`.
    F32(Vec<f32>),
    /// Double precision, `f8`.
    F64(Vec<f64>),
    /// Pairs of real and imaginary part in single precision, `c8`.
    C64(Vec<[f32; 2]>),
    /// Pairs of real and imaginary part in double precision, `c16`.
    C128(Vec<[f64; 2]>),
}

/// Run the same expression on the numbers inside, whatever their type; each complex element is two of them.
macro_rules! each {
    ($values:expr, $numbers:ident => $body:expr) => {
        match $values {
            Values::U8($numbers) => $body,
            Values::U16($numbers) => $body,
            Values::I32($numbers) => $body,
            Values::I64($numbers) => $body,
            Values::F32($numbers) => $body,
            Values::F64($numbers) => $body,
            Values::C64(pairs) => {
                let $numbers = pairs.as_flattened();
                $body
            }
            Values::C128(pairs) => {
                let $numbers = pairs.as_flattened();
                $body
            }
        }
    };
}

impl Values {
    /// How many elements there are.
    pub fn len(&self) -> usize {
        let numbers = each!(self, numbers => numbers.len());
        if self.is_complex() { numbers / 2 } else { numbers }
    }

    /// Whether the elements are complex.
    pub fn is_complex(&self) -> bool {
        matches!(self, Self::C64(_) | Self::C128(_))
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements as float32, rounded where they do not fit; complex ones as real part, imaginary part, in turn.
    #[allow(clippy::unnecessary_cast, reason = "one expression for all types of element")]
    pub fn to_f32(&self) -> Vec<f32> {
        each!(self, numbers => numbers.iter().map(|&value| value as f32).collect())
    }

    /// The elements as float64, exact except for integers beyond 2^53; complex ones as real part, imaginary part, in turn.
    #[allow(clippy::unnecessary_cast, reason = "one expression for all types of element")]
    pub fn to_f64(&self) -> Vec<f64> {
        each!(self, numbers => numbers.iter().map(|&value| value as f64).collect())
    }

    /// The elements as they lie in a file, little-endian.
    fn write_to(&self, file: &mut impl Write) -> io::Result<()> {
        each!(self, numbers => numbers.iter().try_for_each(|value| file.write_all(&value.to_le_bytes())))
    }

    /// NumPy's name of the type, as this module writes it.
    fn descr(&self) -> &'static str {
        match self {
            Self::U8(_) => "|u1",
            Self::U16(_) => "<u2",
            Self::I32(_) => "<i4",
            Self::I64(_) => "<i8",
            Self::F32(_) => "<f4",
            Self::F64(_) => "<f8",
            Self::C64(_) => "<c8",
            Self::C128(_) => "<c16",
        }
    }
}

/// An array of any rank.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    shape: Vec<usize>,
    values: Values,
}

impl Array {
    /// An array of this shape; the number of values must be the product of the extents.
    pub fn new(shape: Vec<usize>, values: Values) -> Result<Self> {
        if element_count(&shape) == Some(values.len()) {
            Ok(Self { shape, values })
        } else {
            Err(Error::Data(format!(
                "an array of shape {shape:?} cannot hold {} values",
                values.len()
            )))
        }
    }

    /// Extents, outermost first; empty for a scalar.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The elements in row-major order.
    pub fn values(&self) -> &Values {
        &self.values
    }

    /// Read a `.npy` file. Fortran order is turned into row-major order.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = input::read_bytes(path)?;
        Self::from_bytes(&bytes).map_err(|reason| Error::input(path, reason))
    }

    /// Write a `.npy` file, little-endian and in row-major order, whole or not at all.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        atomic::write_atomically(path, |file| self.write_to(file))
    }

    /// The array in the bytes of a `.npy` file, or the reason why there is none.
    pub fn from_bytes(bytes: &[u8]) -> std::result::Result<Self, String> {
        let (header, data) = split_header(bytes)?;
        let header = parse_header(header).ok_or(NO_HEADER)?;
        let values = header.values(&header.shape, data)?;
        Ok(Self {
            shape: header.shape,
            values,
        })
    }

    /// The bytes of a `.npy` file.
    pub fn write_to(&self, file: &mut impl Write) -> io::Result<()> {
        write_header(file, self.values.descr(), &self.shape)?;
        self.values.write_to(file)
    }
}

/// Everything that comes before the elements.
fn write_header(file: &mut impl Write, descr: &str, shape: &[usize]) -> io::Result<()> {
    let extents: String = shape.iter().map(|extent| format!("{extent}, ")).collect();
    // A tuple of one keeps its comma, longer ones drop the last.
    let extents = match shape.len() {
        1 => extents.trim_end(),
        _ => extents.trim_end_matches(", "),
    };
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({extents}), }}");
    let prefix = MAGIC.len() + 4;
    let padded = (prefix + header.len() + 1).next_multiple_of(ALIGNMENT) - prefix;
    header.extend(std::iter::repeat_n(' ', padded - 1 - header.len()));
    header.push('\n');
    let length = u16::try_from(header.len()).map_err(io::Error::other)?;

    file.write_all(MAGIC)?;
    file.write_all(&[1, 0])?;
    file.write_all(&length.to_le_bytes())?;
    file.write_all(header.as_bytes())
}

const NO_HEADER: &str = "has a header that is no NPY header; save it again with numpy.save";

/// What a header says.
#[derive(Debug)]
struct Header {
    descr: String,
    fortran_order: bool,
    shape: Vec<usize>,
}

impl Header {
    /// The elements at the start of `data` as an array of `shape`, which is the header's or that of a part.
    fn values(&self, shape: &[usize], data: &[u8]) -> Reasoned<Values> {
        let (order, kind) = self.descr.split_at_checked(1).unwrap_or(("", ""));
        let big_endian = order == ">";
        if !matches!(order, "<" | ">" | "|" | "=") {
            return Err(unsupported_type(&self.descr));
        }
        // All numbers of the array, of which an element takes `$parts`.
        macro_rules! decode {
            ($number:ty, $parts:literal) => {{
                let used = element_count(shape)
                    .and_then(|count| count.checked_mul($parts * size_of::<$number>()))
                    .and_then(|size| data.get(..size))
                    .ok_or_else(|| truncated(shape, &self.descr, data.len() as u64))?;
                let chunks = used.as_chunks().0;
                let mut numbers: Vec<$number> = input::reserve(chunks.len())?;
                if big_endian {
                    numbers.extend(chunks.iter().map(|&chunk| <$number>::from_be_bytes(chunk)));
                } else {
                    numbers.extend(chunks.iter().map(|&chunk| <$number>::from_le_bytes(chunk)));
                }
                numbers
            }};
        }
        let fortran_order = self.fortran_order;
        Ok(match kind {
            "u1" => Values::U8(in_order(fortran_order, shape, decode!(u8, 1))?),
            "b1" => {
                let mut bytes = decode!(u8, 1);
                bytes.iter_mut().filter(|b| **b != 0).for_each(|b| *b = u8::MAX);
                Values::U8(in_order(fortran_order, shape, bytes)?)
            }
            "u2" => Values::U16(in_order(fortran_order, shape, decode!(u16, 1))?),
            "i4" => Values::I32(in_order(fortran_order, shape, decode!(i32, 1))?),
            "i8" => Values::I64(in_order(fortran_order, shape, decode!(i64, 1))?),
            "f4" => Values::F32(in_order(fortran_order, shape, decode!(f32, 1))?),
            "f8" => Values::F64(in_order(fortran_order, shape, decode!(f64, 1))?),
            "c8" => Values::C64(in_order(fortran_order, shape, pairs(&decode!(f32, 2))?)?),
            "c16" => Values::C128(in_order(fortran_order, shape, pairs(&decode!(f64, 2))?)?),
            _ => return Err(unsupported_type(&self.descr)),
        })
    }

    /// Bytes of an element of a type that is read.
    fn element_bytes(&self) -> Option<usize> {
        match self.descr.split_at_checked(1)?.1 {
            "u1" | "b1" => Some(1),
            "u2" => Some(2),
            "i4" | "f4" => Some(4),
            "i8" | "f8" | "c8" => Some(8),
            "c16" => Some(16),
            _ => None,
        }
    }
}

fn truncated(shape: &[usize], descr: &str, bytes: u64) -> String {
    format!("is truncated: {shape:?} elements of type {descr} do not fit in its {bytes} bytes; copy it again")
}

fn unsupported_type(descr: &str) -> String {
    format!(
        "has elements of type '{}', which is not read; convert it with array.astype('float32')",
        descr.escape_default()
    )
}

/// The number of elements, where it fits in a `usize`.
fn element_count(shape: &[usize]) -> Option<usize> {
    shape
        .iter()
        .try_fold(1_usize, |count, &extent| count.checked_mul(extent))
}

/// Header text and data of a file.
fn split_header(bytes: &[u8]) -> Reasoned<(&str, &[u8])> {
    let after_magic = bytes
        .strip_prefix(MAGIC)
        .ok_or("is not an NPY file; save it with numpy.save")?;
    let truncated = || "is truncated inside its header; copy it again".to_owned();
    let (length, rest) = match after_magic {
        [1, 0, a, b, rest @ ..] => (usize::from(u16::from_le_bytes([*a, *b])), rest),
        [2 | 3, 0, a, b, c, d, rest @ ..] => (u32::from_le_bytes([*a, *b, *c, *d]) as usize, rest),
        [] | [_] | [1..=3, 0, ..] => return Err(truncated()),
        [major, minor, ..] => {
            return Err(format!(
                "has NPY version {major}.{minor}, which is not read; save it again with numpy.save"
            ));
        }
    };
    if length > MAX_HEADER {
        return Err(format!(
            "has a header of {length} bytes, too long for a plain array; save it with numpy.save"
        ));
    }
    let (header, data) = rest.split_at_checked(length).ok_or_else(truncated)?;
    let header = std::str::from_utf8(header).map_err(|_| "has a header that is no text; save it with numpy.save")?;
    Ok((header, data))
}

/// Parse the dictionary literal of a plain array: the three keys in any order, each once, and nothing else.
fn parse_header(text: &str) -> Option<Header> {
    let mut rest = text
        .trim_matches([' ', '\n', '\0'])
        .strip_prefix('{')?
        .strip_suffix('}')?
        .trim();
    let (mut descr, mut fortran_order, mut shape) = (None, None, None);
    while !rest.is_empty() {
        let (key, after) = quoted(rest)?;
        let value = after.trim_start().strip_prefix(':')?.trim_start();
        let repeated;
        (repeated, rest) = match key {
            "descr" => {
                let (name, after) = match value.strip_prefix('[') {
                    // The list of fields of a structured type, to be refused by that name.
                    Some(fields) => ("record", fields.split_once(']')?.1),
                    None => quoted(value)?,
                };
                (descr.replace(name.to_owned()).is_some(), after)
            }
            "fortran_order" => match value.strip_prefix("True") {
                Some(after) => (fortran_order.replace(true).is_some(), after),
                None => (fortran_order.replace(false).is_some(), value.strip_prefix("False")?),
            },
            "shape" => {
                let (extents, after) = value.strip_prefix('(')?.split_once(')')?;
                (shape.replace(parse_extents(extents)?).is_some(), after)
            }
            _ => return None,
        };
        rest = rest.trim_start();
        rest = match rest.strip_prefix(',') {
            Some(after) => after.trim_start(),
            None if rest.is_empty() => rest,
            None => return None,
        };
        if repeated {
            return None;
        }
    }
    Some(Header {
        descr: descr?,
        fortran_order: fortran_order?,
        shape: shape?,
    })
}

/// A string literal without escapes at the start of `text`, and what follows it.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let quote = text.chars().next().filter(|quote| matches!(quote, '\'' | '"'))?;
    let (content, after) = text[1..].split_once(quote)?;
    (!content.contains('\\')).then_some((content, after))
}

/// The extents between the brackets of a shape.
fn parse_extents(text: &str) -> Option<Vec<usize>> {
    let text = text.trim();
    if text.is_empty() {
        return Some(Vec::new());
    }
    let text = text.strip_suffix(',').unwrap_or(text);
    text.split(',')
        // Python 2 wrote long integers with an L.
        .map(|extent| extent.trim().trim_end_matches('L').parse().ok())
        .collect()
}

/// Complex elements from their parts.
fn pairs<T: Copy>(numbers: &[T]) -> Reasoned<Vec<[T; 2]>> {
    let (elements, _) = numbers.as_chunks();
    let mut pairs = input::reserve(elements.len())?;
    pairs.extend_from_slice(elements);
    Ok(pairs)
}

/// The elements of a file in row-major order.
fn in_order<T: Copy>(fortran_order: bool, shape: &[usize], elements: Vec<T>) -> Reasoned<Vec<T>> {
    if fortran_order {
        to_row_major(shape, &elements)
    } else {
        Ok(elements)
    }
}

/// Elements of a column-major (Fortran) array in row-major order.
fn to_row_major<T: Copy>(shape: &[usize], column_major: &[T]) -> Reasoned<Vec<T>> {
    let mut strides = Vec::with_capacity(shape.len());
    let mut stride = 1;
    for &extent in shape {
        strides.push(stride);
        stride *= extent;
    }
    let mut row_major = input::reserve(column_major.len())?;
    let mut index = vec![0; shape.len()];
    for _ in 0..column_major.len() {
        let source: usize = index
            .iter()
            .zip(&strides)
            .map(|(&position, &stride)| position * stride)
            .sum();
        row_major.push(column_major[source]);
        for (position, &extent) in index.iter_mut().zip(shape).rev() {
            *position += 1;
            if *position < extent {
                break;
            }
            *position = 0;
        }
    }
    Ok(row_major)
}
