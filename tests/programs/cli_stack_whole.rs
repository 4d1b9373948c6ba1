//! Stacks whole or not at all: mistakes, signals, and stacks as items of batches.

use crate::program;
use crate::slice_files::{PIXELS, SIZE, gray, noisy, place, run, slices, truth, write_stack};
use knotwork::io::image::{Format, Image};
use knotwork::io::npy::{Array, Values};
use serde_json::Value;

#[test]
fn mistakes_are_one_line_that_names_the_slice() {
    let place = place(4);
    let refuse = |line: &str, code: i32, expected: &[&str]| place.refuses_line(line, code, expected);
    refuse("denoise y.npy -o out.png --sigma 0.1", 2, &["out.png", ".tif or .npy"]);
    refuse("denoise y.npy -o y.npy --sigma 0.1", 2, &["y.npy", "-o"]);
    refuse(
        "denoise y.npy -o out.npy --sigma 0.1 --record y.npy",
        2,
        &["y.npy", "--record"],
    );
    refuse(
        "denoise y.npy -o out.npy --sigma 0.1 --slices 2..7",
        2,
        &["2..7", "0..4"],
    );
    refuse(
        "denoise y.npy -o out.npy --sigma 0.1 --slices 4..",
        2,
        &["4..4", "0..4"],
    );
    refuse("denoise y.npy -o out.npy --sigma 0.1 --slices 2..2", 2, &["no slice"]);
    refuse("denoise y.npy -o out.npy --sigma 0.1 --slices 2", 2, &["A..B"]);
    refuse(
        "denoise y1.npy -o out.npy --sigma 0.1 --slices 0..1",
        2,
        &["one image", "--stack"],
    );
    refuse(
        "denoise y1.npy -o out.npy --sigma 0.1 --stack",
        3,
        &["y1.npy", "no stack"],
    );
    refuse(
        "denoise y.npy -o out.npy --sigma 0.1 --clean x1.npy",
        3,
        &["x1.npy", "no stack"],
    );
    refuse("denoise y.npy -o out.npy --sigma 0.1 --lambda 50", 2, &["non-convex"]);
    let clean: Vec<Image> = (0..3).map(|index| gray(truth(index))).collect();
    write_stack(&place, "short.tif", &clean, Format::TiffF32);
    refuse(
        "denoise y.npy -o out.npy --sigma 0.1 --clean short.tif",
        3,
        &["3 slices", "has 4"],
    );
    let turned: Vec<Image> = (0..4)
        .map(|index| Image::gray(SIZE[1], SIZE[0], truth(index), Format::NpyF32).unwrap())
        .collect();
    write_stack(&place, "turned.npy", &turned, Format::NpyF32);
    refuse(
        "denoise y.npy -o out.npy --sigma 0.1 --clean turned.npy",
        3,
        &["slice 0 has 1 x 21 x 26"],
    );
    // What only the last slice shows costs no reconstruction, in the input as in what it is compared with.
    let array = |name: &str, values: Vec<f32>, shape: &[usize]| {
        Array::new(shape.to_vec(), Values::F32(values))
            .unwrap()
            .write(place.path(name))
            .unwrap();
    };
    let mut broken = vec![0.5; 4 * PIXELS];
    broken[3 * PIXELS + 22] = f32::INFINITY;
    array("broken.npy", broken, &[4, SIZE[0], SIZE[1]]);
    let reason = "slice 3 has 1 values that are not finite numbers, the first at row 1, column 1";
    refuse("denoise broken.npy -o out.npy --sigma 0.1", 3, &["broken.npy", reason]);
    refuse(
        "denoise y.npy -o out.npy --sigma 0.1 --clean broken.npy",
        3,
        &["broken.npy", reason],
    );
    refuse(
        "upscale broken.npy -o out.npy --factor 2 --sigma 0.1",
        3,
        &["broken.npy", reason],
    );
    let bytes = std::fs::read(place.path("y.npy")).unwrap();
    std::fs::write(place.path("cut.npy"), &bytes[..bytes.len() - 7]).unwrap();
    refuse("denoise cut.npy -o out.npy --sigma 0.1", 3, &["cut.npy", "truncated"]);
    // What a part does not touch does not matter to it.
    run(&place, "denoise broken.npy -o out.npy --sigma 0.1 --slices 0..3");
    // An old result stays when a run fails.
    let old = std::fs::read(place.path("out.npy")).unwrap();
    refuse("denoise broken.npy -o out.npy --sigma 0.1", 3, &[reason]);
    assert_eq!(std::fs::read(place.path("out.npy")).unwrap(), old);
}

#[test]
fn stacks_are_items_of_batches() {
    let place = place(4);
    let manifest = r#"{"id": "a", "input": "y.npy", "clean": "x.npy"}
{"id": "b", "input": "y.npy", "slices": "1..3"}
{"id": "c", "input": "y3.npy"}
"#;
    std::fs::write(place.path("items.jsonl"), manifest).unwrap();
    let batch = "batch --manifest items.jsonl --out-template {id}_out.npy --json -q";
    let ended = place.run(&format!("{batch} --dry-run -- denoise --sigma 0.08"));
    let plan = ended.success("plan").stdout;
    let last: Value = serde_json::from_str(plan.lines().last().unwrap()).unwrap();
    assert_eq!(last["bytes"]["written"], 7 * 4 * PIXELS);
    place.run(&format!("{batch} -- denoise --sigma 0.08")).success("batch");
    run(&place, "denoise y.npy -o alone.npy --sigma 0.08");
    let alone = slices(&place, "alone.npy");
    assert_eq!(slices(&place, "a_out.npy"), alone);
    assert_eq!(slices(&place, "b_out.npy"), alone[1..3]);
    assert_eq!(Image::read(place.path("c_out.npy")).unwrap().planes, alone[3].planes);
}

#[cfg(unix)]
#[test]
fn a_signal_ends_a_run_between_slices_with_nothing_written() {
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    let place = place(4);
    // More work than any machine does before the signal comes: slices of the largest number of iterations, none of which converges.
    let many: Vec<Image> = (0..4000).map(|index| gray(noisy(index % 4))).collect();
    write_stack(&place, "many.npy", &many, Format::NpyF32);
    std::fs::write(place.path("out.npy"), "old").unwrap();
    let before = place.files();
    let kernel = Array::new(vec![1, 1], Values::F32(vec![1.0])).unwrap();
    kernel.write(place.path("kernel.npy")).unwrap();
    for (line, batch) in [
        (
            "deblur many.npy -o out.npy --kernel kernel.npy --sigma 0.05 --tol 1e-30 --max-iter 50",
            false,
        ),
        (
            "batch --manifest items.jsonl --out-template {id}.npy -- deblur --kernel kernel.npy --sigma 0.05 --tol 1e-30 --max-iter 50",
            true,
        ),
    ] {
        if batch {
            std::fs::write(place.path("items.jsonl"), r#"{"id": "out", "input": "many.npy"}"#).unwrap();
        }
        let mut child = Command::new(program::RECONSTRUCT)
            .args(line.split(' '))
            .current_dir(place.path(""))
            .env("XDG_RUNTIME_DIR", std::env::temp_dir())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // The temporary file appears when the first slice is about to be worked on.
        let temporary = || {
            let begun = |path: &std::path::PathBuf| path.to_string_lossy().ends_with(".tmp");
            place.files().iter().any(begun)
        };
        let limit = Instant::now() + Duration::from_secs(120);
        while !temporary() {
            assert!(
                Instant::now() < limit && child.try_wait().unwrap().is_none(),
                "it never began: {line}"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
        assert!(killed.unwrap().success());
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(75), "{said}");
        assert!(said.contains("stopped by SIGTERM after"), "{said}");
        assert_eq!(std::fs::read(place.path("out.npy")).unwrap(), b"old");
        let mut after = place.files();
        after.remove(&place.path("kernel.npy"));
        after.remove(&place.path("items.jsonl"));
        assert_eq!(after, before, "{line} left files behind");
        let expected: &[&str] = if batch {
            &["after 0 of 1 items, 0 of them failed"]
        } else {
            &["of 4000 slices", "nothing was written"]
        };
        assert!(expected.iter().all(|part| said.contains(part)), "{said}");
    }
}
