//! Forward operators and their adjoints against dense matrices in f64, analytic sinograms, and the bounds of their norms.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test should panic")]

mod common;
mod reference;

use common::{assert_close, gpu, poison, poisoned, turn, values};
use knotwork::Error;
use knotwork::model::NormKind;
use knotwork::operator::{
    Blur, Boundary, Geometry, LinearOperator, Mask, Mri, Phantom, Radon, apply, filtered_back_projection,
};
use reference::operators::{self, Dense};
use reference::{dot, norm, widen};

const GUARD: usize = 67;
const BOUNDARIES: [Boundary; 3] = [Boundary::Zero, Boundary::Circular, Boundary::Reflect];

/// Applies an operator between guarded buffers whose result was poisoned, twice; both results must have the same bits.
fn run(operator: &dyn LinearOperator, x: &[f32], adjoint: bool) -> Vec<f32> {
    let shape = if adjoint { operator.domain() } else { operator.range() };
    let count = shape[0] * shape[1];
    let source = gpu().upload("source", &[x, &[f32::NAN; GUARD]].concat()).unwrap();
    let result = gpu().buffer("result", count + GUARD).unwrap();
    let pass = if adjoint {
        operator.adjoint(gpu(), &source, &result).unwrap()
    } else {
        operator.forward(gpu(), &source, &result).unwrap()
    };
    let [first, second] = [0, 1].map(|_| {
        gpu().write(&result, &poison(count + GUARD)).unwrap();
        let mut recorder = gpu().record();
        pass.record(&mut recorder);
        recorder.submit();
        let mut all: Vec<f32> = gpu().read(&result).unwrap();
        let rest = all.split_off(count);
        assert!(rest.iter().all(|v| poisoned(*v)), "written behind the result");
        all
    });
    assert!(
        first.iter().zip(&second).all(|(a, b)| a.to_bits() == b.to_bits()),
        "not repeatable"
    );
    first
}

fn check(name: &str, operator: &dyn LinearOperator, dense: &Dense) {
    let count = |[rows, cols]: [usize; 2]| rows * cols;
    let x = values(1, count(operator.domain()));
    let y = values(2, count(operator.range()));
    let (forward, adjoint) = (run(operator, &x, false), run(operator, &y, true));
    let (want, error) = dense.apply(&widen(&x), false);
    assert_close(&format!("{name}: H x"), &forward, &want, |i| error[i]);
    let (want, error) = dense.apply(&widen(&y), true);
    assert_close(&format!("{name}: H' y"), &adjoint, &want, |i| error[i]);

    let (hx, hy) = (widen(&forward), widen(&adjoint));
    let difference = (dot(&hx, &widen(&y)) - dot(&widen(&x), &hy)).abs();
    let allowed = 1e-5 * norm(&hx) * norm(&widen(&y)) / (y.len() as f64).sqrt();
    assert!(
        difference <= allowed,
        "{name}: <Hx, y> and <x, H'y> differ by {difference:e}, {allowed:e} allowed"
    );
}

/// The bound holds and is not far off.
fn check_norm(name: &str, operator: &dyn LinearOperator, dense: &Dense, slack: f64) {
    let bound = operator.norm_squared(gpu()).unwrap();
    let exact = dense.norm_squared();
    assert_eq!(bound.kind, NormKind::Bound);
    assert!(
        bound.squared >= exact * (1.0 - 1e-12) && bound.squared <= slack * exact,
        "{name}: |H|^2 = {exact}, bound {}",
        bound.squared
    );
}

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

#[test]
fn blurs_with_every_boundary() {
    let _turn = turn();
    for (size, kernel_size) in [
        ([1, 1], [1, 1]),
        ([13, 17], [3, 5]),
        ([11, 9], [4, 2]),
        ([16, 12], [7, 1]),
        ([9, 22], [9, 9]),
        ([5, 37], [2, 13]),
    ] {
        for boundary in BOUNDARIES {
            let kernel: Vec<f32> = values(5, kernel_size[0] * kernel_size[1])
                .iter()
                .map(|v| v + 0.4)
                .collect();
            let blur = Blur::new(size, kernel, kernel_size, boundary).unwrap();
            let dense = operators::blur(&blur, size);
            check(&format!("{kernel_size:?} on {size:?}, {boundary:?}"), &blur, &dense);
            let positive: Vec<f32> = blur.kernel().iter().map(|k| k.abs() + 0.01).collect();
            let blur = Blur::new(size, positive, kernel_size, boundary).unwrap();
            let name = format!("positive {kernel_size:?} on {size:?}, {boundary:?}");
            check_norm(&name, &blur, &operators::blur(&blur, size), 1.05);
        }
    }
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

/// Geometries with rays along the axes, fine and coarse detectors, an offset, rays that miss the image.
fn geometries() -> Vec<(&'static str, Geometry)> {
    let base = Geometry::equispaced(16, 9, 23);
    vec![
        ("equispaced", base.clone()),
        (
            "odd",
            Geometry {
                rows: 13,
                cols: 18,
                pixel: 0.7,
                angles: vec![0.0, 0.3, 0.5 * std::f64::consts::PI, -2.2, 4.0, std::f64::consts::PI],
                detectors: 31,
                detector_spacing: 0.9,
                detector_offset: 0.37,
            },
        ),
        (
            "fine detectors",
            Geometry {
                detectors: 67,
                detector_spacing: 1.9,
                ..base.clone()
            },
        ),
        (
            "far off",
            Geometry {
                detector_offset: 200.0,
                ..base.clone()
            },
        ),
        (
            "one of everything",
            Geometry {
                rows: 1,
                cols: 1,
                pixel: 2.0,
                angles: vec![0.4],
                detectors: 1,
                detector_spacing: 1.0,
                detector_offset: 0.2,
            },
        ),
    ]
}

#[test]
fn radon_transforms() {
    let _turn = turn();
    for (name, geometry) in geometries() {
        let dense = operators::radon(&geometry);
        let radon = Radon::new(geometry).unwrap();
        check(name, &radon, &dense);
        check_norm(name, &radon, &dense, 1.03);
    }
}

#[test]
fn many_rays_per_pixel_are_summed_in_several_launches() {
    let _turn = turn();
    let geometry = Geometry {
        rows: 3,
        cols: 5,
        pixel: 1.0,
        angles: (0..70).map(|a| 0.05 * f64::from(a)).collect(),
        detectors: 1500,
        detector_spacing: 0.005,
        detector_offset: 0.0,
    };
    let dense = operators::radon(&geometry);
    check("several launches", &Radon::new(geometry).unwrap(), &dense);
}

#[test]
fn sinograms_of_ellipses_within_the_discretisation_error() {
    let _turn = turn();
    let errors: Vec<f64> = [64, 128, 256]
        .into_iter()
        .map(|size| {
            let geometry = Geometry::equispaced(size, 40, 91);
            let phantom = Phantom {
                ellipses: Phantom::body(7).ellipses.into_iter().take(5).collect(),
            };
            let got = run(
                &Radon::new(geometry.clone()).unwrap(),
                &phantom.image(size, size),
                false,
            );
            common::relative_l2(&got, &widen(&phantom.sinogram(&geometry)))
        })
        .collect();
    // Piecewise constant: the error falls with the pixel, at least like its power 1/2.
    assert!(errors[0] < 0.02 && errors[2] < 0.005, "{errors:?}");
    assert!(errors.windows(2).all(|e| e[1] < 0.75 * e[0]), "{errors:?}");
}

#[test]
fn the_same_sinogram_from_turned_and_shifted_ellipses() {
    // The analytic projections against a quadrature of the density along the line.
    let phantom = Phantom::body(3);
    let image = phantom.image(128, 128);
    assert!(
        image.iter().all(|v| (0.0..=1.0).contains(v)),
        "densities outside [0, 1]"
    );
    for ellipse in phantom.ellipses.iter().step_by(7) {
        for theta in [0.0, 0.7, 2.0, 3.0] {
            let through = ellipse.centre[0] * f64::cos(theta) + ellipse.centre[1] * f64::sin(theta);
            for s in [through, through + 0.3 * ellipse.axes[1], through + 2.0] {
                let (sin, cos) = f64::sin_cos(theta);
                let n = 40_000;
                let step = 4.0 / f64::from(n);
                let along = |k: i32| -2.0 + (f64::from(k) + 0.5) * step;
                let sum: f64 = (0..n)
                    .map(|k| ellipse.density(s * cos - along(k) * sin, s * sin + along(k) * cos) * step)
                    .sum();
                let got = ellipse.projection(theta, s);
                // A constant density loses up to a step at either end.
                assert!(
                    (got - sum).abs() <= 2.0 * step * ellipse.value.abs(),
                    "{ellipse:?}: {got}, want {sum}"
                );
            }
        }
    }
}

#[test]
fn filtered_back_projection_inverts() {
    let _turn = turn();
    let phantom = Phantom::body(2);
    let size = 96;
    let truth = widen(&phantom.image(size, size));
    let mut geometry = Geometry::equispaced(size, 150, 193);
    // Angles in any order, some beyond the half circle, give the same image.
    let straight = filtered_back_projection(gpu(), &geometry, &phantom.sinogram(&geometry)).unwrap();
    geometry.angles.reverse();
    geometry
        .angles
        .iter_mut()
        .step_by(3)
        .for_each(|a| *a += std::f64::consts::PI);
    let turned = filtered_back_projection(gpu(), &geometry, &phantom.sinogram(&geometry)).unwrap();
    assert!(common::relative_l2(&turned, &widen(&straight)) < 1e-4);
    let error = common::relative_l2(&straight, &truth);
    assert!(error < 0.12, "relative error {error}");
    // The scale is right: the mean agrees far better than single pixels.
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    let (got, want) = (mean(&widen(&straight)), mean(&truth));
    assert!((got - want).abs() < 0.01 * want, "mean {got}, want {want}");
    let error = filtered_back_projection(gpu(), &geometry, &[0.0; 5]).unwrap_err();
    assert!(matches!(error, Error::Data(_)), "{error}");
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
    refused(blur(vec![1.0; 9], [1, 9]), "too large");
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
    let geometry = |edit: fn(&mut Geometry)| {
        let mut g = Geometry::equispaced(8, 3, 5);
        edit(&mut g);
        Radon::new(g).map(drop)
    };
    refused(geometry(|g| g.angles.clear()), "0 angles");
    refused(geometry(|g| g.pixel = 0.0), "pixel");
    refused(geometry(|g| g.detector_spacing = f64::NAN), "detector_spacing");
    refused(geometry(|g| g.detector_spacing = 1e9), "one unit");
    refused(geometry(|g| g.angles[1] = f64::NAN), "angle");
    refused(geometry(|g| g.rows = 1 << 20), "rows");
    let radon = Radon::new(Geometry::equispaced(8, 3, 5)).unwrap();
    refused(apply(gpu(), &radon, &[0.0; 7], false).map(drop), "64 values");
}
