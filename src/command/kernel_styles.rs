//! The kernel style that was found fastest for each adapter, in the user's cache folder.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::gpu::{AdapterSummary, KernelStyle};
use crate::io::atomic::{check_writable, write_atomically};
use crate::{Error, Result};

/// The file: `knotwork/kernels.json` in the cache folder of the user, or `kernels.json` in the folder that `KNOTWORK_CACHE` names.
/// `None` where the system names no such folder.
fn path() -> Option<PathBuf> {
    let folder = match std::env::var_os("KNOTWORK_CACHE") {
        Some(folder) if !folder.is_empty() => PathBuf::from(folder),
        _ => dirs::cache_dir()?.join("knotwork"),
    };
    Some(folder.join("kernels.json"))
}

/// What the styles of adapters are kept under: another driver may want another style, and a style that was not among those measured
/// may be faster.
fn key(adapter: &AdapterSummary) -> String {
    let measured = KernelStyle::ALL.map(KernelStyle::name).join(" ");
    format!("{adapter}; {}; of {measured}", adapter.driver)
}

/// The table in the file; an empty one, with a warning, if it cannot be read.
fn table() -> BTreeMap<String, String> {
    let Some(path) = path() else {
        return BTreeMap::new();
    };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == ErrorKind::NotFound => return BTreeMap::new(),
        Err(e) => {
            log::warn!(
                "{}: {e}; the kernels that suit this adapter by default are used",
                path.display()
            );
            return BTreeMap::new();
        }
    };
    serde_json::from_str(&text).unwrap_or_else(|e| {
        log::warn!(
            "{}: {e}; the kernels that suit this adapter by default are used; `reconstruct info --calibrate` writes the file anew",
            path.display()
        );
        BTreeMap::new()
    })
}

/// The style kept for an adapter.
pub fn kept(adapter: &AdapterSummary) -> Option<KernelStyle> {
    table().get(&key(adapter))?.parse().ok()
}

/// The file, made sure that it can be written: to be called before measuring.
///
/// # Errors
/// [`Error::Output`] if it cannot be written, [`Error::Usage`] if there is no cache folder.
pub fn writable_path() -> Result<PathBuf> {
    let path = path().ok_or_else(|| {
        Error::Usage("this system names no cache folder; set KNOTWORK_CACHE to a folder of yours".into())
    })?;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|e| Error::output(folder, e.to_string()))?;
    }
    check_writable(&path)?;
    Ok(path)
}

/// Keeps a style for an adapter in the file of [`writable_path`].
///
/// # Errors
/// [`Error::Output`].
pub fn keep(path: &Path, adapter: &AdapterSummary, style: KernelStyle) -> Result<()> {
    let mut table = table();
    table.insert(key(adapter), style.to_string());
    let mut text = serde_json::to_string_pretty(&table).map_err(|e| Error::Internal(e.to_string()))?;
    text.push('\n');
    write_atomically(path, |file| file.write_all(text.as_bytes()))
}
