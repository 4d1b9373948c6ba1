//! Lists of work: one JSON object per line, each with a name of its own.

use std::collections::HashMap;
use std::path::Path;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::input;
use crate::{Error, Result};

/// Longest name of an item: with the longest extension it stays below what file systems take.
const LONGEST_ID: usize = 128;

/// One line of a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it stands, from 1.
    pub line: usize,
    /// Its name: letters, digits, `.`, `_` and `-`, neither `.` nor `-` first; no other item has it.
    pub id: String,
    /// What is worked on, as written.
    pub input: String,
    /// Everything else, in the order of the line: a name and its value, none for `true`.
    pub options: Vec<(String, Option<String>)>,
}

/// Reads a manifest. Empty lines are passed over.
///
/// # Errors
/// [`Error::Input`] with the line and the first thing that is wrong in it, or when there is no item at all.
pub fn read(path: &Path) -> Result<Vec<Entry>> {
    let bytes = input::read_bytes(path)?;
    let text =
        std::str::from_utf8(&bytes).map_err(|_| Error::input(path, "is no UTF-8 text; name a JSON lines file"))?;
    let mut entries: Vec<Entry> = Vec::new();
    // Some file systems take A and a for one name: there, one result would replace the other.
    let mut lines: HashMap<String, usize> = HashMap::new();
    for (number, text) in (1..).zip(text.lines()).filter(|(_, text)| !text.trim().is_empty()) {
        let refuse = |reason: String| Error::input(path, format!("line {number}: {reason}"));
        let entry = parse(number, text).map_err(refuse)?;
        if let Some(first) = lines.insert(entry.id.to_lowercase(), number) {
            return Err(refuse(format!(
                "id '{}' is taken by line {first} (capitals and small letters count as the same); give every item its own",
                entry.id
            )));
        }
        entries.push(entry);
    }
    if entries.is_empty() {
        return Err(Error::input(path, "holds no item; write one JSON object per line"));
    }
    Ok(entries)
}

fn parse(line: usize, text: &str) -> std::result::Result<Entry, String> {
    let Pairs(pairs) = serde_json::from_str(text).map_err(|error| {
        // The parser counts lines of its own, of which there is one.
        let message = error.to_string();
        let reason = message.split(" at line ").next().unwrap_or(&message);
        format!("{reason} at column {}; want one JSON object", error.column())
    })?;
    let mut entry = Entry {
        line,
        id: String::new(),
        input: String::new(),
        options: Vec::new(),
    };
    for (name, value) in pairs {
        let value = match value {
            Value::String(text) => Some(text),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(true) => None,
            other => return Err(format!("\"{name}\": {other}: want a string, a number or true")),
        };
        match (name.as_str(), value) {
            ("id", Some(id)) => entry.id = check_id(id)?,
            ("input", Some(input)) if !input.is_empty() => entry.input = input,
            ("id" | "input", _) => return Err(format!("\"{name}\" wants a string")),
            (_, value) => entry.options.push((name, value)),
        }
    }
    for (name, value) in [("id", &entry.id), ("input", &entry.input)] {
        if value.is_empty() {
            return Err(format!("\"{name}\" is missing; every item needs \"id\" and \"input\""));
        }
    }
    Ok(entry)
}

fn check_id(id: String) -> std::result::Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if id.is_empty() || id.len() > LONGEST_ID || id.starts_with(['.', '-']) || !id.chars().all(plain) {
        return Err(format!(
            "id {id:?}: files are named after it; want 1 to {LONGEST_ID} letters, digits, '.', '_' or '-', neither '.' nor '-' first"
        ));
    }
    Ok(id)
}

/// A JSON object in the order in which it is written; no name twice.
struct Pairs(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Pairs;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Pairs, A::Error> {
                let mut pairs: Vec<(String, Value)> = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    // The usual map would keep the last and say nothing.
                    if pairs.iter().any(|(other, _)| *other == name) {
                        return Err(serde::de::Error::custom(format!("\"{name}\" is given twice")));
                    }
                    pairs.push((name, value));
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}
