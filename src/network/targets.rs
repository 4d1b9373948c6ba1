//! The four functions on [-1, 1] of the published comparison (method.md 2.2), all 1-Lipschitz.

use std::f64::consts::PI;

use crate::Result;
use crate::io::noise;
use crate::spline::Spline;

/// Seed of the two random functions.
const SEED: u64 = 2024;
/// Pieces of the random functions.
const PIECES: usize = 12;
/// Shortest piece relative to the mean one.
const SHORTEST: f64 = 0.4;

/// A function to be fitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// Random zigzag: slopes +1 and -1 in turn on 12 pieces of random length
    F1,
    /// Random pieces: slopes drawn from -1, 0, 1, neighbours different, on 12 pieces of random length
    F2,
    /// cos(7 pi x) / (7 pi)
    F3,
    /// Soft threshold with a wiggle: 3/4 sign(x) max(|x| - 1/4, 0) + sin(8 pi x) / (32 pi)
    F4,
}

impl Target {
    /// All four.
    pub const ALL: [Self; 4] = [Self::F1, Self::F2, Self::F3, Self::F4];

    /// Its short name.
    pub fn name(self) -> &'static str {
        ["f1", "f2", "f3", "f4"][self as usize]
    }

    /// The values at `x`. The random functions are the same in every run.
    ///
    /// # Errors
    /// None for finite `x`; those of [`Spline::new`].
    pub fn values(self, x: &[f64]) -> Result<Vec<f64>> {
        let smooth = match self {
            Self::F1 => return Ok(evaluate(&zigzag()?, x)),
            Self::F2 => return Ok(evaluate(&three_slopes()?, x)),
            Self::F3 => |x: f64| (7.0 * PI * x).cos() / (7.0 * PI),
            Self::F4 => |x: f64| {
                let soft = x.signum() * (x.abs() - 0.25).max(0.0);
                0.75 * soft + (8.0 * PI * x).sin() / (32.0 * PI)
            },
        };
        Ok(x.iter().map(|x| smooth(*x)).collect())
    }
}

fn evaluate(function: &Spline, x: &[f64]) -> Vec<f64> {
    x.iter().map(|x| function.value(*x)).collect()
}

fn zigzag() -> Result<Spline> {
    let slopes: Vec<f64> = (0..PIECES).map(|n| if n % 2 == 0 { 1.0 } else { -1.0 }).collect();
    Spline::from_slopes(breaks(1), 0.0, &slopes)
}

fn three_slopes() -> Result<Spline> {
    let mut slopes = vec![0.0];
    for u in noise::uniform(SEED, 3, PIECES - 1) {
        // One of the two slopes that the piece before does not have.
        let others = match slopes[slopes.len() - 1] {
            0.0 => [-1.0, 1.0],
            last => [0.0, -last],
        };
        slopes.push(others[usize::from(u > 0.0)]);
    }
    Spline::from_slopes(breaks(2), 0.0, &slopes)
}

/// The ends of the pieces, from -1 to 1.
fn breaks(stream: u64) -> Vec<f64> {
    let lengths: Vec<f64> = noise::uniform(SEED, stream, PIECES)
        .iter()
        .map(|u| SHORTEST + (1.0 - SHORTEST) * (1.0 + u))
        .collect();
    let total: f64 = lengths.iter().sum();
    let mut breaks = vec![-1.0];
    let mut sum = 0.0;
    for length in &lengths {
        sum += length;
        breaks.push(2.0 * sum / total - 1.0);
    }
    breaks
}
