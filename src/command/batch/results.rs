//! What came of the items, one JSON object per line.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::io::atomic::check_writable;
use crate::{Error, Result};

/// What of a command's result belongs into a list of many.
const KEPT: [&str; 11] = [
    "psnr",
    "ssim",
    "iterations",
    "stop",
    "energy",
    "method",
    "model",
    "sigma",
    "noise",
    "lambda",
    "adapter",
];

/// What is kept of a command's result, and how long the item took.
pub(super) fn summary(result: &Value, seconds: f64) -> Map<String, Value> {
    let kept = KEPT
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), result.get(name)?.clone())));
    let mut summary: Map<String, Value> = kept.collect();
    summary.insert("seconds".into(), seconds.into());
    summary
}

/// Where lines go. They are written one by one, so that others can follow; a file that was cut short is whole after the next run,
/// which tells of the items that were done before, too.
pub(super) enum Results {
    /// A file's name; the file is made for the first line.
    File(PathBuf, Option<File>),
    Stdout,
    Nowhere,
}

impl Results {
    /// A file if one is named, else stdout if `print`. Nothing is written yet.
    ///
    /// # Errors
    /// [`Error::Output`] for a file that could not be written.
    pub fn new(path: Option<&Path>, print: bool) -> Result<Self> {
        match path {
            Some(path) => {
                check_writable(path)?;
                Ok(Self::File(path.to_path_buf(), None))
            }
            None if print => Ok(Self::Stdout),
            None => Ok(Self::Nowhere),
        }
    }

    /// Writes a line.
    ///
    /// # Errors
    /// [`Error::Output`].
    pub fn line(&mut self, line: &Value) -> Result<()> {
        // In one piece: a process that is killed leaves whole lines wherever the system can.
        self.write(&format!("{line}\n"))
    }

    /// Sees to it that there is a file, even without lines.
    ///
    /// # Errors
    /// [`Error::Output`].
    pub fn finish(mut self) -> Result<()> {
        self.write("")
    }

    fn write(&mut self, text: &str) -> Result<()> {
        match self {
            Self::File(path, file) => {
                let failed = |e| Error::output(&*path, format!("{e}; free some space or choose another disk"));
                let open = match file.take() {
                    Some(open) => open,
                    None => File::create(&*path).map_err(failed)?,
                };
                file.insert(open).write_all(text.as_bytes()).map_err(failed)
            }
            Self::Stdout => std::io::stdout()
                .write_all(text.as_bytes())
                .map_err(|e| Error::output("stdout", e.to_string())),
            Self::Nowhere => Ok(()),
        }
    }
}
