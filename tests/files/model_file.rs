//! Whatever the bytes of a model file are, reading gives a sound model or one readable line.

use crate::model_files::{bad_models, edited, small_model};
use knotwork::Error;
use knotwork::filters::FilterBank;
use knotwork::model::dct::{DctSettings, dct};
use knotwork::model::{Border, Ridge};
use proptest::prelude::*;
use std::sync::LazyLock;

static FILE: LazyLock<Vec<u8>> = LazyLock::new(|| small_model().to_bytes().unwrap());

/// A refusal is one line; what is accepted is sound and survives another round trip.
fn check_outcome(bytes: &[u8]) {
    match Ridge::from_bytes(bytes) {
        Ok(model) => {
            model.check().unwrap();
            let again = Ridge::from_bytes(&model.to_bytes().unwrap()).unwrap();
            assert_eq!(again, model);
        }
        Err(Error::Data(reason)) => {
            assert!(!reason.is_empty() && !reason.contains('\n'), "{reason}");
        }
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn what_is_written_is_read() {
    let two_layers = {
        let small = small_model();
        let mut layers = small.bank.layers().to_vec();
        let mut second = layers[0].clone();
        (second.inputs, second.outputs) = (2, 1);
        layers.push(second);
        Ridge {
            bank: FilterBank::new(layers).unwrap(),
            activations: small.activations[..1].to_vec(),
            ..small
        }
    };
    let folder = tempfile::tempdir().unwrap();
    let mirrored = Ridge {
        border: Border::Mirror,
        ..small_model()
    };
    for model in [
        small_model(),
        mirrored,
        two_layers,
        dct(&DctSettings::default()).unwrap(),
    ] {
        let bytes = model.to_bytes().unwrap();
        let read = Ridge::from_bytes(&bytes).unwrap();
        assert_eq!(read, model);
        assert_eq!(read.to_bytes().unwrap(), bytes);
        let path = folder.path().join("model.safetensors");
        model.write(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
        assert_eq!(Ridge::read(&path).unwrap(), model);
    }
}

#[test]
fn an_unsound_model_is_not_written() {
    let model = Ridge {
        slope_bounds: (0.0, 1.0),
        ..small_model()
    };
    assert!(model.to_bytes().unwrap_err().to_string().contains("outside [0, 1]"));
}

#[test]
fn every_defect_is_named() {
    Ridge::from_bytes(&edited(|_, _| ())).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    for (name, bytes, expected) in bad_models() {
        let reason = Ridge::from_bytes(&bytes).expect_err(name).to_string();
        assert!(reason.contains(expected) && !reason.contains('\n'), "{name}: {reason}");
        std::fs::write(&path, bytes).unwrap();
        match Ridge::read(&path).expect_err(name) {
            Error::Input { path: named, .. } => assert_eq!(named, path),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn every_truncation_and_every_extension_is_refused() {
    for length in 0..FILE.len() {
        assert!(Ridge::from_bytes(&FILE[..length]).is_err(), "cut to {length}");
    }
    assert!(Ridge::from_bytes(&[&FILE[..], &[0]].concat()).is_err());
}

#[test]
fn every_flipped_bit_gives_a_line_or_a_sound_model() {
    for position in 0..FILE.len() {
        for bit in 0..8 {
            let mut bytes = FILE.clone();
            bytes[position] ^= 1 << bit;
            check_outcome(&bytes);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn damaged_bytes_give_a_line_or_a_sound_model(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = FILE.clone();
        for (position, value) in damage {
            let position = position.index(bytes.len());
            bytes[position] = value;
        }
        check_outcome(&bytes);
    }
}

/// Sizes that no file can hold, and none of the memory for them.
#[test]
fn hostile_headers_are_refused() {
    let description = {
        let (_, header) = safetensors::SafeTensors::read_metadata(&FILE).unwrap();
        header.metadata().as_ref().unwrap()["knotwork"].clone()
    };
    let with_header = |length: u64, header: &str| {
        let mut bytes = length.to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend([0; 64]);
        bytes
    };
    for length in [0, 1, 1 << 20, 1 << 40, u64::MAX / 2, u64::MAX - 7, u64::MAX] {
        Ridge::from_bytes(&with_header(length, "{}")).unwrap_err();
    }
    let metadata = serde_json::json!({ "knotwork": description });
    for (shape, end) in [
        ("[0,4294967295,4294967295,4294967295]", "0"),
        ("[4294967295,4294967295,4294967295,4294967295]", "64"),
        ("[18446744073709551615,1,1,1]", "64"),
        ("[2,2,2,2]", "18446744073709551615"),
        ("[1,1,4294967296,4294967296]", "64"),
        ("[4,0,1,1]", "0"),
        ("[-1,1,1,1]", "4"),
    ] {
        let header = format!(
            r#"{{"__metadata__":{metadata},"filters.0":{{"dtype":"F32","shape":{shape},"data_offsets":[0,{end}]}}}}"#
        );
        let reason = Ridge::from_bytes(&with_header(header.len() as u64, &header))
            .unwrap_err()
            .to_string();
        // Refused for its own sake, not for the tensors that follow.
        assert!(
            reason.contains("not a readable model file") || reason.contains("filters.0"),
            "{shape}: {reason}"
        );
    }
    let deep = "[".repeat(200_000);
    Ridge::from_bytes(&with_header(deep.len() as u64, &deep)).unwrap_err();
    let nested = edited(|d, _| d["provenance"] = serde_json::json!([]));
    let text = String::from_utf8_lossy(&nested[8..]).into_owned();
    let header = text[..text.rfind('}').unwrap() + 1].replace(
        r#"\"provenance\":[]"#,
        &format!(r#"\"provenance\":{}"#, "[".repeat(200_000)),
    );
    assert!(header.len() > 200_000);
    let reason = Ridge::from_bytes(&with_header(header.len() as u64, &header)).unwrap_err();
    assert!(!reason.to_string().contains('\n'));
}
