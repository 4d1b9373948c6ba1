//! Reads the members of `.npz` archives, in which the reference values of the tests come.

use knotwork::io::npy::Array;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The array called `name` in the archive at `path`.
pub fn read(path: &Path, name: &str) -> Array {
    let mut archive = zip::ZipArchive::new(File::open(path).unwrap()).unwrap();
    let mut bytes = Vec::new();
    archive
        .by_name(&format!("{name}.npy"))
        .unwrap()
        .read_to_end(&mut bytes)
        .unwrap();
    Array::from_bytes(&bytes).unwrap_or_else(|reason| panic!("{}: {name} {reason}", path.display()))
}
