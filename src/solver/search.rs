//! Coarse-to-fine search for the best of one or two positive parameters.

use crate::Result;

/// A point of the search: `lambda` and `sigma`, say.
pub type Point = [f64; 2];

/// The search of the published experiments: the best point of a grid with the spacing `gamma` in every direction becomes the centre
/// of the next; if it lies inside the grid already, `gamma` becomes its square root. Multiplicative, since the parameters are
/// scales.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Search {
    /// First ratio of neighbouring values, above 1.
    pub gamma: f64,
    /// The search ends when the ratio falls below this.
    pub until: f64,
    /// Each parameter stays within, or where it is.
    pub ranges: [Option<(f64, f64)>; 2],
    /// Grids at most.
    pub rounds: usize,
}

/// Points of one parameter on either side of the centre.
const REACH: i32 = 1;

impl Search {
    /// The grid about `centre`, at most 3 x 3 points `start gamma^k` with their `k`, each once, the centre first. All come from `start`, and
    /// fractions of `k` are powers of a half, so that grids meet the points of earlier ones exactly, beyond limits, too.
    fn grid(&self, start: Point, centre: [f64; 2], spacing: f64) -> Vec<([f64; 2], Point)> {
        let steps = |range: Option<(f64, f64)>| if range.is_some() { -REACH..=REACH } else { 0..=0 };
        let at = |k: [f64; 2]| {
            let point = std::array::from_fn(|i| start[i] * self.gamma.powf(k[i]));
            (k, self.rounded(point))
        };
        let mut points = vec![at(centre)];
        for i in steps(self.ranges[0]) {
            for j in steps(self.ranges[1]) {
                let next = at([centre[0] + spacing * f64::from(i), centre[1] + spacing * f64::from(j)]);
                if points.iter().all(|(_, point)| *point != next.1) {
                    points.push(next);
                }
            }
        }
        points
    }

    /// Seven significant digits, within the limits: what is written in tables and settings is what was tried.
    fn rounded(&self, point: Point) -> Point {
        let digits = |v: f64| format!("{v:.6e}").parse().unwrap_or(v);
        std::array::from_fn(|i| digits(self.ranges[i].map_or(point[i], |(low, high)| point[i].clamp(low, high))))
    }

    /// Runs the search from `start`. `scores` gives the score of every point of a grid, higher is better, NaN for a point
    /// that failed; it sees every point of every grid and may remember. Returns the best point and its score.
    ///
    /// # Errors
    /// What `scores` returns.
    pub fn run(&self, start: Point, mut scores: impl FnMut(&[Point]) -> Result<Vec<f64>>) -> Result<(Point, f64)> {
        let (mut centre, mut spacing) = ([0.0; 2], 1.0);
        let mut best = (self.rounded(start), f64::NEG_INFINITY);
        for _ in 0..self.rounds {
            let grid = self.grid(start, centre, spacing);
            let points: Vec<Point> = grid.iter().map(|(_, point)| *point).collect();
            let mut winner = (centre, f64::NEG_INFINITY);
            for ((k, point), value) in grid.into_iter().zip(scores(&points)?) {
                if value > winner.1 {
                    winner = (k, value);
                }
                // The centre is in every grid, so that this never falls.
                if value > best.1 {
                    best = (point, value);
                }
            }
            if winner.0 == centre {
                spacing /= 2.0;
                if self.gamma.powf(spacing) < self.until {
                    break;
                }
            }
            centre = winner.0;
        }
        Ok(best)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEARCH: Search = Search {
        gamma: 3.0,
        until: 1.05,
        ranges: [Some((0.0, f64::MAX)), Some((1e-3, 0.12))],
        rounds: 60,
    };

    /// A smooth bump about `at`, on the logarithms.
    fn bump(at: Point) -> impl Fn(&Point) -> f64 {
        move |p| {
            -(p[0] / at[0]).ln().powi(2)
                - 0.5 * (p[1] / at[1]).ln().powi(2)
                - 0.3 * (p[0] / at[0] * p[1] / at[1]).ln().powi(2)
        }
    }

    #[test]
    fn finds_the_top_of_a_hill_from_afar() {
        let score = bump([240.0, 0.03]);
        let mut asked = std::collections::BTreeSet::new();
        let (best, _) = SEARCH
            .run([1.0, 0.005], |points| {
                asked.extend(points.iter().map(|p| format!("{p:?}")));
                Ok(points.iter().map(&score).collect())
            })
            .unwrap();
        assert!(
            (best[0] / 240.0).ln().abs() < 0.06 && (best[1] / 0.03).ln().abs() < 0.06,
            "{best:?}"
        );
        assert!(asked.len() < 90, "{} points", asked.len());
    }

    #[test]
    fn grids_meet_the_points_of_earlier_ones() {
        for (at, start) in [([240.0, 0.03], [1.0, 0.005]), ([0.7, 0.3], [0.123_456_789, 0.041])] {
            let score = bump(at);
            let mut asked: Vec<Point> = Vec::new();
            SEARCH
                .run(start, |points| {
                    for point in points {
                        if !asked.contains(point) {
                            asked.push(*point);
                        }
                    }
                    Ok(points.iter().map(&score).collect())
                })
                .unwrap();
            // Sigma may end at its limit, which is no power of the ratio.
            let limit = SEARCH.ranges[1].unwrap().1;
            let apart =
                |a: f64, b: f64| a == b || a == limit || b == limit || (a / b).ln().abs() > 0.99 * 1.05_f64.ln();
            for (a, b) in asked.iter().flat_map(|a| asked.iter().map(move |b| (a, b))) {
                assert!(
                    apart(a[0], b[0]) && apart(a[1], b[1]),
                    "{a:?} and {b:?} are nearly the same"
                );
            }
            assert!(asked.len() > 20);
        }
    }

    #[test]
    fn keeps_limits_and_what_does_not_vary() {
        let search = Search {
            ranges: [Some((0.0, 3.0)), None],
            ..SEARCH
        };
        let score = bump([2.0, 0.5]);
        let (best, _) = search
            .run([1.0, 0.02], |points| Ok(points.iter().map(&score).collect()))
            .unwrap();
        assert_eq!(best[1], 0.02);
        let (best, _) = SEARCH
            .run([1.0, 0.02], |points| {
                assert!(points.iter().all(|p| p[1] <= 0.12));
                Ok(points.iter().map(&score).collect())
            })
            .unwrap();
        assert_eq!(best[1], 0.12);
    }

    #[test]
    fn failed_points_never_win() {
        let score = bump([1.0, 0.02]);
        let only_small = |p: &Point| if p[0] > 0.5 { f64::NAN } else { score(p) };
        let (best, value) = SEARCH
            .run([0.1, 0.02], |points| Ok(points.iter().map(only_small).collect()))
            .unwrap();
        assert!(best[0] <= 0.5 && value.is_finite());
    }
}
