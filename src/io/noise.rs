//! Seeded Gaussian noise that is the same on every machine and in every order.
//!
//! Generator: Philox4x32-10 (Salmon et al., 2011) with the seed as key and the counter (pair index, attempt, stream), each
//! block giving two uniform points of (-1, 1); then Marsaglia's polar method, which turns one accepted point into two
//! normal values, so value `2k` and `2k + 1` depend only on seed, stream and `k`. All arithmetic is IEEE 754 double
//! precision with `+ - * /` and `sqrt`, which every machine rounds alike; the logarithm is the series below rather than
//! the platform's, whose last bit varies.

use std::f64::consts::{LN_2, SQRT_2};

/// `count` independent standard normal values. Value `i` depends only on `seed`, `stream` (say, the number of an image)
/// and `i`, never on `count` or on what was drawn before.
pub fn gaussian(seed: u64, stream: u64, count: usize) -> Vec<f32> {
    let pairs = count.div_ceil(2) as u64;
    (0..pairs)
        .flat_map(|pair| normal_pair(seed, stream, pair))
        .take(count)
        .collect()
}

/// `count` independent values, uniform in (-1, 1). Value `i` depends only on `seed`, `stream` and `i`; the streams are
/// other ones than those of [`gaussian`].
pub fn uniform(seed: u64, stream: u64, count: usize) -> Vec<f64> {
    // The highest bit of the stream keeps these blocks apart from those of the normal values.
    let stream = stream | 1 << 63;
    (0..count.div_ceil(2) as u64)
        .flat_map(|pair| philox(seed, [pair, stream]).map(symmetric_uniform))
        .take(count)
        .collect()
}

/// 64 uniform bits, which depend only on `seed`, `stream` (below `2^62`) and `index`. The source of further seeds, say one
/// per epoch, and of permutations; the blocks are other ones than those of [`gaussian`] and [`uniform`].
pub fn bits(seed: u64, stream: u64, index: u64) -> u64 {
    philox(seed, [index, stream | 1 << 62])[0]
}

/// Standard deviation of white Gaussian noise from the median of its absolute values, over that of the standard normal
/// distribution: a minority of other values counts little. `None` of none.
pub fn deviation(mut values: Vec<f64>) -> Option<f64> {
    const MEDIAN_OF_NORMAL: f64 = 0.674_489_750_196_081_7;
    let middle = values.len() / 2;
    values.iter_mut().for_each(|v| *v = v.abs());
    (!values.is_empty()).then(|| {
        let (_, median, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
        *median / MEDIAN_OF_NORMAL
    })
}

/// The least noise that an estimate may give for a measurement of these values: 1e-4 of their root mean square, for what is called
/// free of noise is not so by its rounding. Above 0 also where nothing but zeros was measured, for which any will do.
pub fn least(values: impl Iterator<Item = f32>) -> f64 {
    let (sum, count) = values.fold((0.0, 0_usize), |(sum, count), v| {
        (sum + f64::from(v).powi(2), count + 1)
    });
    if sum > 0.0 {
        1e-4 * (sum / count as f64).sqrt()
    } else {
        1e-4
    }
}

/// Fewest differences that an estimate rests on.
const FEWEST: usize = 64;

/// Standard deviation of white noise in an image of `cols` columns from differences in which smooth images vanish: over 3 x 3 pixels the
/// second difference along rows of that along columns (Immerkaer, 1996), `6` times as noisy; over 2 x 2, where too few threes are
/// measured, the first ones, `2` times as noisy. Their median counts, so that edges, a minority, do little. Fine texture raises it.
/// `mask` is 0 where nothing was measured. `None` below 64 differences.
pub fn of_image(image: &[f32], cols: usize, mask: Option<&[f32]>) -> Option<f64> {
    let seen = |at: usize| mask.is_none_or(|mask| mask[at] > 0.0);
    let rows = image.len() / cols;
    let over = |weights: &[f64]| -> Option<f64> {
        let side = weights.len();
        let norm: f64 = weights.iter().map(|w| w * w).sum();
        let corners = (0..(rows + 1).saturating_sub(side))
            .flat_map(|r| (0..(cols + 1).saturating_sub(side)).map(move |c| (r, c)));
        let difference = |(row, col): (usize, usize)| {
            let mut sum = 0.0;
            for (i, a) in weights.iter().enumerate() {
                for (j, b) in weights.iter().enumerate() {
                    let at = (row + i) * cols + col + j;
                    if !seen(at) {
                        return None;
                    }
                    sum += a * b * f64::from(image[at]);
                }
            }
            Some(sum / norm)
        };
        let differences: Vec<f64> = corners.filter_map(difference).collect();
        (differences.len() >= FEWEST).then(|| deviation(differences)).flatten()
    };
    let noise = over(&[1.0, -2.0, 1.0]).or_else(|| over(&[1.0, -1.0]))?;
    let values = (0..image.len()).filter(|&at| seen(at)).map(|at| image[at]);
    Some(noise.max(least(values)))
}

/// Two standard normal values by the polar method; a new attempt while the point lies outside the unit disc.
fn normal_pair(seed: u64, stream: u64, pair: u64) -> [f32; 2] {
    let mut attempt = 0;
    loop {
        // The attempt sits above any pair index that memory could hold, so no two blocks are alike.
        let [a, b] = philox(seed, [pair | attempt << 48, stream]);
        let (x, y) = (symmetric_uniform(a), symmetric_uniform(b));
        let radius = x * x + y * y;
        if radius < 1.0 {
            let scale = (-2.0 * ln(radius) / radius).sqrt();
            return [(x * scale) as f32, (y * scale) as f32];
        }
        attempt += 1;
    }
}

/// A uniform value in (-1, 1) from the upper 52 bits, centred in its cell: never 0 and exactly symmetric.
fn symmetric_uniform(bits: u64) -> f64 {
    const CELL: f64 = 1.0 / (1_u64 << 51) as f64;
    ((bits >> 12) as f64 + 0.5) * CELL - 1.0
}

/// One block of Philox4x32-10, as two 64-bit words (low half first) in and out.
fn philox(key: u64, counter: [u64; 2]) -> [u64; 2] {
    const MULTIPLIERS: [u64; 2] = [0xD251_1F53, 0xCD9E_8D57];
    const KEY_STEPS: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
    let halves = |word: u64| [word as u32, (word >> 32) as u32];
    let mut key = halves(key);
    let [[mut c0, mut c1], [mut c2, mut c3]] = counter.map(halves);
    for _ in 0..10 {
        let [low0, high0] = halves(MULTIPLIERS[0] * u64::from(c0));
        let [low1, high1] = halves(MULTIPLIERS[1] * u64::from(c2));
        [c0, c1, c2, c3] = [high1 ^ c1 ^ key[0], low1, high0 ^ c3 ^ key[1], low0];
        key = [key[0].wrapping_add(KEY_STEPS[0]), key[1].wrapping_add(KEY_STEPS[1])];
    }
    [u64::from(c0) | u64::from(c1) << 32, u64::from(c2) | u64::from(c3) << 32]
}

/// Natural logarithm of a normal, positive number: `ln(2^e m) = e ln 2 + 2 artanh((m-1)/(m+1))` with m in [1/sqrt 2,
/// sqrt 2), where eleven terms of the artanh series reach double precision.
fn ln(value: f64) -> f64 {
    const MANTISSA: u64 = (1 << 52) - 1;
    const EXPONENT_OF_ONE: u64 = 1023;
    let bits = value.to_bits();
    let mut exponent = (bits >> 52) as f64 - EXPONENT_OF_ONE as f64;
    let mut mantissa = f64::from_bits(bits & MANTISSA | EXPONENT_OF_ONE << 52);
    if mantissa >= SQRT_2 {
        mantissa *= 0.5;
        exponent += 1.0;
    }
    let ratio = (mantissa - 1.0) / (mantissa + 1.0);
    let square = ratio * ratio;
    let series = (0..11)
        .rev()
        .fold(0.0, |sum, k| sum * square + 1.0 / f64::from(2 * k + 1));
    exponent * LN_2 + 2.0 * ratio * series
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers published with the generator (Random123, `kat_vectors`).
    #[test]
    fn philox_gives_the_published_answers() {
        assert_eq!(philox(0, [0, 0]), [0xe169_c58d_6627_e8d5, 0x9b00_dbd8_bc57_ac4c]);
        assert_eq!(
            philox(u64::MAX, [u64::MAX; 2]),
            [0x41c8_3b0e_408f_276d, 0x6d54_51fd_a20b_c7c6]
        );
        assert_eq!(
            philox(0x299f_31d0_a409_3822, [0x85a3_08d3_243f_6a88, 0x0370_7344_1319_8a2e]),
            [0x94fd_cceb_d16c_fe09, 0x2412_6ea1_5001_e420]
        );
    }

    #[test]
    fn logarithm_agrees_with_the_platform() {
        for k in 1..4000 {
            let value = f64::from(k) / 4000.0 * 10_f64.powi(-(k % 9));
            assert!(
                (ln(value) - value.ln()).abs() <= 4.0 * f64::EPSILON * value.ln().abs(),
                "{value}"
            );
        }
    }
}
