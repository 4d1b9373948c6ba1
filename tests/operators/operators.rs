//! Forward operators and their adjoints against dense matrices in f64, and the bounds of their norms.

use crate::applied::{check, check_norm, check_spread, run};
use crate::common::{gpu, turn, values};
use crate::reference::operators;
use knotwork::operator::{Blur, Boundary, Cropped, Geometry, LinearOperator, Mask, Mri, Radon, Way, apply};

const BOUNDARIES: [Boundary; 3] = [Boundary::Zero, Boundary::Circular, Boundary::Reflect];

#[test]
fn masks() {
    let _turn = turn();
    for size in [[1, 1], [17, 13], [65, 127]] {
        let mask: Vec<f32> = values(3, size[0] * size[1])
            .iter()
            .map(|v| f32::from(u8::from(*v > -0.3 || size == [1, 1])))
            .collect();
        let mask = Mask::new(size, mask).unwrap();
        let dense = if size[0] * size[1] < 1000 {
            Some(operators::mask(&mask))
        } else {
            None
        };
        match dense {
            Some(dense) => {
                check("mask", &mask, &dense);
                check_norm("mask", &mask, &dense, 1.0 + 1e-12);
            }
            None => {
                // Two workgroups: every pixel on its own.
                let x = values(4, size[0] * size[1]);
                let got = run(&mask, &x, false);
                for ((g, m), x) in got.iter().zip(mask.values()).zip(&x) {
                    assert_eq!(*g, m * x);
                }
            }
        }
    }
}

/// Blurs of kernels with values of either sign against their matrices, computed one way; norms of those without negative values are bounded
/// within `slack`.
fn blurs(
    cases: &[([usize; 2], [usize; 2])],
    way: Way,
    check: fn(&str, &dyn LinearOperator, &operators::Dense),
    slack: f64,
) {
    let _turn = turn();
    for &(size, kernel_size) in cases {
        for boundary in BOUNDARIES {
            let name = format!("{kernel_size:?} on {size:?}, {boundary:?}");
            let made = |kernel| {
                Blur::new(size, kernel, kernel_size, boundary)
                    .unwrap()
                    .computed(way)
                    .unwrap()
            };
            let random = values(5, kernel_size[0] * kernel_size[1]);
            let blur = made(random.iter().map(|v| v + 0.4).collect());
            let dense = operators::blur(&blur, size);
            check(&name, &blur, &dense);
            check_norm(&name, &blur, &dense, f64::INFINITY);
            let blur = made(blur.kernel().iter().map(|k| k.abs() + 0.01).collect());
            check_norm(&format!("positive {name}"), &blur, &operators::blur(&blur, size), slack);
        }
    }
}

#[test]
fn blurs_with_every_boundary() {
    let cases = [
        ([1, 1], [1, 1]),
        ([13, 17], [3, 5]),
        ([11, 9], [4, 2]),
        ([16, 12], [7, 1]),
        ([9, 22], [9, 9]),
        ([5, 37], [2, 13]),
    ];
    blurs(&cases, Way::Taps, check, 1.05);
}

/// The same matrices, by products of spectra.
#[test]
fn blurs_by_fourier_transforms() {
    let cases = [
        ([1, 1], [1, 1]),
        ([13, 17], [3, 5]),
        ([11, 9], [4, 2]),
        ([9, 22], [9, 9]),
        ([19, 23], [18, 17]),
        ([5, 37], [2, 37]),
    ];
    blurs(&cases, Way::Fourier, check_spread, 2.5);
}

/// Large kernels go by transforms, of sides that walks tap by tap do not reach, too.
#[test]
fn large_blurs() {
    let _turn = turn();
    let size = [150, 161];
    let kernel = |side: usize| values(6, side * side).iter().map(|v| v + 0.3).collect::<Vec<f32>>();
    let blur = |side| Blur::new(size, kernel(side), [side; 2], Boundary::Reflect).unwrap();
    assert_eq!((blur(9).way(), blur(41).way()), (Way::Taps, Way::Fourier));
    for side in [41, 120] {
        let x = values(7, size[0] * size[1]);
        for adjoint in [false, true] {
            let taps = run(&blur(side).computed(Way::Taps).unwrap(), &x, adjoint);
            let fourier = run(&blur(side), &x, adjoint);
            let difference = crate::common::relative_l2(&fourier, &crate::reference::widen(&taps));
            assert!(difference < 1e-5, "{side}, adjoint {adjoint}: {difference:e}");
        }
    }
    // As tight as the bound of other operators is, but for the doubled pixels at the border.
    let bell = |n: usize| (-(n as f32 - 15.0).powi(2) / 50.0).exp();
    let gauss = (0..31 * 31).map(|n| bell(n / 31) * bell(n % 31)).collect();
    let gauss = Blur::new(size, gauss, [31; 2], Boundary::Reflect).unwrap();
    let [taps, fourier] = [Way::Taps, Way::Fourier].map(|way| {
        let bound = gauss.clone().computed(way).unwrap().norm_squared(gpu()).unwrap();
        bound.squared
    });
    assert!(fourier > 0.99 * taps && fourier < 1.25 * taps, "{taps} {fourier}");
    let huge = blur(141);
    assert!(huge.clone().computed(Way::Taps).is_err());
    let (x, y) = (values(8, size[0] * size[1]), values(9, size[0] * size[1]));
    let (hx, hy) = (run(&huge, &x, false), run(&huge, &y, true));
    let dot = |a: &[f32], b: &[f32]| crate::reference::dot(&crate::reference::widen(a), &crate::reference::widen(b));
    let (one, other) = (dot(&hx, &y), dot(&x, &hy));
    assert!(
        (one - other).abs() <= 1e-5 * (dot(&hx, &hx) * dot(&y, &y)).sqrt(),
        "{one} {other}"
    );
    assert!(Blur::downsampling([32, 32], 2).unwrap().computed(Way::Fourier).is_err());
}

#[test]
fn inner_parts_of_larger_images() {
    let _turn = turn();
    let size = [9, 14];
    let kernel = || values(5, 15).iter().map(|v| v + 0.4).collect::<Vec<f32>>();
    let blur = Blur::new(size, kernel(), [3, 5], Boundary::Reflect).unwrap();
    let down = Blur::downsampling([12, 15], 3).unwrap();
    let inner: [(_, &dyn LinearOperator, _); 2] = [
        ("blur", &blur, operators::blur(&blur, size)),
        ("down-sampling", &down, operators::blur(&down, [12, 15])),
    ];
    for (name, operator, dense) in &inner {
        for by in [0, 1, 6, 20] {
            let cropped = Cropped::new(*operator, by);
            let [rows, cols] = operator.domain();
            assert_eq!(cropped.domain(), [rows + 2 * by, cols + 2 * by]);
            let dense = operators::of_inner(dense, [rows, cols], by);
            check(&format!("{name}, {by} pixels"), &cropped, &dense);
            assert_eq!(
                cropped.norm_squared(gpu()).unwrap(),
                operator.norm_squared(gpu()).unwrap()
            );
            assert_eq!(
                (cropped.additions(), cropped.least_squared()),
                (operator.additions(), None)
            );
        }
    }
    let mask = Mask::new([1, 3], vec![1.0, 0.0, 1.0]).unwrap();
    let mut measured = [3.0, 4.0, f32::NAN];
    Cropped::new(&mask, 2).clear_unmeasured(&mut measured);
    assert!(measured[..2] == [3.0, 0.0] && measured[2].is_nan());
}

#[test]
fn down_sampling_by_two_three_and_four() {
    let _turn = turn();
    for (factor, size) in [(2, [18, 10]), (3, [15, 21]), (4, [16, 20])] {
        let blur = Blur::downsampling(size, factor).unwrap();
        assert_eq!(blur.range(), size.map(|s| s / factor));
        let dense = operators::blur(&blur, size);
        check(&format!("x{factor}"), &blur, &dense);
        // Negative lobes count with their magnitude: safe, not tight.
        check_norm(&format!("x{factor}"), &blur, &dense, 2.5);
        // A linear ramp keeps its slope and is sampled at the centre of every block, away from the border.
        let ramp: Vec<f32> = (0..size[0] * size[1]).map(|i| (i % size[1]) as f32).collect();
        let [_, cols] = blur.range();
        let got = run(&blur, &ramp, false);
        for c in 2..cols - 2 {
            let want = (factor * c) as f64 + (factor as f64 - 1.0) / 2.0;
            assert!(
                (f64::from(got[cols + c]) - want).abs() < 1e-4,
                "x{factor}: {} at {c}, want {want}",
                got[cols + c]
            );
        }
    }
}

#[test]
fn sampled_fourier_transforms_of_coil_images() {
    let _turn = turn();
    for (coils, size) in [
        (1, [1, 1]),
        (1, [7, 12]),
        (3, [11, 9]),
        (2, [8, 6]),
        (4, [5, 17]),
        (2, [34, 1]),
    ] {
        let pixels = size[0] * size[1];
        let mask: Vec<f32> = values(6, pixels)
            .iter()
            .map(|v| f32::from(u8::from(*v > -0.2 || pixels == 1)))
            .collect();
        // Any maps, with a pixel that no coil sees.
        let mut maps: Vec<[f32; 2]> = values(7, 2 * coils * pixels).chunks(2).map(|v| [v[0], v[1]]).collect();
        if pixels > 1 {
            maps.iter_mut().skip(1).step_by(pixels).for_each(|map| *map = [0.0; 2]);
        }
        let name = format!("{coils} coils, {size:?}");
        let mri = Mri::new(size, mask, Some(maps)).unwrap();
        check(&name, &mri, &operators::mri(&mri, size));
        // Fully sampled, the bound is the norm.
        let mri = Mri::new(size, vec![1.0; pixels], Some(mri.maps().to_vec())).unwrap();
        check_norm(&name, &mri, &operators::mri(&mri, size), 1.01);
    }
    let mri = Mri::new([6, 5], vec![1.0; 30], None).unwrap();
    check("no maps", &mri, &operators::mri(&mri, [6, 5]));
    check_norm("no maps", &mri, &operators::mri(&mri, [6, 5]), 1.0001);
}

#[test]
fn operators_that_make_no_sense_are_refused() {
    let _turn = turn();
    let refused = |result: knotwork::Result<()>, part: &str| {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(part), "no '{part}' in: {error}");
    };
    let mask = |m: Vec<f32>| Mask::new([2, 2], m).map(drop);
    refused(mask(vec![1.0; 3]), "does not fit");
    refused(mask(vec![1.0, 0.5, 0.0, 1.0]), "row 0, column 1");
    refused(mask(vec![1.0, f32::NAN, 0.0, 1.0]), "0 (missing) or 1");
    refused(mask(vec![0.0; 4]), "no pixel");
    let blur = |k: Vec<f32>, s: [usize; 2]| Blur::new([8, 8], k, s, Boundary::Reflect).map(drop);
    refused(blur(vec![1.0; 3], [2, 2]), "cannot have 3");
    refused(blur(vec![1.0, -1.0], [1, 2]), "sum is zero");
    refused(blur(vec![1.0; 9], [1, 9]), "larger than");
    refused(blur(vec![1.0, f32::INFINITY], [1, 2]), "not finite");
    refused(Blur::downsampling([8, 9], 2).map(drop), "crop");
    refused(Blur::downsampling([10, 10], 5).map(drop), "2, 3 or 4");
    let mri = |m: usize, maps: Vec<[f32; 2]>| Mri::new([2, 3], vec![1.0; m], Some(maps)).map(drop);
    refused(mri(5, vec![[1.0; 2]; 6]), "does not fit");
    refused(mri(6, vec![[1.0; 2]; 7]), "7 values do not fit");
    refused(mri(6, vec![]), "0 values do not fit");
    refused(mri(6, vec![[f32::NAN, 0.0]; 12]), "not finite");
    refused(mri(6, vec![[0.0; 2]; 6]), "zero everywhere");
    refused(Mri::new([20_000, 1], vec![1.0; 20_000], None).map(drop), "16384");
    let radon = Radon::new(Geometry::equispaced(8, 3, 5)).unwrap();
    refused(apply(gpu(), &radon, &[0.0; 7], false).map(drop), "64 values");
}
