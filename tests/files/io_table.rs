//! Samples of a function from text and arrays: what people write is read, what cannot be read is named with its place.

use knotwork::Error;
use knotwork::io::npy::{Array, Values};
use knotwork::io::table::SampleTable;
use proptest::prelude::*;
use std::path::Path;

fn table(x: &[f64], y: &[f64], weights: Option<&[f64]>) -> SampleTable {
    SampleTable {
        x: x.to_vec(),
        y: y.to_vec(),
        weights: weights.map(<[f64]>::to_vec),
    }
}

fn array(shape: &[usize], values: Values) -> Vec<u8> {
    let mut bytes = Vec::new();
    Array::new(shape.to_vec(), values)
        .unwrap()
        .write_to(&mut bytes)
        .unwrap();
    bytes
}

#[test]
fn text_is_read_as_people_write_it() {
    let pairs = table(&[1.0, -2.5, 3e-4], &[4.0, 5.0, -0.5], None);
    for text in [
        "1,4\n-2.5,5\n3e-4,-.5\n",
        "1,4\n-2.5,5\n3e-4,-.5",
        "1 4\n  -2.5   5  \n3e-4 \t -.5\n",
        "1\t4\n-2.5\t5\n3e-4\t-.5\n",
        "1;4\r\n-2.5;5\r\n3e-4;-.5\r\n",
        "1, 4\n -2.5 ,5\n3E-4,-.5\n",
        "\u{feff}1,4\n-2.5,5\n3e-4,-.5\n",
        "# measured in May\n\n1,4 # first\n   \n-2.5,+5.\n#\n3e-4,-0.5\n\n",
        "x,y\n1,4\n-2.5,5\n3e-4,-.5\n",
        "\u{feff}X;Y\r\n1;4\r\n-2.5;5\r\n3e-4;-.5\r\n",
        "y,x\n4,1\n5,-2.5\n-.5,3e-4\n",
        "time,name,Y,x\n0,a,4,1\n1,b,5,-2.5\n2,,-.5,3e-4\n",
        "volts,amperes\n1,4\n-2.5,5\n3e-4,-.5\n",
        "x,f(x)\n1,4\n-2.5,5\n3e-4,-.5\n",
        "\"x\",\"y\"\n\"1\",\"4\"\n\"-2.5\",\"5\"\n\"3e-4\",\"-.5\"\n",
        "1,4,\n-2.5,5,\n3e-4,-.5,\n",
    ] {
        assert_eq!(SampleTable::from_bytes(text.as_bytes()).unwrap(), pairs, "{text}");
    }
    let weighted = table(&[1.0, 2.0], &[4.0, 5.0], Some(&[0.5, 0.0]));
    for text in [
        "1,4,.5\n2,5,0\n",
        "weight,y,x\n.5,4,1\n0,5,2\n",
        "x y w\n1 4 .5\n2 5 0\n",
        "x,y,Weights\n1,4,.5\n2,5,0\n",
        "a;b;c\n1;4;.5\n2;5;0\n",
        "x,y,day,w\n1,4,monday,.5\n2,5,tuesday,0\n",
    ] {
        assert_eq!(SampleTable::from_bytes(text.as_bytes()).unwrap(), weighted, "{text}");
    }
    let latin1 = b"# \xb5V over \xb0C\n1,4\n-2.5,5\n3e-4,-.5 # \xe9\n";
    assert_eq!(SampleTable::from_bytes(latin1).unwrap(), pairs);
}

#[test]
fn arrays_of_every_type_are_read() {
    let pairs = table(&[1.0, 3.0], &[2.0, 4.0], None);
    let weighted = table(&[1.0, 3.0], &[2.0, 4.0], Some(&[5.0, 6.0]));
    for values in [
        Values::F32(vec![1.0, 2.0, 3.0, 4.0]),
        Values::F64(vec![1.0, 2.0, 3.0, 4.0]),
        Values::I32(vec![1, 2, 3, 4]),
        Values::I64(vec![1, 2, 3, 4]),
        Values::U8(vec![1, 2, 3, 4]),
        Values::U16(vec![1, 2, 3, 4]),
    ] {
        assert_eq!(SampleTable::from_bytes(&array(&[2, 2], values)).unwrap(), pairs);
    }
    let values = Values::F64(vec![1.0, 2.0, 5.0, 3.0, 4.0, 6.0]);
    assert_eq!(SampleTable::from_bytes(&array(&[2, 3], values)).unwrap(), weighted);
    // Every digit of a double survives.
    let third = 1.0 / 3.0;
    let values = Values::F64(vec![third, 0.1, 2.0, 0.0]);
    assert_eq!(SampleTable::from_bytes(&array(&[2, 2], values)).unwrap().x[0], third);
}

/// What is refused, and how the reason begins or what it says.
#[test]
fn what_is_wrong_is_named_with_its_place() {
    for (text, expected) in [
        ("1,2\n3,abc\n", "line 2, column 2: 'abc' is no number"),
        ("x,y\n\n# note\n1,2\n3,4\n5,six\n", "line 6, column 2: 'six'"),
        ("y,x\n1,2\n3,oh\n", "line 3, column 2: 'oh'"),
        (
            "1;2,5\n3;4\n",
            "line 1, column 2: '2,5' is no number; write a decimal point",
        ),
        ("1,2\n3,nan\n", "line 2, column 2: NaN is not finite"),
        ("1,2\n-inf,4\n", "line 2, column 1: -inf is not finite"),
        ("1,2\n1e999,4\n", "line 2, column 1: inf is not finite"),
        ("1,2\n3,1e39\n", "line 2, column 2: 1e39 is beyond single precision"),
        ("nan,inf\n1,2\n3,4\n", "line 1, column 1: NaN"),
        ("1,2,3\n4,5,-1\n", "line 2, column 3: the weight -1"),
        ("w,y,x\n1,2,3\nNaN,5,1\n", "line 3, column 1: the weight NaN"),
        ("1,2\n3\n", "line 2: 1 columns, the first line has 2"),
        ("1,2\n3,4,5\n", "line 2: 3 columns, the first line has 2"),
        ("x,y,w\n1,2\n", "line 2: 2 columns, the first line has 3"),
        ("1,2\n,4\n", "line 2, column 1: is empty"),
        ("1,2\n3,\n", "line 2: 1 columns"),
        // Separators inside quotes are not understood, and must not shift columns.
        (
            "volts,\"amperes, smoothed\"\n1,4\n",
            "line 2: 2 columns, the first line has 3",
        ),
        ("1\n2\n", "line 1: one column"),
        ("x\n1\n", "line 1: one column"),
        ("1,2,3,4\n5,6,7,8\n", "line 1: 4 columns, and no header"),
        ("a,b,c,d\n5,6,7,8\n", "line 1: 4 columns, and no header"),
        ("y,value\n1,2\n3,4\n", "line 1: the header does not name both x and y"),
        ("time,x\n1,2\n3,4\n", "line 1: the header does not name both x and y"),
        ("x,x,y\n1,2,3\n", "line 1: the header names x twice"),
        ("x,y,w,weight\n1,2,3,4\n", "line 1: the header names w twice"),
        ("x,2\n1,2\n3,4\n", "line 1, column 1: 'x' is no number"),
        ("1,2\n", "holds one sample"),
        ("x,y\n1,2\n", "holds one sample"),
        ("x,y\n", "holds no samples"),
        ("# nothing\n\n \r\n", "holds no samples"),
        ("", "holds no samples"),
        ("1,2\n\0\0\0,4\n", "line 2: is no UTF-8 text"),
        ("\u{7f}ELF\u{2}\n1,2", "line 1: one column"),
        ("1,2\n3,\u{1b}[31m\n", "line 2, column 2: '\\u{1b}[31m'"),
    ] {
        let reason = SampleTable::from_bytes(text.as_bytes()).expect_err(text);
        assert!(
            reason.starts_with(expected) && !reason.contains('\n'),
            "{text:?}: {reason}"
        );
    }
    let long = format!("1,2\n3,{}\n", "z".repeat(5000));
    assert!(SampleTable::from_bytes(long.as_bytes()).unwrap_err().len() < 120);
    let reason = SampleTable::from_bytes(b"1,2\n\xb5,4\n").unwrap_err();
    assert!(reason.starts_with("line 2: is no UTF-8 text"), "{reason}");
    let reason = SampleTable::from_bytes(b"\xff\xfe1\0,\x002\0\n\0").unwrap_err();
    assert!(reason.contains("UTF-16"), "{reason}");
}

#[test]
fn arrays_that_are_no_samples_are_named() {
    for (shape, values, expected) in [
        (vec![4], vec![1.0; 4], "has shape [4], want (M, 2) or (M, 3)"),
        (vec![2, 4], vec![1.0; 8], "save its transpose"),
        (vec![4, 4], vec![1.0; 16], "has shape [4, 4]"),
        (vec![1, 2, 2], vec![1.0; 4], "has shape [1, 2, 2]"),
        (vec![1, 2], vec![1.0; 2], "holds one sample"),
        (vec![0, 2], vec![], "holds no samples"),
        (vec![2, 2], vec![1.0, 2.0, f64::NAN, 4.0], "element [1, 0]: NaN"),
        (vec![2, 2], vec![1.0, 2.0, 3.0, 1e300], "element [1, 1]: 1e300"),
        (
            vec![2, 3],
            vec![1.0, 2.0, -3.0, 4.0, 5.0, 6.0],
            "element [0, 2]: the weight -3",
        ),
    ] {
        let reason = SampleTable::from_bytes(&array(&shape, Values::F64(values))).unwrap_err();
        assert!(reason.contains(expected), "{shape:?}: {reason}");
    }
    let complex = Values::C64(vec![[1.0, 2.0]; 4]);
    let reason = SampleTable::from_bytes(&array(&[2, 2], complex)).unwrap_err();
    assert!(reason.contains("complex"), "{reason}");
    let whole = array(&[2, 2], Values::F64(vec![1.0; 4]));
    for length in 6..whole.len() {
        let reason = SampleTable::from_bytes(&whole[..length]).unwrap_err();
        assert!(
            reason.contains("truncated") || reason.contains("header"),
            "{length}: {reason}"
        );
    }
}

#[test]
fn files_are_read_or_named() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |path: &Path, expected: &str| match SampleTable::read(path).unwrap_err() {
        Error::Input { path: named, reason } => {
            assert_eq!(named, path);
            assert!(reason.contains(expected), "{reason}");
        }
        other => panic!("{other:?}"),
    };
    let path = folder.path().join("samples.csv");
    refused(&path, "no such file");
    refused(folder.path(), "is a folder");
    std::fs::write(&path, "").unwrap();
    refused(&path, "is empty");
    std::fs::write(&path, "1,2\n3,four\n").unwrap();
    refused(&path, "line 2, column 2: 'four'");
    // A sparse file of 300 MiB takes no room on the disk; it must be refused by its length, not read.
    std::fs::File::create(&path).unwrap().set_len(300 << 20).unwrap();
    refused(&path, "has 300 MiB, samples are read up to 256 MiB");
    std::fs::write(&path, "1,2\n3,4\n").unwrap();
    assert_eq!(SampleTable::read(&path).unwrap(), table(&[1.0, 3.0], &[2.0, 4.0], None));
    // The content decides what it is, not the name.
    std::fs::write(&path, array(&[2, 2], Values::I64(vec![1, 2, 3, 4]))).unwrap();
    assert_eq!(SampleTable::read(&path).unwrap(), table(&[1.0, 3.0], &[2.0, 4.0], None));
}

/// A refusal is one short line; what is accepted keeps the promises of the type.
fn check_outcome(bytes: &[u8]) {
    match SampleTable::from_bytes(bytes) {
        Ok(read) => {
            assert!(read.x.len() >= 2 && read.y.len() == read.x.len());
            assert!(read.x.iter().chain(&read.y).all(|&v| (v as f32).is_finite()));
            if let Some(weights) = read.weights {
                assert!(weights.len() == read.x.len() && weights.iter().all(|w| w.is_finite() && *w >= 0.0));
            }
        }
        Err(reason) => assert!(
            !reason.is_empty() && reason.len() < 400 && !reason.contains('\n'),
            "{reason}"
        ),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        check_outcome(&bytes);
    }

    #[test]
    fn arbitrary_text_of_the_usual_characters_never_panics(text in "(\u{feff})?[0-9a-zé.,;\t\r\n \"#+e-]{0,200}") {
        check_outcome(text.as_bytes());
    }

    #[test]
    fn damaged_arrays_never_panic(position in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = array(&[3, 2], Values::F64(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
        let position = position.index(bytes.len());
        bytes[position] = byte;
        check_outcome(&bytes);
    }

    #[test]
    fn written_numbers_come_back(
        rows in prop::collection::vec((-1e38_f64..1e38, -1.0_f64..1.0, 0.0_f64..1e300), 2..20),
        separator in prop::sample::select(vec![",", ";", "\t", " ", ", "]),
    ) {
        let mut text = String::new();
        for (x, y, weight) in &rows {
            text.push_str(&format!("{x:e}{separator}{y}{separator}{weight}\n"));
        }
        let read = SampleTable::from_bytes(text.as_bytes()).unwrap();
        prop_assert_eq!(read.x, rows.iter().map(|r| r.0).collect::<Vec<_>>());
        prop_assert_eq!(read.y, rows.iter().map(|r| r.1).collect::<Vec<_>>());
        prop_assert_eq!(read.weights.unwrap(), rows.iter().map(|r| r.2).collect::<Vec<_>>());
    }
}
