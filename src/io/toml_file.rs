//! TOML files that hold one value.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::atomic::write_atomically;
use super::input;
use crate::{Error, Result};

/// Reads a value.
///
/// # Errors
/// [`Error::Input`] naming the line and the key that is unknown, missing or of the wrong type.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = input::read_bytes(path)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| Error::input(path, "is no text; name a TOML file"))?;
    toml::from_str(text).map_err(|error| {
        let line = error.span().map(|span| 1 + text[..span.start].matches('\n').count());
        let place = line.map_or(String::new(), |line| format!("line {line}: "));
        let message = error.message().replace('\n', " ");
        Error::input(path, format!("{place}{message}; correct it"))
    })
}

/// The value as text.
///
/// # Errors
/// [`Error::Internal`] for what TOML cannot hold.
pub fn text(value: &impl Serialize) -> Result<String> {
    toml::to_string_pretty(value).map_err(|e| Error::Internal(e.to_string()))
}

/// Writes a value, whole or not at all.
///
/// # Errors
/// [`Error::Output`].
pub fn write(path: &Path, value: &impl Serialize) -> Result<()> {
    use std::io::Write;
    let text = text(value)?;
    write_atomically(path, |file| file.write_all(text.as_bytes()))
}
