//! The published checkpoints and their configurations, file hashes, and what is refused.

use crate::common::npz;
use crate::common::shared;
use knotwork::Error;
use knotwork::io::checkpoint::{read_json_lenient, read_pth};
use knotwork::io::hash::blake3_file;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

fn input_reason(error: Error) -> String {
    match error {
        Error::Input { reason, .. } => reason,
        other => panic!("not an input error: {other:?}"),
    }
}

fn write_temporary(folder: &tempfile::TempDir, content: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.path().join("file");
    fs::write(&path, content).unwrap();
    path
}

/// What `pickle.dumps({}, protocol=2)` gives.
const PICKLE_OF_EMPTY_DICTIONARY: &[u8] = b"\x80\x02}q\x00.";

#[test]
fn published_checkpoints_have_their_tensors() {
    for model in ["wcrr", "crr"] {
        let Some(path) = shared::shared(&format!("data/pretrained/{model}/checkpoint_6000.pth")) else {
            return;
        };
        let tensors = read_pth(&path).unwrap();
        let shapes: Vec<(&str, &[usize])> = tensors
            .iter()
            .map(|(name, tensor)| (name.as_str(), &tensor.shape[..]))
            .collect();
        let expected: [(&str, &[usize]); 7] = [
            ("activation_ccv.coefficients", &[1, 101]),
            ("activation_cvx.coefficients", &[1, 101]),
            (
                "conv_layer.conv_layers.0.parametrizations.weight.original",
                &[4, 1, 5, 5],
            ),
            ("conv_layer.conv_layers.1.weight", &[8, 4, 5, 5]),
            ("conv_layer.conv_layers.2.weight", &[60, 8, 5, 5]),
            ("mu_", &[]),
            ("spline_scaling.coefficients", &[60, 11]),
        ];
        assert_eq!(shapes, expected, "{model}");
        for (name, tensor) in &tensors {
            assert_eq!(tensor.shape.iter().product::<usize>(), tensor.data.len(), "{name}");
        }

        // The reference file holds the same values, taken out by PyTorch.
        let reference = shared::shared(&format!("data/reference/{model}.npz")).unwrap();
        for (ours, theirs) in [
            ("conv_layer.conv_layers.1.weight", "conv1"),
            ("conv_layer.conv_layers.2.weight", "conv2"),
            ("conv_layer.conv_layers.0.parametrizations.weight.original", "conv0_raw"),
            ("spline_scaling.coefficients", "scaling_raw"),
        ] {
            assert_eq!(
                tensors[ours].data,
                npz::read(&reference, theirs).values().to_f32(),
                "{model}: {ours}"
            );
        }
    }
}

#[test]
fn published_configurations_are_read() {
    for model in ["wcrr", "crr"] {
        let Some(path) = shared::shared(&format!("data/pretrained/{model}/config.json")) else {
            return;
        };
        let config = read_json_lenient(&path).unwrap();
        assert_eq!(config["spline_activation"]["num_knots"], 101);
        assert_eq!(
            config["multi_convolution"]["num_channels"],
            serde_json::json!([1, 4, 8, 60])
        );
    }
}

#[test]
fn comments_are_skipped_but_not_in_strings() {
    let folder = tempfile::tempdir().unwrap();
    let text = r#"{ // first "comment"
        "url": "https://example.org", // second \
        "quote": "a \" // b", "path": "c:\\", // third
        "number": 1 }// last"#;
    let value = read_json_lenient(write_temporary(&folder, text)).unwrap();
    let expected = serde_json::json!({"url": "https://example.org", "quote": "a \" // b", "path": "c:\\", "number": 1});
    assert_eq!(value, expected);
}

#[test]
fn invalid_json_is_located() {
    let folder = tempfile::tempdir().unwrap();
    let reason = input_reason(read_json_lenient(write_temporary(&folder, "{ // x\n  \"a\": }")).unwrap_err());
    assert!(reason.contains("line 2 column 8"), "{reason}");
    let nested = "[".repeat(100_000);
    assert!(read_json_lenient(write_temporary(&folder, nested)).is_err());
    assert!(read_json_lenient(write_temporary(&folder, [0x22, 0xff, 0x22])).is_err());
    assert!(read_json_lenient(write_temporary(&folder, "\"unfinished \\")).is_err());
}

/// What `torch.save` writes for a dictionary with one tensor, `weight`, over a storage of this type and content; under
/// `state_dict` next to another entry, or at the root.
fn torch_file(nested: bool, storage: &str, element: usize, content: &[u8], extent: i32, stride: i32) -> Vec<u8> {
    let text = |text: &str| {
        [
            b"X",
            &u32::try_from(text.len()).unwrap().to_le_bytes()[..],
            text.as_bytes(),
        ]
        .concat()
    };
    let class = |module: &str, name: &str| format!("c{module}\n{name}\n").into_bytes();
    let integer = |value: i32| [b"J", &value.to_le_bytes()[..]].concat();
    let tuple = |items: &[Vec<u8>]| [b"(", &items.concat()[..], b"t"].concat();
    let dictionary = |entries: &[Vec<u8>]| [b"}(", &entries.concat()[..], b"u"].concat();

    let count = integer(i32::try_from(content.len() / element).unwrap());
    let identity = tuple(&[text("storage"), class("torch", storage), text("0"), text("cpu"), count]);
    let arguments = tuple(&[
        [&identity[..], b"Q"].concat(),
        integer(0),
        tuple(&[integer(extent)]),
        tuple(&[integer(stride)]),
        b"\x89".to_vec(),
        [class("collections", "OrderedDict"), b")R".to_vec()].concat(),
    ]);
    let tensor = [class("torch._utils", "_rebuild_tensor_v2"), arguments, b"R".to_vec()].concat();
    let weights = dictionary(&[text("weight"), tensor]);
    let root = if nested {
        dictionary(&[text("epoch"), integer(3), text("state_dict"), weights])
    } else {
        weights
    };
    let pickle = [b"\x80\x02", &root[..], b"."].concat();

    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, bytes) in [("data.pkl", &pickle[..]), ("version", b"3\n"), ("data/0", content)] {
        archive.start_file(format!("archive/{name}"), stored).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

#[test]
fn tensors_are_found_in_the_state_dict_or_at_the_root() {
    let folder = tempfile::tempdir().unwrap();
    let single: Vec<u8> = [1.5_f32, -2.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    let double: Vec<u8> = [0.1_f64, -2.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    for nested in [false, true] {
        let tensors = read_pth(write_temporary(
            &folder,
            torch_file(nested, "FloatStorage", 4, &single, 2, 1),
        ))
        .unwrap();
        assert_eq!(tensors["weight"].data, [1.5, -2.0], "nested {nested}");
        assert_eq!((tensors.len(), &tensors["weight"].shape[..]), (1, &[2][..]));
        let tensors = read_pth(write_temporary(
            &folder,
            torch_file(nested, "DoubleStorage", 8, &double, 2, 1),
        ))
        .unwrap();
        assert_eq!(tensors["weight"].data, [0.1_f32, -2.0], "nested {nested}");
    }
}

#[test]
fn unusable_tensors_are_named() {
    let folder = tempfile::tempdir().unwrap();
    for (file, expected) in [
        (
            torch_file(true, "LongStorage", 8, &[0; 8], 1, 1),
            "'weight' has type I64",
        ),
        (
            torch_file(true, "FloatStorage", 4, &f32::NAN.to_le_bytes(), 1, 1),
            "'weight' holds NaN at element 0",
        ),
        (
            torch_file(true, "DoubleStorage", 8, &1e300_f64.to_le_bytes(), 1, 1),
            "'weight' holds inf",
        ),
        // A view of one value repeated: a small file that asks for a gigabyte and more.
        (
            torch_file(true, "FloatStorage", 4, &[0; 4], 1 << 29, 0),
            "declares more than",
        ),
        (torch_file(true, "FloatStorage", 4, &[0; 4], 2, 1), "damaged"),
    ] {
        let reason = input_reason(read_pth(write_temporary(&folder, file)).unwrap_err());
        assert!(reason.contains(expected) && !reason.contains('\n'), "{reason}");
    }
}

#[test]
fn other_files_are_no_checkpoints() {
    let folder = tempfile::tempdir().unwrap();
    for (content, expected) in [
        (&b""[..], "is empty"),
        (b"hello, this is text", "not a PyTorch checkpoint"),
        (b"PK\x03\x04 and no more", "not a PyTorch checkpoint"),
        (PICKLE_OF_EMPTY_DICTIONARY, "no tensors"),
    ] {
        let reason = input_reason(read_pth(write_temporary(&folder, content)).unwrap_err());
        assert!(reason.contains(expected), "{reason}");
    }
    assert!(input_reason(read_pth(Path::new("/no/such/file.pth")).unwrap_err()).contains("no such file"));
    assert!(input_reason(read_pth(folder.path()).unwrap_err()).contains("is a folder"));
}

#[test]
fn damaged_checkpoints_are_refused() {
    let Some(path) = shared::shared("data/pretrained/wcrr/checkpoint_6000.pth") else {
        return;
    };
    let bytes = fs::read(path).unwrap();
    let folder = tempfile::tempdir().unwrap();
    // The index of a zip file is at its end, so that no truncation can go unnoticed.
    for length in (1..bytes.len()).step_by(3331).chain(bytes.len() - 40..bytes.len()) {
        assert!(
            read_pth(write_temporary(&folder, &bytes[..length])).is_err(),
            "cut to {length} bytes"
        );
    }
    // Anywhere else, damage either meets a check sum or is harmless; never a panic, never a value that is not finite.
    for position in (0..bytes.len()).step_by(2503) {
        let mut damaged = bytes.clone();
        damaged[position] ^= 0xff;
        if let Ok(tensors) = read_pth(write_temporary(&folder, damaged)) {
            assert!(
                tensors
                    .values()
                    .flat_map(|tensor| &tensor.data)
                    .all(|value| value.is_finite())
            );
        }
    }
}

#[test]
fn hashes_are_those_of_blake3() {
    let folder = tempfile::tempdir().unwrap();
    let hash = blake3_file(write_temporary(&folder, "abc")).unwrap();
    assert_eq!(hash, "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85");
    assert!(input_reason(blake3_file(folder.path().join("missing")).unwrap_err()).contains("no such file"));
}
