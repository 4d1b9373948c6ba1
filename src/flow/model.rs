//! A flow as a value: standardisation, layers of splines, and the bounds that they keep.

use crate::spline::rounded_inside;
use crate::spline::{SlopeBounds, Spline};
use crate::{Error, Result};

/// Most knots of a spline of a flow: the kernels keep all segments in registers.
pub const MAX_KNOTS: usize = 33;

/// Most layers.
pub const MAX_LAYERS: usize = 64;

/// How a layer turns its input and moves its first output.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Frame {
    /// Tangent of half the angle; without meaning in one dimension.
    pub tau: f32,
    /// What is added to the first output.
    pub shift: f32,
}

/// An invertible map `z = F(x)` of the line or the plane that takes a density to the standard normal one, see
/// [`crate::flow`] for its layers. Splines of a flow are constant beyond their outermost knots; their knots and values are f32.
#[derive(Clone, Debug, PartialEq)]
pub struct Flow {
    /// What it is called.
    pub name: String,
    /// Subtracted from the data, one per dimension.
    pub mean: Vec<f64>,
    /// What the data are divided by thereafter.
    pub scale: Vec<f64>,
    /// One per layer.
    pub frames: Vec<Frame>,
    /// `m = M'` of all layers, then, in two dimensions, `n = N'` of all layers: positive.
    pub slopes: Vec<Spline>,
    /// `T` of all layers; none in one dimension.
    pub shears: Vec<Spline>,
    /// What the slopes of `M` and `N`, the values of `slopes`, keep inside.
    pub slope_bounds: SlopeBounds,
    /// What `|T'|` does not exceed.
    pub shear_bound: f64,
    /// How it came about.
    pub provenance: serde_json::Value,
}

impl Flow {
    /// Dimensions, 1 or 2.
    pub fn dims(&self) -> usize {
        self.mean.len()
    }

    /// Layers.
    pub fn layers(&self) -> usize {
        self.frames.len()
    }

    /// All splines in the order of the device: `slopes`, then `shears`.
    pub fn splines(&self) -> impl Iterator<Item = &Spline> {
        self.slopes.iter().chain(&self.shears)
    }

    /// Numbers that are trained: nodal values, and an angle and a shift per layer.
    pub fn parameters(&self) -> usize {
        let per_layer = self.dims();
        self.splines().map(Spline::len).sum::<usize>() + per_layer * self.layers()
    }

    /// Checks shapes, ranges and bounds, these in f64 and without any allowance.
    ///
    /// # Errors
    /// [`Error::Data`] with the first thing that is wrong.
    pub fn check(&self) -> Result<()> {
        self.check_within(0.0)
    }

    /// The same, with slopes of shears allowed to be outside by what `roundings` roundings of their values amount to: what
    /// training leaves on the device.
    pub(super) fn check_within(&self, roundings: f64) -> Result<()> {
        let (dims, layers) = (self.dims(), self.layers());
        let shape = [self.scale.len(), self.slopes.len(), self.shears.len()];
        if !(1..=2).contains(&dims) || shape != [dims, dims * layers, (dims - 1) * layers] {
            return Err(Error::Data(format!(
                "{dims} means, {} scales, {layers} frames, {} slopes and {} shears make no flow",
                shape[0], shape[1], shape[2]
            )));
        }
        if !(1..=MAX_LAYERS).contains(&layers) {
            return Err(Error::Data(format!(
                "a flow of {layers} layers is not supported, use 1 to {MAX_LAYERS}"
            )));
        }
        let finite = self.mean.iter().all(|m| m.is_finite())
            && self.scale.iter().all(|s| s.is_finite() && *s > 0.0)
            && self.frames.iter().all(|f| f.tau.is_finite() && f.shift.is_finite());
        if !finite {
            return Err(Error::Data(
                "means, scales, angles and shifts of a flow must be finite, scales positive".into(),
            ));
        }
        let (low, high) = (self.slope_bounds.min(), self.slope_bounds.max());
        if !(low > 0.0 && high.is_finite() && self.shear_bound >= 0.0 && self.shear_bound.is_finite()) {
            return Err(Error::Data(format!(
                "a flow needs slope bounds 0 < min <= max and a bound of shears >= 0, not {} and {}",
                self.slope_bounds, self.shear_bound
            )));
        }
        for (index, spline) in self.splines().enumerate() {
            let t = spline.knots();
            // The table on the device integrates from 0 along the outermost lines, which a flow's splines do not follow.
            if t[0] > 0.0 || t[t.len() - 1] < 0.0 {
                return Err(Error::Data(format!(
                    "the knots of spline {index} of the flow do not enclose 0, but reach from {} to {}",
                    t[0],
                    t[t.len() - 1]
                )));
            }
            if spline.len() > MAX_KNOTS {
                return Err(Error::Data(format!(
                    "spline {index} of the flow has {} knots, more than {MAX_KNOTS}",
                    spline.len()
                )));
            }
        }
        for (index, spline) in self.slopes.iter().enumerate() {
            if let Some(value) = spline.values().iter().find(|v| !(low..=high).contains(*v)) {
                return Err(Error::Data(format!(
                    "slope function {index} has the value {value} outside of the bounds {}",
                    self.slope_bounds
                )));
            }
        }
        for (index, spline) in self.shears.iter().enumerate() {
            let (t, f) = (spline.knots(), spline.values());
            for (j, slope) in spline.slopes().into_iter().enumerate() {
                let rounding = f64::from(f32::EPSILON) * (f[j].abs() + f[j + 1].abs()) / (t[j + 1] - t[j]);
                if slope.abs() > self.shear_bound + roundings * rounding {
                    return Err(Error::Data(format!(
                        "shear {index} has the slope {slope} beyond its bound {}",
                        self.shear_bound
                    )));
                }
            }
        }
        Ok(())
    }

    /// The nearest flow whose shears keep their bound as f64 computes their slopes: rounding on the device may leave them a few
    /// units in the last place outside, which a stored model must not be.
    ///
    /// # Errors
    /// [`Error::Data`] if no f32 values keep the bound at these knots.
    pub fn certified(mut self) -> Result<Self> {
        let bounds = SlopeBounds::new(-self.shear_bound, self.shear_bound)?;
        for shear in &mut self.shears {
            *shear = rounded_inside(shear, &bounds)?;
        }
        self.check()?;
        Ok(self)
    }

    /// Standardised points as the device wants them: planes (coordinate, point), `capacity` per plane, filled up with 0.
    /// `points` are (point, coordinate).
    pub(super) fn standardised(&self, points: &[f64], capacity: usize) -> Vec<f32> {
        let dims = self.dims();
        let mut planes = vec![0.0; dims * capacity];
        for (n, point) in points.chunks_exact(dims).enumerate() {
            for (i, x) in point.iter().enumerate() {
                planes[i * capacity + n] = ((x - self.mean[i]) / self.scale[i]) as f32;
            }
        }
        planes
    }

    /// The inverse of [`Self::standardised`] for `count` points.
    pub(super) fn restored(&self, planes: &[f32], count: usize) -> Vec<f64> {
        let (dims, capacity) = (self.dims(), planes.len() / self.dims());
        let restore = |k: usize| {
            let (n, i) = (k / dims, k % dims);
            self.mean[i] + self.scale[i] * f64::from(planes[i * capacity + n])
        };
        (0..dims * count).map(restore).collect()
    }

    /// `dims / 2 log 2 pi + sum log scale`: what the negative log-density has besides its terms on the device.
    pub(super) fn constant(&self) -> f64 {
        let normal = 0.5 * (2.0 * std::f64::consts::PI).ln();
        self.scale.iter().map(|s| normal + s.ln()).sum()
    }
}
