//! Computed tomography: the Radon transform by Joseph's method and its transpose, for parallel rays and fans.

use super::{Geometry, LinearOperator, Pass, check_buffer};
use crate::gpu::{Buffer, Gpu, Work};
use crate::{Result, shader_struct};

shader_struct! {
    /// Parameters of the `radon*` kernels (`shaders/lib/radon.wgsl`).
    pub struct RadonParams {
        /// Rows of the image.
        pub rows: u32,
        /// Columns of the image.
        pub cols: u32,
        /// Detectors per angle.
        pub detectors: u32,
        /// First beam, or angle, of the launch.
        pub first: u32,
        /// Beams, or angles, of the launch.
        pub count: u32,
        /// 1: add to the image.
        pub accumulate: u32,
        /// Padding.
        pub pad0: u32,
        /// Padding.
        pub pad1: u32,
    }
}

shader_struct! {
    /// Neighbouring rays of one angle that are walked along the same axis, and how (`shaders/lib/radon.wgsl`).
    pub struct Beam {
        /// Where the beam's middle ray meets the middle step, in pixels of the other axis.
        pub origin: f32,
        /// What moves that place from detector to detector.
        pub per_detector: f32,
        /// Pixels from step to step of the middle ray.
        pub per_step: f32,
        /// By how much `per_step` grows from detector to detector before `closing` divides.
        pub turning: f32,
        /// By how much the divisor grows from detector to detector.
        pub closing: f32,
        /// The beam's middle, in detectors.
        pub middle: f32,
        /// Length of a ray within one step; of a fan's, across a step that it meets at a right angle.
        pub scale: f32,
        /// 1: steps are rows.
        pub along_rows: u32,
        /// Where the sinogram's row starts.
        pub row: u32,
        /// First detector.
        pub first: u32,
        /// Detectors.
        pub count: u32,
        /// Rays within 1 pixel of a pixel, at most; launches are cut by it.
        pub touching: u32,
    }
}

/// Rays per pixel and launch of the back projection: far below the 65535 rounds after which lavapipe ends loops.
const RAYS_PER_LAUNCH: usize = 16384;

/// Rows and columns of the pixels of an invocation of `radon_adjoint.wgsl`.
const BLOCK: usize = 4;

/// Whether the ray whose angle with the middle one has the tangent `tangent` is closer to the columns, so that it is walked row by row.
fn along_rows(angle: f64, tangent: f64) -> bool {
    let (sin, cos) = angle.sin_cos();
    (cos + tangent * sin).abs() >= (sin - tangent * cos).abs()
}

/// The beams of all angles: detectors in runs that share the axis of their walk.
pub(super) fn beams(geometry: &Geometry) -> Vec<Beam> {
    let (spacing, tangent) = geometry.spacing_at_centre();
    let per_position = tangent / geometry.detector_spacing;
    let mut beams = Vec::new();
    for (a, &angle) in geometry.angles.iter().enumerate() {
        let by_rows = |j: usize| along_rows(angle, per_position * geometry.position(j));
        let mut first = 0;
        while first < geometry.detectors {
            let axis = by_rows(first);
            let same = (first + 1..geometry.detectors).take_while(|&j| tangent == 0.0 || by_rows(j) == axis);
            let count = 1 + same.count();
            let mut beam = beam(geometry, angle, [spacing, tangent], axis, [first, count]);
            beam.row = (a * geometry.detectors) as u32;
            beams.push(beam);
            first += count;
        }
    }
    beams
}

/// With `t = D tau` the place of a ray on the line through the centre, the ray is `x X + y Y = t`,
/// `X = cos theta + tau sin theta`, `Y = sin theta - tau cos theta`; parallel rays are the limit `tau -> 0`. Walked along rows,
/// where `y = -K pixel`, it has `x = (t + K Y pixel) / X`; along columns, rows and columns change places with `X` and `Y`.
/// All of `t`, `X` and `Y` are linear in the detector.
fn beam(
    geometry: &Geometry,
    angle: f64,
    [spacing, tangent]: [f64; 2],
    by_rows: bool,
    [first, count]: [usize; 2],
) -> Beam {
    let (sin, cos) = angle.sin_cos();
    let middle = first as f64 + (count as f64 - 1.0) / 2.0;
    let position = geometry.position_at(middle) / geometry.detector_spacing;
    let (t, tau) = (spacing * position, tangent * position);
    let (x, y) = (cos + tau * sin, sin - tau * cos);
    // Columns grow with x, rows against y.
    let (sign, divisor, rest) = if by_rows {
        (1.0, (x, tangent * sin), (y, -tangent * cos))
    } else {
        (-1.0, (y, -tangent * cos), (x, tangent * sin))
    };
    let [steps, across] = if by_rows {
        [geometry.rows, geometry.cols]
    } else {
        [geometry.cols, geometry.rows]
    };
    let mid_across = (across as f64 - 1.0) / 2.0;
    let per_length = sign / (geometry.pixel * divisor.0);
    let closing = divisor.1 / divisor.0;
    let per_step = rest.0 / divisor.0;
    let exact = Walk {
        origin: mid_across + t * per_length,
        // The middle of the axis is added inside the fraction.
        per_detector: spacing * per_length + mid_across * closing,
        per_step,
        turning: rest.1 / divisor.0,
        closing,
    };
    let length = if tangent == 0.0 { 1.0_f64.hypot(per_step) } else { 1.0 };
    Beam {
        origin: exact.origin as f32,
        per_detector: exact.per_detector as f32,
        per_step: per_step as f32,
        turning: exact.turning as f32,
        closing: closing as f32,
        middle: middle as f32,
        scale: (geometry.pixel * length) as f32,
        along_rows: u32::from(by_rows),
        row: 0,
        first: first as u32,
        count: count as u32,
        touching: exact.touching(steps, across).min(count as f64) as u32,
    }
}

/// The numbers of [`Beam`] before they are rounded.
struct Walk {
    origin: f64,
    per_detector: f64,
    per_step: f64,
    turning: f64,
    closing: f64,
}

impl Walk {
    /// At most so many detectors have rays within 1 of a pixel. At step `K` the ray through `v` is that of
    /// `m(v) = (v - A) / (B - closing v)`, `A = origin + per_step K`, `B = per_detector + turning K`, and
    /// `m(v + 1) - m(v - 1) = 2 (B - closing A) / ((B - closing (v + 1)) (B - closing (v - 1)))`. All factors are linear, and the
    /// source lies where the lower ones vanish, outside the image: corners have the extremes.
    fn touching(&self, steps: usize, across: usize) -> f64 {
        let end = (steps as f64 - 1.0) / 2.0;
        let (mut upper, mut lower) = (0.0_f64, f64::INFINITY);
        for k in [-end, end] {
            let (a, b) = (self.origin + self.per_step * k, self.per_detector + self.turning * k);
            upper = upper.max((b - self.closing * a).abs());
            for v in [-1.0, across as f64] {
                lower = lower.min((b - self.closing * v).abs());
            }
        }
        // One more for rounding.
        (2.0 * upper / lower.powi(2)).floor() + 2.0
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

    /// Parallel rays are spared a division.
    fn specialisation(&self) -> [(&'static str, u32); 1] {
        [("FAN", u32::from(self.geometry.fan.is_some()))]
    }

    /// What so many rays meet: two pixels per step; rays that leave the image early do less.
    fn work(&self, rays: u64) -> Work {
        let steps = rays * self.geometry.rows.max(self.geometry.cols) as u64;
        Work {
            bytes: 8 * steps,
            multiply_adds: 3 * steps,
        }
    }
}

/// Parameters of launches that share `count` beams or angles, each of which takes `rounds` rounds of an invocation's loop.
pub(super) fn launches(geometry: &Geometry, count: usize, rounds: usize) -> Vec<RadonParams> {
    let at_once = (RAYS_PER_LAUNCH / rounds).clamp(1, count);
    (0..count)
        .step_by(at_once)
        .map(|first| RadonParams {
            rows: geometry.rows as u32,
            cols: geometry.cols as u32,
            detectors: geometry.detectors as u32,
            first: first as u32,
            count: at_once.min(count - first) as u32,
            accumulate: u32::from(first > 0),
            ..Default::default()
        })
        .collect()
}

/// At most so many rays of a beam come near a block of 4 x 4 pixels: with its neighbours it is 4 times as wide as a pixel with its own,
/// also across its diagonal.
pub(super) fn block_rays(beams: &[Beam]) -> usize {
    4 * beams.iter().map(|beam| beam.touching as usize).max().unwrap_or(1) + 1
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
        let table = beams(&self.geometry);
        let beams = gpu.upload("beams", &table)?;
        // One launch: every ray has an invocation of its own.
        let params = gpu.params(&launches(&self.geometry, 1, 1))?;
        let memory = [
            ("params", params.binding()),
            ("beams", (&beams).into()),
            ("image", x.into()),
            ("sinogram", y.into()),
        ];
        let [angles, detectors] = self.range().map(|n| n as u64);
        let bound = gpu
            .kernel("radon", &self.specialisation())?
            .bind(gpu, &memory)?
            .with_work(None, [self.work(angles * detectors)]);
        let widest = table.iter().map(|beam| beam.count).max().unwrap_or(1);
        let groups = bound.groups([widest, table.len() as u32, 1]);
        let mut pass = Pass::default();
        pass.push(bound, groups, 0);
        Ok(pass)
    }

    fn adjoint(&self, gpu: &Gpu, y: &Buffer, x: &Buffer) -> Result<Pass> {
        check_buffer("image", x, self.domain())?;
        check_buffer("sinogram", y, self.range())?;
        let beams_table = beams(&self.geometry);
        let table = launches(&self.geometry, beams_table.len(), block_rays(&beams_table));
        let beams = gpu.upload("beams", &beams_table)?;
        let params = gpu.params(&table)?;
        let memory = [
            ("params", params.binding()),
            ("beams", (&beams).into()),
            ("sinogram", y.into()),
            ("image", x.into()),
        ];
        let pixels = (self.geometry.rows * self.geometry.cols) as u64;
        let stored = Work {
            bytes: 4 * pixels,
            ..Default::default()
        };
        let work: Vec<Work> = table
            .iter()
            .map(|launch| {
                let range = launch.first as usize..(launch.first + launch.count) as usize;
                let rays = beams_table[range].iter().map(|beam| u64::from(beam.count)).sum();
                self.work(rays) + stored
            })
            .collect();
        let bound = gpu
            .kernel("radon_adjoint", &self.specialisation())?
            .bind(gpu, &memory)?
            .with_work(None, work);
        let [rows, cols] = self.domain().map(|side| side.div_ceil(BLOCK) as u32);
        let groups = bound.groups([cols, rows, 1]);
        let mut pass = Pass::default();
        for entry in 0..table.len() {
            pass.push(bound.clone(), groups, entry);
        }
        Ok(pass)
    }

    fn additions(&self) -> usize {
        let touching: usize = beams(&self.geometry).iter().map(|beam| beam.touching as usize).sum();
        2 * self.geometry.rows.max(self.geometry.cols) + touching
    }
}
