//! How k-space is sampled in simulations: seeded Cartesian masks and smooth coil maps.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use crate::io::noise;
use crate::{Error, Result};

/// How the columns outside of the centre are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Pattern {
    /// Each on its own with the same probability.
    Random,
    /// At equal distances behind a random first one.
    Equispaced,
}

/// A Cartesian sampling of k-space in whole columns, fully sampled around frequency zero: of `n` columns about
/// `n / acceleration`, among them the `round(centre_fraction n)` in the middle.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cartesian {
    /// Columns there are for each that is sampled, on average; at least 1.
    pub acceleration: f64,
    /// The part of the columns in the middle that are always sampled.
    pub centre_fraction: f64,
    /// How the others are chosen.
    pub pattern: Pattern,
    /// Seed of the choice.
    pub seed: u64,
}

impl Cartesian {
    /// The mask of `size` = rows, columns: 1 in sampled columns, 0 in the others. With `m` columns in the middle (at least
    /// 1), the first of them number `(n - m + 1) / 2` rounded down:
    /// random: each other column with probability `(n / acceleration - m) / (n - m)`;
    /// equispaced: columns `round(o + i d)`, `i = 0, 1, ...`, at the distance `d = (n - m) / (n / acceleration - m)` from a
    /// first one `o` of `0 .. round(d) - 1`, of which about as many fall outside of the middle.
    ///
    /// # Errors
    /// [`Error::Usage`] for an acceleration below 1, a centre fraction outside of (0, 1), or a middle that alone has more
    /// columns than the acceleration allows.
    pub fn mask(&self, [rows, cols]: [usize; 2]) -> Result<Vec<f32>> {
        let Self {
            acceleration,
            centre_fraction,
            ..
        } = *self;
        if !(acceleration.is_finite() && acceleration >= 1.0) {
            return Err(Error::Usage(format!(
                "an acceleration of {acceleration} does not exist; use a number of at least 1, say 4"
            )));
        }
        if !(centre_fraction > 0.0 && centre_fraction < 1.0) {
            return Err(Error::Usage(format!(
                "a centre fraction of {centre_fraction} does not exist; use a number between 0 and 1, say 0.08"
            )));
        }
        let middle = ((cols as f64 * centre_fraction).round() as usize).clamp(1, cols);
        let others = cols as f64 / acceleration - middle as f64;
        if others < 0.0 {
            return Err(Error::Usage(format!(
                "the centre alone has {middle} of {cols} columns, more than acceleration {acceleration} leaves; use a \
                 centre fraction below {:.3} or a smaller acceleration",
                1.0 / acceleration
            )));
        }
        let first = (cols - middle).div_ceil(2);
        let mut line = vec![0.0; cols];
        line[first..first + middle].fill(1.0);
        let rest = (cols - middle) as f64;
        match self.pattern {
            Pattern::Random => {
                let probability = others / rest;
                for (at, value) in noise::uniform(self.seed, 0, cols).into_iter().enumerate() {
                    if 0.5 * (value + 1.0) < probability {
                        line[at] = 1.0;
                    }
                }
            }
            Pattern::Equispaced if others > 0.0 => {
                let distance = rest / others;
                let start = noise::bits(self.seed, 0, 0) % (distance.round() as u64).max(1);
                let columns = (0..).map(|i| (start as f64 + f64::from(i) * distance).round() as usize);
                for at in columns.take_while(|&at| at < cols) {
                    line[at] = 1.0;
                }
            }
            Pattern::Equispaced => {}
        }
        Ok(line.repeat(rows))
    }
}

/// Smooth complex sensitivities of `coils` coils around an image of `size` = rows, columns; (coil, row, column).
///
/// `S_c(z) = q_c(z) / (sum_k |q_k(z)|^2)^(1/2)` with `q_c(z) = 1 / (z - z_c)`, like the field of a wire through
/// `z_c = 1.5 exp(2 pi i c / coils)`: it falls with the distance and turns its phase with the direction. Pixels lie at
/// `z = x + i y`, `x` to the right, `y` upwards, the larger side of the image covering [-1, 1]. So
/// `sum_c |S_c|^2 = 1` everywhere.
///
/// # Errors
/// [`Error::Usage`] for no coil or more than 64.
pub fn coil_maps(coils: usize, [rows, cols]: [usize; 2]) -> Result<Vec<[f32; 2]>> {
    if !(1..=64).contains(&coils) {
        return Err(Error::Usage(format!("{coils} coils are not simulated; use 1 to 64")));
    }
    let pixel = 2.0 / rows.max(cols) as f64;
    let from_middle = |at: usize, n: usize| (at as f64 - (n as f64 - 1.0) / 2.0) * pixel;
    let mut maps = vec![[0.0; 2]; coils * rows * cols];
    for row in 0..rows {
        for col in 0..cols {
            let fields: Vec<[f64; 2]> = (0..coils)
                .map(|coil| {
                    let (sin, cos) = (2.0 * PI * coil as f64 / coils as f64).sin_cos();
                    let dx = from_middle(col, cols) - 1.5 * cos;
                    let dy = -from_middle(row, rows) - 1.5 * sin;
                    let square = dx * dx + dy * dy;
                    [dx / square, -dy / square]
                })
                .collect();
            let norm = fields.iter().flatten().map(|part| part * part).sum::<f64>().sqrt();
            for (coil, field) in fields.iter().enumerate() {
                maps[(coil * rows + row) * cols + col] = field.map(|part| (part / norm) as f32);
            }
        }
    }
    Ok(maps)
}
