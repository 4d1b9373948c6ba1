//! Points to train on and points that are held out.

use std::path::Path;

use super::distribution::Distribution;
use crate::io::noise;
use crate::io::points::PointTable;
use crate::train::data::Permutation;
use crate::{Error, Result};

/// Streams of the seed: held-out points, points that knots and standardisation are taken from, orders of epochs; training
/// has those from the last one on.
const HELD_OUT: u64 = 0;
const START: u64 = 1;
const ORDERS: u64 = 2;
const TRAINING: u64 = 16;

/// Points that knots and standardisation are taken from.
const START_POINTS: usize = 20_000;
/// Of a file, one point in this many is held out.
const SHARE_HELD_OUT: usize = 10;
/// Fewest points of a file.
const FEWEST: usize = 50;

/// Points of a known distribution, new ones for every step, or those of a file, in an order of its own in every epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowData {
    dims: usize,
    seed: u64,
    hash: String,
    distribution: Option<Distribution>,
    /// Of a file; (point, coordinate).
    training: Vec<f64>,
    held_out: Vec<f64>,
}

impl FlowData {
    /// The points of the distribution called `source`, or of the file of that name if there is no such distribution, with
    /// `held_out` points held out, of a file at most one in ten.
    ///
    /// # Errors
    /// [`Error::Input`] for an unreadable file, fewer than 50 points, or a coordinate that is the same for all.
    pub fn new(source: &str, seed: u64, held_out: usize) -> Result<Self> {
        if let Some(distribution) = Distribution::named(source) {
            return Ok(Self {
                dims: distribution.dims(),
                seed,
                hash: distribution.name().into(),
                distribution: Some(distribution),
                training: Vec::new(),
                held_out: distribution.points(seed, HELD_OUT, held_out),
            });
        }
        let path = Path::new(source);
        let table = PointTable::read(path).map_err(|e| match e {
            Error::Input { path, reason } if !path.exists() => {
                Error::input(path, format!("{reason}; known distributions are moons, ring and hills"))
            }
            other => other,
        })?;
        let (dims, count) = (table.dims, table.len());
        if count < FEWEST {
            return Err(Error::input(
                path,
                format!("{count} points are too few to train on; give {FEWEST} or more"),
            ));
        }
        for i in 0..dims {
            let along = || table.points.iter().skip(i).step_by(dims);
            if along().all(|x| *x == table.points[i]) {
                return Err(Error::input(
                    path,
                    format!(
                        "coordinate {i} is {} in all points; a density needs two values",
                        table.points[i]
                    ),
                ));
            }
        }
        let order = Permutation::new(noise::bits(seed, HELD_OUT, 0), count as u64);
        let out = (count / SHARE_HELD_OUT).min(held_out);
        let of = |range: std::ops::Range<usize>| -> Vec<f64> {
            range
                .flat_map(|n| {
                    let at = order.apply(n as u64) as usize * dims;
                    table.points[at..at + dims].iter().copied()
                })
                .collect()
        };
        let bytes: Vec<u8> = table.points.iter().flat_map(|v| v.to_le_bytes()).collect();
        Ok(Self {
            dims,
            seed,
            hash: blake3::hash(&bytes).to_hex().to_string(),
            distribution: None,
            training: of(out..count),
            held_out: of(0..out),
        })
    }

    /// Coordinates of a point.
    pub fn dims(&self) -> usize {
        self.dims
    }

    /// What the data are: the name of a distribution, or a BLAKE3 hash of the points of a file.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The distribution, where it is known.
    pub fn distribution(&self) -> Option<Distribution> {
        self.distribution
    }

    /// Points to train on, where they are counted.
    pub fn training_points(&self) -> Option<usize> {
        self.distribution.is_none().then_some(self.training.len() / self.dims)
    }

    /// Points that training does not see, (point, coordinate).
    pub fn held_out(&self) -> &[f64] {
        &self.held_out
    }

    /// Points that standardisation and first knots are taken from: of a file those that are trained on, some at most.
    pub fn start_points(&self) -> Vec<f64> {
        match self.distribution {
            Some(distribution) => distribution.points(self.seed, START, START_POINTS),
            None => self.training[..self.training.len().min(self.dims * START_POINTS)].to_vec(),
        }
    }

    /// Portion `index` of the training points in portions of `count`, (point, coordinate). Depends on nothing else.
    pub fn portion(&self, index: u64, count: usize) -> Vec<f64> {
        if let Some(distribution) = self.distribution {
            return distribution.points(self.seed, TRAINING + index, count);
        }
        let total = (self.training.len() / self.dims) as u64;
        let first = index * count as u64;
        let mut points = Vec::with_capacity(self.dims * count);
        let mut order = (u64::MAX, Permutation::new(0, total));
        for place in first..first + count as u64 {
            let epoch = place / total;
            if order.0 != epoch {
                order = (epoch, Permutation::new(noise::bits(self.seed, ORDERS, epoch), total));
            }
            let at = order.1.apply(place % total) as usize * self.dims;
            points.extend_from_slice(&self.training[at..at + self.dims]);
        }
        points
    }
}
