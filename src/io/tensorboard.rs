//! Event files that TensorBoard reads: scalars by tag and step.
//!
//! A file is a list of TFRecords, each `length: u64, crc(length): u32, data, crc(data): u32` in little-endian order, where
//! `crc` is the masked CRC-32C and the data a protocol buffer `Event` (tensorflow/core/util/event.proto):
//!
//! | field | number | type |
//! |---|---|---|
//! | `wall_time`, seconds since 1970 | 1 | double |
//! | `step` | 2 | int64 |
//! | `file_version`, first event only | 3 | string |
//! | `summary { value { tag = 1, simple_value = 2 } = 1 }` | 5 | message |
//! | `session_log { status = 1 }`, where a training goes on | 7 | message |

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::{Error, Result};

/// What marks a file as one whose restarts are announced by session logs.
const VERSION: &str = "brain.Event:2";
/// `SessionLog.START`: what readers hold at this step or later is void.
const START: u64 = 1;

/// Writes scalars into an event file of its own.
#[derive(Debug)]
pub struct EventFile {
    path: PathBuf,
    file: File,
}

impl EventFile {
    /// A new file `events.out.tfevents.SECONDS.PROCESS.knotwork` in `folder`, which must exist. With `first_step` above 0
    /// readers drop what earlier files of the folder say about that step and later ones.
    ///
    /// # Errors
    /// [`Error::Output`].
    pub fn create(folder: &Path, first_step: u64) -> Result<Self> {
        let now = wall_time();
        // Readers take the files of a folder in the order of their names; ten digits last until the year 2286.
        let seconds = now as u64;
        let mut created = None;
        for attempt in 0..100 {
            let process = std::process::id();
            let path = folder.join(format!(
                "events.out.tfevents.{seconds:010}.{process}.{attempt:02}.knotwork"
            ));
            match File::create_new(&path) {
                Ok(file) => {
                    created = Some(Self { path, file });
                    break;
                }
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(unwritable(&path, &error)),
            }
        }
        let Some(mut events) = created else {
            return Err(Error::output(
                folder,
                "it holds too many event files of this second; remove some",
            ));
        };
        let mut event = Message::default();
        event.double(1, now);
        event.bytes(3, VERSION.as_bytes());
        events.write(&event)?;
        if first_step > 0 {
            let (mut event, mut session) = (Message::default(), Message::default());
            session.integer(1, START);
            event.double(1, now);
            event.integer(2, first_step);
            event.bytes(7, &session.0);
            events.write(&event)?;
        }
        Ok(events)
    }

    /// Adds one event: these scalars at this step. They are stored as f32.
    ///
    /// # Errors
    /// [`Error::Output`].
    pub fn scalars<'t>(&mut self, step: u64, scalars: impl IntoIterator<Item = (&'t str, f64)>) -> Result<()> {
        let mut summary = Message::default();
        for (tag, scalar) in scalars {
            let mut value = Message::default();
            value.bytes(1, tag.as_bytes());
            value.float(2, scalar as f32);
            summary.bytes(1, &value.0);
        }
        let mut event = Message::default();
        event.double(1, wall_time());
        event.integer(2, step);
        event.bytes(5, &summary.0);
        self.write(&event)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// One record in one write, so that a reader beside a running training sees whole ones.
    fn write(&mut self, event: &Message) -> Result<()> {
        let length = (event.0.len() as u64).to_le_bytes();
        let mut record = Vec::with_capacity(event.0.len() + 16);
        record.extend(length);
        record.extend(masked_crc(&length).to_le_bytes());
        record.extend(&event.0);
        record.extend(masked_crc(&event.0).to_le_bytes());
        self.file
            .write_all(&record)
            .map_err(|error| unwritable(&self.path, &error))
    }
}

fn unwritable(path: &Path, error: &std::io::Error) -> Error {
    Error::output(path, format!("{error}; check the folder and the disk"))
}

/// Seconds since 1970; 0 on a machine whose clock stands before that.
fn wall_time() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}

/// A protocol buffer message: fields one after the other, each a key (number and wire type) and its value.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn key(&mut self, number: u64, wire_type: u64) {
        self.varint(number << 3 | wire_type);
    }

    /// Seven bits per byte, lowest first; the highest bit of a byte says that more follow.
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn integer(&mut self, number: u64, value: u64) {
        self.key(number, 0);
        self.varint(value);
    }

    fn double(&mut self, number: u64, value: f64) {
        self.key(number, 1);
        self.0.extend(value.to_le_bytes());
    }

    fn bytes(&mut self, number: u64, value: &[u8]) {
        self.key(number, 2);
        self.varint(value.len() as u64);
        self.0.extend(value);
    }

    fn float(&mut self, number: u64, value: f32) {
        self.key(number, 5);
        self.0.extend(value.to_le_bytes());
    }
}

/// CRC-32C (Castagnoli), turned right by 15 bits and moved by a constant, as TFRecords want it: a checksum of data that
/// hold checksums is weak otherwise.
fn masked_crc(data: &[u8]) -> u32 {
    crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// Bit by bit: a record has some hundred bytes.
fn crc32c(data: &[u8]) -> u32 {
    const REFLECTED_POLYNOMIAL: u32 = 0x82f6_3b78;
    !data.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            crc >> 1 ^ if crc & 1 == 1 { REFLECTED_POLYNOMIAL } else { 0 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Published check values (RFC 3720, B.4, and the catalogue's "123456789").
    #[test]
    fn checksum_gives_the_published_answers() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
    }
}
