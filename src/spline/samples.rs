//! Samples (x, y, weight) of an unknown function, made ready for a fit: sorted, with distinct x.

use super::function::check_knots;
use crate::{Error, Result};

/// Sorted samples with strictly increasing x and positive weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Samples {
    x: Vec<f64>,
    y: Vec<f64>,
    weights: Vec<f64>,
    merged: usize,
    largest_conflict: f64,
    merge_cost: f64,
}

impl Samples {
    /// Sorts the samples, drops those of weight 0, and merges those with equal x into one with the weighted mean of y and
    /// the summed weight. Every x is rounded to f32 first, because the device stores f32 knots: host and device then
    /// solve the same problem. Without `weights` all are 1.
    ///
    /// For the squared loss merging only adds a constant to the objective, [`Samples::merge_cost`]; for other losses it
    /// changes the problem, and [`Samples::merged`] and [`Samples::largest_conflict`] say how much.
    ///
    /// # Errors
    /// [`Error::Data`] when the lengths differ, an entry is not finite, a weight is negative, or fewer than two distinct
    /// x with positive weight remain.
    pub fn new(x: &[f64], y: &[f64], weights: Option<&[f64]>) -> Result<Self> {
        if x.len() != y.len() || weights.is_some_and(|w| w.len() != x.len()) {
            return Err(Error::Data(format!(
                "samples need as many x as y and weights, but there are {} x, {} y and {} weights",
                x.len(),
                y.len(),
                weights.map_or(x.len(), <[f64]>::len)
            )));
        }
        let mut triples = Vec::with_capacity(x.len());
        for n in 0..x.len() {
            let weight = weights.map_or(1.0, |w| w[n]);
            if !(x[n].is_finite() && y[n].is_finite() && weight.is_finite()) {
                return Err(Error::Data(format!(
                    "sample {n} is not finite: x {}, y {}, weight {weight}",
                    x[n], y[n]
                )));
            }
            if weight < 0.0 {
                return Err(Error::Data(format!("sample {n} has the negative weight {weight}")));
            }
            if weight > 0.0 {
                triples.push((f64::from(x[n] as f32), y[n], weight));
            }
        }
        triples.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut samples = Self {
            x: vec![],
            y: vec![],
            weights: vec![],
            merged: 0,
            largest_conflict: 0.0,
            merge_cost: 0.0,
        };
        for group in triples.chunk_by(|a, b| a.0 == b.0) {
            samples.push_group(group);
        }
        if samples.x.len() < 2 {
            return Err(Error::Data(format!(
                "a fit needs samples at 2 or more distinct x with positive weight, but there are {}",
                samples.x.len()
            )));
        }
        check_knots(&samples.x)?;
        Ok(samples)
    }

    fn push_group(&mut self, group: &[(f64, f64, f64)]) {
        let weight: f64 = group.iter().map(|s| s.2).sum();
        let mean = if group.len() == 1 {
            group[0].1
        } else {
            group.iter().map(|s| s.2 / weight * s.1).sum()
        };
        let (low, high) = group.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), s| {
            (low.min(s.1), high.max(s.1))
        });
        self.merged += group.len() - 1;
        self.largest_conflict = self.largest_conflict.max(high - low);
        self.merge_cost += group.iter().map(|s| 0.5 * s.2 * (s.1 - mean).powi(2)).sum::<f64>();
        self.x.push(group[0].0);
        self.y.push(mean);
        self.weights.push(weight);
    }

    /// The number M of distinct x, at least 2.
    #[allow(clippy::len_without_is_empty, reason = "there are always at least two samples")]
    pub fn len(&self) -> usize {
        self.x.len()
    }

    /// The distinct x, strictly increasing, each exactly an f32.
    pub fn x(&self) -> &[f64] {
        &self.x
    }

    /// The (mean) y at each x.
    pub fn y(&self) -> &[f64] {
        &self.y
    }

    /// The (summed) weight at each x, positive.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// How many samples were merged into another one with the same x.
    pub fn merged(&self) -> usize {
        self.merged
    }

    /// The largest difference of y among samples with the same x; 0 when merging lost nothing.
    pub fn largest_conflict(&self) -> f64 {
        self.largest_conflict
    }

    /// `1/2 sum w (y - mean)^2` over the merged samples: the part of the squared loss that no function can reduce.
    pub fn merge_cost(&self) -> f64 {
        self.merge_cost
    }
}
