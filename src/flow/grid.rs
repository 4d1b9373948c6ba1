//! Densities on grids, for integrals and pictures.

use super::device::Evaluator;
use crate::Result;

/// Centres of the cells of a grid, (cell, coordinate), the first coordinate running fastest.
pub fn grid_points(ranges: &[(f64, f64)], cells: &[usize]) -> Vec<f64> {
    let count: usize = cells.iter().product();
    let mut points = Vec::with_capacity(count * ranges.len());
    for index in 0..count {
        let mut rest = index;
        for (range, &cells) in ranges.iter().zip(cells) {
            let place = (rest % cells) as f64 + 0.5;
            points.push(range.0 + (range.1 - range.0) * place / cells as f64);
            rest /= cells;
        }
    }
    points
}

/// The density of a flow at the centres of the cells of a grid.
#[derive(Clone, Debug, PartialEq)]
pub struct DensityGrid {
    /// Low and high end per coordinate.
    pub ranges: Vec<(f64, f64)>,
    /// Cells per coordinate.
    pub cells: Vec<usize>,
    /// Densities, the first coordinate running fastest.
    pub values: Vec<f64>,
}

impl DensityGrid {
    /// Evaluates the flow on a grid.
    ///
    /// # Errors
    /// As [`Evaluator::log_density`].
    pub fn new(evaluator: &Evaluator<'_>, ranges: &[(f64, f64)], cells: &[usize]) -> Result<Self> {
        let logarithms = evaluator.log_density(&grid_points(ranges, cells))?;
        Ok(Self {
            ranges: ranges.to_vec(),
            cells: cells.to_vec(),
            values: logarithms.iter().map(|l| f64::from(*l).exp()).collect(),
        })
    }

    /// The integral by the midpoint rule.
    pub fn integral(&self) -> f64 {
        let volume: f64 = self
            .ranges
            .iter()
            .zip(&self.cells)
            .map(|(r, &n)| (r.1 - r.0) / n as f64)
            .product();
        volume * self.values.iter().sum::<f64>()
    }
}

/// The box around points (point, coordinate), widened by `margin` times its size on all sides.
pub fn bounding_box(points: &[f64], dims: usize, margin: f64) -> Vec<(f64, f64)> {
    (0..dims)
        .map(|i| {
            let along = points.iter().skip(i).step_by(dims);
            let (low, high) = along.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| {
                (low.min(*x), high.max(*x))
            });
            let pad = margin * (high - low).max(f64::from(f32::EPSILON) * high.abs().max(1.0));
            (low - pad, high + pad)
        })
        .collect()
}
