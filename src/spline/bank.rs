//! Splines as the device holds them: one table of knots, one record per channel.

use super::Spline;

/// A bank of activations ready for upload; the layout is that of `shaders/lib/spline.wgsl`.
#[derive(Clone, Debug, PartialEq)]
pub struct SplineBank {
    /// `(t, f, s, p)` per knot: knot, value, slope of the segment that starts there (the last repeats the one before),
    /// integral from 0 to `t`. Computed in f64, rounded once.
    pub entries: Vec<[f32; 4]>,
    /// `(first entry, count)` per spline.
    pub ranges: Vec<(u32, u32)>,
}

impl SplineBank {
    /// Lays out `splines`, leaving out knots at which f32 cannot tell that the slope changes (so that a function stored
    /// on a fine uniform grid costs only the knots that it has).
    pub fn new(splines: &[Spline]) -> Self {
        let mut bank = Self {
            entries: Vec::new(),
            ranges: Vec::new(),
        };
        for spline in splines {
            let kept = essential_knots(spline);
            let first = bank.entries.len();
            let (t, f) = (spline.knots(), spline.values());
            for (position, &k) in kept.iter().enumerate() {
                let segment = position.min(kept.len() - 2);
                let (a, b) = (kept[segment], kept[segment + 1]);
                let slope = (f[b] - f[a]) / (t[b] - t[a]);
                bank.entries
                    .push([t[k] as f32, f[k] as f32, slope as f32, spline.integral(t[k]) as f32]);
            }
            bank.ranges.push((first as u32, kept.len() as u32));
        }
        bank
    }

    /// Knots of the longest spline.
    pub fn longest(&self) -> usize {
        self.ranges.iter().map(|r| r.1).max().unwrap_or(2) as usize
    }
}

/// Indices of the knots that matter: greedily, from each kept knot the longest chord from which no skipped knot deviates
/// by more than half a unit in the last place of the function's largest value. Chord slopes are means of the slopes they
/// replace, so slope bounds survive.
fn essential_knots(spline: &Spline) -> Vec<usize> {
    let (t, f) = (spline.knots(), spline.values());
    let largest = f.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    let tolerance = largest * f64::from(f32::EPSILON) / 4.0;
    let last = t.len() - 1;
    let mut kept = vec![0];
    let mut from = 0;
    while from < last {
        let mut to = from + 1;
        while to < last {
            let end = to + 1;
            let slope = (f[end] - f[from]) / (t[end] - t[from]);
            let straight = (from + 1..end).all(|k| (f[from] + slope * (t[k] - t[from]) - f[k]).abs() <= tolerance);
            if !straight {
                break;
            }
            to = end;
        }
        kept.push(to);
        from = to;
    }
    kept
}
