//! The device layer: what it refuses, what its messages name, and that errors surface at the next read.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test should panic")]

mod common;

use common::{poison, values};
use knotwork::Error;
use knotwork::gpu::reduce::{InnerProduct, SumParams, TotalParams};
use knotwork::gpu::{AdapterChoice, Binding, Bound, Buffer, Gpu, GpuOptions};

/// A device of its own, so that tests neither see each other's faults nor each other's recorders.
fn open() -> Gpu {
    Gpu::open(GpuOptions {
        default_limits: true,
        ..GpuOptions::default()
    })
    .unwrap()
}

/// `inner_product` over 10 pixels of one image.
fn bind(gpu: &Gpu, a: &Buffer, partials: &Buffer) -> Bound {
    let params = gpu
        .params(&[SumParams {
            pixels: 10,
            groups: 1,
            ..Default::default()
        }])
        .unwrap();
    let memory = [
        ("params", params.binding()),
        ("a", a.into()),
        ("b", a.into()),
        ("partials", partials.into()),
    ];
    gpu.kernel("inner_product", &[]).unwrap().bind(gpu, &memory).unwrap()
}

#[test]
fn memory_round_trips_and_is_accounted_for() {
    let gpu = open();
    let data = values(1, 100);
    let buffer = gpu.upload("data", &data).unwrap();
    assert_eq!((buffer.len(), buffer.is_empty()), (100, false));
    assert_eq!(gpu.read::<f32>(&buffer).unwrap(), data);
    assert_eq!(gpu.read::<f32>(buffer.slice(3, 5)).unwrap(), data[3..8]);
    assert_eq!(gpu.read::<u32>(&gpu.buffer("zeros", 33).unwrap()).unwrap(), [0; 33]);
    let other = gpu.upload("other", &poison(50)).unwrap();
    let mut recorder = gpu.record();
    recorder.copy(buffer.slice(64, 16), other.slice(8, 16));
    recorder.submit();
    let got: Vec<f32> = gpu.read(&other).unwrap();
    assert_eq!(got[8..24], data[64..80]);
    assert!(got[..8].iter().chain(&got[24..]).all(|v| common::poisoned(*v)));
    gpu.write(&other, &[1.0_f32; 2]).unwrap();
    assert_eq!(gpu.read::<f32>(other.slice(0, 9)).unwrap()[..2], [1.0; 2]);
    let peak = gpu.peak_bytes();
    drop(gpu.buffer("passing", 1000).unwrap());
    drop(gpu.buffer("passing", 1000).unwrap());
    assert!((4000..peak + 8000).contains(&gpu.peak_bytes()), "{}", gpu.peak_bytes());
}

#[test]
fn a_write_while_dispatches_wait_is_refused() {
    let gpu = open();
    let a = gpu.upload("a", &values(1, 10)).unwrap();
    let partials = gpu.buffer("partials", 4).unwrap();
    let bound = bind(&gpu, &a, &partials);
    let mut recorder = gpu.record();
    recorder.dispatch(&bound, [1, 1, 1], 0);
    let error = gpu.write(&a, &[0.0_f32]).unwrap_err();
    assert!(
        matches!(&error, Error::Internal(why) if why.contains("wait to be submitted")),
        "{error}"
    );
    recorder.submit();
    gpu.write(&a, &[0.0_f32]).unwrap();
    recorder.dispatch(&bound, [1, 1, 1], 0);
    assert!(
        gpu.write(&a, &[0.0_f32]).is_err(),
        "a recorder that goes on recording counts again"
    );
    drop(recorder);
    gpu.write(&a, &[0.0_f32]).unwrap();
    let error = gpu.write(&a, &[0.0_f32; 11]).unwrap_err().to_string();
    assert!(error.contains("44 bytes do not fit a buffer of 40"), "{error}");
}

#[test]
fn binding_errors_name_the_kernel_and_the_binding() {
    let gpu = open();
    let kernel = gpu.kernel("inner_product", &[]).unwrap();
    let (a, partials) = (gpu.buffer("a", 10).unwrap(), gpu.buffer("partials", 8).unwrap());
    let right = gpu.params(&[SumParams::default()]).unwrap();
    let wrong = gpu.params(&[TotalParams::default()]).unwrap();
    let uniform = gpu.uniform("params", &[0_u32; 4]).unwrap();
    let all: Vec<(&str, Binding<'_>)> = vec![
        ("params", right.binding()),
        ("a", (&a).into()),
        ("b", (&a).into()),
        ("partials", (&partials).into()),
    ];
    kernel.bind(&gpu, &all).unwrap();
    let with = |name: &str, binding: Binding<'_>| {
        let mut memory = all.clone();
        let at = memory.iter().position(|(n, _)| *n == name).unwrap();
        memory[at].1 = binding;
        kernel.bind(&gpu, &memory).unwrap_err()
    };
    let mut extra = all.clone();
    extra.push(("bias", (&a).into()));
    for (error, what) in [
        (kernel.bind(&gpu, &all[..3]).unwrap_err(), "'partials' is missing"),
        (kernel.bind(&gpu, &extra).unwrap_err(), "no binding 'bias'"),
        (with("partials", partials.slice(0, 3).into()), "'partials': 12 bytes"),
        (with("partials", partials.slice(0, 9).into()), "'partials': 36 bytes"),
        (with("params", wrong.binding()), "params is no TotalParams"),
        (with("params", (&uniform).into()), "'params' wants a Params"),
        (with("a", right.binding()), "'a'"),
    ] {
        let text = error.to_string();
        assert!(
            text.contains("kernel 'inner_product'") && text.contains(what),
            "{what}: {text}"
        );
        assert_eq!(error.exit_code(), 1);
    }
    // A refused binding does not poison the device.
    assert_eq!(gpu.read::<u32>(&a).unwrap(), [0; 10]);
    for (name, consts, what) in [
        ("nothing", &[][..], "no shader called 'nothing'"),
        ("conv", &[("PIXELS", 1)], "no constant 'PIXELS'"),
    ] {
        let error = gpu.kernel(name, consts).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    }
}

#[test]
fn what_exceeds_a_limit_is_out_of_memory() {
    let gpu = open();
    let limits = gpu.limits().clone();
    let elements = (limits.max_buffer_size / 4) as usize;
    let error = gpu.buffer("huge image", elements + 1).unwrap_err();
    assert!(
        matches!(&error, Error::OutOfMemory(why) if why.contains("huge image")),
        "{error}"
    );
    assert_eq!(error.exit_code(), 6);
    // A buffer may exist that is too large for one binding.
    let wide = gpu
        .buffer("wide", (limits.max_storage_buffer_binding_size / 4) as usize + 64)
        .unwrap();
    let partials = gpu.buffer("partials", 4).unwrap();
    let params = gpu.params(&[SumParams::default()]).unwrap();
    let memory = |a| {
        [
            ("params", params.binding()),
            ("a", a),
            ("b", wide.slice(0, 64).into()),
            ("partials", (&partials).into()),
        ]
    };
    let kernel = gpu.kernel("inner_product", &[]).unwrap();
    let error = kernel.bind(&gpu, &memory((&wide).into())).unwrap_err();
    assert!(matches!(error, Error::OutOfMemory(_)), "{error}");
    kernel
        .bind(&gpu, &memory(wide.slice(0, wide.len() - 64).into()))
        .unwrap();
}

#[test]
fn an_unknown_adapter_is_refused_with_the_list() {
    for adapter in [
        AdapterChoice::Name("no such adapter".into()),
        AdapterChoice::Index(10_000),
    ] {
        let Err(error) = Gpu::open(GpuOptions {
            adapter,
            ..GpuOptions::default()
        }) else {
            panic!("an adapter that does not exist was opened");
        };
        assert!(matches!(error, Error::NoAdapter(_)), "{error}");
        assert_eq!(error.exit_code(), 5);
        assert!(error.to_string().contains("there is: index:0"), "{error}");
    }
}

/// Records a good dispatch, then something bad: the read must fail, and every later one.
fn poisoned_by(bad: impl FnOnce(&Gpu, &Bound), what: &str) {
    let gpu = open();
    let a = gpu.upload("a", &values(1, 10)).unwrap();
    let partials = gpu.upload("partials", &poison(4)).unwrap();
    let bound = bind(&gpu, &a, &partials);
    bad(&gpu, &bound);
    for _ in 0..2 {
        let error = gpu.read::<f32>(&partials).unwrap_err();
        assert!(matches!(&error, Error::Internal(why) if why.contains(what)), "{error}");
    }
    assert!(gpu.wait().is_err());
}

#[test]
fn a_failed_dispatch_fails_the_next_read() {
    poisoned_by(
        |gpu, bound| gpu.record().dispatch(bound, [1, 65_536, 1], 0),
        "kernel 'inner_product': [1, 65536, 1] groups",
    );
    poisoned_by(
        |gpu, bound| gpu.record().dispatch(bound, [1, 1, 1], 1),
        "parameter entry 1",
    );
    poisoned_by(
        |gpu, _| {
            let (small, readback) = (gpu.buffer("small", 4).unwrap(), gpu.readback(4).unwrap());
            gpu.record().copy_out(small.slice(2, 4), &readback);
        },
        "",
    );
}

#[test]
fn a_kernel_that_the_device_refuses_fails_the_read_after_its_launch() {
    let text = "@group(0) @binding(0) var<storage, read_write> a: array<f32>;
        @compute @workgroup_size(4096) fn main(@builtin(local_invocation_index) i: u32) { a[i] = 1.0; }";
    let refused = |gpu: &Gpu, a: &Buffer| {
        // SAFETY: devices are opened with a limit of 256, so nothing is ever indexed.
        let kernel = unsafe { gpu.kernel_from_text("crowd", text, &[]) }.unwrap();
        kernel.bind(gpu, &[("a", a.into())]).unwrap()
    };
    let gpu = open();
    let a = gpu.upload("a", &values(1, 10)).unwrap();
    drop(refused(&gpu, &a));
    assert_eq!(
        gpu.read::<f32>(&a).unwrap(),
        values(1, 10),
        "never launched, so no fault"
    );
    let bound = refused(&gpu, &a);
    assert!(gpu.warm_up([&bound]).is_err());
    poisoned_by(
        |gpu, _| {
            gpu.record()
                .dispatch(&refused(gpu, &gpu.buffer("a", 10).unwrap()), [1; 3], 0)
        },
        "crowd",
    );
}

#[test]
fn long_recordings_are_submitted_in_order() {
    // Far more dispatches than one submission holds, each overwriting what the one before it left.
    let gpu = open();
    let (a, b) = (
        gpu.upload("a", &values(1, 10)).unwrap(),
        gpu.upload("b", &values(2, 10)).unwrap(),
    );
    let partials = gpu.upload("partials", &poison(4)).unwrap();
    let bounds = [bind(&gpu, &a, &partials), bind(&gpu, &b, &partials)];
    let out = [gpu.upload("out", &poison(8)).unwrap(), gpu.buffer("none", 4).unwrap()];
    let mut recorder = gpu.record();
    for n in 0..201 {
        recorder.dispatch(&bounds[n % 2], [1, 1, 1], 0);
        recorder.dispatch(&bounds[1], [0, 1, 1], 0);
        if n == 99 {
            recorder.copy(partials.slice(0, 4), out[0].slice(4, 4));
        }
    }
    recorder.submit();
    let square = |v: Vec<f32>| v.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>();
    let (last, middle) = (gpu.read::<f32>(&partials).unwrap(), gpu.read::<f32>(&out[0]).unwrap());
    for (got, want) in [(last[2], square(values(1, 10))), (middle[6], square(values(2, 10)))] {
        assert!(
            (f64::from(got) - want).abs() <= 10.0 * common::EPS * want,
            "{got}, want {want}"
        );
    }
}

#[test]
fn sums_straddle_workgroups_and_keep_images_apart() {
    let gpu = open();
    for (images, pixels) in [(1, 1), (2, 4095), (1, 4096), (3, 4097), (2, 10_007), (1, 1_200_001)] {
        let data = |seed| values(seed, images * pixels);
        let (a, b) = (data(1), data(2));
        let (on_a, on_b) = (gpu.upload("a", &a).unwrap(), gpu.upload("b", &b).unwrap());
        let sums = InnerProduct::new(&gpu, &on_a, &on_b, images, pixels).unwrap();
        gpu.write(sums.totals(), &poison(images * 4)).unwrap();
        let mut recorder = gpu.record();
        sums.record(&mut recorder, images as u32);
        recorder.submit();
        let got: Vec<f32> = gpu.read(sums.totals()).unwrap();
        for image in 0..images {
            let pairs = || {
                let part = image * pixels..(image + 1) * pixels;
                a[part.clone()]
                    .iter()
                    .zip(&b[part])
                    .map(|(a, b)| (f64::from(*a), f64::from(*b)))
            };
            let inner: f64 = pairs().map(|(a, b)| a * b).sum();
            let size: f64 = pairs().map(|(a, b)| (a * b).abs()).sum();
            let distance: f64 = pairs().map(|(a, b)| (a - b).powi(2)).sum();
            let square: f64 = pairs().map(|(a, _)| a * a).sum();
            // 16 terms in an invocation, a tree of 8, then the groups in strides of 256 and another tree.
            let depth = (16 + 8 + pixels.div_ceil(4096).div_ceil(256) + 8) as f64 * 2.0 * common::EPS;
            let bounds = [depth * size, depth * distance, depth * square, 0.0];
            let got = &got[4 * image..4 * image + 4];
            let name = format!("{images} images of {pixels}");
            common::assert_close(&name, got, &[inner, distance, square, 0.0], |i| bounds[i]);
        }
    }
}
