//! Files that are read must not be replaced: not by the item that reads them, which sees to that itself, nor by another one.

use std::collections::{HashMap, HashSet};
use std::path::{Component, Path, PathBuf};

use super::item::Item;
use crate::{Error, Result};

/// A folder without links and `..`, as far as it exists; the rest is made without links.
fn real_folder(folder: &Path) -> PathBuf {
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_path_buf());
    let mut real = PathBuf::new();
    for component in absolute.components() {
        if component == Component::ParentDir {
            real.pop();
        } else {
            real.push(component);
            real = std::fs::canonicalize(&real).unwrap_or(real);
        }
    }
    real
}

/// All files of a batch.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// Folders without links; asked of the system once each, there being few.
    folders: HashMap<PathBuf, PathBuf>,
    read: HashSet<PathBuf>,
    written: HashSet<PathBuf>,
    /// The first place that is read or written and written again, and by what.
    clash: Option<(PathBuf, String)>,
}

impl Places {
    /// A file by its folder without links and its name.
    fn place(&mut self, path: &Path) -> PathBuf {
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let real = self
            .folders
            .entry(folder.to_path_buf())
            .or_insert_with(|| real_folder(folder));
        real.join(path.file_name().unwrap_or_default())
    }

    fn clashes(&mut self, path: &Path, what: &str) {
        self.clash.get_or_insert_with(|| (path.to_path_buf(), what.to_owned()));
    }

    /// A file that is read.
    pub fn reads(&mut self, path: &Path, what: &str) {
        let place = self.place(path);
        if self.written.contains(&place) {
            self.clashes(path, what);
        }
        self.read.insert(place);
    }

    /// A file that is written.
    pub fn writes(&mut self, path: &Path, what: &str) {
        let place = self.place(path);
        if self.read.contains(&place) || !self.written.insert(place) {
            self.clashes(path, what);
        }
    }

    /// All files of an item.
    pub fn reads_and_writes(&mut self, item: &Item) {
        let what = format!("item '{}'", item.id);
        for (_, path) in &item.files {
            self.reads(path, &what);
        }
        for path in [&item.output, &item.record(), &item.note()] {
            self.writes(path, &what);
        }
    }

    /// Refuses batches that would replace what they read or have written.
    ///
    /// # Errors
    /// [`Error::Output`].
    pub fn check(self) -> Result<()> {
        match self.clash {
            None => Ok(()),
            Some((path, what)) => Err(Error::output(
                path,
                format!(
                    "another part of the batch reads or writes the file of {what}; choose another --out-template or --results"
                ),
            )),
        }
    }
}
