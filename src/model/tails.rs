//! Potentials that are bounded from below.

use super::ridge::Ridge;
use crate::Result;
use crate::spline::Spline;

impl Ridge {
    /// The model with activations that lead outwards in the end: `psi_c` is bounded from below, and so is `R`.
    ///
    /// A weakly convex activation may fall on beyond its outermost knot, where training saw no responses; its potential
    /// then falls for ever, and reconstructions from incomplete measurements run away along with it. Where an activation is
    /// inward at its outermost knot `t` or falls from there (seen outwards), it goes on to `|phi(t)|` (outwards) at `t` plus
    /// half the range of its knots, and further with the same slope, at least 0. Between the knots nothing changes, and slopes
    /// stay within the model's bounds.
    ///
    /// # Errors
    /// None but defects.
    pub fn bounded_below(&self) -> Result<Self> {
        let steepest = self.slope_bounds.1;
        let activations: Result<Vec<Spline>> = self.activations.iter().map(|f| outward(f, steepest)).collect();
        let model = Self {
            activations: activations?,
            ..self.clone()
        };
        model.check()?;
        Ok(model)
    }
}

fn outward(f: &Spline, steepest: f64) -> Result<Spline> {
    let (mut knots, mut values) = (f.knots().to_vec(), f.values().to_vec());
    let slopes = f.slopes();
    let (Some(&first), Some(&last), Some(&slope_first), Some(&slope_last)) =
        (knots.first(), knots.last(), slopes.first(), slopes.last())
    else {
        return Ok(f.clone());
    };
    let (start, end) = (values[0], values[values.len() - 1]);
    // A slope within bounds is left room for rounding.
    let reach = |value: f64| (0.5 * (last - first)).max(2.1 * value.abs() / steepest.max(f64::MIN_POSITIVE));
    if end < 0.0 || slope_last < 0.0 {
        knots.push(last + reach(end));
        values.push(end.abs());
    }
    if start > 0.0 || slope_first < 0.0 {
        knots.insert(0, first - reach(start));
        values.insert(0, -start.abs());
    }
    Spline::new(knots, values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_lead_outwards_and_the_rest_stays() {
        let knots = vec![-2.0, -0.5, 0.5, 2.0];
        for (values, added) in [
            (vec![0.3, -0.4, 0.4, -0.3], 2),
            (vec![-0.2, -0.4, 0.4, 0.2], 2),
            (vec![-0.5, -0.4, 0.4, 0.5], 0),
            (vec![-0.5, -0.4, 0.4, 0.1], 1),
        ] {
            let f = Spline::new(knots.clone(), values).unwrap();
            let g = outward(&f, 1.0).unwrap();
            assert_eq!(g.len(), f.len() + added);
            for x in [-2.0, -1.1, -0.5, 0.0, 0.7, 2.0] {
                assert!((f.value(x) - g.value(x)).abs() < 1e-15);
            }
            for x in [4.5, 10.0, 1e3] {
                assert!(
                    g.value(x) >= 0.0 && g.value(-x) <= 0.0,
                    "{x}: {} {}",
                    g.value(x),
                    g.value(-x)
                );
                assert!(g.slope(x) >= 0.0 && g.slope(-x) >= 0.0);
            }
            let (low, high) = g.slope_range();
            assert!(low >= f.slope_range().0.min(0.0) && high <= 1.0);
        }
    }
}
