//! What every reader needs before it may trust a file: it exists, is a regular file, has content, and whatever its bytes
//! are, neither a panic of a decoder nor an allocation it asks for ends the process.

use crate::{Error, Result};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// What came of bytes whose path is unknown here: a value, or the reason why there is none.
pub(crate) type Reasoned<T> = std::result::Result<T, String>;

/// Open a regular, non-empty file; also its length in bytes.
pub(crate) fn open(path: &Path) -> Result<(File, u64)> {
    let unreadable = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => Error::input(path, "no such file; check the spelling and the folder"),
        ErrorKind::PermissionDenied => {
            Error::input(path, "reading it is not permitted; change its permissions or copy it")
        }
        _ => Error::input(path, format!("cannot be read ({error}); check the path and the disk")),
    };
    // Asked of the path, not of the open file: opening a named pipe would wait for a writer for ever.
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if metadata.is_dir() {
        return Err(Error::input(path, "is a folder; name a file in it"));
    }
    if !metadata.is_file() {
        return Err(Error::input(
            path,
            "is not a regular file; copy its content to one first",
        ));
    }
    if metadata.len() == 0 {
        return Err(Error::input(path, "is empty; write or copy it again"));
    }
    let file = File::open(path).map_err(unreadable)?;
    Ok((file, metadata.len()))
}

/// The whole content of a regular, non-empty file.
pub(crate) fn read_bytes(path: &Path) -> Result<Vec<u8>> {
    let (mut file, length) = open(path)?;
    let too_large = || Error::input(path, format!("its {length} bytes do not fit in memory; split it"));
    let mut bytes = Vec::new();
    let capacity = usize::try_from(length).map_err(|_| too_large())?;
    bytes.try_reserve_exact(capacity).map_err(|_| too_large())?;
    file.read_to_end(&mut bytes)
        .map_err(|error| Error::input(path, format!("cannot be read ({error}); check the disk")))?;
    Ok(bytes)
}

/// Run a third-party decoder on untrusted bytes; a panic in it becomes a reason like any other. (The panic hook still
/// prints its line to standard error.)
pub(crate) fn guard_panics<T>(decode: impl FnOnce() -> Reasoned<T>) -> Reasoned<T> {
    catch_unwind(AssertUnwindSafe(decode))
        .unwrap_or_else(|_| Err("its content breaks the decoder, so it is corrupt; write or copy it again".to_owned()))
}

/// An empty vector with room for `count` elements, or a reason where there is no such room.
pub(crate) fn reserve<T>(count: usize) -> Reasoned<Vec<T>> {
    let mut values = Vec::new();
    match values.try_reserve_exact(count) {
        Ok(()) => Ok(values),
        Err(_) => Err(format!(
            "needs {} bytes of memory for its content, more than there is; split it",
            count.saturating_mul(size_of::<T>())
        )),
    }
}
