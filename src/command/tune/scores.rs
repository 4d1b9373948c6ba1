//! The tables of scores that searches share and add to.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::super::batch::Shard;
use crate::io::input::read_bytes;
use crate::solver::Point;
use crate::{Error, Result};

/// The columns; the third and fourth are what the search varies.
fn header([first, second]: [&str; 2]) -> String {
    format!("key,id,{first},{second},psnr,ssim,iterations,seconds")
}

/// One reconstruction. `key` hashes everything that decides the result but the point and the device.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub key: String,
    pub id: String,
    pub point: Point,
    pub psnr: f64,
    pub ssim: f64,
    pub iterations: usize,
    pub seconds: f64,
}

impl Row {
    fn line(&self) -> String {
        format!(
            "{},{},{:?},{:?},{:?},{:?},{},{:.3}\n",
            self.key, self.id, self.point[0], self.point[1], self.psnr, self.ssim, self.iterations, self.seconds
        )
    }

    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split(',');
        let row = Self {
            key: fields.next()?.into(),
            id: fields.next()?.into(),
            point: [fields.next()?.parse().ok()?, fields.next()?.parse().ok()?],
            psnr: fields.next()?.parse().ok()?,
            ssim: fields.next()?.parse().ok()?,
            iterations: fields.next()?.parse().ok()?,
            seconds: fields.next()?.parse().ok()?,
        };
        fields.next().is_none().then_some(row)
    }
}

/// The table of this process, and what other parts have found.
#[derive(Debug)]
pub(super) struct Scores {
    path: PathBuf,
    file: File,
    /// The table of a search without parts.
    whole: PathBuf,
    header: String,
    known: HashMap<(String, [u64; 2]), f64>,
}

/// Of N parts, each has a table of its own: no two processes write to one file.
fn part(path: &Path, index: usize, count: usize) -> PathBuf {
    path.with_extension(format!("{index}-of-{count}.csv"))
}

impl Scores {
    /// Opens the table of a part, or begins it. A last line that a kill cut short is taken off.
    ///
    /// # Errors
    /// [`Error::Input`] for a file that is no such table, [`Error::Output`].
    pub fn open(path: &Path, shard: Shard, names: [&str; 2]) -> Result<Self> {
        let header = header(names);
        let whole = shard == Shard::WHOLE;
        let own = if whole {
            path.to_path_buf()
        } else {
            part(path, shard.index, shard.count)
        };
        let failed = |e: std::io::Error| Error::output(&own, format!("{e}; check the path and the disk"));
        let mut known = HashMap::new();
        let size = std::fs::metadata(&own).map(|m| m.len()).unwrap_or(0);
        let kept = if size > 0 { read(&own, &header, &mut known)? } else { 0 };
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&own)
            .map_err(failed)?;
        file.set_len(kept as u64).map_err(failed)?;
        if kept == 0 {
            writeln!(file, "{header}").map_err(failed)?;
        }
        let mut scores = Self {
            path: own,
            file,
            whole: path.to_path_buf(),
            header,
            known,
        };
        scores.read_others()?;
        Ok(scores)
    }

    /// The table that is written.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The PSNR of an item at a point, if it is known.
    pub fn get(&self, key: &str, point: Point) -> Option<f64> {
        self.known.get(&(key.to_owned(), point.map(f64::to_bits))).copied()
    }

    /// Adds a row, on disk at once.
    ///
    /// # Errors
    /// [`Error::Output`].
    pub fn add(&mut self, row: Row) -> Result<()> {
        let write = self
            .file
            .write_all(row.line().as_bytes())
            .and_then(|()| self.file.sync_data());
        write.map_err(|e| Error::output(&self.path, format!("{e}; check the disk")))?;
        remember(&mut self.known, row);
        Ok(())
    }

    /// Reads what others have found since: one search, or all parts, whatever their number.
    ///
    /// # Errors
    /// [`Error::Input`].
    pub fn read_others(&mut self) -> Result<()> {
        let folder = self.whole.parent().filter(|folder| !folder.as_os_str().is_empty());
        let entries = std::fs::read_dir(folder.unwrap_or(Path::new(".")));
        let failed = |e: std::io::Error| Error::output(&self.path, format!("{e}; check the disk"));
        for entry in entries.map_err(failed)? {
            let path = self.whole.with_file_name(entry.map_err(failed)?.file_name());
            if path != self.path && (path == self.whole || is_part(&self.whole, &path)) {
                read(&path, &self.header, &mut self.known)?;
            }
        }
        Ok(())
    }
}

/// Whether `path` is one that [`part`] makes of `whole`.
fn is_part(whole: &Path, path: &Path) -> bool {
    let numbers = path
        .file_stem()
        .and_then(|stem| Path::new(stem).extension()?.to_str()?.split_once("-of-"));
    numbers
        .and_then(|(index, count)| Some(part(whole, index.parse().ok()?, count.parse().ok()?)))
        .is_some_and(|name| name == path)
}

fn remember(known: &mut HashMap<(String, [u64; 2]), f64>, row: Row) {
    known.insert((row.key, row.point.map(f64::to_bits)), row.psnr);
}

/// Reads a table up to its last whole line, and returns how many bytes that is.
fn read(path: &Path, header: &str, known: &mut HashMap<(String, [u64; 2]), f64>) -> Result<usize> {
    let bytes = read_bytes(path)?;
    let kept = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    let refuse = |line: usize| {
        Error::input(
            path,
            format!("line {line} is not of a table of scores; name another with --scores"),
        )
    };
    let text = std::str::from_utf8(&bytes[..kept]).map_err(|_| refuse(1))?;
    if kept == 0 && !header.as_bytes().starts_with(&bytes) {
        return Err(refuse(1));
    }
    for (n, line) in text.lines().enumerate() {
        match (n, line) {
            (0, first) if first == header => {}
            (0, _) => return Err(refuse(1)),
            _ => remember(known, Row::parse(line).ok_or_else(|| refuse(n + 1))?),
        }
    }
    Ok(kept)
}
