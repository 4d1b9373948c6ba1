//! Training samples: every patch of the grid once per epoch, the same sample whatever the batches, honest noise, exact
//! symmetries.

use crate::patches::{SIZES, coded, folder, plain, write};
use knotwork::Error;
use knotwork::io::noise;
use knotwork::train::data::{Batch, Corpus, DataSettings, Permutation, Prefetch};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// From an independent implementation in Python.
#[test]
fn random_orders_never_change() {
    assert_eq!(noise::bits(1, 2, 3), 0x7eaa_379a_d363_2512);
    let order: Vec<u64> = (0..6).map(|n| Permutation::new(3, 1000).apply(n)).collect();
    assert_eq!(order, [847, 315, 427, 572, 541, 976]);
    let long = Permutation::new(9, (1 << 40) + 3);
    assert_eq!([long.apply(0), long.apply(1 << 40)], [162_563_264_374, 164_690_927_730]);
}

#[test]
fn a_random_order_is_a_permutation() {
    for length in [1, 2, 3, 5, 16, 17, 63, 1000, 4096, 4097] {
        for seed in [0, 1, u64::MAX] {
            let order = Permutation::new(seed, length);
            let images: BTreeSet<u64> = (0..length).map(|n| order.apply(n)).collect();
            assert_eq!(images.len() as u64, length);
            assert!(images.last().is_some_and(|&last| last < length));
        }
    }
    for length in [(1 << 40) + 3, (1 << 62) + 1, u64::MAX] {
        let order = Permutation::new(5, length);
        let images: BTreeSet<u64> = (0..1000).chain(length - 1000..length).map(|n| order.apply(n)).collect();
        assert!(images.len() == 2000 && images.iter().all(|&n| n < length));
    }
}

/// Over many seeds every element comes first equally often, and the second is independent of it.
#[test]
fn random_orders_have_no_preference() {
    const SEEDS: u64 = 20_000;
    for length in [3, 5, 6] {
        let mut pairs: BTreeMap<(u64, u64), u64> = BTreeMap::new();
        for seed in 0..SEEDS {
            let order = Permutation::new(noise::bits(seed, 0, 0), length);
            *pairs.entry((order.apply(0), order.apply(1))).or_default() += 1;
        }
        let share = 1.0 / (length * (length - 1)) as f64;
        let bound = 5.0 * (SEEDS as f64 * share * (1.0 - share)).sqrt();
        assert_eq!(pairs.len() as u64, length * (length - 1));
        for (pair, count) in pairs {
            let off = count as f64 - SEEDS as f64 * share;
            assert!(off.abs() <= bound, "{pair:?} of {length}: off by {off}, bound {bound}");
        }
    }
}

#[test]
fn an_epoch_is_the_grid_without_the_held_out_images() {
    let folder = folder(&SIZES);
    let (patch, stride) = (7, 3);
    for (held_out, names) in [(0, vec![]), (1, vec![2]), (2, vec![1, 3])] {
        let corpus = Corpus::read(folder.path(), &plain(patch, stride), held_out).unwrap();
        let mut grid = BTreeSet::new();
        for (image, &(height, width)) in SIZES.iter().enumerate().filter(|(image, _)| !names.contains(image)) {
            for top in (0..height).step_by(stride).filter(|top| top + patch <= height) {
                for left in (0..width).step_by(stride).filter(|left| left + patch <= width) {
                    grid.insert((image, top, left));
                }
            }
        }
        assert_eq!(corpus.len(), grid.len() as u64);
        let mut orders = BTreeSet::new();
        for epoch in 0..3 {
            let order: Vec<(usize, usize, usize)> = (0..corpus.len())
                .map(|index| {
                    let clean = corpus.sample(epoch, index).clean;
                    let code = clean[0] as usize;
                    let (image, top, left) = (code / 10_000, code / 100 % 100, code % 100);
                    for (n, &value) in clean.iter().enumerate() {
                        assert_eq!(value, coded(image, top + n / patch, left + n % patch));
                    }
                    (image, top, left)
                })
                .collect();
            assert_eq!(order.iter().copied().collect::<BTreeSet<_>>(), grid);
            orders.insert(order);
        }
        assert_eq!(orders.len(), 3, "epochs have different orders");

        let validation = corpus.validation();
        assert_eq!(validation.len(), held_out);
        for (&image, (name, plane)) in names.iter().zip(validation) {
            assert_eq!(name, &format!("image{image:02}.npy"));
            assert_eq!((plane.height, plane.width), SIZES[image]);
            for (n, &value) in plane.values.iter().enumerate() {
                assert_eq!(value, coded(image, n / plane.width, n % plane.width));
            }
        }
    }
}

#[test]
fn batches_of_any_size_hold_the_same_samples() {
    let folder = folder(&SIZES);
    let settings = DataSettings {
        scales: vec![1.0, 0.8],
        augment: true,
        ..plain(6, 2)
    };
    let corpus = Arc::new(Corpus::read(folder.path(), &settings, 1).unwrap());
    let again = Corpus::read(folder.path(), &settings, 1).unwrap();
    // From within an epoch into the one after the next.
    let (first, count) = (corpus.len() / 2, 2 * corpus.len());
    let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    let mut want: [Vec<u32>; 3] = Default::default();
    for number in first..first + count {
        let sample = again.sample(number / again.len(), number % again.len());
        want[0].extend(bits(&sample.clean));
        want[1].extend(bits(&sample.noisy));
        want[2].push(sample.sigma.to_bits());
    }
    for (batch, ahead) in [(1, 1), (5, 0), (64, 3)] {
        let mut prefetch = Prefetch::new(corpus.clone(), first, batch, ahead).unwrap();
        let mut got: [Vec<u32>; 3] = Default::default();
        let mut number = first;
        while got[2].len() < count as usize {
            let made: Batch = prefetch.next().unwrap();
            assert_eq!(made.first_sample, number);
            assert_eq!(made.sigmas.len(), batch);
            number += batch as u64;
            got[0].extend(bits(&made.clean));
            got[1].extend(bits(&made.noisy));
            got[2].extend(bits(&made.sigmas));
        }
        for (got, want) in got.iter().zip(&want) {
            assert_eq!(got[..want.len()], want[..], "batches of {batch}");
        }
    }
    assert!(matches!(Prefetch::new(corpus, 0, 0, 1), Err(Error::Usage(_))));
}

#[test]
fn noise_has_the_level_it_says() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a.npy", 40, 40, |r, c| {
        ((r * 7 + c * 3) % 11) as f32 / 11.0
    });
    let (low, high) = (0.05, 0.1);
    let settings = DataSettings {
        sigma: (low, high),
        ..plain(16, 1)
    };
    let corpus = Corpus::read(folder.path(), &settings, 0).unwrap();
    let mut residuals: Vec<Vec<f64>> = Vec::new();
    let mut sigmas = Vec::new();
    for number in 0..4 * corpus.len() {
        let sample = corpus.sample(number / corpus.len(), number % corpus.len());
        let sigma = f64::from(sample.sigma);
        let pairs = sample.noisy.iter().zip(&sample.clean);
        residuals.push(pairs.map(|(&y, &x)| (f64::from(y) - f64::from(x)) / sigma).collect());
        sigmas.push(sigma);
    }
    // Five standard errors everywhere; rounding of the pixels to f32 is 1e-6 of the noise.
    let all: Vec<f64> = residuals.concat();
    let count = all.len() as f64;
    let moment = |power: i32| all.iter().map(|n| n.powi(power)).sum::<f64>() / count;
    for (power, expected, variance) in [(1, 0.0, 1.0), (2, 1.0, 2.0), (4, 3.0, 96.0)] {
        let off = moment(power) - expected;
        assert!(
            off.abs() < 5.0 * f64::sqrt(variance / count),
            "moment {power} is off by {off}"
        );
    }
    // Neighbours in the order, and the same sample in two epochs, share no noise.
    for distance in [1, corpus.len() as usize] {
        let pairs = residuals.iter().zip(&residuals[distance..]);
        let products: Vec<f64> = pairs.flat_map(|(a, b)| a.iter().zip(b).map(|(a, b)| a * b)).collect();
        let mean = products.iter().sum::<f64>() / products.len() as f64;
        assert!(
            mean.abs() < 5.0 / (products.len() as f64).sqrt(),
            "distance {distance}: {mean}"
        );
    }
    let mean = sigmas.iter().sum::<f64>() / sigmas.len() as f64;
    let bound = 5.0 * (high - low) / (12.0 * sigmas.len() as f64).sqrt();
    assert!((mean - 0.5 * (low + high)).abs() < bound, "mean level {mean}");
    assert!(sigmas.iter().all(|s| (low - 1e-8..=high + 1e-8).contains(s)));
    let within = |part: f64| sigmas.iter().any(|s| (s - low) / (high - low) < part);
    assert!(within(0.02) && sigmas.iter().any(|s| (s - low) / (high - low) > 0.98));

    let settings = DataSettings {
        sigma: (0.0, 1e-30),
        ..plain(16, 1)
    };
    let corpus = Corpus::read(folder.path(), &settings, 0).unwrap();
    assert!((0..corpus.len()).all(|index| corpus.sample(0, index).sigma > 0.0));
}

/// A quarter turn and a mirror generate the symmetries of the square.
#[test]
fn augmented_patches_are_exact_symmetries_of_the_plain_ones() {
    let folder = folder(&[(60, 60)]);
    let side = 5;
    let as_they_are = Corpus::read(folder.path(), &plain(side, 1), 0).unwrap();
    let settings = DataSettings {
        augment: true,
        ..plain(side, 1)
    };
    let augmented = Corpus::read(folder.path(), &settings, 0).unwrap();
    let turned = |p: &[f32]| -> Vec<f32> {
        (0..side * side)
            .map(|n| p[(n % side) * side + side - 1 - n / side])
            .collect()
    };
    let mirrored = |p: &[f32]| -> Vec<f32> { p.chunks(side).flat_map(|row| row.iter().rev().copied()).collect() };
    let mut counts = [0_u32; 8];
    for index in 0..augmented.len() {
        let mut patch = as_they_are.sample(0, index).clean;
        let got = augmented.sample(0, index);
        assert_eq!(got.sigma, as_they_are.sample(0, index).sigma);
        let mut images = Vec::new();
        for _ in 0..4 {
            images.push(mirrored(&patch));
            patch = turned(&patch);
            images.push(patch.clone());
        }
        let found = images.iter().position(|image| *image == got.clean);
        counts[found.expect("no symmetry of the patch")] += 1;
    }
    let (count, share) = (augmented.len() as f64, 1.0 / 8.0);
    let bound = 5.0 * (count * share * (1.0 - share)).sqrt();
    for times in counts {
        assert!((f64::from(times) - count * share).abs() < bound, "{counts:?}");
    }
}
