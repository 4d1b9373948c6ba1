//! Splines with values that f32 holds, still inside their slope bounds.

use super::{SlopeBounds, Spline};
use crate::{Error, Result};

/// Attempts at rounding a value to the inside of the bounds.
const ROUNDS: usize = 8;

/// The spline with values that f32 holds and slopes inside the bounds, each value within about one unit in the last place of
/// the one before plus the increment of `spline`.
pub(crate) fn rounded_inside(spline: &Spline, bounds: &SlopeBounds) -> Result<Spline> {
    let (t, f) = (spline.knots(), spline.values());
    let mut values = vec![f64::from(f[0] as f32)];
    for n in 0..t.len() - 1 {
        let h = t[n + 1] - t[n];
        let inside = values[n] + h * bounds.clip((f[n + 1] - f[n]) / h);
        let mut value = inside as f32;
        for _ in 0..ROUNDS {
            let slope = (f64::from(value) - values[n]) / h;
            if slope > bounds.max() {
                value = value.next_down();
            } else if slope < bounds.min() {
                value = value.next_up();
            }
        }
        values.push(f64::from(value));
    }
    let rounded = Spline::new(t.to_vec(), values)?;
    match bounds.violation(&rounded) {
        None => Ok(rounded),
        Some(violation) => Err(Error::Data(format!(
            "values in f32 cannot have slopes inside the bounds at these knots: {violation:?}"
        ))),
    }
}
