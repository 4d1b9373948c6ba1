//! What says that an item is done.

use std::io::Write;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::item::Item;
use crate::io::atomic::write_atomically;
use crate::io::hash::blake3_file;
use crate::{Error, Result};

/// Layout version.
const SCHEMA: u32 = 1;

/// Which items count as done already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SkipExisting {
    /// Those whose files, options, program and result are what they were: contents are hashed
    Verify,
    /// Those whose result, record and note exist, whatever they hold
    Exists,
    /// None
    Never,
}

/// The note beside a result, written last: result and record are complete where there is one.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Note {
    schema: u32,
    pub id: String,
    /// See [`Item::key`].
    key: String,
    /// BLAKE3 hash of the result.
    output: String,
    /// The item's own command line.
    arguments: Vec<String>,
    /// What came out, for lists of results.
    pub result: Map<String, Value>,
}

impl Note {
    /// The note of an item that was just done.
    ///
    /// # Errors
    /// [`Error::Input`] if the result cannot be read back.
    pub fn new(item: &Item, key: String, result: Map<String, Value>) -> Result<Self> {
        Ok(Self {
            schema: SCHEMA,
            id: item.id.clone(),
            key,
            output: blake3_file(&item.output)?,
            arguments: item.arguments.clone(),
            result,
        })
    }

    /// Writes it.
    ///
    /// # Errors
    /// [`Error::Output`].
    pub fn write(&self, item: &Item) -> Result<()> {
        let text = serde_json::to_string(self).map_err(|e| Error::Internal(e.to_string()))?;
        write_atomically(item.note(), |file| writeln!(file, "{text}"))
    }

    /// The note of `item` if that is done, which it is without doubt only under `key`. A note that cannot be read is none: the item
    /// is done again.
    fn of(item: &Item, key: Option<&str>) -> Option<Self> {
        if !(item.output.is_file() && item.record().is_file()) {
            return None;
        }
        let note: Self = serde_json::from_slice(&std::fs::read(item.note()).ok()?).ok()?;
        let valid = match key {
            // What stands in the result's place may be of a later run that was stopped before it wrote its note.
            Some(key) => note.key == key && blake3_file(&item.output).ok()? == note.output,
            None => true,
        };
        (note.schema == SCHEMA && valid).then_some(note)
    }
}

/// An item as it was found.
pub(super) enum Found {
    Done(Note),
    /// With the key under which it is to be done.
    ToDo(String),
}

impl Found {
    /// Whether `item` counts as done under a rule.
    ///
    /// # Errors
    /// [`Error::Input`] for a file that cannot be read.
    pub fn new(item: &Item, rule: SkipExisting) -> Result<Self> {
        if rule == SkipExisting::Exists
            && let Some(note) = Note::of(item, None)
        {
            return Ok(Self::Done(note));
        }
        let key = item.key()?;
        Ok(match rule {
            SkipExisting::Verify => Note::of(item, Some(&key)),
            SkipExisting::Exists | SkipExisting::Never => None,
        }
        .map_or(Self::ToDo(key), Self::Done))
    }
}
