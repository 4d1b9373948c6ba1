//! Slope bounds `s_min <= f' <= s_max` and their named presets (method.md 1.1).

use std::fmt;
use std::str::FromStr;

use super::function::Spline;
use crate::{Error, Result};

/// An interval `[min, max]` of admissible slopes; either end may be infinite.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SlopeBounds {
    min: f64,
    max: f64,
}

/// The slope of a spline that lies furthest outside its bounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Violation {
    /// The segment, between knots `segment` and `segment + 1`.
    pub segment: usize,
    /// Its slope.
    pub slope: f64,
    /// The distance of the slope to the bounds, positive.
    pub excess: f64,
}

impl SlopeBounds {
    /// The bounds `[min, max]`.
    ///
    /// # Errors
    /// [`Error::Data`] when `min > max`, one of them is NaN, or no finite slope lies between them.
    pub fn new(min: f64, max: f64) -> Result<Self> {
        if min.is_nan() || max.is_nan() || min > max || min == f64::INFINITY || max == f64::NEG_INFINITY {
            return Err(Error::Data(format!(
                "slope bounds need s_min <= s_max with a finite slope between them, but s_min is {min} and s_max is {max}"
            )));
        }
        Ok(Self { min, max })
    }

    /// `[-1, 1]`: 1-Lipschitz functions, for stable networks and plug-and-play.
    pub const fn lipschitz() -> Self {
        Self { min: -1.0, max: 1.0 }
    }

    /// `[0, 1]`: firmly non-expansive functions, the proximal operators of convex penalties.
    pub const fn firm() -> Self {
        Self { min: 0.0, max: 1.0 }
    }

    /// `[0, s]`: derivatives of convex potentials with s-Lipschitz gradient; `s` may be infinite.
    ///
    /// # Errors
    /// [`Error::Data`] when `s` is negative or NaN.
    pub fn monotone(s: f64) -> Result<Self> {
        Self::new(0.0, s)
    }

    /// `[-rho, mu]`: derivatives of rho-weakly convex potentials.
    ///
    /// # Errors
    /// [`Error::Data`] when `-rho > mu` or one of them is NaN.
    pub fn weakly_convex(rho: f64, mu: f64) -> Result<Self> {
        Self::new(-rho, mu)
    }

    /// `[eps, s]` with `eps > 0`: strictly increasing functions with a closed-form inverse; `s` may be infinite.
    ///
    /// # Errors
    /// [`Error::Data`] when `eps` is not positive, `eps > s` or one of them is NaN.
    pub fn invertible(eps: f64, s: f64) -> Result<Self> {
        if eps > 0.0 {
            Self::new(eps, s)
        } else {
            Err(Error::Data(format!(
                "an invertible spline needs a positive smallest slope, not {eps}"
            )))
        }
    }

    /// No bounds.
    pub const fn none() -> Self {
        Self {
            min: f64::NEG_INFINITY,
            max: f64::INFINITY,
        }
    }

    /// The smallest admissible slope `s_min`.
    pub fn min(&self) -> f64 {
        self.min
    }

    /// The largest admissible slope `s_max`.
    pub fn max(&self) -> f64 {
        self.max
    }

    /// The admissible slope nearest to `slope`.
    pub fn clip(&self, slope: f64) -> f64 {
        slope.clamp(self.min, self.max)
    }

    /// The slope of `spline` furthest outside the bounds; `None` when all are inside. Slopes are quotients of the stored
    /// f64 values, so a spline that was built on its bounds may show an excess of `~ 1e-16 |f| / h`.
    pub fn violation(&self, spline: &Spline) -> Option<Violation> {
        spline
            .slopes()
            .into_iter()
            .enumerate()
            .map(|(segment, slope)| Violation {
                segment,
                slope,
                excess: (slope - self.max).max(self.min - slope),
            })
            .filter(|violation| violation.excess > 0.0)
            .max_by(|a, b| a.excess.total_cmp(&b.excess))
    }

    /// Whether every slope of `spline` is inside the bounds, up to `tolerance` in units of slope.
    pub fn contains(&self, spline: &Spline, tolerance: f64) -> bool {
        self.violation(spline)
            .is_none_or(|violation| violation.excess <= tolerance)
    }
}

/// Parses `lipschitz`, `firm`, `monotone` (any slope >= 0), `invertible:EPS` (any slope >= EPS), `weakly-convex:RHO`
/// (any slope >= -RHO), `none` or `MIN,MAX` (where `inf` and `-inf` are numbers).
impl FromStr for SlopeBounds {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let number = |field: &str| {
            field.trim().parse::<f64>().map_err(|_| {
                Error::Data(format!(
                    "cannot read '{field}' as a number in the slope bounds '{text}'"
                ))
            })
        };
        match text.trim() {
            "lipschitz" => Ok(Self::lipschitz()),
            "firm" => Ok(Self::firm()),
            "monotone" => Self::monotone(f64::INFINITY),
            "none" => Ok(Self::none()),
            other => {
                if let Some(eps) = other.strip_prefix("invertible:") {
                    Self::invertible(number(eps)?, f64::INFINITY)
                } else if let Some(rho) = other.strip_prefix("weakly-convex:") {
                    Self::weakly_convex(number(rho)?, f64::INFINITY)
                } else if let Some((min, max)) = other.split_once(',') {
                    Self::new(number(min)?, number(max)?)
                } else {
                    Err(Error::Data(format!(
                        "unknown slope bounds '{text}': use lipschitz, firm, monotone, invertible:EPS, \
                         weakly-convex:RHO, none or MIN,MAX"
                    )))
                }
            }
        }
    }
}

impl fmt::Display for SlopeBounds {
    /// `MIN,MAX`, which [`SlopeBounds::from_str`] reads back.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{},{}", self.min, self.max)
    }
}
