//! Outputs that are whole or absent. A result is written beside its destination and moved over it in one step, so that a
//! crash, a full disk or a failing writer never leaves a half-written file or costs the old one.

use crate::{Error, Result};
use std::fs::{self, File};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// A file that is written under a temporary name in the folder of its destination, for as long as it takes. Until
/// [`AtomicFile::commit`] the destination is untouched; without it the temporary file goes away.
#[derive(Debug)]
pub struct AtomicFile {
    path: PathBuf,
    destination: PathBuf,
    folder: PathBuf,
    temporary: NamedTempFile,
}

impl AtomicFile {
    /// Begin a file that is to be `path`. A destination that is a symbolic link stays one, and its target is replaced. New
    /// files get the permissions [`File::create`] would give.
    ///
    /// # Errors
    /// [`Error::Output`] where no file can be written.
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let (destination, folder) = resolve(path)?;
        let temporary = create_temporary(&folder).map_err(|error| Error::output(path, explain(&error)))?;
        Ok(Self {
            path: path.to_path_buf(),
            destination,
            folder,
            temporary,
        })
    }

    /// The temporary file.
    pub fn file(&mut self) -> &mut File {
        self.temporary.as_file_mut()
    }

    /// What went wrong in writing, with the destination's name and a remedy.
    pub fn failed(&self, error: &io::Error) -> Error {
        Error::output(&self.path, explain(error))
    }

    /// Sync the file, move it to its destination and sync the folder. Buffers in front of it must have been flushed.
    ///
    /// # Errors
    /// [`Error::Output`]; the destination is untouched.
    pub fn commit(self) -> Result<()> {
        let failed = |error: io::Error| Error::output(&self.path, explain(&error));
        self.temporary.as_file().sync_all().map_err(failed)?;
        self.temporary
            .persist(&self.destination)
            .map_err(|error| failed(error.error))?;
        sync_folder(&self.folder);
        Ok(())
    }
}

/// Write a file through an [`AtomicFile`]: `write`, flush, commit.
pub fn write_atomically(
    path: impl AsRef<Path>,
    write: impl FnOnce(&mut BufWriter<&mut File>) -> io::Result<()>,
) -> Result<()> {
    let mut file = AtomicFile::create(path)?;
    let mut buffered = BufWriter::new(file.file());
    let written = write(&mut buffered).and_then(|()| buffered.flush());
    // What is still in the buffer of a file that failed is not to be written.
    drop(buffered.into_parts());
    written.map_err(|error| file.failed(&error))?;
    file.commit()
}

/// Find out before long work whether [`write_atomically`] could write `path`: it names a file, not a folder or device, in
/// an existing folder where a file can be created. Leaves nothing behind.
pub fn check_writable(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    let (_, folder) = resolve(path)?;
    create_temporary(&folder)
        .map(drop)
        .map_err(|error| Error::output(path, explain(&error)))
}

/// The file to replace, with a symbolic link followed, and its folder.
fn resolve(path: &Path) -> Result<(PathBuf, PathBuf)> {
    let refuse = |reason: &str| Err(Error::output(path, reason));
    if path.file_name().is_none() || path.to_string_lossy().ends_with(['/', std::path::MAIN_SEPARATOR]) {
        return refuse("it names no file; add a file name");
    }
    let destination = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    if let Ok(existing) = fs::metadata(&destination) {
        if existing.is_dir() {
            return refuse("it is a folder; add a file name");
        }
        // Renaming over a device or pipe would replace the node itself, /dev/null for instance.
        if !existing.is_file() {
            return refuse("it is not a regular file; name one");
        }
        // A rename asks only the folder, yet a file marked read-only is meant to stay.
        if existing.permissions().readonly() {
            return refuse("it exists and is read-only; choose another name or make it writable");
        }
    }
    let folder = match destination.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    };
    match fs::metadata(&folder) {
        Ok(found) if found.is_dir() => Ok((destination, folder)),
        Ok(_) => refuse(&format!("{} is not a folder; choose another place", folder.display())),
        Err(error) if error.kind() == ErrorKind::NotFound => refuse(&format!(
            "the folder {} does not exist; create it first",
            folder.display()
        )),
        Err(error) => refuse(&explain(&error)),
    }
}

fn create_temporary(folder: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".knotwork-").suffix(".tmp");
    // The default, 0600, would survive the rename; 0666 is cut down by the umask as for any new file.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder)
}

/// Make the rename durable. By now the file is complete under its name, so trouble is worth a warning, not a failure.
#[cfg(unix)]
fn sync_folder(folder: &Path) {
    if let Err(error) = File::open(folder).and_then(|folder| folder.sync_all()) {
        log::warn!("could not sync the folder {}: {error}", folder.display());
    }
}

#[cfg(not(unix))]
fn sync_folder(_folder: &Path) {}

fn explain(error: &io::Error) -> String {
    let remedy = match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => "choose a folder you may write to",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "free some space or choose another disk",
        ErrorKind::NotADirectory => "a part of the path is a file; choose another place",
        _ => "check the path and the disk",
    };
    format!("{error}; {remedy}")
}

/// Whether two paths lead to one file, through links or not; files that do not exist have their names only.
pub fn same_file(a: &Path, b: &Path) -> bool {
    match (fs::canonicalize(a), fs::canonicalize(b)) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b,
    }
}
