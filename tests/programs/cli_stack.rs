//! Stacks through every reconstruction, slice by slice like the images that they are made of.

use crate::common::values;
use crate::program::Place;
use crate::slice_files::{PIXELS, SIZE, gray, noisy, place, run, slices, truth, write_stack};
use knotwork::io::image::{Format, Image};
use knotwork::io::npy::{Array, Values};
use knotwork::operator::coil_maps;
use knotwork::report::metrics::psnr;
use serde_json::Value;

/// Runs `command` on `y.npy` and on each slice of it, with `options`, and compares results, iterations and scores.
fn same_as_one_by_one(place: &Place, count: usize, command: &str, options: &str) -> Value {
    let line = |name: &str, clean: &str, out: &str| format!("{command} {name} -o {out} {options} --clean {clean}");
    let whole = run(place, &line("y.npy", "x.npy", "out.npy"));
    let found = slices(place, "out.npy");
    let told = whole["slices"].as_array().unwrap();
    assert_eq!((found.len(), told.len()), (count, count));
    let (mut most, mut error) = (0, 0.0);
    for (index, (image, told)) in found.iter().zip(told).enumerate() {
        let names = ["y", "x"].map(|name| format!("{name}{index}.npy"));
        let alone = run(place, &line(&names[0], &names[1], "one.npy"));
        let one = Image::read(place.path("one.npy")).unwrap();
        assert_eq!(image.planes, one.planes, "{command}: slice {index}");
        assert_eq!(told["slice"], index);
        for what in ["iterations", "stop", "energy", "error_bound", "psnr", "ssim"] {
            assert_eq!(told[what], alone[what], "{command}: {what} of slice {index}");
        }
        most = most.max(told["iterations"].as_u64().unwrap());
        error += 10.0_f64.powf(-told["psnr"].as_f64().unwrap() / 10.0) / count as f64;
    }
    assert_eq!(whole["iterations"], most);
    let all = whole["psnr"].as_f64().unwrap();
    assert!((all + 10.0 * error.log10()).abs() < 1e-9, "{all}");
    let record: Value = serde_json::from_slice(&std::fs::read(place.path("out.run.json")).unwrap()).unwrap();
    assert_eq!(record["results"]["slices"], whole["slices"]);
    whole
}

#[test]
fn denoising_a_stack_is_denoising_its_slices() {
    let place = place(5);
    let whole = same_as_one_by_one(&place, 5, "denoise", "--sigma 0.08");
    assert_eq!(whole["at_once"], 5, "all slices are on the device together");
    let counts: Vec<u64> = (0..5)
        .map(|k| whole["slices"][k]["iterations"].as_u64().unwrap())
        .collect();
    assert!(
        counts.iter().any(|n| n != &counts[0]),
        "each stops on its own: {counts:?}"
    );
    let energy: f64 = (0..5).map(|k| whole["slices"][k]["energy"].as_f64().unwrap()).sum();
    assert!((whole["energy"].as_f64().unwrap() / energy - 1.0).abs() < 1e-12);
    // The PSNR of the stack from its pixels.
    let both = ["out.npy", "x.npy"].map(|name| Array::read(place.path(name)).unwrap().values().to_f32());
    assert!((whole["psnr"].as_f64().unwrap() - psnr(&both[0], &both[1]).unwrap()).abs() < 1e-9);
    same_as_one_by_one(&place, 5, "denoise", "--sigma 0.08 --tile 11 --box 0,1");
    // A network is applied to one slice after the other.
    let whole = same_as_one_by_one(&place, 5, "denoise", "--sigma 0.08 --model denoiser-25");
    assert_eq!(whole["at_once"], 1);
}

#[test]
fn parts_of_a_stack_are_those_of_the_whole() {
    let place = place(5);
    run(&place, "denoise y.npy -o whole.npy --sigma 0.08");
    let whole = slices(&place, "whole.npy");
    for (part, range) in [("1..3", 1..3), ("3..", 3..5), ("..2", 0..2), ("4..5", 4..5)] {
        let result = run(
            &place,
            &format!("denoise y.npy -o part.npy --sigma 0.08 --clean x.npy --slices {part}"),
        );
        assert_eq!(slices(&place, "part.npy"), whole[range.clone()], "{part}");
        let told = result["slices"].as_array().unwrap();
        assert_eq!(told.len(), range.len());
        assert_eq!(told[0]["slice"], range.start);
        // Compared with the slice of its own number.
        let own = psnr(&whole[range.start].planes, &truth(range.start)).unwrap();
        assert!((told[0]["psnr"].as_f64().unwrap() - own).abs() < 1e-9, "{part}");
    }
}

#[test]
fn tiff_pages_become_pages_and_arrays_become_pages() {
    let place = place(3);
    let pages: Vec<Image> = (0..3).map(|index| gray(noisy(index))).collect();
    write_stack(&place, "y.tif", &pages, Format::Tiff16);
    for (index, page) in slices(&place, "y.tif").iter().enumerate() {
        page.write(place.path(&format!("p{index}.tif")), Format::Tiff16)
            .unwrap();
        run(&place, &format!("denoise p{index}.tif --sigma 0.08"));
    }
    let result = run(&place, "denoise y.tif --sigma 0.08");
    assert_eq!(result["output"], "y_denoised.tif");
    let found = slices(&place, "y_denoised.tif");
    for (index, page) in found.iter().enumerate() {
        assert_eq!(
            page,
            &Image::read(place.path(&format!("p{index}_denoised.tif"))).unwrap()
        );
    }
    // Before rounding, and from an array to pages.
    run(&place, "denoise y.tif --sigma 0.08 -o f.npy");
    for (page, exact) in found.iter().zip(slices(&place, "f.npy")) {
        // Half a step, and the f32 rounding of a value that lies between two of them.
        let half = 0.5 / 65535.0 + 1e-7;
        let clamped = |v: &f32| f64::from(v.clamp(0.0, 1.0));
        assert!(
            page.planes
                .iter()
                .zip(&exact.planes)
                .all(|(p, e)| (f64::from(*p) - clamped(e)).abs() < half)
        );
    }
    run(&place, "denoise y.npy --sigma 0.08 -o f.tif --stack");
    run(&place, "denoise y.npy --sigma 0.08 -o g.npy --stack");
    let [pages, array] = ["f.tif", "g.npy"].map(|name| slices(&place, name));
    assert_eq!(pages[2].format, Format::TiffF32);
    assert!(
        pages
            .iter()
            .zip(&array)
            .all(|(page, slice)| page.planes == slice.planes)
    );
}

#[test]
fn three_planes_are_colours_unless_they_are_said_to_be_slices() {
    let place = place(3);
    let colours = run(&place, "denoise y.npy --sigma 0.08 -o colours.npy");
    let stack = run(&place, "denoise y.npy --sigma 0.08 -o stack.npy --stack");
    assert_eq!(colours["iterations_per_channel"].as_array().unwrap().len(), 3);
    assert_eq!(stack["slices"].as_array().unwrap().len(), 3);
    // The same planes in the same shape.
    let bytes = |name: &str| std::fs::read(place.path(name)).unwrap();
    assert_eq!(bytes("colours.npy"), bytes("stack.npy"));
    // Slices of colours keep their opacity, which is not denoised.
    let page = |index: usize| Image {
        channels: 3,
        planes: [truth(index), noisy(index), noisy(index + 1)].concat(),
        alpha: Some(truth(4 - index)),
        ..gray(truth(0))
    };
    write_stack(&place, "c.tif", &[page(0), page(1)], Format::TiffF32);
    run(&place, "denoise c.tif --sigma 0.08 -o c_out.tif");
    for (index, found) in slices(&place, "c_out.tif").iter().enumerate() {
        page(index).write(place.path("c1.tif"), Format::TiffF32).unwrap();
        run(&place, "denoise c1.tif --sigma 0.08 -o c1_out.tif");
        assert_eq!(found, &Image::read(place.path("c1_out.tif")).unwrap());
        assert_eq!(found.alpha, page(index).alpha);
    }
}

#[test]
fn images_measured_as_images_go_slice_by_slice() {
    let place = place(4);
    let mask: Vec<f32> = values(8, PIXELS).iter().map(|v| f32::from(*v > -0.3)).collect();
    gray(mask).write(place.path("mask.npy"), Format::NpyF32).unwrap();
    let kernel = Array::new(
        vec![3, 3],
        Values::F32(vec![1.0, 2.0, 1.0, 2.0, 4.0, 2.0, 1.0, 2.0, 1.0]),
    )
    .unwrap();
    kernel.write(place.path("kernel.npy")).unwrap();
    let whole = same_as_one_by_one(&place, 4, "inpaint", "--mask mask.npy --sigma 0.05");
    assert_eq!(whole["at_once"], 4, "all slices are on the device together");
    let whole = same_as_one_by_one(
        &place,
        4,
        "deblur",
        "--kernel kernel.npy --noise 0.05 --model wcrr-small --max-iter 20",
    );
    assert_eq!(whole["at_once"], 4);
    let whole = same_as_one_by_one(&place, 4, "deblur", "--kernel kernel.npy --noise 0.05 --method tv");
    assert_eq!(whole["at_once"], 1);
    let pnp = "--kernel kernel.npy --noise 0.05 --denoiser denoiser-25";
    let whole = same_as_one_by_one(&place, 4, "deblur", pnp);
    assert_eq!(whole["at_once"], 1);
    assert!(whole["constants"].is_object() && whole["pnp"]["step"].is_number());
    // Results of another size, in the format of the measurement unless the name says otherwise.
    let result = run(&place, "upscale y.npy --factor 2 --noise 0.05 -o large.tif");
    assert_eq!(result["slices"].as_array().unwrap().len(), 4);
    run(&place, "upscale y2.npy --factor 2 --noise 0.05 -o one.npy");
    let large = slices(&place, "large.tif");
    assert_eq!(large[2].planes, Image::read(place.path("one.npy")).unwrap().planes);
    assert_eq!([large[2].height, large[2].width], SIZE.map(|n| 2 * n));
}

#[test]
fn sinograms_are_a_volume_with_one_strength() {
    let place = place(3);
    for index in 0..3 {
        let noise = 0.2 + 0.2 * index as f32;
        place
            .run(&format!(
                "simulate ct x{index}.npy -o y{index}.npy --angles 19 --detectors 33 --noise {noise} --seed {index} -q"
            ))
            .success("simulate ct");
    }
    std::fs::copy(place.path("y0.geometry.toml"), place.path("y.geometry.toml")).unwrap();
    let sinograms: Vec<Image> = (0..3)
        .map(|index| Image::read(place.path(&format!("y{index}.npy"))).unwrap())
        .collect();
    // Three sinograms are no colours.
    write_stack(&place, "y.npy", &sinograms, Format::NpyF32);
    for index in 0..3 {
        std::fs::copy(
            place.path("y.geometry.toml"),
            place.path(&format!("y{index}.geometry.toml")),
        )
        .unwrap();
    }
    let whole = same_as_one_by_one(&place, 3, "ct", "--noise 0.4");
    assert_eq!(whole["at_once"], 3);
    same_as_one_by_one(&place, 3, "ct", "--method fbp");
    assert_eq!(
        Array::read(place.path("out.npy")).unwrap().shape(),
        [3, SIZE[0], SIZE[1]]
    );
    // The noise of a volume is the median of what its slices say.
    let noise = |name: &str| {
        run(&place, &format!("ct {name}.npy -o out.npy"))["noise"]
            .as_f64()
            .unwrap()
    };
    let mut alone = [noise("y0"), noise("y1"), noise("y2")];
    alone.sort_by(f64::total_cmp);
    assert!(alone[0] < alone[1] && alone[1] < alone[2], "{alone:?}");
    assert_eq!(noise("y"), alone[1]);
    // A part has the noise of its own slices.
    let part = run(&place, "ct y.npy -o out.npy --slices 1..2");
    assert_eq!(part["noise"].as_f64().unwrap(), noise("y1"));
}

#[test]
fn k_space_of_several_slices_shares_mask_and_maps() {
    let place = place(3);
    let [rows, cols] = SIZE;
    let maps: Vec<[f32; 2]> = coil_maps(2, SIZE).unwrap();
    let array = |shape: &[usize], values: Vec<[f32; 2]>, name: &str| {
        let array = Array::new(shape.to_vec(), Values::C64(values)).unwrap();
        array.write(place.path(name)).unwrap();
    };
    array(&[2, rows, cols], maps, "maps.npy");
    let mask: Vec<f32> = (0..cols)
        .map(|c| f32::from(c.abs_diff(cols / 2) < 4 || c % 3 == 0))
        .collect();
    Array::new(vec![cols], Values::F32(mask))
        .unwrap()
        .write(place.path("mask.npy"))
        .unwrap();
    // Any numbers will do: what is compared is how they are reconstructed.
    let kspace: Vec<[f32; 2]> = (0..3)
        .flat_map(|index| values(60 + index, 2 * 2 * PIXELS).as_chunks().0.to_vec())
        .collect();
    array(&[3, 2, rows, cols], kspace.clone(), "y.npy");
    for (index, slice) in kspace.chunks(2 * PIXELS).enumerate() {
        array(&[2, rows, cols], slice.to_vec(), &format!("y{index}.npy"));
    }
    let files = "--mask mask.npy --maps maps.npy";
    same_as_one_by_one(&place, 3, "mri", &format!("{files} --noise 0.1 --max-iter 20"));
    same_as_one_by_one(&place, 3, "mri", &format!("{files} --method zero-filled"));
    // One coil: three axes are taken for coils unless they are said to be slices.
    array(&[6, rows, cols], kspace.clone(), "single.npy");
    array(&[rows, cols], kspace[4 * PIXELS..5 * PIXELS].to_vec(), "one.npy");
    place.refuses_line(
        "mri single.npy -o out.npy --mask mask.npy",
        3,
        &["single.maps.npy", "--maps"],
    );
    run(
        &place,
        "mri single.npy -o out.npy --mask mask.npy --stack --noise 0.1 --max-iter 9",
    );
    run(
        &place,
        "mri one.npy -o alone.npy --mask mask.npy --noise 0.1 --max-iter 9",
    );
    assert_eq!(
        slices(&place, "out.npy")[4].planes,
        Image::read(place.path("alone.npy")).unwrap().planes
    );
    place.refuses_line(
        "mri one.npy -o no.npy --mask mask.npy --stack",
        3,
        &["one.npy", "no stack"],
    );
    // A defect in the last slice.
    let mut broken = kspace;
    broken[4 * PIXELS + 3][1] = f32::NAN;
    array(&[3, 2, rows, cols], broken, "y.npy");
    place.refuses_line(
        &format!("mri y.npy -o no.npy {files}"),
        3,
        &["y.npy: slice 2 has a value that is not finite, of coil 0, row 0, column 3"],
    );
}
