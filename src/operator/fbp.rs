//! Filtered back projection: the direct inversion of the Radon transform, a baseline and a start for solvers.

use std::f64::consts::PI;

use super::radon::{beams, block_rays, launches};
use super::{Fan, Geometry, RadonParams};
use crate::gpu::Gpu;
use crate::{Error, Result, shader_struct};

shader_struct! {
    /// Parameters of `ramp_filter.wgsl`.
    pub struct FilterParams {
        /// Detectors per angle.
        pub detectors: u32,
        /// Padding.
        pub pad0: u32,
        /// Padding.
        pub pad1: u32,
        /// Padding.
        pub pad2: u32,
    }
}

shader_struct! {
    /// Where the pixels of an image are seen from one angle (`radon_interpolate.wgsl`).
    pub struct View {
        /// Detector of the image's centre.
        pub detector: f32,
        /// Detectors per column, at the depth of the image's centre.
        pub per_column: f32,
        /// Detectors per row, likewise.
        pub per_row: f32,
        /// What a column adds to the distance from the source, in units of the centre's.
        pub deeper_per_column: f32,
        /// What a row adds to it.
        pub deeper_per_row: f32,
        /// Padding.
        pub pad0: f32,
        /// Padding.
        pub pad1: f32,
        /// Padding.
        pub pad2: f32,
    }
}

/// The angles of a scan along a circle of length `period`.
struct Arc {
    period: f64,
    /// Half of the way to the neighbours on either side of every angle.
    shares: Vec<f64>,
    /// Start and length of what the angles cover, if that is not the whole circle.
    open: Option<[f64; 2]>,
}

/// A gap between angles that is more than this many times the next smaller one is where a scan begins and ends.
const OPENING: f64 = 2.0;

impl Arc {
    /// `closed`: the scan has neither beginning nor end, wherever its angles are.
    fn new(angles: &[f64], period: f64, closed: bool) -> Self {
        let mut order: Vec<usize> = (0..angles.len()).collect();
        let turned: Vec<f64> = angles.iter().map(|a| a.rem_euclid(period)).collect();
        order.sort_by(|&a, &b| turned[a].total_cmp(&turned[b]));
        let count = order.len();
        // gaps[n]: from the n-th angle in order to the next; the last and the first are neighbours across the period.
        let mut gaps: Vec<f64> = order.windows(2).map(|pair| turned[pair[1]] - turned[pair[0]]).collect();
        gaps.extend(
            order
                .first()
                .zip(order.last())
                .map(|(&f, &l)| turned[f] + period - turned[l]),
        );
        let widest = (0..count).max_by(|&a, &b| gaps[a].total_cmp(&gaps[b])).unwrap_or(0);
        let next = (0..count).filter(|&n| n != widest).map(|n| gaps[n]).fold(0.0, f64::max);
        // Where all angles are the same there is no gap to compare with.
        let opening = (!closed && next > 0.0 && gaps[widest] > OPENING * next).then_some(widest);
        let mut shares = vec![0.0; count];
        for n in 0..count {
            let previous = (n + count - 1) % count;
            // The outer angles stand for as much outwards as inwards.
            let back = if opening == Some(previous) { n } else { previous };
            let ahead = if opening == Some(n) { previous } else { n };
            shares[order[n]] = 0.5 * (gaps[back] + gaps[ahead]);
        }
        let open = opening.map(|n| {
            let (first, last) = ((n + 1) % count, n);
            let outwards = 0.5 * (gaps[first] + gaps[(last + count - 1) % count]);
            [turned[order[first]] - 0.5 * gaps[first], period - gaps[n] + outwards]
        });
        Self { period, shares, open }
    }

    /// How much an angle counts beside the others that measure the same line: 1 along the arc, falling to 0 at its ends within
    /// [`TRANSITION`].
    fn window(&self, angle: f64) -> f64 {
        let Some([start, length]) = self.open else {
            return 1.0;
        };
        let from_start = (angle - start).rem_euclid(self.period);
        let inside = from_start.min(length - from_start);
        let width = TRANSITION.min(0.25 * length);
        (0.5 * PI * (inside / width).clamp(0.0, 1.0)).sin().powi(2)
    }
}

/// 10 degrees, as Noo et al. use.
const TRANSITION: f64 = PI / 18.0;

/// The window at angles that were measured, at least.
const LEAST_WINDOW: f64 = 1e-6;

/// What every measurement (angle, detector) counts for, in detectors that are 1 apart.
///
/// Parallel rays: the part of the half circle that the angle stands for, angles modulo pi. A fan: the part of the circle,
/// times the cosine of the ray's angle `gamma` with the middle one, times the share of this measurement in its line, which the scan
/// may see a second time from the opposite side, at `theta + pi - 2 gamma`: `c(theta) / (c(theta) + c(theta + pi - 2 gamma))`
/// with the window `c` of [`Arc::window`] (Noo, Defrise, Clackdoyle and Kudo 2002). That is 1/2 for a scan of the whole circle, and
/// takes the place of Parker's weights for one of half of it and the fan.
fn weights(geometry: &Geometry) -> Vec<f64> {
    let (spacing, _) = geometry.spacing_at_centre();
    let Some(fan) = geometry.fan else {
        let shares = Arc::new(&geometry.angles, PI, true).shares;
        let row = |share: &f64| std::iter::repeat_n(share / spacing, geometry.detectors);
        return shares.iter().flat_map(row).collect();
    };
    let arc = Arc::new(&geometry.angles, 2.0 * PI, false);
    let arc = &arc;
    let row = |(&theta, &share): (&f64, &f64)| {
        // Above 0 also where angles that are given twice leave the first one nothing outwards.
        let own = arc.window(theta).max(LEAST_WINDOW);
        (0..geometry.detectors).map(move |j| {
            let tangent = geometry.position(j) / fan.detector_distance;
            let opposite = arc.window(theta + PI - 2.0 * tangent.atan());
            let cosine = 1.0 / 1.0_f64.hypot(tangent);
            share / spacing * cosine * own / (own + opposite)
        })
    };
    geometry.angles.iter().zip(&arc.shares).flat_map(row).collect()
}

/// Where the angle `theta` sees pixels.
fn view(geometry: &Geometry, theta: f64) -> View {
    let (spacing, _) = geometry.spacing_at_centre();
    let (sin, cos) = theta.sin_cos();
    let per_pixel = geometry.pixel / spacing;
    let middle = (geometry.detectors as f64 - 1.0) / 2.0;
    // A pixel to the right is x, one down is -y.
    let deeper = geometry
        .fan
        .map_or(0.0, |Fan { source_distance, .. }| geometry.pixel / source_distance);
    View {
        detector: (middle - geometry.detector_offset / geometry.detector_spacing) as f32,
        per_column: (per_pixel * cos) as f32,
        per_row: (-per_pixel * sin) as f32,
        deeper_per_column: (-deeper * sin) as f32,
        deeper_per_row: (-deeper * cos) as f32,
        ..Default::default()
    }
}

/// `sum_a q_a(t) / U^2`, where the ray of angle `a` through a pixel meets the line through the centre that is parallel to the
/// detector at `t`, `U` is the pixel's depth behind the source in units of the centre's (1 for parallel rays), and `q` are the
/// projections, weighted (see the source of this function) and after the ramp filter (Ram-Lak, in space), linearly interpolated
/// between detectors (Kak and Slaney 1988, sections 3.3 and 3.4.2). `sinogram` is (angle, detector), the result (row, column).
///
/// Exact in the limit of fine sampling where all rays through the image are measured: angles over a half circle for parallel rays,
/// over the circle, or the half circle and the angle of the fan, for a fan. Of what is missing nothing is made up.
///
/// # Errors
/// [`Error::Data`] for a sinogram that does not fit the geometry; device errors.
pub fn filtered_back_projection(gpu: &Gpu, geometry: &Geometry, sinogram: &[f32]) -> Result<Vec<f32>> {
    geometry.check()?;
    let (angles, detectors) = (geometry.angles.len(), geometry.detectors);
    if sinogram.len() != angles * detectors {
        return Err(Error::Data(format!(
            "the sinogram has {} values, the geometry {angles} angles x {detectors} detectors",
            sinogram.len()
        )));
    }
    let weighted: Vec<f32> = sinogram
        .iter()
        .zip(weights(geometry))
        .map(|(&y, weight)| (f64::from(y) * weight) as f32)
        .collect();
    let views: Vec<View> = geometry.angles.iter().map(|&theta| view(geometry, theta)).collect();
    let views = gpu.upload("views", &views)?;
    let weighted = gpu.upload("weighted sinogram", &weighted)?;
    let filtered = gpu.buffer("filtered", sinogram.len())?;
    let image = gpu.buffer("image", geometry.rows * geometry.cols)?;
    let filter_params = gpu.params(&[FilterParams {
        detectors: detectors as u32,
        ..Default::default()
    }])?;
    let filter = gpu.kernel("ramp_filter", &[])?.bind(
        gpu,
        &[
            ("params", filter_params.binding()),
            ("src", (&weighted).into()),
            ("dst", (&filtered).into()),
        ],
    )?;
    // Between the outermost rays of a block and one detector beyond.
    let table: Vec<RadonParams> = launches(geometry, angles, block_rays(&beams(geometry)) + 2);
    let params = gpu.params(&table)?;
    let project = gpu.kernel("radon_interpolate", &[])?.bind(
        gpu,
        &[
            ("params", params.binding()),
            ("views", (&views).into()),
            ("sinogram", (&filtered).into()),
            ("image", (&image).into()),
        ],
    )?;
    let mut recorder = gpu.record();
    recorder.dispatch(&filter, [detectors.div_ceil(64) as u32, angles as u32, 1], 0);
    let groups = project.groups([geometry.cols.div_ceil(4) as u32, geometry.rows.div_ceil(4) as u32, 1]);
    for entry in 0..table.len() {
        recorder.dispatch(&project, groups, entry);
    }
    recorder.submit();
    gpu.read(&image)
}
