//! Stacks of images of one size and type: TIFF files of several pages and NPY arrays with an axis of slices. They are read and written
//! slice by slice, so that memory holds as many slices as the caller does, however many there are.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::format::{self, Container, Content};
use super::tiff_codec::{PageWriter, Pages};
use super::{Format, Image, npy_codec};
use crate::io::atomic::AtomicFile;
use crate::io::input;
use crate::io::npy::Slices;
use crate::{Error, Result};

/// Which files are stacks. A TIFF file of several pages and an NPY array of four axes, `(S, 1, H, W)`, `(S, 3, H, W)` or
/// `(S, H, W, 3)`, always are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StackKind {
    /// NPY arrays of three axes, unless they are one image: `(1, H, W)`, `(3, H, W)` or `(H, W, 3)`.
    Images,
    /// NPY arrays of three axes, unless they are `(1, H, W)`: the slices have no colours.
    Gray,
    /// All of TIFF, and all NPY arrays of three or four axes.
    Always,
}

enum Source {
    Tiff(Box<Pages>),
    Npy(Slices),
}

/// A stack that is open for reading.
pub struct Stack {
    path: PathBuf,
    source: Source,
    slices: usize,
}

impl Stack {
    /// Opens a file that is a stack in the sense of `kind`; `None` for other files, of which [`Image::read`] can tell more. All slices of
    /// an NPY file are known to be there, and the directories of all pages of a TIFF file.
    ///
    /// # Errors
    /// [`Error::Input`] with what is wrong with the file.
    pub fn open(path: impl AsRef<Path>, kind: StackKind) -> Result<Option<Self>> {
        let path = path.as_ref();
        let blame = |reason: String| Error::input(path, reason);
        let (mut file, length) = input::open(path)?;
        let mut first = Vec::new();
        (&mut file)
            .take(16)
            .read_to_end(&mut first)
            .and_then(|_| file.rewind())
            .map_err(|error| blame(format!("cannot be read ({error}); check the disk")))?;
        let (source, slices) = match format::recognise(&first) {
            Ok(Content::Stored(Container::Tiff)) => {
                let pages = input::guard_panics(|| Pages::open(file, length)).map_err(blame)?;
                let count = pages.count();
                if count == 1 && kind != StackKind::Always {
                    return Ok(None);
                }
                (Source::Tiff(Box::new(pages)), count)
            }
            Ok(Content::Stored(Container::Npy)) => {
                let array = Slices::open(path)?;
                let Some(slices) = slices_of(array.shape(), kind) else {
                    return not_a_stack(path, kind, &format!("has shape {:?}", array.shape()));
                };
                array.check().map_err(blame)?;
                if slices == 0 {
                    return Err(blame(format!(
                        "has shape {:?}, so no slices; save it again",
                        array.shape()
                    )));
                }
                (Source::Npy(array), slices)
            }
            _ => return not_a_stack(path, kind, "is one image"),
        };
        Ok(Some(Self {
            path: path.to_path_buf(),
            source,
            slices,
        }))
    }

    /// How many slices there are, at least one.
    pub fn slices(&self) -> usize {
        self.slices
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Slice `index`, counted from 0.
    ///
    /// # Errors
    /// [`Error::Input`] with the slice and what is wrong with it, such as values that are not finite.
    pub fn read(&mut self, index: usize) -> Result<Image> {
        let read = || match &mut self.source {
            Source::Tiff(pages) => pages.read(index),
            Source::Npy(array) => npy_codec::to_image(&array.read(index)?),
        };
        input::guard_panics(read)
            .and_then(Image::finite)
            .map_err(|reason| Error::input(&self.path, format!("slice {index} {reason}")))
    }
}

/// How many slices an NPY array has, if it is a stack.
fn slices_of(shape: &[usize], kind: StackKind) -> Option<usize> {
    match *shape {
        [slices, 1 | 3, _, _] | [slices, _, _, 3] => Some(slices),
        [1, _, _] if kind != StackKind::Always => None,
        [3, _, _] | [_, _, 3] if kind == StackKind::Images => None,
        [slices, _, _] => Some(slices),
        _ => None,
    }
}

/// Where a stack is asked for, there must be one.
fn not_a_stack(path: &Path, kind: StackKind, what: &str) -> Result<Option<Stack>> {
    match kind {
        StackKind::Always => Err(Error::input(
            path,
            format!("{what}, which is no stack; leave --stack out or save it as (slices, rows, columns)"),
        )),
        StackKind::Images | StackKind::Gray => Ok(None),
    }
}

/// A buffered file of which one end writes and the other learns whether all was written.
#[derive(Clone)]
struct Shared(Arc<Mutex<BufWriter<File>>>);

impl Shared {
    fn with<T>(&self, work: impl FnOnce(&mut BufWriter<File>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.with(|file| file.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.with(Write::flush)
    }
}

impl Seek for Shared {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.with(|file| file.seek(to))
    }
}

enum Sink {
    Tiff(PageWriter<Shared>),
    Npy,
}

/// A stack that is being written, under a temporary name until it is complete.
pub struct StackWriter {
    file: AtomicFile,
    shared: Shared,
    sink: Option<Sink>,
    format: Format,
    slices: usize,
    written: usize,
    /// What all slices have in common: channels, rows, columns, opacity.
    kind: Option<(usize, usize, usize, bool)>,
}

impl StackWriter {
    /// Begins a stack of `slices` at `path`, as a TIFF file with a page for each or as an NPY array with an axis of them before those
    /// that the axes of a slice are. As [`Image::write`], integers are clamped and rounded, and NPY drops opacity.
    ///
    /// # Errors
    /// [`Error::Output`] for a format that holds no stacks, or where no file can be written.
    pub fn create(path: impl AsRef<Path>, slices: usize, format: Format) -> Result<Self> {
        let path = path.as_ref();
        if format.container() == Container::Png {
            return Err(Error::output(
                path,
                "PNG holds one image, not a stack; use .tif or .npy",
            ));
        }
        let mut file = AtomicFile::create(path)?;
        // The same open file: what one handle writes, the other syncs.
        let handle = file.file().try_clone().map_err(|error| file.failed(&error))?;
        Ok(Self {
            shared: Shared(Arc::new(Mutex::new(BufWriter::new(handle)))),
            file,
            sink: None,
            format,
            slices,
            written: 0,
            kind: None,
        })
    }

    /// Writes the next slice, which must be like the first.
    ///
    /// # Errors
    /// [`Error::Data`] for a slice that is of another kind, not finite or one too many; [`Error::Output`].
    pub fn push(&mut self, image: &Image) -> Result<()> {
        image.check_for_writing()?;
        let kind = (image.channels, image.height, image.width, image.alpha.is_some());
        if *self.kind.get_or_insert(kind) != kind || self.written == self.slices {
            return Err(Error::Data(format!(
                "a stack of {} slices takes no slice {} of another kind than the first",
                self.slices, self.written
            )));
        }
        self.encode(image).map_err(|error| self.file.failed(&error))?;
        self.written += 1;
        Ok(())
    }

    fn encode(&mut self, image: &Image) -> io::Result<()> {
        let sink = match &mut self.sink {
            Some(sink) => sink,
            None => self.sink.insert(if self.format.container() == Container::Tiff {
                Sink::Tiff(PageWriter::new(image, self.format, self.slices, self.shared.clone())?)
            } else {
                let array = npy_codec::to_array(image, self.format)?;
                Slices::write_header(&mut self.shared, &array, self.slices)?;
                Sink::Npy
            }),
        };
        match sink {
            Sink::Tiff(pages) => pages.push(image),
            Sink::Npy => {
                let array = npy_codec::to_array(image, self.format)?;
                self.shared.with(|file| Slices::write(file, &array))
            }
        }
    }

    /// Ends the file: sync, rename.
    ///
    /// # Errors
    /// [`Error::Data`] unless all slices were written; [`Error::Output`].
    pub fn finish(mut self) -> Result<()> {
        if self.written != self.slices {
            return Err(Error::Data(format!(
                "{} of {} slices of a stack were written",
                self.written, self.slices
            )));
        }
        self.shared.flush().map_err(|error| self.file.failed(&error))?;
        self.file.commit()
    }
}
