//! The images of a folder, and the samples cut from them.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use image::imageops::{FilterType, resize};
use image::{ImageBuffer, Luma};

use super::{DataSettings, Permutation};
use crate::io::folder::image_files;
use crate::io::image::Image;
use crate::io::noise;
use crate::{Error, Result};

/// Weights of red, green and blue in the luminance (ITU-R BT.601), with which gray versions of the usual test sets were made.
const LUMINANCE: [f32; 3] = [0.299, 0.587, 0.114];
/// Draws of a sample besides its noise: noise level, symmetry.
const DRAWS: usize = 2;

/// A gray image.
#[derive(Clone, Debug, PartialEq)]
pub struct Plane {
    /// Number of rows.
    pub height: usize,
    /// Number of columns.
    pub width: usize,
    /// Values by row and column.
    pub values: Vec<f32>,
}

/// One sample of a training.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The patch, row by row.
    pub clean: Vec<f32>,
    /// `clean + sigma n` with `n` standard normal.
    pub noisy: Vec<f32>,
    /// The noise level, in units of the image range, above 0.
    pub sigma: f32,
}

/// An image at one scale and the grid of patches on it.
#[derive(Debug)]
struct Level {
    plane: Plane,
    /// Patches along a row.
    columns: u64,
    /// The number of its first patch among those of all levels.
    first: u64,
}

/// What became of a file.
enum Outcome {
    Usable(Plane, Vec<Plane>),
    Skipped(String),
}

/// The patches of a folder of images. All of it is in memory: 4 bytes per pixel and scale.
#[derive(Debug)]
pub struct Corpus {
    settings: DataSettings,
    levels: Vec<Level>,
    length: u64,
    validation: Vec<(String, Plane)>,
    skipped: Vec<String>,
    hash: String,
}

impl Corpus {
    /// Reads every image file of `folder`, colour as luminance, several at a time. Of those that can be used, `held_out` ones,
    /// evenly spaced in the order of their names, are kept whole for validation and never sampled; the others are resampled at
    /// every scale (Catmull-Rom, widened for what is taken away, inside the image's own range). An image that is smaller
    /// than a patch at some scale gives none at it.
    ///
    /// # Errors
    /// [`Error::Usage`] for senseless settings; [`Error::Input`] when the folder cannot be listed or leaves nothing to train
    /// with, saying why.
    pub fn read(folder: &Path, settings: &DataSettings, held_out: usize) -> Result<Self> {
        settings.check()?;
        let files = image_files(folder)?;
        if files.is_empty() {
            return Err(Error::input(
                folder,
                "holds no image; name a folder of PNG, TIFF, NPY or JPEG files",
            ));
        }
        let mut usable = Vec::new();
        let mut skipped = Vec::new();
        for (path, outcome) in files.iter().zip(read_all(&files, settings)?) {
            match outcome {
                Outcome::Usable(plane, scaled) => usable.push((file_name(path), plane, scaled)),
                Outcome::Skipped(why) => skipped.push(why),
            }
        }
        if let (true, Some(first)) = (usable.is_empty(), skipped.first()) {
            let count = skipped.len();
            return Err(Error::input(
                folder,
                format!("none of its {count} images can be used; the first: {first}"),
            ));
        }
        let images = usable.len();
        if held_out >= images {
            return Err(Error::input(
                folder,
                format!("has {images} usable images, of which {held_out} are held out; hold out fewer or add images"),
            ));
        }
        // The middles of `held_out` equal parts of the list.
        let is_held_out: Vec<bool> = {
            let chosen: Vec<usize> = (0..held_out).map(|k| (2 * k + 1) * images / (2 * held_out)).collect();
            (0..images).map(|index| chosen.contains(&index)).collect()
        };

        let mut hasher = blake3::Hasher::new();
        let described = serde_json::to_vec(settings).map_err(|error| Error::Internal(error.to_string()))?;
        hasher.update(&described);
        let (mut levels, mut validation, mut length) = (Vec::new(), Vec::new(), 0);
        for ((name, plane, scaled), held_out) in usable.into_iter().zip(is_held_out) {
            hasher.update(&[u8::from(held_out)]);
            hasher.update(&(plane.height as u64).to_le_bytes());
            hasher.update(&(plane.width as u64).to_le_bytes());
            let bytes: Vec<u8> = plane.values.iter().flat_map(|value| value.to_le_bytes()).collect();
            hasher.update(&bytes);
            if held_out {
                validation.push((name, plane));
                continue;
            }
            for plane in scaled {
                let count = |extent: usize| ((extent - settings.patch) / settings.stride + 1) as u64;
                let (rows, columns) = (count(plane.height), count(plane.width));
                levels.push(Level {
                    plane,
                    columns,
                    first: length,
                });
                length += rows * columns;
            }
        }
        Ok(Self {
            settings: settings.clone(),
            levels,
            length,
            validation,
            skipped,
            hash: hasher.finalize().to_hex().to_string(),
        })
    }

    /// Samples of an epoch, at least 1.
    #[expect(clippy::len_without_is_empty, reason = "a corpus is never empty")]
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Sample `index` (counted modulo [`Corpus::len`]) of an epoch. A function of (seed, epoch, index), nothing else.
    pub fn sample(&self, epoch: u64, index: u64) -> Sample {
        let index = index % self.length;
        let seed = noise::bits(self.settings.seed, epoch, 0);
        let place = Permutation::new(seed, self.length).apply(index);
        let draws = noise::uniform(seed, index, DRAWS);
        let unit = |draw: usize| 0.5 + 0.5 * draws[draw];

        let (low, high) = self.settings.sigma;
        // In f32 an interval down to 0 could round to it.
        let sigma = ((low + (high - low) * unit(0)) as f32).max(f32::MIN_POSITIVE);
        let symmetry = if self.settings.augment {
            (8.0 * unit(1)) as usize
        } else {
            0
        };
        let clean = self.patch(place, symmetry);
        let noisy = clean
            .iter()
            .zip(noise::gaussian(seed, index, clean.len()))
            .map(|(x, n)| x + sigma * n)
            .collect();
        Sample { clean, noisy, sigma }
    }

    /// Whole images that are never sampled, with their file names, in the order of these.
    pub fn validation(&self) -> &[(String, Plane)] {
        &self.validation
    }

    /// Files that were left out, and why: one line each.
    pub fn skipped(&self) -> &[String] {
        &self.skipped
    }

    /// The settings it was read with.
    pub fn settings(&self) -> &DataSettings {
        &self.settings
    }

    /// BLAKE3 over the settings, the choice of held-out images and the values of all images in their order, as 64
    /// hexadecimal digits: equal hashes mean equal samples. Names do not count.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Patch `place` of the grid under one of the 8 symmetries.
    fn patch(&self, place: u64, symmetry: usize) -> Vec<f32> {
        let side = self.settings.patch;
        let level = &self.levels[self.levels.partition_point(|level| level.first <= place) - 1];
        let place = place - level.first;
        let corner = |step: u64| step as usize * self.settings.stride;
        let (top, left) = (corner(place / level.columns), corner(place % level.columns));
        let mut values = Vec::with_capacity(side * side);
        for row in 0..side {
            for column in 0..side {
                let (row, column) = source(symmetry, side, row, column);
                values.push(level.plane.values[(top + row) * level.plane.width + left + column]);
            }
        }
        values
    }
}

/// Where the pixel at (row, column) of a square under `symmetry` in 0..8 comes from: bits 0 and 1 mirror rows and columns,
/// bit 2 exchanges them.
fn source(symmetry: usize, side: usize, row: usize, column: usize) -> (usize, usize) {
    let mirrored = |bit: usize, place: usize| {
        if symmetry >> bit & 1 == 1 {
            side - 1 - place
        } else {
            place
        }
    };
    let (row, column) = (mirrored(0, row), mirrored(1, column));
    if symmetry & 4 == 0 {
        (row, column)
    } else {
        (column, row)
    }
}

/// Reads the files on all cores; the outcomes are in the order of the files.
fn read_all(files: &[PathBuf], settings: &DataSettings) -> Result<Vec<Outcome>> {
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism()
        .map_or(1, NonZeroUsize::get)
        .min(files.len());
    let work = || {
        let mut outcomes = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(file) = files.get(index) else {
                return outcomes;
            };
            outcomes.push((index, read_one(file, settings)));
        }
    };
    let mut outcomes = std::thread::scope(|scope| -> Result<Vec<(usize, Outcome)>> {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let mut all = Vec::with_capacity(files.len());
        for worker in workers {
            all.extend(
                worker
                    .join()
                    .map_err(|_| Error::Internal("a thread that reads images panicked".into()))?,
            );
        }
        Ok(all)
    })?;
    outcomes.sort_by_key(|(index, _)| *index);
    Ok(outcomes.into_iter().map(|(_, outcome)| outcome).collect())
}

fn read_one(path: &Path, settings: &DataSettings) -> Outcome {
    let plane = match Image::read(path) {
        Ok(image) => luminance(image),
        Err(error) => return Outcome::Skipped(error.to_string()),
    };
    let fits = |(height, width): &(usize, usize)| *height.min(width) >= settings.patch;
    let extent = |pixels: usize, scale: f64| (pixels as f64 * scale).round() as usize;
    let scaled: Vec<Plane> = settings
        .scales
        .iter()
        .map(|&scale| (extent(plane.height, scale), extent(plane.width, scale)))
        .filter(fits)
        .map(|size| resampled(&plane, size))
        .collect();
    if scaled.is_empty() {
        return Outcome::Skipped(format!(
            "{}: {} rows and {} columns are less than a patch of {} at every scale; leave it out or train with smaller \
             patches",
            path.display(),
            plane.height,
            plane.width,
            settings.patch
        ));
    }
    Outcome::Usable(plane, scaled)
}

fn luminance(image: Image) -> Plane {
    let values = match image.channels {
        1 => image.planes,
        _ => (0..image.height * image.width)
            .map(|pixel| {
                (0..3)
                    .map(|c| LUMINANCE[c] * image.planes[c * image.height * image.width + pixel])
                    .sum()
            })
            .collect(),
    };
    Plane {
        height: image.height,
        width: image.width,
        values,
    }
}

/// The image on (height, width) pixels.
fn resampled(plane: &Plane, (height, width): (usize, usize)) -> Plane {
    if (height, width) == (plane.height, plane.width) {
        return plane.clone();
    }
    // The library clamps floats to [0, 1], and images of floats may have any range. Resampling commutes with the map of
    // the image's own range onto that.
    let (low, high) = plane
        .values
        .iter()
        .fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &v| {
            (low.min(v), high.max(v))
        });
    let range = high - low;
    let unit = |v: &f32| if range > 0.0 { (v - low) / range } else { 0.0 };
    let source: Option<ImageBuffer<Luma<f32>, Vec<f32>>> = ImageBuffer::from_raw(
        plane.width as u32,
        plane.height as u32,
        plane.values.iter().map(unit).collect(),
    );
    let values = source.map_or_else(Vec::new, |source| {
        resize(&source, width as u32, height as u32, FilterType::CatmullRom).into_raw()
    });
    Plane {
        height,
        width,
        values: values.into_iter().map(|v| low + range * v).collect(),
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
