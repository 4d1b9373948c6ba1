//! Folders of images: the files with a readable extension, in the order of their names.

use std::path::{Path, PathBuf};

use super::image::Image;
use crate::{Error, Result};

/// Extensions of the formats that [`Image::read`] knows.
const EXTENSIONS: [&str; 10] = ["png", "tif", "tiff", "npy", "jpg", "jpeg", "bmp", "pgm", "ppm", "pnm"];

/// The images of a folder, and the files among them that could not be read.
#[derive(Debug)]
pub struct Folder {
    /// File names and images, sorted by name.
    pub images: Vec<(String, Image)>,
    /// What was skipped, and why: one line each.
    pub skipped: Vec<String>,
}

impl Folder {
    /// Reads every image file of `folder`, not of folders in it. Other files are passed over in silence.
    ///
    /// # Errors
    /// [`Error::Input`] when the folder cannot be listed, or holds no image that can be read; the message then says why the
    /// first one could not.
    pub fn read(folder: &Path) -> Result<Self> {
        let mut read = Self {
            images: Vec::new(),
            skipped: Vec::new(),
        };
        for path in image_files(folder)? {
            match Image::read(&path) {
                Ok(image) => read.images.push((name(&path), image)),
                Err(error) => read.skipped.push(error.to_string()),
            }
        }
        match (read.images.is_empty(), read.skipped.first()) {
            (false, _) => Ok(read),
            (true, None) => Err(Error::input(
                folder,
                format!("holds no image ({}); name a folder that does", EXTENSIONS.join(", ")),
            )),
            (true, Some(first)) => Err(Error::input(
                folder,
                format!(
                    "none of its {} images can be read; the first: {first}",
                    read.skipped.len()
                ),
            )),
        }
    }
}

/// Paths of the files in `folder` that look like images, sorted by name.
///
/// # Errors
/// [`Error::Input`] when the folder cannot be listed.
pub fn image_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let unreadable = |error: std::io::Error| Error::input(folder, format!("cannot be listed ({error}); name a folder"));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        if EXTENSIONS.contains(&extension.as_str()) && !path.is_dir() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
