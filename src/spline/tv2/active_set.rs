//! Exact solution for the squared loss once it is known which slope changes are nonzero, with which sign, and which
//! slopes lie on a bound: an equality-constrained least-squares problem, solved by one scalar recursion. Also the
//! multipliers that certify it, and the affine fit, which is the case of no slope change.

use std::ops::Range;

use super::certificate::{Dual, Primal, Problem};

/// Rounds of repairing a guessed active set before giving up.
const MAX_ROUNDS: usize = 50;

/// A maximal run of segments that share one slope.
pub(super) struct Piece {
    pub segments: Range<usize>,
    /// The bound its slope lies on, if any: -1 the lower, 1 the upper one.
    pub side: i8,
    /// The sign of the slope change at its start; 0 for the first piece.
    pub sign: f64,
}

/// Which slope changes and bounds are active: sign of each slope change (0: none) and side of each segment.
struct ActiveSet {
    signs: Vec<f64>,
    sides: Vec<i8>,
}

/// The exact minimiser for the active set that the approximate solution suggests, with its multipliers; `None` when the
/// suggestion is inconsistent. Only for the squared loss. A `bias` above 1 makes a slope change or a bound that is nearly
/// degenerate count as inactive, one below 1 as active.
pub(super) fn polish(problem: &Problem, primal: &Primal, dual: &Dual, bias: f64) -> Option<(Primal, Dual)> {
    let mut active = ActiveSet::guess(problem, primal, dual, bias);
    for _ in 0..MAX_ROUNDS {
        let pieces = active.pieces()?;
        let (first, slopes) = least_squares(problem, &pieces);
        if !active.repair(problem, &pieces, &slopes) {
            return Some(finish(problem, &pieces, first, &slopes));
        }
    }
    None
}

/// The best affine function with its slope inside the bounds, and its multipliers for `problem.lambda`. It solves the
/// whole problem when lambda is at least [`lambda_max`].
pub(super) fn affine(problem: &Problem) -> (Primal, Dual) {
    let whole = |side| {
        let pieces = [Piece {
            segments: 0..problem.spacings.len(),
            side,
            sign: 0.0,
        }];
        let (first, slopes) = least_squares(problem, &pieces);
        (pieces, first, slopes)
    };
    let mut fit = whole(0);
    if fit.2[0] <= problem.min {
        fit = whole(-1);
    } else if fit.2[0] >= problem.max {
        fit = whole(1);
    }
    finish(problem, &fit.0, fit.1, &fit.2)
}

/// The smallest lambda at which the affine function `fit` is optimal: the least maximum of `|u|` over all multipliers.
///
/// With `c` the cumulative multipliers of the slopes, `u = K - c` where K = 0 if the slope is free, and K is monotone
/// from 0 to the total of c if it lies on a bound; the least maximum is then half the largest fall of c (for the upper
/// bound), or what the ends of K require. With equal bounds K is free and the answer is 0.
pub(super) fn lambda_max(problem: &Problem, fit: &Primal) -> f64 {
    if problem.min == problem.max {
        return 0.0;
    }
    let cumulative = cumulative_multipliers(problem, &problem.forces(fit));
    let slope = fit.slopes[0];
    let side = if slope == problem.min {
        -1.0
    } else if slope == problem.max {
        1.0
    } else {
        0.0
    };
    let interior = &cumulative[..cumulative.len() - 1];
    if side == 0.0 {
        return interior.iter().fold(0.0, |m, c| m.max(c.abs()));
    }
    let total = side * cumulative[cumulative.len() - 1];
    let (mut highest, mut largest) = (0.0_f64, 0.0_f64);
    for c in interior.iter().map(|c| side * c) {
        largest = largest.max(0.5 * (highest - c)).max(c - total).max(-c);
        highest = highest.max(c);
    }
    largest
}

impl ActiveSet {
    fn guess(problem: &Problem, primal: &Primal, dual: &Dual, bias: f64) -> Self {
        let scale = primal.slopes.iter().fold(1.0_f64, |m, s| m.max(s.abs()));
        let lambda = problem.lambda;
        // At an interior-point solution the two members of a pair differ by many orders of magnitude; comparing them in
        // their natural units tells which one is zero.
        let signs = primal.changes.iter().zip(&dual.changes).map(|(a, u)| {
            if a.abs() / scale > bias * (lambda - u.abs()) / lambda {
                a.signum()
            } else {
                0.0
            }
        });
        let touches = |multipliers: &[f64], j: usize, slack: f64| {
            multipliers
                .get(j)
                .is_some_and(|multiplier| multiplier / lambda > bias * slack / scale)
        };
        let sides = primal.slopes.iter().enumerate().map(|(j, s)| {
            if touches(&dual.low, j, s - problem.min) {
                -1
            } else if touches(&dual.high, j, problem.max - s) {
                1
            } else {
                0
            }
        });
        Self {
            signs: signs.collect(),
            sides: sides.collect(),
        }
    }

    /// The runs of equal slope; `None` when one of them touches both bounds.
    fn pieces(&self) -> Option<Vec<Piece>> {
        let mut pieces = Vec::new();
        let mut start = 0;
        for end in 1..=self.sides.len() {
            if end < self.sides.len() && self.signs[end - 1] == 0.0 {
                continue;
            }
            let low = self.sides[start..end].contains(&-1);
            let high = self.sides[start..end].contains(&1);
            if low && high {
                return None;
            }
            pieces.push(Piece {
                segments: start..end,
                side: i8::from(high) - i8::from(low),
                sign: if start == 0 { 0.0 } else { self.signs[start - 1] },
            });
            start = end;
        }
        Some(pieces)
    }

    /// Drops slope changes of the wrong sign and fixes slopes outside the bounds; whether anything was wrong.
    fn repair(&mut self, problem: &Problem, pieces: &[Piece], slopes: &[f64]) -> bool {
        let mut changed = false;
        for (k, piece) in pieces.iter().enumerate() {
            let outside = i8::from(slopes[k] > problem.max) - i8::from(slopes[k] < problem.min);
            if piece.side == 0 && outside != 0 {
                self.sides[piece.segments.clone()].fill(outside);
                changed = true;
            }
            if k > 0 && (slopes[k] - slopes[k - 1]) * piece.sign <= 0.0 {
                self.signs[piece.segments.start - 1] = 0.0;
                changed = true;
            }
        }
        changed
    }
}

/// The first value and the slope of every piece that minimise `1/2 sum w (f - y)^2 + lambda sum sign a` with the slopes
/// of the pieces on a bound given. A second pass on the residuals removes the rounding of the first.
fn least_squares(problem: &Problem, pieces: &[Piece]) -> (f64, Vec<f64>) {
    let mut first = 0.0;
    let mut slopes: Vec<f64> = pieces
        .iter()
        .map(|piece| match piece.side {
            -1 => problem.min,
            1 => problem.max,
            _ => 0.0,
        })
        .collect();
    for _ in 0..3 {
        let values = spread(problem, pieces, first, &slopes).values(&problem.spacings);
        let residuals: Vec<f64> = problem.y.iter().zip(&values).map(|(y, f)| y - f).collect();
        let (first_step, slope_steps) = correction(problem, pieces, &residuals);
        first += first_step;
        for (slope, step) in slopes.iter_mut().zip(slope_steps) {
            *slope += step;
        }
    }
    (first, slopes)
}

/// One backward pass with the cost to go `A f^2 / 2 + B f` at the start of each piece, one forward pass.
fn correction(problem: &Problem, pieces: &[Piece], residuals: &[f64]) -> (f64, Vec<f64>) {
    let weights = &problem.weights;
    let last = weights.len() - 1;
    let (mut a, mut b) = (weights[last], -weights[last] * residuals[last]);
    // Per piece: slope = -(offset + lean * f), with f at its start.
    let mut laws = vec![(0.0, 0.0); pieces.len()];
    for (k, piece) in pieces.iter().enumerate().rev() {
        let next_sign = pieces.get(k + 1).map_or(0.0, |next| next.sign);
        let force = problem.lambda * (piece.sign - next_sign);
        let Range { start, end } = piece.segments;
        // (distance from the start, weight, linear term) of the nodes after the start; the last stands for the rest.
        let mut nodes = Vec::with_capacity(end - start);
        let mut distance = 0.0;
        for j in start..end {
            distance += problem.spacings[j];
            let (w, linear) = if j + 1 < end {
                (weights[j + 1], -weights[j + 1] * residuals[j + 1])
            } else {
                (a, b)
            };
            nodes.push((distance, w, linear));
        }
        if piece.side == 0 {
            let stiffness: f64 = nodes.iter().map(|(d, w, _)| w * d * d).sum();
            let lean = nodes.iter().map(|(d, w, _)| w * d).sum::<f64>() / stiffness;
            let pull = nodes.iter().map(|(d, _, linear)| linear * d).sum::<f64>() + force;
            laws[k] = (pull / stiffness, lean);
        }
        let lean = laws[k].1;
        a = nodes.iter().map(|(d, w, _)| w * (1.0 - lean * d).powi(2)).sum::<f64>() + weights[start];
        // Envelope theorem; (1 - lean d) is orthogonal to w d, so the offset drops out.
        b = nodes
            .iter()
            .map(|(d, _, linear)| (1.0 - lean * d) * linear)
            .sum::<f64>()
            - lean * force
            - weights[start] * residuals[start];
    }
    let first = -b / a;
    let mut f = first;
    let mut slopes = Vec::with_capacity(pieces.len());
    for (piece, (offset, lean)) in pieces.iter().zip(laws) {
        let slope = if piece.side == 0 { -(offset + lean * f) } else { 0.0 };
        f += slope * problem.spacings[piece.segments.clone()].iter().sum::<f64>();
        slopes.push(slope);
    }
    (first, slopes)
}

fn spread(problem: &Problem, pieces: &[Piece], first: f64, piece_slopes: &[f64]) -> Primal {
    let mut slopes = vec![0.0; problem.spacings.len()];
    for (piece, slope) in pieces.iter().zip(piece_slopes) {
        slopes[piece.segments.clone()].fill(*slope);
    }
    let changes = slopes.windows(2).map(|s| s[1] - s[0]).collect();
    Primal { first, slopes, changes }
}

/// Cumulative sums of the slope multipliers `nu_j = h_j sum_{m <= j} force_m`, which stationarity demands; `force_m` is the
/// derivative of the loss of sample m.
fn cumulative_multipliers(problem: &Problem, forces: &[f64]) -> Vec<f64> {
    let (mut force, mut sum) = (0.0, 0.0);
    let mut cumulative = Vec::with_capacity(problem.spacings.len());
    for (h, own) in problem.spacings.iter().zip(forces) {
        force += own;
        sum += h * force;
        cumulative.push(sum);
    }
    cumulative
}

/// The multipliers of an exact solution. At a slope change u is `+-lambda`; along a piece `u_{j+1} = u_j - nu_j`, plus
/// what the bound contributes on a piece that lies on one: as little and as late as `|u| <= lambda` allows.
fn finish(problem: &Problem, pieces: &[Piece], first: f64, slopes: &[f64]) -> (Primal, Dual) {
    let primal = spread(problem, pieces, first, slopes);
    let dual = multipliers(problem, pieces, &problem.forces(&primal));
    (primal, dual)
}

/// The multipliers that a function of the given pieces and forces asks for; see [`finish`].
pub(super) fn multipliers(problem: &Problem, pieces: &[Piece], forces: &[f64]) -> Dual {
    let cumulative = cumulative_multipliers(problem, forces);
    let segments = problem.spacings.len();
    let lambda = problem.lambda;
    let mut dual = Dual {
        changes: vec![0.0; segments - 1],
        low: vec![0.0; segments],
        high: vec![0.0; segments],
    };
    for (k, piece) in pieces.iter().enumerate() {
        let Range { start, end } = piece.segments;
        let u_start = lambda * piece.sign;
        let u_end = lambda * pieces.get(k + 1).map_or(0.0, |next| next.sign);
        let before = if start == 0 { 0.0 } else { cumulative[start - 1] };
        let side = f64::from(piece.side);
        // In mirrored units the bound's contribution is non-negative for either bound.
        let mut contributed = 0.0_f64;
        for (j, reached) in cumulative.iter().enumerate().take(end).skip(start) {
            let needed = side * (reached - before - u_start);
            let u = if j + 1 < end {
                let share = if piece.side == 0 {
                    0.0
                } else if problem.min == problem.max {
                    needed - contributed
                } else {
                    (needed - lambda).max(contributed) - contributed
                };
                add_share(&mut dual, j, side, share);
                contributed += share;
                u_start - (reached - before) + side * contributed
            } else {
                let share = if piece.side == 0 {
                    0.0
                } else {
                    needed + side * u_end - contributed
                };
                add_share(&mut dual, j, side, share);
                u_end
            };
            if j + 1 < segments {
                dual.changes[j] = u;
            }
        }
    }
    dual
}

/// Books the contribution of the bound on `side` to segment `j`; a negative one belongs to the other bound, which is
/// right when both coincide and which the certificate charges otherwise.
fn add_share(dual: &mut Dual, j: usize, side: f64, share: f64) {
    if side * share > 0.0 {
        dual.high[j] = share.abs();
    } else {
        dual.low[j] = share.abs();
    }
}
