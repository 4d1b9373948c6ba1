//! Outputs that are whole or absent. A result is written beside its destination and moved over it in one step, so that a
//! crash, a full disk or a failing writer never leaves a half-written file or costs the old one.

use crate::{Error, Result};
use std::fs::{self, File};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// Write a file through a temporary one in the same folder: `write`, flush, sync, rename, sync of the folder. After any
/// failure the temporary file is gone and an existing destination is untouched. A destination that is a symbolic link
/// stays one, and its target is replaced. New files get the permissions [`File::create`] would give.
pub fn write_atomically(
    path: impl AsRef<Path>,
    write: impl FnOnce(&mut BufWriter<&mut File>) -> io::Result<()>,
) -> Result<()> {
    let path = path.as_ref();
    let (destination, folder) = resolve(path)?;
    let failed = |error: io::Error| Error::output(path, explain(&error));

    let mut temporary = create_temporary(&folder).map_err(failed)?;
    let mut buffered = BufWriter::new(temporary.as_file_mut());
    write(&mut buffered).and_then(|()| buffered.flush()).map_err(failed)?;
    drop(buffered);
    temporary.as_file().sync_all().map_err(failed)?;
    temporary.persist(&destination).map_err(|error| failed(error.error))?;
    sync_folder(&folder);
    Ok(())
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
