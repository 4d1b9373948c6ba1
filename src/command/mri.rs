//! `reconstruct mri`: real images from Cartesian k-space, of one coil or of several with known sensitivities.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::inverse::{Inverse, InverseArgs};
use super::masks::read_mask;
use super::pixels::blame;
use super::problem::{Gain, Method, Problem};
use super::stack::Measurements;
use crate::gpu::Gpu;
use crate::io::image::Format;
use crate::io::noise;
use crate::io::npy::{Array, Slices, Values};
use crate::model::{Border, DENOISING};
use crate::operator::{LinearOperator, Mri, apply, root_sum_of_squares};
use crate::{Error, Result};

/// Arguments of `reconstruct mri`.
#[derive(Args, Clone, Debug)]
pub struct MriArgs {
    /// Which samples were measured: an image or NPY array (row, column) or (column) of zeros and ones or booleans [default: the input's name with
    /// .mask.npy]
    #[arg(long, value_name = "FILE")]
    pub mask: Option<PathBuf>,
    /// Complex sensitivities of the coils, NPY (coil, row, column) [default for several coils: the input's name with .maps.npy]
    #[arg(long, value_name = "FILE")]
    pub maps: Option<PathBuf>,
    /// Common options; the input is k-space as complex NPY, (row, column), (coil, row, column) or a stack (slice, coil, row, column),
    /// frequency zero in the middle; mask and maps are those of every slice
    #[command(flatten)]
    pub common: InverseArgs,
}

/// `scan.npy` -> `scan.mask.npy`.
pub(super) fn mask_beside(kspace: &Path) -> PathBuf {
    kspace.with_extension("mask.npy")
}

/// `scan.npy` -> `scan.maps.npy`.
pub(super) fn maps_beside(kspace: &Path) -> PathBuf {
    kspace.with_extension("maps.npy")
}

/// Complex planes (coil, row, column).
struct Coils {
    coils: usize,
    size: [usize; 2],
    /// Whether the file has an axis of coils.
    several: bool,
    values: Vec<[f32; 2]>,
}

impl Coils {
    fn read(path: &Path) -> Result<Self> {
        Self::of(&Array::read(path)?).map_err(|reason| Error::input(path, reason))
    }

    /// The planes that an array is, or the reason why it is none.
    fn of(array: &Array) -> std::result::Result<Self, String> {
        let (coils, size, several) = match *array.shape() {
            [rows, cols] => (1, [rows, cols], false),
            [coils, rows, cols] => (coils, [rows, cols], true),
            ref other => {
                return Err(format!(
                    "has shape {other:?}, want (row, column) or (coil, row, column); reshape it"
                ));
            }
        };
        let values = match array.values() {
            Values::C64(values) => values.clone(),
            Values::C128(values) => values.iter().map(|v| v.map(|part| part as f32)).collect(),
            _ => return Err("has real numbers, want complex ones; convert it with array.astype('complex64')".into()),
        };
        if values.is_empty() {
            return Err(format!("has shape {:?}, so nothing in it", array.shape()));
        }
        if let Some(at) = values.iter().position(|v| !(v[0].is_finite() && v[1].is_finite())) {
            let (line, col) = (at / size[1], at % size[1]);
            return Err(format!(
                "has a value that is not finite, of coil {}, row {}, column {col}; set what was not measured to 0",
                line / size[0],
                line % size[0]
            ));
        }
        Ok(Self {
            coils,
            size,
            several,
            values,
        })
    }
}

/// k-space (slice, coil, row, column), or (slice, row, column) of one coil.
struct Volume {
    path: PathBuf,
    array: Slices,
}

impl Volume {
    /// The input as a volume; `None` if it is one slice.
    fn open(args: &InverseArgs) -> Result<Option<Self>> {
        let (path, stack) = (&args.input, &args.run.stack);
        let array = Slices::open(path)?;
        let is_volume = match array.shape().len() {
            4 => true,
            3 => stack.stack,
            _ if stack.stack => {
                return Err(Error::input(
                    path,
                    format!(
                        "has shape {:?}, which is no stack; want (slices, rows, columns) or (slices, coils, rows, columns)",
                        array.shape()
                    ),
                ));
            }
            _ => false,
        };
        stack.check(path, is_volume)?;
        if !is_volume {
            return Ok(None);
        }
        array.check().map_err(|reason| Error::input(path, reason))?;
        let path = path.clone();
        Ok(Some(Self { path, array }))
    }

    fn coils(&mut self, index: usize) -> Result<Coils> {
        let coils = self.array.read(index).and_then(|array| Coils::of(&array));
        coils.map_err(|reason| Error::input(&self.path, format!("slice {index} {reason}")))
    }
}

impl Measurements for Volume {
    fn slices(&self) -> usize {
        self.array.shape().first().copied().unwrap_or(0)
    }

    fn read(&mut self, index: usize) -> Result<Vec<Vec<f32>>> {
        Ok(vec![self.coils(index)?.values.into_flattened()])
    }
}

impl MriArgs {
    /// The files and what is in them: mask, and maps where there are any.
    fn operator(&self, kspace: &Coils) -> Result<(Mri, Vec<(&'static str, PathBuf)>)> {
        let input = &self.common.input;
        let [rows, cols] = kspace.size;
        let named = |given: &Option<PathBuf>, beside: PathBuf, option: &str| match given {
            Some(path) => Ok(path.clone()),
            None if beside.exists() => Ok(beside),
            None => Err(Error::input(&beside, format!("no such file; name one with {option}"))),
        };
        let mask_path = named(&self.mask, mask_beside(input), "--mask")?;
        let mask = read_mask(&mask_path, kspace.size)?;
        let maps_path = match (&self.maps, kspace.several) {
            (None, false) => None,
            _ => Some(named(&self.maps, maps_beside(input), "--maps")?),
        };
        let mut files = vec![("mask", mask_path.clone())];
        let Some(maps_path) = maps_path else {
            return Ok((blame(&mask_path, Mri::new(kspace.size, mask, None))?, files));
        };
        let maps = Coils::read(&maps_path)?;
        if (maps.coils, maps.size) != (kspace.coils, kspace.size) {
            return Err(Error::input(
                &maps_path,
                format!(
                    "maps of {} x {} x {} for k-space of {} coils, {rows} x {cols}: give one map per coil, of the same size",
                    maps.coils, maps.size[0], maps.size[1], kspace.coils
                ),
            ));
        }
        // The mask alone first, so that a complaint names the right file.
        blame(&mask_path, Mri::new(kspace.size, mask.clone(), None))?;
        let mri = blame(&maps_path, Mri::new(kspace.size, mask, Some(maps.values)))?;
        files.push(("maps", maps_path));
        Ok((mri, files))
    }
}

impl Inverse for MriArgs {
    fn common(&self) -> &InverseArgs {
        &self.common
    }

    fn unnamed_files(&self) -> Vec<(&'static str, PathBuf)> {
        let input = &self.common.input;
        let beside = [
            ("mask", &self.mask, mask_beside(input)),
            ("maps", &self.maps, maps_beside(input)),
        ];
        let read = beside
            .into_iter()
            .filter(|(_, given, path)| given.is_none() && path.exists());
        read.map(|(what, _, path)| (what, path)).collect()
    }

    fn problem(&self) -> Result<Problem> {
        self.problem_of(Coils::read(&self.common.input)?)
    }

    fn stack(&self) -> Result<Option<(Problem, Box<dyn Measurements>)>> {
        let Some(mut volume) = Volume::open(&self.common)? else {
            return Ok(None);
        };
        let range = self.common.run.stack.range(&self.common.input, volume.slices())?;
        let first = volume.coils(range.start)?;
        Ok(Some((self.problem_of(first)?, Box::new(volume))))
    }
}

impl MriArgs {
    fn problem_of(&self, kspace: Coils) -> Result<Problem> {
        if self.common.strength()?.method == Some(Method::RootSumOfSquares) {
            return self.sum_of_squares(kspace);
        }
        let (mri, files) = self.operator(&kspace)?;
        let sampled: f32 = mri.mask().iter().sum();
        let parameters = json!({
            "size": mri.domain(),
            "coils": mri.coils(),
            "acceleration": mri.mask().len() as f64 / f64::from(sampled),
        });
        let adjoint = mri.clone();
        let direct = move |gpu: &Gpu, y: &[f32]| apply(gpu, &adjoint, y, true);
        let (size, mask, sees_image) = (kspace.size, mri.mask().to_vec(), files.len() == 1);
        let estimate = move |y: &[f32]| estimate_noise(y.as_chunks().0, size, &mask, sees_image);
        Ok(problem(
            kspace,
            mri,
            (Method::ZeroFilled, direct),
            estimate,
            files,
            parameters,
        ))
    }
}

impl MriArgs {
    /// `sqrt(sum_c |F' M y_c|^2)` with the mask `M`, if there is one: without it all of k-space counts as measured.
    fn sum_of_squares(&self, kspace: Coils) -> Result<Problem> {
        let (size, coils) = (kspace.size, kspace.coils);
        let beside = Some(mask_beside(&self.common.input)).filter(|path| path.exists());
        let (mask, files) = match self.mask.clone().or(beside) {
            Some(path) => (read_mask(&path, size)?, vec![("mask", path)]),
            None => (vec![1.0; size[0] * size[1]], Vec::new()),
        };
        let single = Mri::new(size, mask, None);
        // Of one coil, whatever there are: nothing but the mask's check and the image's size is asked of it.
        let operator = match files.first() {
            Some((_, path)) => blame(path, single)?,
            None => single?,
        };
        let mask = operator.mask().to_vec();
        let sampled: f32 = mask.iter().sum();
        let parameters = json!({
            "size": size,
            "coils": coils,
            "acceleration": mask.len() as f64 / f64::from(sampled),
        });
        let estimate = {
            let mask = mask.clone();
            move |y: &[f32]| estimate_noise(y.as_chunks().0, size, &mask, coils == 1)
        };
        let direct = move |gpu: &Gpu, y: &[f32]| {
            let parts = mask.iter().flat_map(|m| [m, m]).cycle();
            let measured: Vec<f32> = y.iter().zip(parts).map(|(y, m)| y * m).collect();
            root_sum_of_squares(gpu, coils, size, &measured)
        };
        let method = (Method::RootSumOfSquares, direct);
        Ok(problem(kspace, operator, method, estimate, files, parameters))
    }
}

/// What both ways have in common; `method` is the direct one with its computation.
fn problem(
    kspace: Coils,
    operator: Mri,
    method: (Method, impl Fn(&Gpu, &[f32]) -> Result<Vec<f32>> + 'static),
    estimate: impl Fn(&[f32]) -> Option<f64> + 'static,
    files: Vec<(&'static str, PathBuf)>,
    parameters: serde_json::Value,
) -> Problem {
    let measured = kspace.values.into_flattened();
    Problem {
        name: "mri",
        noise: estimate(&measured),
        estimate: Some(Box::new(estimate)),
        operator: Box::new(operator),
        measured: vec![measured],
        direct: Box::new(method.1),
        direct_method: Some(method.0),
        gain: MISSING,
        border: Border::Zero,
        limits: (0.0, f32::MAX),
        format: Format::NpyF32,
        model: DENOISING,
        convex: None,
        files,
        parameters,
    }
}

/// Where most of k-space is missing, what is missing disturbs the zero-filled image more than noise does: the model runs at
/// this level, whatever the noise. A regularizer weaker than this changes the image little and takes ever more iterations.
const MISSING: Gain = Gain::Missing {
    level: 0.1,
    least: 0.005,
};

/// Standard deviation of the noise in real and imaginary parts, the smaller of two estimates that the image can only raise.
/// One takes the tenth of the measured samples that is farthest from frequency zero, where images have least. The other one,
/// where a coil `sees_image` as it is, takes pairs of opposite frequencies, whose samples of a real image are conjugates of
/// each other: `(y(f) - conj y(-f)) / sqrt(2)` is noise alone. At least 1e-4 of the root mean square.
fn estimate_noise(kspace: &[[f32; 2]], [rows, cols]: [usize; 2], mask: &[f32], sees_image: bool) -> Option<f64> {
    let frequency = |i: usize, n: usize| (i as f64 - (n / 2) as f64) / n as f64;
    let radius = |at: usize| frequency(at / cols, rows).hypot(frequency(at % cols, cols));
    let mut measured: Vec<usize> = (0..rows * cols).filter(|&at| mask[at] > 0.0).collect();
    let parts = |at: usize| kspace.iter().skip(at).step_by(rows * cols).flatten();
    let least = noise::least(measured.iter().flat_map(|&at| parts(at)).copied());

    let opposite = |i: usize, n: usize| (n / 2 * 2 + n - i) % n;
    let differences = measured.iter().flat_map(|&at| {
        let other = opposite(at / cols, rows) * cols + opposite(at % cols, cols);
        let ([re, im], [other_re, other_im]) = (kspace[at], kspace[other]);
        let pair = mask[other] > 0.0 && other != at;
        pair.then(|| [re - other_re, im + other_im].map(|d| f64::from(d) / 2.0_f64.sqrt()))
            .into_iter()
            .flatten()
    });
    let conjugate = if sees_image {
        noise::deviation(differences.collect())
    } else {
        None
    };
    measured.sort_by(|&a, &b| radius(b).total_cmp(&radius(a)));
    measured.truncate(measured.len().div_ceil(10));
    let outer = noise::deviation(
        measured
            .iter()
            .flat_map(|&at| parts(at))
            .map(|v| f64::from(*v))
            .collect(),
    );
    let smaller = [conjugate, outer].into_iter().flatten().fold(f64::INFINITY, f64::min);
    Some(smaller.max(least))
}
