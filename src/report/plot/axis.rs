//! Axes: a padded range and ticks at multiples of 1, 2 or 5 times a power of ten, labelled without rounding noise.

/// Relative width below which a range is widened: f64 can still tell the ticks of a range this narrow apart.
const NARROWEST: f64 = 1e-9;
/// Magnitudes below this count as 0 and those above its inverse are not drawn: sums and quotients stay finite.
pub(super) const SMALLEST: f64 = 1e-290;
/// The part of the range added at either end, so that marks at the ends are whole.
const PADDING: f64 = 0.06;
/// Labels with more digits than this show the difference to the first tick instead.
const MOST_DIGITS: i64 = 99_999;

/// Steps between ticks from coarse to fine: a digit times a power of ten, relative to the decade of the range.
const STEPS: [(i64, i32); 8] = [(1, 1), (5, 0), (2, 0), (1, 0), (5, -1), (2, -1), (1, -1), (5, -2)];

/// A range of values and the ticks in it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Axis {
    pub low: f64,
    pub high: f64,
    /// Position and label, increasing.
    pub ticks: Vec<(f64, String)>,
    /// What is to be added to every label, where all of them are long and alike.
    pub offset: Option<String>,
    /// Labels count in units of ten to this power.
    pub exponent: i32,
    /// Whether `low` and `high` are decimal logarithms, as are the places in between.
    pub logarithmic: bool,
}

impl Axis {
    /// An axis over the finite values among `values`, with about `count` ticks. No finite value gives [-1, 1].
    pub fn over(values: impl IntoIterator<Item = f64>, count: usize) -> Self {
        let (low, high) = values
            .into_iter()
            .filter(|value| drawable(*value))
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| {
                (low.min(v), high.max(v))
            });
        let (low, high) = if low <= high { (low, high) } else { (0.0, 0.0) };
        let magnitude = low.abs().max(high.abs());
        let (low, high) = if magnitude < SMALLEST {
            (-1.0, 1.0)
        } else if low == high {
            (low - 0.1 * magnitude, high + 0.1 * magnitude)
        } else {
            let pad = (PADDING * (high - low)).max(NARROWEST * magnitude);
            (low - pad, high + pad)
        };
        Self::with_ticks(low, high, count)
    }

    fn with_ticks(low: f64, high: f64, count: usize) -> Self {
        let raw = (high - low) / count.max(1) as f64;
        let decade = raw.log10().floor() as i32;
        let step = |&(unit, exponent): &(i64, i32)| unit as f64 * power_of_ten(decade + exponent);
        let multiples = |candidate: &(i64, i32)| {
            let step = step(candidate);
            ((low / step).ceil() as i64, (high / step).floor() as i64)
        };
        // The finest step that gives no more ticks than wanted, or a finer one if these are too few: one tick says
        // nothing about the scale.
        let coarse = STEPS.iter().take_while(|s| step(s) >= raw * (1.0 - NARROWEST)).count();
        let chosen = STEPS[coarse.saturating_sub(1)..].iter().find(|candidate| {
            let (first, last) = multiples(candidate);
            last > first && last - first + 1 >= (count as i64 + 1) / 2
        });
        let &(unit, exponent) = chosen.unwrap_or(&STEPS[STEPS.len() - 1]);
        let (first, last) = multiples(&(unit, exponent));
        let exponent = decade + exponent;
        // Tick n stands at numerator n times a power of ten: labels are written from integers.
        let numerators: Vec<i64> = (first..=last).map(|k| k * unit).collect();
        let largest = |numerators: &[i64]| numerators.iter().map(|n| n.abs()).max().unwrap_or(0);
        let origin = match numerators.first() {
            Some(&n) if largest(&numerators) > MOST_DIGITS => n,
            _ => 0,
        };
        let shown: Vec<i64> = numerators.iter().map(|n| n - origin).collect();
        let digits = largest(&shown).max(1).ilog10() as i32;
        // Plain numbers where they are short, otherwise one digit before the point and the power of ten aside.
        let scale = if (-3..=4).contains(&(digits + exponent)) {
            0
        } else {
            digits + exponent
        };
        let ticks = numerators
            .iter()
            .zip(shown)
            .map(|(&n, shown)| (times_power_of_ten(n, exponent), scaled_decimal(shown, exponent - scale)))
            .collect();
        let offset = (origin != 0).then(|| {
            let sign = if origin < 0 { "−" } else { "+" };
            let digits = origin.abs().ilog10() as i32;
            match digits + exponent {
                0..=9 => format!("{sign} {}", scaled_decimal(origin.abs(), exponent)),
                power => format!("{sign} {}e{power}", scaled_decimal(origin.abs(), -digits)),
            }
        });
        Self {
            low,
            high,
            ticks,
            offset,
            exponent: scale,
            logarithmic: false,
        }
    }

    /// A logarithmic axis over the positive values among `values`, with about `count` ticks at powers of ten, and at 2 and 5
    /// times these where they are few. Values within one decade are better off on a plain axis and get one, as does nothing.
    pub fn logarithmic(values: impl IntoIterator<Item = f64>, count: usize) -> Self {
        let positive: Vec<f64> = values.into_iter().filter(|&v| drawable(v) && v > SMALLEST).collect();
        let logarithms = positive.iter().map(|v| v.log10());
        let (low, high) = logarithms.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        if positive.is_empty() || high - low < 1.0 {
            return Self::over(positive, count);
        }
        let pad = PADDING * (high - low);
        let (low, high) = (low - pad, high + pad);
        let decades = (low.ceil() as i32)..=(high.floor() as i32);
        let units: &[i64] = if decades.clone().count() < 3 { &[1, 2, 5] } else { &[1] };
        let step = decades.clone().count().div_ceil(count.max(1)).max(1) as i32;
        // One decade more on the left: 2 and 5 times its power may lie inside.
        let ticks = (decades.start() - 1..=*decades.end())
            .filter(|exponent| exponent.rem_euclid(step) == 0)
            .flat_map(|exponent| units.iter().map(move |&unit| (unit, exponent)))
            .map(|(unit, exponent)| (times_power_of_ten(unit, exponent), logarithmic_label(unit, exponent)))
            .filter(|(value, _)| (low..=high).contains(&value.log10()))
            .collect();
        Self {
            low,
            high,
            ticks,
            offset: None,
            exponent: 0,
            logarithmic: true,
        }
    }

    /// Where a value stands in the range: 0 at the lower end, 1 at the upper.
    pub fn place(&self, value: f64) -> f64 {
        let value = if self.logarithmic { value.log10() } else { value };
        (value - self.low) / (self.high - self.low)
    }

    pub fn contains(&self, value: f64) -> bool {
        (0.0..=1.0).contains(&self.place(value))
    }
}

/// Whether a value can be drawn: finite and not so large that differences overflow.
pub(super) fn drawable(value: f64) -> bool {
    value.abs() <= 1.0 / SMALLEST
}

fn power_of_ten(exponent: i32) -> f64 {
    10.0_f64.powi(exponent)
}

fn times_power_of_ten(n: i64, exponent: i32) -> f64 {
    // Powers with positive exponents are the exact ones.
    if exponent < 0 {
        n as f64 / power_of_ten(-exponent)
    } else {
        n as f64 * power_of_ten(exponent)
    }
}

/// `n` with a decimal point before its last `decimals` digits.
pub(super) fn decimal(n: i64, decimals: usize) -> String {
    let digits = format!("{:0>width$}", n.unsigned_abs(), width = decimals + 1);
    let (whole, fraction) = digits.split_at(digits.len() - decimals);
    let sign = if n < 0 { "−" } else { "" };
    let point = if decimals > 0 { "." } else { "" };
    format!("{sign}{whole}{point}{fraction}")
}

/// `n` times ten to the power `exponent`, written out.
fn scaled_decimal(n: i64, exponent: i32) -> String {
    match usize::try_from(exponent) {
        Ok(zeros) if n != 0 => decimal(n, 0) + &"0".repeat(zeros),
        Ok(_) => decimal(0, 0),
        Err(_) => decimal(n, exponent.unsigned_abs() as usize),
    }
}

/// `unit` times ten to the power `exponent` in few characters.
fn logarithmic_label(unit: i64, exponent: i32) -> String {
    if (-3..=4).contains(&exponent) {
        return scaled_decimal(unit, exponent);
    }
    let raised: String = exponent
        .to_string()
        .chars()
        .map(|c| match c.to_digit(10) {
            Some(digit) => ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'][digit as usize],
            None => '⁻',
        })
        .collect();
    match unit {
        1 => format!("10{raised}"),
        _ => format!("{unit}·10{raised}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(low: f64, high: f64, count: usize) -> (Vec<String>, Option<String>, i32) {
        let axis = Axis::with_ticks(low, high, count);
        for (position, _) in &axis.ticks {
            assert!(axis.contains(*position), "{position} outside [{low}, {high}]");
        }
        (
            axis.ticks.into_iter().map(|t| t.1).collect(),
            axis.offset,
            axis.exponent,
        )
    }

    #[test]
    fn ticks_are_round_numbers_and_labels_are_exact() {
        let plain = |list: &[&str]| (list.iter().map(|s| s.to_string()).collect::<Vec<_>>(), None, 0);
        assert_eq!(labels(0.0, 1.0, 5), plain(&["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]));
        assert_eq!(labels(-0.1, 0.1, 4), plain(&["−0.10", "−0.05", "0.00", "0.05", "0.10"]));
        assert_eq!(labels(-7.0, 12.0, 4), plain(&["−5", "0", "5", "10"]));
        assert_eq!(
            labels(0.0, 80_000.0, 4),
            plain(&["0", "20000", "40000", "60000", "80000"])
        );
        assert_eq!(
            labels(0.0, 0.004, 4),
            plain(&["0.000", "0.001", "0.002", "0.003", "0.004"])
        );
        let strings = |list: &[&str]| list.iter().map(|s| s.to_string()).collect::<Vec<_>>();
        assert_eq!(
            labels(-2e-30, 2e-30, 4),
            (strings(&["−2", "−1", "0", "1", "2"]), None, -30)
        );
        assert_eq!(labels(0.0, 3.1e30, 4), (strings(&["0", "1", "2", "3"]), None, 30));
        assert_eq!(
            labels(1e6, 1e6 + 0.4, 4),
            (
                strings(&["0.0", "0.1", "0.2", "0.3", "0.4"]),
                Some("+ 1000000.0".into()),
                0
            )
        );
        let (_, offset, exponent) = labels(-3e20 - 2e11, -3e20, 4);
        assert_eq!((offset.unwrap().split('e').next_back(), exponent), (Some("20"), 11));
    }

    #[test]
    fn logarithmic_ticks_are_powers_of_ten() {
        let labels = |values: &[f64], count: usize| {
            let axis = Axis::logarithmic(values.iter().copied(), count);
            for (value, _) in &axis.ticks {
                assert!(axis.contains(*value), "{axis:?}");
            }
            (
                axis.logarithmic,
                axis.ticks.into_iter().map(|t| t.1).collect::<Vec<_>>(),
            )
        };
        let want = |log: bool, list: &[&str]| (log, list.iter().map(|s| s.to_string()).collect::<Vec<_>>());
        assert_eq!(
            labels(&[1e-5, 0.0, -3.0, 1.0], 6),
            want(true, &["10⁻⁵", "10⁻⁴", "0.001", "0.01", "0.1", "1"])
        );
        assert_eq!(labels(&[1e-5, 1e5], 4), want(true, &["0.001", "1", "1000"]));
        assert_eq!(labels(&[0.3, 4.0], 5), want(true, &["0.5", "1", "2"]));
        assert_eq!(
            labels(&[2e-6, 3e-5], 5),
            want(true, &["2·10⁻⁶", "5·10⁻⁶", "10⁻⁵", "2·10⁻⁵"])
        );
        assert_eq!(labels(&[1.0, 5.0], 5), want(false, &["1", "2", "3", "4", "5"]));
        let nothing = Axis::logarithmic([0.0, -1.0, f64::NAN], 4);
        assert_eq!((nothing.low, nothing.high, nothing.logarithmic), (-1.0, 1.0, false));
        let axis = Axis::logarithmic([1.0, 1e4], 4);
        assert!((axis.place(100.0) - 0.5).abs() < 1e-12 && axis.place(1e4) > axis.place(1e3));
    }

    #[test]
    fn every_range_gets_a_few_ticks_in_order() {
        for exponent in -280..=280 {
            for (a, b) in [(-1.0, 1.0), (0.0, 1.0), (1.0, 1.000_001), (-3.0, -2.9), (0.7, 0.7)] {
                let scale = 10.0_f64.powi(exponent);
                for count in [2, 5] {
                    let axis = Axis::over([a * scale, b * scale], count);
                    assert!((2..=2 * count + 2).contains(&axis.ticks.len()), "{axis:?}");
                    assert!(axis.ticks.windows(2).all(|t| t[0].0 < t[1].0), "{axis:?}");
                    let mut names: Vec<&String> = axis.ticks.iter().map(|t| &t.1).collect();
                    names.dedup();
                    assert_eq!(names.len(), axis.ticks.len(), "{axis:?}");
                    assert!(names.iter().all(|name| name.chars().count() <= 9), "{axis:?}");
                }
            }
        }
        for values in [
            vec![],
            vec![0.0],
            vec![f64::NAN, f64::INFINITY],
            vec![1e-310, -1e-320],
            vec![f64::MAX],
        ] {
            let axis = Axis::over(values, 4);
            assert_eq!((axis.low, axis.high), (-1.0, 1.0));
        }
    }
}
