//! Content hashes, which tie a result to the exact files it came from.

use super::input;
use crate::{Error, Result};
use std::path::Path;

/// The BLAKE3 hash of a file's content, as 64 lower-case hexadecimal digits. The file is streamed.
pub fn blake3_file(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    let (file, _) = input::open(path)?;
    let mut hasher = blake3::Hasher::new();
    hasher
        .update_reader(file)
        .map_err(|error| Error::input(path, format!("cannot be read ({error}); check the disk")))?;
    Ok(hasher.finalize().to_hex().to_string())
}
