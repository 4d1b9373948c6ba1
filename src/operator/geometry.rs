//! Geometry of computed tomography: which lines are measured, in parallel or in a fan.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Geometry of a scan, stored beside every sinogram.
///
/// The image is centred at the origin, `x` runs to the right along columns and `y` upwards against rows. Detector `j` lies at
/// `s_j = (j - (detectors - 1) / 2) detector_spacing + detector_offset`. Lengths are in any one unit; a sinogram holds line
/// integrals in that unit. At angle `theta` the ray of detector `j` is the line
///
/// * without a [`Fan`], `x cos theta + y sin theta = s_j`;
/// * with one, from the source at `source_distance (sin theta, -cos theta)` to the point `s_j (cos theta, sin theta)` of a flat
///   detector, shifted by `(detector_distance - source_distance) (-sin theta, cos theta)`.
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
    /// Where the rays come from; parallel rays if absent. Behind all other members, as TOML wants its tables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fan: Option<Fan>,
}

/// Rays that spread from a point and end on a flat detector, opposite to it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fan {
    /// From the source to the centre of rotation, which is the centre of the image.
    pub source_distance: f64,
    /// From the source to the detector.
    pub detector_distance: f64,
}

/// Image sides and detectors that kernels may walk: far below the 65535 rounds after which lavapipe ends loops.
const LONGEST: usize = 16384;
/// The unit of length of the constructors: the longer side of the image, as in the published experiments.
const SIDE: f64 = 256.0;

impl Geometry {
    /// Square images of side `size`, `angles` of them equally spaced over the half circle from 0, and detectors that
    /// cover the image's diagonal. The image covers [-128, 128]^2 whatever its size, as in the published experiments.
    pub fn equispaced(size: usize, angles: usize, detectors: usize) -> Self {
        Self {
            rows: size,
            cols: size,
            pixel: SIDE / size as f64,
            angles: spread(angles, PI),
            detectors,
            detector_spacing: SIDE * std::f64::consts::SQRT_2 / detectors as f64,
            detector_offset: 0.0,
            fan: None,
        }
    }

    /// As [`Geometry::equispaced`] with a fan, the angles spaced over the whole circle. [`Geometry::check`] refuses the result
    /// for a source within the image's circle.
    pub fn fan_equispaced(size: usize, angles: usize, detectors: usize, fan: Fan) -> Self {
        let radius = SIDE / std::f64::consts::SQRT_2;
        // The outer rays touch the circle: sin gamma = radius / source_distance.
        let tangent = radius / ((fan.source_distance - radius) * (fan.source_distance + radius)).sqrt();
        Self {
            angles: spread(angles, 2.0 * PI),
            detector_spacing: 2.0 * fan.detector_distance * tangent / detectors as f64,
            fan: Some(fan),
            ..Self::equispaced(size, angles, detectors)
        }
    }

    /// Checks that every number makes sense and that rays can meet the image.
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
        let length = |what: &str, value: f64| {
            if value.is_finite() && value > 0.0 {
                return Ok(());
            }
            fail(format!("the geometry's {what} is {value}; want a length above 0"))
        };
        length("pixel", self.pixel)?;
        if let Some(fan) = self.fan {
            length("source_distance", fan.source_distance)?;
            length("detector_distance", fan.detector_distance)?;
            // Interpolation reaches a pixel beyond the image; there, too, the source must lie behind every step of a walk.
            let least = self.radius() + 2.0 * self.pixel;
            if fan.source_distance < least {
                return fail(format!(
                    "the source would pass through the image: source_distance is {}, the image needs at least {least}",
                    fan.source_distance
                ));
            }
            if fan.detector_distance < fan.source_distance {
                return fail(format!(
                    "detector_distance {} is less than source_distance {}; both count from the source",
                    fan.detector_distance, fan.source_distance
                ));
            }
        }
        length("detector_spacing", self.detector_spacing)?;
        let (spacing, _) = self.spacing_at_centre();
        if !(1e-3..=1e3).contains(&(spacing / self.pixel)) {
            return fail(format!(
                "detector spacing{} and pixel differ by more than a factor of 1000; are they in one unit?",
                if self.fan.is_some() { " at the centre" } else { "" }
            ));
        }
        if !self.detector_offset.is_finite() || self.angles.iter().any(|a| !(a.is_finite() && a.abs() < 1e4)) {
            return fail("the geometry has an offset or angle that is no finite number (angles are in radians)".into());
        }
        let [first, last] = [0, self.detectors - 1].map(|j| self.line(0.0, j).1);
        let nearest = if first * last > 0.0 {
            first.abs().min(last.abs())
        } else {
            0.0
        };
        if nearest >= self.radius() + self.pixel {
            return fail(format!(
                "no ray meets the image, which reaches {} from the centre: the nearest passes at {nearest}; check \
                 detector_offset",
                self.radius()
            ));
        }
        Ok(())
    }

    /// `s_j`.
    pub fn position(&self, detector: usize) -> f64 {
        self.position_at(detector as f64)
    }

    /// `s_j`, also between detectors.
    pub(super) fn position_at(&self, detector: f64) -> f64 {
        (detector - (self.detectors as f64 - 1.0) / 2.0) * self.detector_spacing + self.detector_offset
    }

    /// The line `x cos phi + y sin phi = p` of a ray as `(phi, p)`. In a fan, `tan gamma = s_j / detector_distance` gives
    /// `phi = theta - gamma` and `p = source_distance sin gamma`.
    pub fn line(&self, theta: f64, detector: usize) -> (f64, f64) {
        let s = self.position(detector);
        match self.fan {
            None => (theta, s),
            Some(fan) => {
                let gamma = (s / fan.detector_distance).atan();
                (theta - gamma, fan.source_distance * gamma.sin())
            }
        }
    }

    /// Distance between the rays of neighbouring detectors on the line through the centre that is parallel to the detector, and
    /// how much the tangent of their angles differs: the spacing and 0 for parallel rays.
    pub(super) fn spacing_at_centre(&self) -> (f64, f64) {
        match self.fan {
            None => (self.detector_spacing, 0.0),
            Some(fan) => {
                let tangent = self.detector_spacing / fan.detector_distance;
                (tangent * fan.source_distance, tangent)
            }
        }
    }

    /// Half the diagonal of the image.
    fn radius(&self) -> f64 {
        0.5 * self.pixel * (self.rows as f64).hypot(self.cols as f64)
    }
}

/// `count` angles from 0, equally spaced over `arc`.
pub(crate) fn spread(count: usize, arc: f64) -> Vec<f64> {
    (0..count).map(|a| arc * a as f64 / count as f64).collect()
}
