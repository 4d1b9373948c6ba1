//! Points from text and NPY.

use knotwork::io::npy::{Array, Values};
use knotwork::io::points::PointTable;

fn npy(shape: &[usize], values: Values) -> Vec<u8> {
    let mut bytes = Vec::new();
    Array::new(shape.to_vec(), values)
        .unwrap()
        .write_to(&mut bytes)
        .unwrap();
    bytes
}

#[test]
fn text_and_arrays_give_their_points() {
    let read = |bytes: &[u8]| PointTable::from_bytes(bytes).unwrap();
    for text in [
        "1,2\n3,-4e1\n",
        "x;y\n1;2\n3;-40",
        "# head\n\n1 2 # first\r\n 3   -40\r\n",
        "\u{feff}1\t2\n3\t-40",
    ] {
        let table = read(text.as_bytes());
        assert_eq!((table.dims, table.len()), (2, 2), "{text}");
        assert_eq!(table.points, [1.0, 2.0, 3.0, -40.0], "{text}");
    }
    let line = read(b"value\n1\n2.5\n");
    assert_eq!((line.dims, line.points), (1, vec![1.0, 2.5]));
    assert_eq!(read(&npy(&[3], Values::F32(vec![1.0, 2.0, 4.0]))).dims, 1);
    assert_eq!(read(&npy(&[3, 1], Values::F64(vec![1.0, 2.0, 4.0]))).len(), 3);
    let plane = read(&npy(&[2, 2], Values::I64(vec![1, 2, 3, 4])));
    assert_eq!((plane.dims, plane.points), (2, vec![1.0, 2.0, 3.0, 4.0]));
}

#[test]
fn what_is_no_table_of_points_is_named() {
    let refused = |bytes: &[u8], expected: &str| {
        let reason = PointTable::from_bytes(bytes).unwrap_err();
        assert!(reason.contains(expected), "{reason}");
        assert!(!reason.contains('\n'));
    };
    refused(b"1,2,3\n", "3 columns");
    refused(b"1,2\n3,4,5\n", "line 2: 3 columns");
    refused(b"1,2\n\n3,\n", "line 3: 1 columns");
    refused(b"1;2\n1,5;2\n", "decimal point");
    refused(b"1,2\nnan,3\n", "line 2, column 1: NaN is not finite");
    refused(b"1,2\n3,1e39\n", "column 2: 1e39 is beyond single precision");
    refused(b"# nothing\n", "no points");
    refused(b"x,y\n", "no points");
    refused(b"\xff\x001", "UTF-8");
    refused(&npy(&[2, 3], Values::F32(vec![0.0; 6])), "save its transpose");
    refused(&npy(&[0], Values::F32(vec![])), "no points");
    refused(&npy(&[1, 2], Values::F32(vec![1.0, f32::NAN])), "element [0, 1]");
    refused(&npy(&[1, 1], Values::C64(vec![[1.0, 0.0]])), "complex");
}
