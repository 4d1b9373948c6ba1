//! The log of a training: one JSON object per line in `log.jsonl`, and if wanted the same numbers for TensorBoard.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use crate::io::atomic::write_atomically;
use crate::io::input;
use crate::io::tensorboard::EventFile;
use crate::{Error, Result};

/// Name of the log in the folder of a training.
pub const FILE_NAME: &str = "log.jsonl";

/// An open log. Every record is an object with `event`, a text, and `step`, a count; it is with the system when
/// [`Log::write`] returns, so that a killed process loses at most the line at hand.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: File,
    /// Bytes of whole lines.
    length: u64,
    /// The first step that is still to be logged.
    next_step: u64,
    events: Option<EventFile>,
}

impl Log {
    /// A new log in `folder`, which must exist.
    ///
    /// # Errors
    /// [`Error::Output`], also when there is a log already: it is the record of another training.
    pub fn create(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE_NAME);
        match File::create_new(&path) {
            Ok(file) => Ok(Self::over(path, file, 0, 0)),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Err(Error::output(
                &path,
                "it exists; resume that training, or choose another folder",
            )),
            Err(error) => Err(unwritable(&path, &error)),
        }
    }

    /// The log in `folder` without what it says about steps after `step`, and without a torn last line; replaced in one step,
    /// so that a crash meanwhile loses nothing. A new one if there is none.
    ///
    /// # Errors
    /// [`Error::Input`] naming a line before the last that is no record; [`Error::Output`].
    pub fn resume(folder: &Path, step: u64) -> Result<Self> {
        let path = folder.join(FILE_NAME);
        let text = if path.exists() { content(&path)? } else { Vec::new() };
        let mut kept = Vec::new();
        for (line, record) in lines(&path, &text)? {
            if step_of(&record).is_some_and(|at| at <= step) {
                kept.extend_from_slice(line);
                kept.push(b'\n');
            }
        }
        write_atomically(&path, |out| out.write_all(&kept))?;
        let file = OpenOptions::new().append(true).open(&path);
        let file = file.map_err(|error| unwritable(&path, &error))?;
        Ok(Self::over(path, file, kept.len() as u64, step + 1))
    }

    fn over(path: PathBuf, file: File, length: u64, next_step: u64) -> Self {
        Self {
            path,
            file,
            length,
            next_step,
            events: None,
        }
    }

    /// Also writes an event file beside the log: every number of a record becomes a scalar `EVENT/NAME`, those of nested
    /// objects `EVENT/NAME/..`, and those of a list of objects with `sigma` get the level, as in `validation/psnr/sigma_0.1`.
    ///
    /// # Errors
    /// [`Error::Output`].
    pub fn with_tensorboard(mut self) -> Result<Self> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        self.events = Some(EventFile::create(folder, self.next_step)?);
        Ok(self)
    }

    /// Adds a record. Numbers that are not finite become `null`, as JSON has no others.
    ///
    /// # Errors
    /// [`Error::Internal`] for a record without `event` or `step`; [`Error::Output`], after which the log is as before.
    pub fn write(&mut self, record: &impl Serialize) -> Result<()> {
        let record = serde_json::to_value(record).map_err(|error| Error::Internal(error.to_string()))?;
        let (Some(event), Some(step)) = (record["event"].as_str(), step_of(&record)) else {
            return Err(Error::Internal(format!("a log record without event or step: {record}")));
        };
        let mut line = record.to_string();
        line.push('\n');
        if let Err(error) = self.file.write_all(line.as_bytes()) {
            // Half a line would spoil the next one. If this fails too, resuming drops or names it.
            let _ = self
                .file
                .set_len(self.length)
                .and_then(|()| self.file.seek(SeekFrom::End(0)));
            return Err(unwritable(&self.path, &error));
        }
        self.length += line.len() as u64;
        if let Some(events) = &mut self.events {
            let mut scalars = Vec::new();
            collect_scalars(event, &record, &mut scalars);
            if !scalars.is_empty() {
                events.scalars(step, scalars.iter().map(|(tag, value)| (tag.as_str(), *value)))?;
            }
        }
        Ok(())
    }

    /// The log file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// All records of a log file, without a torn last line.
///
/// # Errors
/// [`Error::Input`] when the file cannot be read or a line before the last is no record.
pub fn read_log(path: &Path) -> Result<Vec<Value>> {
    let text = content(path)?;
    Ok(lines(path, &text)?.into_iter().map(|(_, record)| record).collect())
}

/// The bytes of a log, which is empty at first.
fn content(path: &Path) -> Result<Vec<u8>> {
    match std::fs::metadata(path) {
        Ok(found) if found.is_file() && found.len() == 0 => Ok(Vec::new()),
        _ => input::read_bytes(path),
    }
}

/// The lines of a log with what they say. A last line that is no record, or does not end, was torn and does not count.
fn lines<'t>(path: &Path, text: &'t [u8]) -> Result<Vec<(&'t [u8], Value)>> {
    let mut parts: Vec<&[u8]> = text.split(|&byte| byte == b'\n').collect();
    // What follows the last line break: nothing, or a torn line.
    parts.pop();
    let count = parts.len();
    let mut found = Vec::with_capacity(count);
    for (index, line) in parts.into_iter().enumerate() {
        match serde_json::from_slice::<Value>(line) {
            Ok(record) if step_of(&record).is_some() => found.push((line, record)),
            _ if index + 1 == count => {}
            _ => {
                let number = index + 1;
                return Err(Error::input(
                    path,
                    format!("line {number} is no log record; remove that line"),
                ));
            }
        }
    }
    Ok(found)
}

fn step_of(record: &Value) -> Option<u64> {
    record.get("step")?.as_u64()
}

/// The numbers of a record under their tags.
fn collect_scalars(tag: &str, value: &Value, scalars: &mut Vec<(String, f64)>) {
    match value {
        Value::Number(number) => scalars.extend(number.as_f64().map(|number| (tag.to_owned(), number))),
        Value::Object(fields) => {
            for (name, value) in fields.iter().filter(|(name, _)| *name != "step") {
                collect_scalars(&format!("{tag}/{name}"), value, scalars);
            }
        }
        Value::Array(items) => {
            for item in items.iter().filter_map(Value::as_object) {
                let Some(sigma) = item.get("sigma") else { continue };
                for value in item.iter().filter(|(name, _)| *name != "sigma").map(|(_, value)| value) {
                    collect_scalars(&format!("{tag}/sigma_{sigma}"), value, scalars);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

fn unwritable(path: &Path, error: &std::io::Error) -> Error {
    Error::output(path, format!("{error}; check the folder and the disk"))
}
