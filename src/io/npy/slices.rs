//! NPY arrays too large for memory, by the slices of their outermost axis.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::{
    Array, Header, MAX_HEADER, NO_HEADER, element_count, parse_header, split_header, truncated, unsupported_type,
};
use crate::io::input::{self, Reasoned};
use crate::{Error, Result};

/// The longest that can come before the header's text: magic, version and a length of 32 bits.
const MAX_PREFIX: usize = 12;

/// An open `.npy` file of `(slices, ..)`. No more than one slice of it is in memory.
#[derive(Debug)]
pub(crate) struct Slices {
    file: File,
    header: Header,
    /// Where the elements begin.
    start: u64,
    length: u64,
}

impl Slices {
    /// Opens the file and reads its header.
    ///
    /// # Errors
    /// [`Error::Input`] for a file that is no array.
    pub fn open(path: &Path) -> Result<Self> {
        let (mut file, length) = input::open(path)?;
        let (header, start) = read_header(&mut file).map_err(|reason| Error::input(path, reason))?;
        Ok(Self {
            file,
            header,
            start,
            length,
        })
    }

    /// Whether all slices are there and lie one after the other, or the reason why not.
    pub fn check(&self) -> Reasoned<()> {
        let Header {
            descr,
            fortran_order,
            shape,
        } = &self.header;
        if *fortran_order && shape.len() > 1 {
            return Err(
                "is in Fortran order, so its slices do not lie one after the other; save it again with \
                 numpy.save(name, numpy.ascontiguousarray(array))"
                    .to_owned(),
            );
        }
        let slices = shape.first().copied().unwrap_or(0) as u64;
        let data = self.length - self.start;
        (self.slice_bytes()? as u64)
            .checked_mul(slices)
            .filter(|bytes| *bytes <= data)
            .map(drop)
            .ok_or_else(|| truncated(shape, descr, data))
    }

    fn slice_bytes(&self) -> Reasoned<usize> {
        let shape = &self.header.shape;
        let element = self.header.element_bytes();
        let element = element.ok_or_else(|| unsupported_type(&self.header.descr))?;
        element_count(shape.get(1..).unwrap_or_default())
            .and_then(|count| count.checked_mul(element))
            .ok_or_else(|| truncated(shape, &self.header.descr, self.length))
    }

    /// The shape of the whole array.
    pub fn shape(&self) -> &[usize] {
        &self.header.shape
    }

    /// Slice `index`, an array of all axes but the first, or the reason why there is none.
    pub fn read(&mut self, index: usize) -> Reasoned<Array> {
        let shape = self.header.shape.get(1..).unwrap_or_default();
        let size = self.slice_bytes()?;
        let mut bytes = input::reserve(size)?;
        let at = self.start + index as u64 * size as u64;
        self.file
            .seek(SeekFrom::Start(at))
            .and_then(|_| (&self.file).take(size as u64).read_to_end(&mut bytes))
            .map_err(unreadable)?;
        let values = self.header.values(shape, &bytes)?;
        Ok(Array {
            shape: shape.to_vec(),
            values,
        })
    }

    /// Writes what comes before the slices of an array of so many, all like `slice`.
    pub fn write_header(file: &mut impl Write, slice: &Array, slices: usize) -> io::Result<()> {
        let mut shape = vec![slices];
        shape.extend(&slice.shape);
        super::write_header(file, slice.values.descr(), &shape)
    }

    /// Writes the next of them.
    pub fn write(file: &mut impl Write, slice: &Array) -> io::Result<()> {
        slice.values.write_to(file)
    }
}

/// The header of a file and where its elements begin.
fn read_header(file: &mut File) -> Reasoned<(Header, u64)> {
    let mut beginning = Vec::new();
    file.take((MAX_PREFIX + MAX_HEADER) as u64)
        .read_to_end(&mut beginning)
        .map_err(unreadable)?;
    let (text, rest) = split_header(&beginning)?;
    let header = parse_header(text).ok_or(NO_HEADER)?;
    Ok((header, (beginning.len() - rest.len()) as u64))
}

fn unreadable(error: io::Error) -> String {
    format!("cannot be read ({error}); check the disk")
}
