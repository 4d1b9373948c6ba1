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
    /// The grid about `centre`, at most 3 x 3 points, each once, the centre first. Points are `base gamma^k` with whole or
    /// fractional `k`, so that later grids meet earlier points again up to rounding; callers that keep scores round them.
    pub fn grid(&self, centre: Point, gamma: f64) -> Vec<Point> {
        let steps = |range: Option<(f64, f64)>| if range.is_some() { -REACH..=REACH } else { 0..=0 };
        let mut points = vec![self.rounded(centre)];
        for i in steps(self.ranges[0]) {
            for j in steps(self.ranges[1]) {
                let point = self.rounded([centre[0] * gamma.powi(i), centre[1] * gamma.powi(j)]);
                if !points.contains(&point) {
                    points.push(point);
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
        let (mut centre, mut gamma) = (self.rounded(start), self.gamma);
        let mut best = (centre, f64::NEG_INFINITY);
        for _ in 0..self.rounds {
            let points = self.grid(centre, gamma);
            let values = scores(&points)?;
            let mut winner = (centre, f64::NEG_INFINITY);
            for (point, value) in points.into_iter().zip(values) {
                if value > winner.1 {
                    winner = (point, value);
                }
            }
            // The centre is in every grid, so that this never falls.
            if winner.1 > best.1 {
                best = winner;
            }
            if winner.0 == centre {
                gamma = gamma.sqrt();
                if gamma < self.until {
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
