//! Primal and dual points of the scaled problem, their objectives and the duality gap.

use super::loss::Loss;

/// The fitting problem in units in which x, y and the weights are of order 1.
pub(super) struct Problem {
    /// Spacings `h_j`, one per segment.
    pub spacings: Vec<f64>,
    pub y: Vec<f64>,
    pub weights: Vec<f64>,
    pub loss: Loss,
    pub lambda: f64,
    pub min: f64,
    pub max: f64,
}

/// A function on the nodes: first value, slopes inside the bounds, and their changes.
#[derive(Clone)]
pub(super) struct Primal {
    pub first: f64,
    pub slopes: Vec<f64>,
    pub changes: Vec<f64>,
}

impl Primal {
    /// The nodal values.
    pub fn values(&self, spacings: &[f64]) -> Vec<f64> {
        let mut values = vec![self.first];
        let mut value = self.first;
        for (h, s) in spacings.iter().zip(&self.slopes) {
            value += h * s;
            values.push(value);
        }
        values
    }
}

/// Multipliers: `changes` of the slope changes (`|u| <= lambda`), `low` and `high` of the slope bounds (`>= 0`).
#[derive(Clone)]
pub(super) struct Dual {
    pub changes: Vec<f64>,
    pub low: Vec<f64>,
    pub high: Vec<f64>,
}

/// Objective of a primal point and the duality gap to a dual point.
#[derive(Clone, Copy)]
pub(super) struct Certificate {
    pub objective: f64,
    pub gap: f64,
}

impl Certificate {
    /// The gap relative to the objective, or to `floor` where the objective is smaller.
    pub fn relative(&self, floor: f64) -> f64 {
        if self.gap == 0.0 {
            0.0
        } else {
            self.gap / self.objective.max(floor)
        }
    }
}

impl Problem {
    /// The derivative of the loss of every sample at `primal`, the absolute loss unsmoothed.
    pub fn forces(&self, primal: &Primal) -> Vec<f64> {
        self.smoothed_forces(primal, 0.0)
    }

    /// As [`Problem::forces`], with the absolute loss smoothed where `|r|` is below `smoothing`.
    pub fn smoothed_forces(&self, primal: &Primal, smoothing: f64) -> Vec<f64> {
        let values = primal.values(&self.spacings);
        let data = self.weights.iter().zip(&self.y).zip(&values);
        data.map(|((&w, y), f)| self.loss.derivative(w, f - y, smoothing))
            .collect()
    }

    /// The objective at `primal` and its gap to the dual objective at `dual`.
    ///
    /// The multipliers `nu_j = u_j - u_{j+1} + high_j - low_j` of the slopes determine those of the data,
    /// `t_n = nu_n / h_n - nu_{n-1} / h_{n-1}`, so that every `dual` of admissible signs is dual feasible (for losses of
    /// bounded derivative after scaling it down).
    pub fn certify(&self, primal: &Primal, dual: &Dual) -> Certificate {
        let segments = self.spacings.len();
        let changes: Vec<f64> = dual
            .changes
            .iter()
            .map(|u| u.clamp(-self.lambda, self.lambda))
            .collect();
        let bounds = self.admissible_bounds(dual);
        let u = |i: usize| if i == 0 || i == segments { 0.0 } else { changes[i - 1] };
        let mut t = Vec::with_capacity(segments + 1);
        let mut left = 0.0;
        for (j, (low, high)) in bounds.iter().enumerate() {
            let right = (u(j) - u(j + 1) + high - low) / self.spacings[j];
            t.push(right - left);
            left = right;
        }
        t.push(-left);
        self.gap(primal, &t, &changes, &bounds)
    }

    /// As [`Problem::certify`], but from the multipliers `data` of the data terms, which determine those of the slope
    /// changes: `u_{j+1} = u_j - h_j sum_{m <= j} t_m + high_j - low_j`. Where spacings are tiny and the loss has a
    /// bounded derivative this direction keeps the digits that dividing by them would lose. The two conditions at the
    /// end of the chain, `sum t = 0` and `u = 0`, are met by a small correction of `data` where it has room; the result
    /// is `None` when there is none.
    pub fn certify_from_data(&self, primal: &Primal, data: &[f64], dual: &Dual) -> Option<Certificate> {
        let bounds = self.admissible_bounds(dual);
        let absorbed: f64 = bounds.iter().map(|(low, high)| high - low).sum();
        let mut t = data.to_vec();
        let limit = |n: usize| self.loss.limit(self.weights[n]);
        let room: Vec<f64> = t
            .iter()
            .enumerate()
            .map(|(n, t)| match limit(n) {
                f64::INFINITY => self.weights[n],
                limit => (limit - t.abs()).max(0.0),
            })
            .collect();
        let mut to_end = vec![0.0; t.len()];
        for j in (0..self.spacings.len()).rev() {
            to_end[j] = to_end[j + 1] + self.spacings[j];
        }
        let moment =
            |weights: &[f64], power: i32| -> f64 { weights.iter().zip(&to_end).map(|(w, z)| w * z.powi(power)).sum() };
        let (m0, m1, m2) = (moment(&room, 0), moment(&room, 1), moment(&room, 2));
        let determinant = m0 * m2 - m1 * m1;
        for _ in 0..2 {
            let (e0, e1) = (-moment(&t, 0), absorbed - moment(&t, 1));
            let constant = (m2 * e0 - m1 * e1) / determinant;
            let linear = (m0 * e1 - m1 * e0) / determinant;
            for (n, t) in t.iter_mut().enumerate() {
                *t += room[n] * (constant + linear * to_end[n]);
            }
        }
        if t.iter().any(|t| !t.is_finite()) {
            return None;
        }
        let (mut force, mut u) = (0.0, 0.0);
        let mut changes = Vec::with_capacity(self.spacings.len());
        for (j, (low, high)) in bounds.iter().enumerate() {
            force += t[j];
            u += high - low - self.spacings[j] * force;
            changes.push(u);
        }
        changes.pop();
        Some(self.gap(primal, &t, &changes, &bounds))
    }

    /// Bound multipliers `(low, high)` per segment, without those of infinite bounds and of the wrong sign.
    fn admissible_bounds(&self, dual: &Dual) -> Vec<(f64, f64)> {
        let of = |multipliers: &[f64], bound: f64, j: usize| {
            if bound.is_finite() {
                multipliers[j].max(0.0)
            } else {
                0.0
            }
        };
        (0..self.spacings.len())
            .map(|j| (of(&dual.low, self.min, j), of(&dual.high, self.max, j)))
            .collect()
    }

    /// The objective at `primal` and the gap to consistent multipliers, which are scaled down together until those of
    /// the data and of the slope changes keep their limits. The gap is the sum of the Fenchel-Young gaps of all terms,
    /// each of which is non-negative, so it is accurate even when it is far smaller than the objective.
    fn gap(&self, primal: &Primal, t: &[f64], changes: &[f64], bounds: &[(f64, f64)]) -> Certificate {
        let allowed = |limit: f64, dual: f64| if dual == 0.0 { 1.0 } else { limit / dual.abs() };
        let of_data = t
            .iter()
            .zip(&self.weights)
            .map(|(&t, &w)| allowed(self.loss.limit(w), t));
        let of_changes = changes.iter().map(|&u| allowed(self.lambda, u));
        let shrink = of_data.chain(of_changes).fold(1.0, f64::min);
        let (mut objective, mut gap) = (0.0, 0.0);
        for (n, f) in primal.values(&self.spacings).into_iter().enumerate() {
            let (w, r) = (self.weights[n], f - self.y[n]);
            objective += self.loss.value(w, r);
            gap += self.loss.gap(w, r, shrink * t[n]);
        }
        for (a, u) in primal.changes.iter().zip(changes) {
            objective += self.lambda * a.abs();
            gap += a.abs() * (self.lambda - shrink * u * a.signum());
        }
        for (s, (low, high)) in primal.slopes.iter().zip(bounds) {
            // The product with an infinite distance is left out where the multiplier is 0.
            if *low > 0.0 {
                gap += shrink * low * (s - self.min).max(0.0);
            }
            if *high > 0.0 {
                gap += shrink * high * (self.max - s).max(0.0);
            }
        }
        Certificate { objective, gap }
    }
}
