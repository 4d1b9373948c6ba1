//! Computed tomography with parallel rays: the Radon transform by Joseph's method, its transpose, and the geometry.

use serde::{Deserialize, Serialize};

use super::{LinearOperator, Pass, check_buffer};
use crate::gpu::{Buffer, Gpu, Work};
use crate::{Error, Result, shader_struct};

shader_struct! {
    /// Parameters of the `radon*` kernels (`shaders/lib/radon.wgsl`).
    pub struct RadonParams {
        /// Rows of the image.
        pub rows: u32,
        /// Columns of the image.
        pub cols: u32,
        /// Detectors per angle.
        pub detectors: u32,
        /// First angle of the launch.
        pub first_angle: u32,
        /// Angles of the launch.
        pub angles: u32,
        /// 1: add to the image.
        pub accumulate: u32,
        /// Padding.
        pub pad0: u32,
        /// Padding.
        pub pad1: u32,
    }
}

shader_struct! {
    /// How the rays of one angle are walked (`shaders/lib/radon.wgsl`).
    pub struct AngleEntry {
        /// Where the middle ray meets the middle step, in pixels of the other axis.
        pub origin: f32,
        /// Pixels from detector to detector.
        pub per_detector: f32,
        /// Pixels from step to step.
        pub per_step: f32,
        /// Length of a ray within one step.
        pub scale: f32,
        /// 1: steps are rows.
        pub along_rows: u32,
        /// Rays within 1 pixel of a pixel, at most.
        pub touching: u32,
        /// Padding.
        pub pad0: u32,
        /// Padding.
        pub pad1: u32,
    }
}

/// Parallel-beam geometry, stored beside every sinogram.
///
/// The image is centred at the origin, `x` runs to the right along columns and `y` upwards against rows. The ray of
/// detector `j` at angle `theta` is the line `x cos theta + y sin theta = s_j`,
/// `s_j = (j - (detectors - 1) / 2) detector_spacing + detector_offset`. Lengths are in any one unit; a sinogram holds line
/// integrals in that unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Geometry {
    /// Rows of the image.
    pub rows: usize,
    /// Columns of the image.
    pub cols: usize,
    /// Side of a pixel.
    pub pixel: f64,
    /// Angles in radians, in any order.
    pub angles: Vec<f64>,
    /// Detectors per angle.
    pub detectors: usize,
    /// Distance between detectors.
    pub detector_spacing: f64,
    /// Where the middle of the detectors lies.
    pub detector_offset: f64,
}

/// Image sides and detectors that kernels may walk: far below the 65535 rounds after which lavapipe ends loops.
const LONGEST: usize = 16384;
/// Rays per pixel and launch of the back projection, for the same reason.
const RAYS_PER_LAUNCH: usize = 16384;

impl Geometry {
    /// Square images of side `size`, `angles` of them equally spaced over the half circle from 0, and detectors that
    /// cover the image's diagonal. The image covers [-128, 128]^2 whatever its size, as in the published experiments.
    pub fn equispaced(size: usize, angles: usize, detectors: usize) -> Self {
        let side = 256.0;
        Self {
            rows: size,
            cols: size,
            pixel: side / size as f64,
            angles: (0..angles)
                .map(|a| std::f64::consts::PI * a as f64 / angles as f64)
                .collect(),
            detectors,
            detector_spacing: side * std::f64::consts::SQRT_2 / detectors as f64,
            detector_offset: 0.0,
        }
    }

    /// Checks that every number makes sense.
    ///
    /// # Errors
    /// [`Error::Data`] with the first that does not.
    pub fn check(&self) -> Result<()> {
        let fail = |why: String| Err(Error::Data(why));
        for (what, count) in [
            ("rows", self.rows),
            ("cols", self.cols),
            ("detectors", self.detectors),
            ("angles", self.angles.len()),
        ] {
            if count == 0 || count > LONGEST {
                return fail(format!("the geometry has {count} {what}; want 1 to {LONGEST}"));
            }
        }
        for (what, value) in [("pixel", self.pixel), ("detector_spacing", self.detector_spacing)] {
            if !(value.is_finite() && value > 0.0) {
                return fail(format!("the geometry's {what} is {value}; want a length above 0"));
            }
        }
        if !(1e-3..=1e3).contains(&(self.detector_spacing / self.pixel)) {
            return fail(
                "detector spacing and pixel differ by more than a factor of 1000; are they in one unit?".into(),
            );
        }
        if !self.detector_offset.is_finite() || self.angles.iter().any(|a| !(a.is_finite() && a.abs() < 1e4)) {
            return fail("the geometry has an offset or angle that is no finite number (angles are in radians)".into());
        }
        Ok(())
    }

    /// `s_j`.
    pub fn position(&self, detector: usize) -> f64 {
        (detector as f64 - (self.detectors as f64 - 1.0) / 2.0) * self.detector_spacing + self.detector_offset
    }

    fn entry(&self, angle: f64) -> AngleEntry {
        let (sin, cos) = angle.sin_cos();
        let middle = |n: usize| (n as f64 - 1.0) / 2.0;
        // Columns grow with x, rows against y.
        let (along_rows, origin, per_detector, per_step, across) = if cos.abs() >= sin.abs() {
            let per_length = 1.0 / (self.pixel * cos);
            (
                1,
                self.detector_offset * per_length,
                self.detector_spacing * per_length,
                sin / cos,
                self.cols,
            )
        } else {
            let per_length = -1.0 / (self.pixel * sin);
            (
                0,
                self.detector_offset * per_length,
                self.detector_spacing * per_length,
                cos / sin,
                self.rows,
            )
        };
        AngleEntry {
            origin: (origin + middle(across)) as f32,
            per_detector: per_detector as f32,
            per_step: per_step as f32,
            scale: (self.pixel / cos.abs().max(sin.abs())) as f32,
            along_rows,
            // Detectors in an open interval of length 2 / |per_detector|, and one more for rounding.
            touching: (2.0 / per_detector.abs()).floor() as u32 + 2,
            ..Default::default()
        }
    }
}

/// The Radon transform of a [`Geometry`]: image (row, column) to sinogram (angle, detector).
#[derive(Clone, Debug, PartialEq)]
pub struct Radon {
    geometry: Geometry,
}

impl Radon {
    /// Prepares a geometry.
    ///
    /// # Errors
    /// As [`Geometry::check`].
    pub fn new(geometry: Geometry) -> Result<Self> {
        geometry.check()?;
        Ok(Self { geometry })
    }

    /// The geometry.
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    fn entries(&self) -> Vec<AngleEntry> {
        self.geometry.angles.iter().map(|&a| self.geometry.entry(a)).collect()
    }

    fn rays(&self) -> u64 {
        (self.geometry.angles.len() * self.geometry.detectors) as u64
    }
}

/// Parameters of launches that share the angles, `rays_per_angle` of an invocation's loop rounds each.
pub(super) fn launches(geometry: &Geometry, rays_per_angle: usize) -> Vec<RadonParams> {
    let angles = geometry.angles.len();
    let at_once = (RAYS_PER_LAUNCH / rays_per_angle).clamp(1, angles);
    (0..angles)
        .step_by(at_once)
        .map(|first| RadonParams {
            rows: geometry.rows as u32,
            cols: geometry.cols as u32,
            detectors: geometry.detectors as u32,
            first_angle: first as u32,
            angles: at_once.min(angles - first) as u32,
            accumulate: u32::from(first > 0),
            ..Default::default()
        })
        .collect()
}

impl LinearOperator for Radon {
    fn domain(&self) -> [usize; 2] {
        [self.geometry.rows, self.geometry.cols]
    }

    fn range(&self) -> [usize; 2] {
        [self.geometry.angles.len(), self.geometry.detectors]
    }

    fn forward(&self, gpu: &Gpu, x: &Buffer, y: &Buffer) -> Result<Pass> {
        check_buffer("image", x, self.domain())?;
        check_buffer("sinogram", y, self.range())?;
        let angles = gpu.upload("angles", &self.entries())?;
        let params = gpu.params(&[RadonParams {
            angles: self.geometry.angles.len() as u32,
            ..launches(&self.geometry, 1)[0]
        }])?;
        let memory = [
            ("params", params.binding()),
            ("angles", (&angles).into()),
            ("image", x.into()),
            ("sinogram", y.into()),
        ];
        // Two pixels per step; rays that leave the image early do less.
        let steps = self.rays() * self.geometry.rows.max(self.geometry.cols) as u64;
        let work = Work {
            bytes: 8 * steps,
            multiply_adds: 3 * steps,
        };
        let bound = gpu.kernel("radon", &[])?.bind(gpu, &memory)?.with_work(None, [work]);
        let groups = [
            self.geometry.detectors.div_ceil(64) as u32,
            self.geometry.angles.len() as u32,
            1,
        ];
        let mut pass = Pass::default();
        pass.push(bound, groups, 0);
        Ok(pass)
    }

    fn adjoint(&self, gpu: &Gpu, y: &Buffer, x: &Buffer) -> Result<Pass> {
        check_buffer("image", x, self.domain())?;
        check_buffer("sinogram", y, self.range())?;
        let entries = self.entries();
        let touching = entries.iter().map(|e| e.touching as usize).max().unwrap_or(1);
        let table = launches(&self.geometry, touching + 1);
        let angles = gpu.upload("angles", &entries)?;
        let params = gpu.params(&table)?;
        let memory = [
            ("params", params.binding()),
            ("angles", (&angles).into()),
            ("sinogram", y.into()),
            ("image", x.into()),
        ];
        let pixels = (self.geometry.rows * self.geometry.cols) as u64;
        let work: Vec<Work> = table
            .iter()
            .map(|launch| {
                let range = launch.first_angle as usize..(launch.first_angle + launch.angles) as usize;
                let loads: u64 = entries[range].iter().map(|e| u64::from(e.touching)).sum();
                Work {
                    bytes: 4 * pixels * (loads + 1),
                    multiply_adds: 3 * pixels * loads,
                }
            })
            .collect();
        let bound = gpu
            .kernel("radon_adjoint", &[])?
            .bind(gpu, &memory)?
            .with_work(None, work);
        let groups = bound.groups([self.geometry.cols.div_ceil(4) as u32, self.geometry.rows as u32, 1]);
        let mut pass = Pass::default();
        for entry in 0..table.len() {
            pass.push(bound.clone(), groups, entry);
        }
        Ok(pass)
    }

    fn additions(&self) -> usize {
        let touching: u32 = self.entries().iter().map(|e| e.touching).sum();
        2 * self.geometry.rows.max(self.geometry.cols) + touching as usize
    }
}
