//! Magnetic resonance: the conventions of k-space, baselines, coil maps and Cartesian sampling.

use crate::common::{assert_close, gpu, relative_l2, turn, values};
use knotwork::Error;
use knotwork::operator::{Cartesian, LinearOperator, Mri, Pattern, apply, coil_maps, root_sum_of_squares};

fn positive(seed: u64, count: usize) -> Vec<f32> {
    values(seed, count).iter().map(|v| v.abs()).collect()
}

fn wide(v: &[f32]) -> Vec<f64> {
    v.iter().map(|&v| f64::from(v)).collect()
}

#[test]
fn both_sides_are_centred() {
    let _turn = turn();
    for size in [[6, 8], [5, 7], [4, 9]] {
        let pixels = size[0] * size[1];
        let middle = size[0] / 2 * size[1] + size[1] / 2;
        let mri = Mri::new(size, vec![1.0; pixels], None).unwrap();
        assert_eq!(mri.range(), [size[0], 2 * size[1]]);
        // A constant image has all of its energy in the middle sample, sqrt(pixels) times its value, real.
        let got = apply(gpu(), &mri, &vec![2.0; pixels], false).unwrap();
        let mut want = vec![0.0; 2 * pixels];
        want[2 * middle] = 2.0 * (pixels as f64).sqrt();
        assert_close("constant", &got, &want, |_| 1e-5);
        // A point in the middle of the image has a constant real spectrum.
        let mut point = vec![0.0; pixels];
        point[middle] = 1.0;
        let got = apply(gpu(), &mri, &point, false).unwrap();
        let want: Vec<f64> = [1.0 / (pixels as f64).sqrt(), 0.0].repeat(pixels);
        assert_close("point", &got, &want, |_| 1e-6);
    }
}

#[test]
fn full_sampling_is_inverted_by_the_baselines() {
    let _turn = turn();
    for (coils, size) in [(1, [33, 20]), (4, [24, 31])] {
        let image = positive(1, size[0] * size[1]);
        let maps = coil_maps(coils, size).unwrap();
        let mri = Mri::new(size, vec![1.0; image.len()], Some(maps)).unwrap();
        assert_eq!(mri.coils(), coils);
        let kspace = apply(gpu(), &mri, &image, false).unwrap();
        let zero_filled = mri.zero_filled(gpu(), &kspace).unwrap();
        assert!(relative_l2(&zero_filled, &wide(&image)) < 2e-6);
        // The maps' squares sum to 1, so the coil images' root-sum-of-squares is the image, which is not negative.
        let rss = root_sum_of_squares(gpu(), coils, size, &kspace).unwrap();
        assert!(relative_l2(&rss, &wide(&image)) < 2e-6);
    }
    let error = root_sum_of_squares(gpu(), 2, [3, 3], &[0.0; 18]).unwrap_err();
    assert!(error.to_string().contains("2 coils"), "{error}");
}

#[test]
fn samples_outside_of_the_mask_are_zero_and_do_not_matter() {
    let _turn = turn();
    let size = [9, 10];
    let mask: Vec<f32> = values(3, 90).iter().map(|v| f32::from(u8::from(*v > 0.0))).collect();
    let mri = Mri::new(size, mask.clone(), Some(coil_maps(2, size).unwrap())).unwrap();
    let mut kspace = apply(gpu(), &mri, &positive(4, 90), false).unwrap();
    let straight = mri.zero_filled(gpu(), &kspace).unwrap();
    for (at, sample) in kspace.chunks_mut(2).enumerate() {
        let measured = mask[at % 90] == 1.0;
        assert_eq!(sample != [0.0, 0.0], measured, "sample {at}");
        if !measured {
            sample.fill(3.0);
        }
    }
    assert_eq!(mri.zero_filled(gpu(), &kspace).unwrap(), straight);
}

#[test]
fn coil_maps_follow_the_formula_and_are_normalised() {
    let (coils, size) = (3, [5, 8]);
    let maps = coil_maps(coils, size).unwrap();
    for row in 0..5 {
        for col in 0..8 {
            let at = |coil: usize| maps[(coil * 5 + row) * 8 + col].map(f64::from);
            let total: f64 = (0..coils).flat_map(at).map(|part| part * part).sum();
            assert!((total - 1.0).abs() < 1e-6);
            // S_c (z - z_c) is the same positive number for every coil.
            let (x, y) = ((col as f64 - 3.5) / 4.0, (2.0 - row as f64) / 4.0);
            let products: Vec<[f64; 2]> = (0..coils)
                .map(|coil| {
                    let (sin, cos) = (2.0 * std::f64::consts::PI * coil as f64 / 3.0).sin_cos();
                    let ([re, im], [dx, dy]) = (at(coil), [x - 1.5 * cos, y - 1.5 * sin]);
                    [re * dx - im * dy, re * dy + im * dx]
                })
                .collect();
            for [re, im] in &products {
                assert!(
                    (re - products[0][0]).abs() < 1e-6 && *re > 0.1 && im.abs() < 1e-6,
                    "{products:?}"
                );
            }
        }
    }
    assert!(matches!(coil_maps(0, [4, 4]), Err(Error::Usage(_))));
}

fn cartesian(acceleration: f64, centre_fraction: f64, pattern: Pattern, seed: u64) -> Cartesian {
    Cartesian {
        acceleration,
        centre_fraction,
        pattern,
        seed,
    }
}

#[test]
fn cartesian_masks_have_their_centre_and_their_acceleration() {
    for pattern in [Pattern::Random, Pattern::Equispaced] {
        for (acceleration, fraction, cols) in [(4.0, 0.08, 320), (8.0, 0.04, 368), (4.0, 0.08, 321), (2.0, 0.16, 63)] {
            let rows = 3;
            let mut sampled = 0.0;
            let seeds = 200;
            let mut different = false;
            for seed in 0..seeds {
                let sampling = cartesian(acceleration, fraction, pattern, seed);
                let mask = sampling.mask([rows, cols]).unwrap();
                assert_eq!(mask, sampling.mask([rows, cols]).unwrap());
                different |= mask
                    != cartesian(acceleration, fraction, pattern, seed + 1)
                        .mask([rows, cols])
                        .unwrap();
                let line = &mask[..cols];
                assert!(line.iter().all(|m| *m == 0.0 || *m == 1.0));
                assert_eq!(mask, line.repeat(rows), "whole columns");
                let middle = (cols as f64 * fraction).round() as usize;
                let first = (cols - middle).div_ceil(2);
                assert!(line[first..first + middle].iter().all(|m| *m == 1.0));
                assert_eq!(line[cols / 2], 1.0, "frequency zero");
                sampled += f64::from(line.iter().sum::<f32>());
            }
            assert!(different, "the seed does nothing");
            // Five standard deviations of the mean of 200 binomial counts; equispaced columns vary less.
            let (mean, want) = (sampled / seeds as f64, cols as f64 / acceleration);
            let slack = 5.0 * (want / seeds as f64).sqrt() + if pattern == Pattern::Equispaced { 1.0 } else { 0.0 };
            assert!(
                (mean - want).abs() < slack,
                "{pattern:?} {cols}: {mean} columns, want {want}"
            );
        }
    }
}

#[test]
fn equispaced_columns_keep_their_distance() {
    let line = cartesian(4.0, 0.08, Pattern::Equispaced, 5).mask([1, 320]).unwrap();
    // n = 320, m = 26: d = 294 / 54.
    let outside: Vec<usize> = (0..147).filter(|at| line[*at] == 1.0).collect();
    assert!(outside.len() > 20);
    for pair in outside.windows(2) {
        assert!((5..=6).contains(&(pair[1] - pair[0])), "{outside:?}");
    }
}

#[test]
fn impossible_samplings_are_refused() {
    for (acceleration, fraction, part) in [
        (0.5, 0.1, "acceleration of 0.5"),
        (f64::NAN, 0.1, "acceleration"),
        (4.0, 0.0, "centre fraction of 0"),
        (4.0, 1.0, "centre fraction of 1"),
        (4.0, 0.5, "below 0.250"),
    ] {
        let error = cartesian(acceleration, fraction, Pattern::Random, 1)
            .mask([4, 64])
            .unwrap_err();
        assert!(
            matches!(&error, Error::Usage(_)) && error.to_string().contains(part),
            "{error}"
        );
    }
}
