//! NPY arrays: round trips, the variants NumPy writes, and hostile headers.

use crate::common::npz;
use crate::common::shared;
use knotwork::Error;
use knotwork::io::npy::{Array, Values};
use proptest::prelude::*;

/// A file of version 1.0 with this header text.
fn file(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

fn bytes_of(array: &Array) -> Vec<u8> {
    let mut bytes = Vec::new();
    array.write_to(&mut bytes).unwrap();
    bytes
}

fn examples() -> Vec<Array> {
    vec![
        Array::new(vec![2, 3], Values::U8(vec![0, 1, 2, 127, 128, 255])).unwrap(),
        Array::new(vec![3], Values::U16(vec![0, 258, u16::MAX])).unwrap(),
        Array::new(vec![1, 2], Values::I32(vec![i32::MIN, 7])).unwrap(),
        Array::new(vec![2, 1, 1], Values::I64(vec![i64::MIN, i64::MAX])).unwrap(),
        Array::new(
            vec![2, 2],
            Values::F32(vec![-0.0, f32::MIN_POSITIVE, 1.5, f32::INFINITY]),
        )
        .unwrap(),
        Array::new(vec![], Values::F64(vec![std::f64::consts::PI])).unwrap(),
        Array::new(vec![0, 4], Values::F32(vec![])).unwrap(),
        Array::new(vec![1, 2], Values::C64(vec![[1.5, -0.0], [f32::MIN_POSITIVE, 2.0]])).unwrap(),
        Array::new(vec![1], Values::C128(vec![[-std::f64::consts::E, 3.0]])).unwrap(),
    ]
}

#[test]
fn every_type_and_rank_survives_a_round_trip() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("array.npy");
    for array in examples() {
        array.write(&path).unwrap();
        assert_eq!(Array::read(&path).unwrap(), array);
    }
}

/// What `numpy.save` writes for `numpy.array([[1.5, -2.0]], dtype="float32")`.
#[test]
fn files_are_those_of_numpy() {
    let array = Array::new(vec![1, 2], Values::F32(vec![1.5, -2.0])).unwrap();
    let mut expected = b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }".to_vec();
    expected.resize(127, b' ');
    expected.extend(b"\n\x00\x00\xc0\x3f\x00\x00\x00\xc0");
    assert_eq!(bytes_of(&array), expected);

    // numpy.array([1.5 - 2j], dtype="complex64").
    let complex = Array::new(vec![1], Values::C64(vec![[1.5, -2.0]])).unwrap();
    let mut expected = b"\x93NUMPY\x01\x00\x76\x00{'descr': '<c8', 'fortran_order': False, 'shape': (1,), }".to_vec();
    expected.resize(127, b' ');
    expected.extend(b"\n\x00\x00\xc0\x3f\x00\x00\x00\xc0");
    assert_eq!(bytes_of(&complex), expected);

    let vector = Array::new(vec![1], Values::U8(vec![9])).unwrap();
    assert!(String::from_utf8_lossy(&bytes_of(&vector)).contains("'shape': (1,), }"));
}

#[test]
fn other_spellings_are_understood() {
    let big_endian = file(
        "{'shape': (2,), \"descr\": '>u2', 'fortran_order': False}\n",
        &[1, 2, 3, 4],
    );
    assert_eq!(
        *Array::from_bytes(&big_endian).unwrap().values(),
        Values::U16(vec![0x102, 0x304])
    );

    let python_2 = file("{'descr': '|u1', 'fortran_order': False, 'shape': (2L,), }", &[1, 2]);
    assert_eq!(Array::from_bytes(&python_2).unwrap().shape(), [2]);

    let booleans = file("{'descr': '|b1', 'fortran_order': False, 'shape': (2, 1), }", &[1, 0]);
    assert_eq!(
        *Array::from_bytes(&booleans).unwrap().values(),
        Values::U8(vec![255, 0]),
        "black and white"
    );

    let header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1,), }";
    let mut version_2 = b"\x93NUMPY\x02\x00".to_vec();
    version_2.extend(u32::try_from(header.len()).unwrap().to_le_bytes());
    version_2.extend(header);
    version_2.push(7);
    assert_eq!(*Array::from_bytes(&version_2).unwrap().values(), Values::U8(vec![7]));
}

#[test]
fn fortran_order_becomes_row_major() {
    // Element (i, j, k) of shape (2, 3, 2) is 100 i + 10 j + k; the first index varies fastest in the file.
    let mut column_major = Vec::new();
    let mut row_major = Vec::new();
    for a in 0..2 {
        for b in 0..3 {
            for c in 0..2 {
                column_major.push(100 * c + 10 * b + a);
                row_major.push(100 * a + 10 * b + c);
            }
        }
    }
    let bytes = file(
        "{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3, 2), }",
        &column_major,
    );
    assert_eq!(*Array::from_bytes(&bytes).unwrap().values(), Values::U8(row_major));
}

#[test]
fn complex_numbers_keep_their_parts_together() {
    // Element (i, j) of shape (2, 2) is (10 i + j) + (100 + 10 i + j) i, in big-endian Fortran order.
    let element = |i: u16, j: u16| [f32::from(10 * i + j), f32::from(100 + 10 * i + j)];
    let column_major: Vec<u8> = [element(0, 0), element(1, 0), element(0, 1), element(1, 1)]
        .as_flattened()
        .iter()
        .flat_map(|part| part.to_be_bytes())
        .collect();
    let bytes = file(
        "{'descr': '>c8', 'fortran_order': True, 'shape': (2, 2), }",
        &column_major,
    );
    let array = Array::from_bytes(&bytes).unwrap();
    let row_major = vec![element(0, 0), element(0, 1), element(1, 0), element(1, 1)];
    assert_eq!(array.values().to_f64()[2..4], [1.0, 101.0]);
    assert_eq!(*array.values(), Values::C64(row_major));
    assert_eq!(array.values().len(), 4);
    assert!(array.values().is_complex() && !Values::F64(vec![]).is_complex());

    let double: Vec<u8> = [0.1_f64, -7.0].iter().flat_map(|part| part.to_le_bytes()).collect();
    let array = Array::from_bytes(&file(
        "{'descr': '<c16', 'fortran_order': False, 'shape': (), }",
        &double,
    ))
    .unwrap();
    assert_eq!(*array.values(), Values::C128(vec![[0.1, -7.0]]));
    assert_eq!(array.values().to_f32(), [0.1_f32, -7.0]);
}

#[test]
fn hostile_headers_are_refused() {
    let plain = |descr: &str, shape: &str| format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}");
    for (header, expected) in [
        (plain("'<f4'", "(4294967296, 4294967296, 4294967296)"), "truncated"),
        (plain("'<f4'", "(9223372036854775807,)"), "truncated"),
        (plain("'<f4'", "(3,)"), "truncated"),
        (plain("'<f4'", "(-1,)"), "no NPY header"),
        (plain("'<f4'", "(1.5,)"), "no NPY header"),
        (plain("'<f4'", "(99999999999999999999999,)"), "no NPY header"),
        (plain("'<f4'", "(1,,)"), "no NPY header"),
        (plain("'<f4'", "(1"), "no NPY header"),
        (plain("'|O'", "(1,)"), "type '|O'"),
        (plain("'<f2'", "(1,)"), "astype('float32')"),
        (plain("'<c8'", "(2,)"), "truncated"),
        (plain("'<c16'", "(1,)"), "truncated"),
        (plain("'<c16'", "(1152921504606846976,)"), "truncated"),
        (plain("'<c4'", "(1,)"), "type '<c4'"),
        (plain("'<c32'", "(1,)"), "type '<c32'"),
        (plain("''", "(1,)"), "type ''"),
        (plain("'é4'", "(1,)"), "is not read"),
        (plain("[('x', '<f4')]", "(1,)"), "type 'record'"),
        ("{'descr': '<f4', 'fortran_order': False, }".to_owned(), "no NPY header"),
        (
            "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,)}".to_owned(),
            "no NPY header",
        ),
        (
            "{'descr': '<f4', 'fortran_order': 0, 'shape': (1,)}".to_owned(),
            "no NPY header",
        ),
        (
            "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'x': 1}".to_owned(),
            "no NPY header",
        ),
        ("(".repeat(9000), "no NPY header"),
        ("{".repeat(20_000), "too long"),
        (String::new(), "no NPY header"),
    ] {
        let reason = Array::from_bytes(&file(&header, &[0; 8])).unwrap_err();
        assert!(reason.contains(expected), "{header}: {reason}");
        assert!(!reason.contains('\n'), "{reason}");
    }
    assert!(
        Array::from_bytes(b"\x93NUMPY\x04\x00\x00\x00")
            .unwrap_err()
            .contains("version 4.0")
    );
    assert!(Array::from_bytes(b"GIF89a").unwrap_err().contains("not an NPY file"));
}

#[test]
fn every_truncation_is_refused() {
    for array in examples() {
        let bytes = bytes_of(&array);
        for length in 0..bytes.len() {
            assert!(
                Array::from_bytes(&bytes[..length]).is_err(),
                "{array:?} cut to {length} bytes"
            );
        }
    }
}

#[test]
fn unusable_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.npy");
    std::fs::write(&empty, b"").unwrap();
    for (path, expected) in [
        (folder.path().join("missing.npy"), "no such file"),
        (folder.path().to_path_buf(), "is a folder"),
        (empty, "is empty"),
    ] {
        match Array::read(&path).unwrap_err() {
            Error::Input { path: named, reason } => {
                assert_eq!(named, path);
                assert!(reason.contains(expected), "{reason}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn shape_and_values_must_agree() {
    assert!(matches!(
        Array::new(vec![2, 2], Values::F32(vec![0.0; 3])),
        Err(Error::Data(_))
    ));
    assert!(matches!(
        Array::new(vec![usize::MAX, 2], Values::F32(vec![])),
        Err(Error::Data(_))
    ));
}

#[test]
fn conversions_keep_the_values() {
    let values = Values::I64(vec![-3, 1 << 40]);
    assert_eq!(values.to_f64(), [-3.0, 1_099_511_627_776.0]);
    assert_eq!(Values::F64(vec![0.1]).to_f32(), [0.1_f32]);
}

#[test]
fn reference_archives_are_read() {
    let Some(path) = shared::shared("data/reference/wcrr.npz") else {
        return;
    };
    let filters = npz::read(&path, "filters13");
    assert_eq!(filters.shape(), [60, 13, 13]);
    assert!(filters.values().to_f64().iter().all(|value| value.is_finite()));
    assert_eq!(npz::read(&path, "spline_num_knots").values(), &Values::I64(vec![101]));
    assert!(matches!(npz::read(&path, "tv_clean").values(), Values::F32(_)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn damaged_bytes_never_panic(
        which in 0..9_usize,
        damage in prop::collection::vec((any::<prop::sample::Index>(), prop_oneof![any::<u8>(), b'0'..=b'9']), 1..8),
    ) {
        let mut bytes = bytes_of(&examples()[which]);
        for (position, value) in damage {
            let position = position.index(bytes.len());
            bytes[position] = value;
        }
        if let Ok(array) = Array::from_bytes(&bytes) {
            prop_assert_eq!(array.shape().iter().product::<usize>(), array.values().len());
        }
    }

    #[test]
    fn any_header_text_is_survived(
        descr in "[<>|=é]?[uifcSO][12468]{0,2}",
        fortran_order in any::<bool>(),
        shape in "([0-9]{0,3}[, L-]{0,2}){0,4}",
        (edit, character) in (any::<prop::sample::Index>(), prop_oneof![Just(None), any::<char>().prop_map(Some)]),
    ) {
        let order = if fortran_order { "True" } else { "False" };
        let text = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': ({shape}), }}");
        let mut characters: Vec<char> = text.chars().collect();
        if let Some(character) = character {
            let position = edit.index(characters.len());
            characters[position] = character;
        }
        let header: String = characters.into_iter().collect();
        if let Ok(array) = Array::from_bytes(&file(&header, &[0; 64])) {
            prop_assert_eq!(array.shape().iter().product::<usize>(), array.values().len());
        }
    }
}
