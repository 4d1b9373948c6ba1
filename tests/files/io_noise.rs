//! The noise is Gaussian, reproducible and addressed by position.

use knotwork::io::noise::gaussian;

/// From an independent implementation in Python, whose logarithm is the platform's.
#[test]
fn the_first_values_never_change() {
    let bits = [
        0x3f38_5474,
        0xbe9a_cd7a,
        0xbedb_7d7c,
        0xbf8f_5a4f,
        0x3e54_e4ac,
        0xbe94_f999,
        0xbb8f_f5e1,
        0x3ea1_7d70,
    ];
    assert_eq!(gaussian(42, 7, 8), bits.map(f32::from_bits));
}

#[test]
fn a_value_depends_only_on_its_place() {
    let long = gaussian(1, 2, 1001);
    for count in [0, 1, 2, 7, 1000] {
        assert_eq!(gaussian(1, 2, count), long[..count]);
    }
    assert_ne!(gaussian(1, 3, 1001), long);
    assert_ne!(gaussian(2, 2, 1001), long);
}

#[test]
fn moments_and_tails_are_gaussian() {
    const COUNT: usize = 1 << 20;
    let values = gaussian(2024, 0, COUNT);
    let moment = |power: i32| values.iter().map(|&value| f64::from(value).powi(power)).sum::<f64>() / COUNT as f64;
    // Five standard errors of each estimate: variances of x, x^2, x^3, x^4 are 1, 2, 15, 96.
    for (power, expected, variance) in [(1, 0.0, 1.0), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0)] {
        let bound = 5.0 * f64::sqrt(variance / COUNT as f64);
        assert!(
            (moment(power) - expected).abs() < bound,
            "moment {power}: {}",
            moment(power)
        );
    }
    let beyond_three = values.iter().filter(|value| value.abs() > 3.0).count() as f64 / COUNT as f64;
    assert!(
        (beyond_three - 0.002_699_8).abs() < 5.0 * f64::sqrt(0.0027 / COUNT as f64),
        "{beyond_three}"
    );
    let lag_one = values.windows(2).map(|pair| f64::from(pair[0] * pair[1])).sum::<f64>() / COUNT as f64;
    assert!(lag_one.abs() < 5.0 / f64::sqrt(COUNT as f64), "{lag_one}");
}
