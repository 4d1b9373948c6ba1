//! The published models against float64 outputs of their mathematics (extra: needs `KNOTWORK_SHARED`).
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test should panic")]

mod common;

use std::path::{Path, PathBuf};

use common::{gpu, relative_l2};
use knotwork::gpu::Buffer;
use knotwork::io::image::Image;
use knotwork::io::noise;
use knotwork::model::device::{Extra, Images, RidgeOnDevice, RunOptions};
use knotwork::model::{KnotBudget, NormKind, Ridge, import};
use knotwork::report::metrics;
use knotwork::solver::{Denoiser, Settings, Stop};

const MODELS: [&str; 2] = ["wcrr", "crr"];

/// A reference archive.
struct Reference(PathBuf);

impl Reference {
    fn values(&self, name: &str) -> Vec<f64> {
        common::npz::read(&self.0, name).values().to_f64()
    }

    /// The noisy crop and its size.
    fn noisy(&self) -> (Vec<f32>, [usize; 2]) {
        let array = common::npz::read(&self.0, "tv_noisy");
        (array.values().to_f32(), [array.shape()[0], array.shape()[1]])
    }
}

/// A published model normalised as in the reference, and the reference.
fn published(shared: &Path, name: &str) -> (Ridge, Reference) {
    let reference = Reference(shared.join(format!("reference/{name}.npz")));
    let norm = reference.values("L")[0];
    let folder = shared.join("pretrained").join(name);
    let raw = import::read_checkpoint(&folder.join("checkpoint_6000.pth"), &folder.join("config.json")).unwrap();
    let model = raw.normalised(norm, NormKind::Estimate);
    model.check().unwrap();
    (model, reference)
}

fn run(sigma: f64) -> RunOptions {
    RunOptions {
        sigma: sigma / 255.0,
        style: None,
        tile: None,
    }
}

#[test]
fn energy_gradient_and_hessian_agree_with_float64() {
    let Some(shared) = common::shared::shared("data") else {
        return;
    };
    let _turn = common::turn();
    for name in MODELS {
        let (model, reference) = published(&shared, name);
        let (noisy, [height, width]) = reference.noisy();
        let source: Buffer = gpu().upload("source", &noisy).unwrap();
        let direction = gpu()
            .upload(
                "direction",
                &common::npz::read(&reference.0, "tv_clean").values().to_f32(),
            )
            .unwrap();
        let active = gpu().upload("active", &[0_u32]).unwrap();
        let gradient = gpu().buffer("gradient", height * width).unwrap();
        let images = Images {
            height,
            width,
            source: &source,
            active: &active,
            slots: 1,
        };
        for sigma in [5.0, 15.0, 25.0] {
            let prepared = RidgeOnDevice::new(
                gpu(),
                &model,
                &run(sigma),
                &images,
                &gradient,
                Extra::Hessian(&direction),
            )
            .unwrap();
            let check = |what: &str, got: &[f32], limit: f64| {
                let error = relative_l2(got, &reference.values(&format!("tv_{what}_s{sigma}")));
                println!("{name} sigma {sigma}: {what} relative error {error:.2e}");
                assert!(
                    error <= limit,
                    "{name} sigma {sigma}: {what} off by {error:.2e}, allowed {limit:.0e}"
                );
            };
            let mut recorder = gpu().record();
            prepared.record_gradient(&mut recorder, 1);
            recorder.submit();
            check("grad", &gpu().read::<f32>(&gradient).unwrap(), 2e-5);
            let mut recorder = gpu().record();
            prepared.record_energy(&mut recorder, 1);
            recorder.submit();
            check("cost", &gpu().read::<f32>(prepared.energies()).unwrap()[..1], 2e-5);
            if sigma == 25.0 {
                let mut recorder = gpu().record();
                prepared.record_hessian(&mut recorder, 1).unwrap();
                recorder.submit();
                let got = gpu().read::<f32>(&gradient).unwrap();
                let error = relative_l2(&got, &reference.values("tv_hvp_clean_s25"));
                println!("{name} sigma 25: Hessian-vector product relative error {error:.2e}");
                assert!(error <= 2e-5, "{error:.2e}");
            }
        }
    }
}

/// The part of the responses that lies in the image, (channel, row, column).
fn inner(prepared: &RidgeOnDevice, channels: usize) -> Vec<f32> {
    let all: Vec<f32> = gpu().read(prepared.responses()).unwrap();
    let t = prepared.tiling();
    let row = |c: usize, y: usize| c * t.plane_stride + (y + t.halo) * t.row_stride + t.lead;
    let rows = (0..channels).flat_map(|c| (0..t.height).map(move |y| row(c, y)));
    rows.flat_map(|first| all[first..first + t.width].iter().copied())
        .collect()
}

#[test]
fn responses_activation_and_the_collapsed_bank_agree_with_float64() {
    let Some(shared) = common::shared::shared("data") else {
        return;
    };
    let _turn = common::turn();
    for name in MODELS {
        let (model, reference) = published(&shared, name);
        let (noisy, [height, width]) = reference.noisy();
        let source = gpu().upload("source", &noisy).unwrap();
        let active = gpu().upload("active", &[0_u32]).unwrap();
        let gradient = gpu().buffer("gradient", height * width).unwrap();
        let images = Images {
            height,
            width,
            source: &source,
            active: &active,
            slots: 1,
        };
        let prepared = RidgeOnDevice::new(gpu(), &model, &run(25.0), &images, &gradient, Extra::None).unwrap();
        let check = |what: &str, got: &[f32]| {
            let error = relative_l2(got, &reference.values(what));
            println!("{name}: {what} relative error {error:.2e}");
            assert!(error <= 2e-5, "{name}: {what} off by {error:.2e}");
        };
        let mut recorder = gpu().record();
        prepared.record_responses(&mut recorder, 0, 1);
        recorder.submit();
        check("tv_Wx", &inner(&prepared, model.bank.channels()));
        let mut recorder = gpu().record();
        prepared.record_activation(&mut recorder, 0, 1);
        recorder.submit();
        check("tv_act_s25", &inner(&prepared, model.bank.channels()));

        let collapsed = Ridge {
            bank: model.bank.collapsed().unwrap(),
            ..model
        };
        let prepared = RidgeOnDevice::new(gpu(), &collapsed, &run(25.0), &images, &gradient, Extra::None).unwrap();
        let mut recorder = gpu().record();
        prepared.record_gradient(&mut recorder, 1);
        recorder.submit();
        check("tv_grad_collapsed_s25", &gpu().read::<f32>(&gradient).unwrap());
    }
}

#[test]
fn converged_denoising_agrees_with_float64() {
    let Some(shared) = common::shared::shared("data") else {
        return;
    };
    let _turn = common::turn();
    for name in MODELS {
        let (model, reference) = published(&shared, name);
        let (noisy, size) = reference.noisy();
        for sigma in [5.0, 15.0, 25.0] {
            let settings = Settings {
                tolerance: 1e-7,
                max_iterations: 3000,
                ..Default::default()
            };
            let denoiser = Denoiser::new(gpu(), &model, &run(sigma), settings, size, 1).unwrap();
            let outcome = denoiser.run(&[&noisy], |_, _, _| {}).unwrap().remove(0);
            let want = reference.values(&format!("tv_denoised_converged_s{sigma}"));
            let error = relative_l2(&outcome.image, &want);
            println!(
                "{name} sigma {sigma}: converged after {} iterations, relative error {error:.2e}",
                outcome.iterations
            );
            assert_eq!(outcome.stop, Stop::Converged);
            assert!(error <= 1e-4, "{error:.2e}");
        }
    }
}

/// Default budget, a part of a test image: `make reduced` runs whole images.
#[test]
fn eight_knots_or_fewer_denoise_as_well_as_all() {
    let Some(shared) = common::shared::shared("data") else {
        return;
    };
    const SIDE: usize = 96;
    let _turn = common::turn();
    let image = Image::read(shared.join("set12/01.png")).unwrap();
    let rows = image.planes.chunks_exact(image.width).skip(64).take(SIDE);
    let clean: Vec<f32> = rows.flat_map(|row| row[64..64 + SIDE].to_vec()).collect();
    let noise = noise::gaussian(1, 0, clean.len());
    let noisy: Vec<f32> = clean.iter().zip(noise).map(|(c, n)| c + 25.0 / 255.0 * n).collect();
    for name in MODELS {
        let (model, _) = published(&shared, name);
        let (reduced, _) = model.reduced(KnotBudget::default()).unwrap();
        let knots = [&model, &reduced].map(|m| m.activations.iter().map(|f| f.len()).max().unwrap());
        let psnr = [&model, &reduced].map(|m| {
            let denoiser = Denoiser::new(gpu(), m, &run(25.0), Settings::default(), [SIDE; 2], 1).unwrap();
            let outcome = denoiser.run(&[&noisy], |_, _, _| {}).unwrap().remove(0);
            metrics::psnr(&outcome.image, &clean).unwrap()
        });
        println!("{name}: {knots:?} knots, {psnr:?} dB");
        assert!(knots[0] == 101 && knots[1] <= 8, "{knots:?}");
        // Far above the noisy image, so that both did denoise.
        assert!(psnr[0] > metrics::psnr(&noisy, &clean).unwrap() + 5.0);
        assert!((psnr[1] - psnr[0]).abs() < 0.005, "{psnr:?}");
    }
}
