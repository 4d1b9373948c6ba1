//! The Radon transform of parallel rays and fans against dense matrices in f64 and analytic sinograms, and its inversion.

use crate::applied::{check, check_norm, run};
use crate::common;
use crate::common::{gpu, turn, values};
use crate::reference::operators;
use crate::reference::widen;
use knotwork::Error;
use knotwork::operator::{Fan, Geometry, Phantom, Radon, filtered_back_projection};

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
                fan: None,
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
                fan: None,
            },
        ),
    ]
}

/// Fans that stay on one axis, that use both, and that need three beams per angle; a source next to the image, detectors fine
/// and coarse, far from the source and at the centre, rays that miss the image.
fn fans() -> Vec<(&'static str, Geometry)> {
    let fan = |source_distance: f64, detector_distance: f64| Fan {
        source_distance,
        detector_distance,
    };
    let base = Geometry::fan_equispaced(16, 9, 23, fan(500.0, 900.0));
    let angles = vec![0.02, 0.3, 1.1, -2.2, 4.0, 5.3, 9.0];
    vec![
        ("a fan", base.clone()),
        (
            "an odd fan",
            Geometry {
                rows: 13,
                cols: 18,
                pixel: 0.7,
                angles: angles.clone(),
                detectors: 31,
                detector_spacing: 1.1,
                detector_offset: 0.37,
                fan: Some(fan(17.3, 29.1)),
            },
        ),
        (
            "three beams per angle",
            Geometry {
                angles: angles.clone(),
                detectors: 61,
                ..Geometry::fan_equispaced(11, 1, 61, fan(236.0, 236.0))
            },
        ),
        (
            "fine detectors",
            Geometry {
                detectors: 101,
                detector_spacing: 0.5 * base.detector_spacing,
                ..base.clone()
            },
        ),
        (
            "a far source",
            Geometry {
                angles,
                ..Geometry::fan_equispaced(16, 1, 23, fan(1e5, 2e5))
            },
        ),
        (
            "far off",
            Geometry {
                detector_offset: 300.0,
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
                fan: Some(fan(7.0, 9.0)),
            },
        ),
    ]
}

#[test]
fn radon_transforms() {
    let _turn = turn();
    for (name, geometry) in geometries().into_iter().chain(fans()) {
        let dense = operators::radon(&geometry);
        let radon = Radon::new(geometry).unwrap();
        check(name, &radon, &dense);
        check_norm(name, &radon, &dense, 1.03);
    }
}

#[test]
fn a_fan_from_afar_is_the_parallel_transform() {
    let _turn = turn();
    let parallel = Geometry {
        angles: vec![0.1, 0.7, 2.0, 4.4],
        ..Geometry::equispaced(33, 1, 47)
    };
    // Rays that are 256 apart at most from the centre turn by 256 / 1e8.
    let far = Geometry {
        fan: Some(Fan {
            source_distance: 1e8,
            detector_distance: 1e8,
        }),
        ..parallel.clone()
    };
    let image = values(8, 33 * 33);
    let [want, got] = [parallel, far].map(|g| run(&Radon::new(g).unwrap(), &image, false));
    assert!(common::relative_l2(&got, &widen(&want)) < 2e-5);
}

#[test]
fn many_rays_per_pixel_are_summed_in_several_launches() {
    let _turn = turn();
    let parallel = Geometry {
        rows: 3,
        cols: 5,
        pixel: 1.0,
        angles: (0..70).map(|a| 0.05 * f64::from(a)).collect(),
        detectors: 1500,
        detector_spacing: 0.005,
        detector_offset: 0.0,
        fan: None,
    };
    let fan = Geometry {
        fan: Some(Fan {
            source_distance: 6.1,
            detector_distance: 7.0,
        }),
        ..parallel.clone()
    };
    for geometry in [parallel, fan] {
        let dense = operators::radon(&geometry);
        check("several launches", &Radon::new(geometry).unwrap(), &dense);
    }
}

#[test]
fn sinograms_of_ellipses_within_the_discretisation_error() {
    let _turn = turn();
    let phantom = Phantom {
        ellipses: Phantom::body(7).ellipses.into_iter().take(5).collect(),
    };
    let fan = Fan {
        source_distance: 300.0,
        detector_distance: 500.0,
    };
    let kinds: [(&str, &dyn Fn(usize) -> Geometry); 2] = [
        ("parallel", &|size| Geometry::equispaced(size, 40, 91)),
        ("fan", &|size| Geometry::fan_equispaced(size, 40, 91, fan)),
    ];
    for (kind, geometry) in kinds {
        let errors: Vec<f64> = [64, 128, 256]
            .into_iter()
            .map(|size| {
                let geometry = geometry(size);
                let image = phantom.image(size, size);
                let got = run(&Radon::new(geometry.clone()).unwrap(), &image, false);
                common::relative_l2(&got, &widen(&phantom.sinogram(&geometry)))
            })
            .collect();
        // Piecewise constant: the error falls with the pixel, at least like its power 1/2.
        assert!(errors[0] < 0.02 && errors[2] < 0.005, "{kind}: {errors:?}");
        assert!(errors.windows(2).all(|e| e[1] < 0.75 * e[0]), "{kind}: {errors:?}");
    }
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

/// Peak signal-to-noise ratio for densities in [0, 1].
fn psnr(image: &[f32], truth: &[f64]) -> f64 {
    let squares: f64 = image.iter().zip(truth).map(|(v, t)| (f64::from(*v) - t).powi(2)).sum();
    -10.0 * (squares / truth.len() as f64).log10()
}

#[test]
fn filtered_back_projection_inverts_fans_of_whole_and_short_scans() {
    let _turn = turn();
    let phantom = Phantom::body(2);
    let size = 96;
    let truth = widen(&phantom.image(size, size));
    let fan = Fan {
        source_distance: 420.0,
        detector_distance: 700.0,
    };
    let invert = |geometry: &Geometry| filtered_back_projection(gpu(), geometry, &phantom.sinogram(geometry)).unwrap();
    let parallel = psnr(&invert(&Geometry::equispaced(size, 150, 193)), &truth);
    let whole = Geometry::fan_equispaced(size, 300, 193, fan);
    let straight = invert(&whole);
    let of_whole = psnr(&straight, &truth);
    // The half circle and the fan's angle of 51 degrees, from any angle on.
    let short = Geometry {
        angles: (0..220)
            .map(|a| 2.5 + f64::from(a) * 240.0_f64.to_radians() / 220.0)
            .collect(),
        ..whole.clone()
    };
    let of_short = psnr(&invert(&short), &truth);
    println!("PSNR: parallel {parallel:.2} dB, fan {of_whole:.2} dB, short scan {of_short:.2} dB");
    assert!(
        of_whole > parallel - 1.0 && of_short > parallel - 1.5,
        "{parallel} {of_whole} {of_short}"
    );
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    let (got, want) = (mean(&widen(&straight)), mean(&truth));
    assert!((got - want).abs() < 0.01 * want, "mean {got}, want {want}");

    // The order of the angles does not matter, nor do whole turns, nor does measuring everything twice.
    let mut turned = whole.clone();
    turned.angles.reverse();
    turned
        .angles
        .iter_mut()
        .step_by(3)
        .for_each(|a| *a += 2.0 * std::f64::consts::PI);
    let twice = Geometry {
        angles: [whole.angles.clone(), turned.angles.clone()].concat(),
        ..whole.clone()
    };
    for other in [turned, twice] {
        assert!(common::relative_l2(&invert(&other), &widen(&straight)) < 1e-4);
    }
    // Half of a short scan has half of the lines: what it shows is incomplete, but no line counts more than once.
    let half = Geometry {
        angles: short.angles[..110].to_vec(),
        ..short
    };
    let (got, limited) = (mean(&widen(&invert(&half))), psnr(&invert(&half), &truth));
    assert!(got < 0.9 * want && limited < of_short - 3.0, "mean {got}, {limited} dB");
    // Angles given twice at the ends of an arc, and nothing but one angle, give numbers, too.
    for angles in [[&half.angles[..], &half.angles[..]].concat(), vec![1.0, 1.0], vec![1.0]] {
        let image = invert(&Geometry { angles, ..half.clone() });
        assert!(image.iter().all(|v| v.is_finite()) && image.iter().any(|v| *v > 0.05));
    }
}

#[test]
fn geometries_that_make_no_sense_are_refused() {
    let refused = |edit: &dyn Fn(&mut Geometry), part: &str| {
        let mut g = Geometry::equispaced(8, 3, 5);
        edit(&mut g);
        let error = Radon::new(g).unwrap_err().to_string();
        assert!(error.contains(part) && !error.contains('\n'), "no '{part}' in: {error}");
    };
    refused(&|g| g.angles.clear(), "0 angles");
    refused(&|g| g.pixel = 0.0, "pixel");
    refused(&|g| g.detector_spacing = f64::NAN, "detector_spacing");
    refused(&|g| g.detector_spacing = 1e9, "one unit");
    refused(&|g| g.angles[1] = f64::NAN, "angle");
    refused(&|g| g.rows = 1 << 20, "rows");
    refused(&|g| g.detector_offset = f64::NEG_INFINITY, "offset");
    refused(&|g| g.detector_offset = 1e4, "no ray meets the image");
    let fan = |source: f64, detector: f64, part: &str| {
        let fan = Fan {
            source_distance: source,
            detector_distance: detector,
        };
        refused(&|g| g.fan = Some(fan), part);
    };
    // The image's circle has the radius 181, a pixel is 32 wide.
    fan(180.0, 500.0, "through the image");
    fan(240.0, 500.0, "at least 245");
    fan(-300.0, 500.0, "source_distance is -300");
    fan(f64::NAN, 500.0, "source_distance is NaN");
    fan(300.0, 0.0, "detector_distance is 0");
    fan(300.0, f64::INFINITY, "detector_distance is inf");
    fan(500.0, 300.0, "both count from the source");
    fan(300.0, 1e9, "at the centre");
    let wide = Fan {
        source_distance: 300.0,
        detector_distance: 300.0,
    };
    refused(
        &|g| (g.fan, g.detector_offset) = (Some(wide), 2000.0),
        "no ray meets the image",
    );
}
