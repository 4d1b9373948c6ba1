//! Stacks of images: slice by slice in and out, whole or not at all.

use crate::image_files::{ALL_FORMATS, TiffPage, example, tiff};
use knotwork::Error;
use knotwork::io::image::{Axes, Format, Image, Stack, StackKind, StackWriter};
use knotwork::io::npy::{Array, Values};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const KINDS: [StackKind; 3] = [StackKind::Images, StackKind::Gray, StackKind::Always];

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn names(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect()
}

/// Slices that differ from one another.
fn slices(format: Format, channels: usize, alpha: bool, count: usize) -> Vec<Image> {
    let mut image = example(format, channels, alpha);
    (0..count)
        .map(|_| {
            image.planes.rotate_left(5);
            image.clone()
        })
        .collect()
}

fn write(path: &Path, images: &[Image], format: Format) {
    let mut writer = StackWriter::create(path, images.len(), format).unwrap();
    for image in images {
        writer.push(image).unwrap();
    }
    writer.finish().unwrap();
}

fn open(path: &Path, kind: StackKind) -> Stack {
    Stack::open(path, kind).unwrap().expect("a stack")
}

fn refusal(path: &Path, kind: StackKind) -> String {
    match Stack::open(path, kind) {
        Err(error @ Error::Input { .. }) => error.to_string(),
        Err(other) => panic!("{other}"),
        Ok(found) => panic!("a stack: {}", found.is_some()),
    }
}

#[test]
fn slices_come_back_as_they_were_written_in_any_order() {
    for format in ALL_FORMATS {
        if matches!(format, Format::Png8 | Format::Png16) {
            continue;
        }
        for (channels, alpha) in [(1, false), (3, false), (1, true), (3, true)] {
            let folder = folder();
            let path = folder.path().join("stack");
            let images = slices(format, channels, alpha, 5);
            write(&path, &images, format);
            assert_eq!(
                names(folder.path()),
                std::slice::from_ref(&path),
                "nothing else is left"
            );
            let mut stack = open(&path, StackKind::Images);
            assert_eq!(stack.slices(), 5);
            for index in [4, 0, 2, 2, 3, 1] {
                assert_eq!(
                    stack.read(index).unwrap(),
                    images[index],
                    "{format:?} {channels} {alpha} {index}"
                );
            }
        }
    }
}

#[test]
fn an_array_written_by_slices_is_the_array_written_at_once() {
    let folder = folder();
    let (path, whole) = (folder.path().join("slices.npy"), folder.path().join("whole.npy"));
    let colours = |axes| {
        let mut images = slices(Format::NpyF32, 3, false, 4);
        for image in &mut images {
            // Three rows of (row, column, channel) would look like (channel, row, column).
            (image.height, image.width, image.axes) = (2, 6, axes);
        }
        images
    };
    for (images, shape) in [
        (slices(Format::NpyF32, 1, false, 7), vec![7, 3, 4]),
        (colours(Axes::Planar), vec![4, 3, 2, 6]),
        (colours(Axes::Interleaved), vec![4, 2, 6, 3]),
    ] {
        write(&path, &images, Format::NpyF32);
        let values = images.iter().flat_map(|image| match image.axes {
            Axes::Interleaved => (0..36).map(|n| image.planes[n % 3 * 12 + n / 3]).collect(),
            _ => image.planes.clone(),
        });
        Array::new(shape, Values::F32(values.collect()))
            .unwrap()
            .write(&whole)
            .unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), std::fs::read(&whole).unwrap());
        let mut stack = open(&path, StackKind::Images);
        for (index, image) in images.iter().enumerate() {
            assert_eq!(&stack.read(index).unwrap(), image);
        }
    }
}

#[test]
fn shapes_decide_what_is_a_stack() {
    let folder = folder();
    let path = folder.path().join("a.npy");
    for (shape, expected) in [
        (vec![5, 4, 6], [Some(5); 3]),
        (vec![1, 4, 6], [None, None, Some(1)]),
        (vec![3, 4, 6], [None, Some(3), Some(3)]),
        (vec![5, 4, 3], [None, Some(5), Some(5)]),
        (vec![2, 3, 4, 6], [Some(2); 3]),
        (vec![2, 4, 6, 3], [Some(2); 3]),
        (vec![2, 1, 4, 6], [Some(2); 3]),
    ] {
        let count = shape.iter().product();
        Array::new(shape.clone(), Values::F32(vec![0.5; count]))
            .unwrap()
            .write(&path)
            .unwrap();
        for (kind, expected) in KINDS.into_iter().zip(expected) {
            let found = Stack::open(&path, kind).unwrap();
            assert_eq!(found.map(|stack| stack.slices()), expected, "{shape:?} {kind:?}");
        }
    }
    // Two axes, five axes, and files that hold one image.
    for shape in [vec![4, 6], vec![2, 2, 2, 2, 2]] {
        let count = shape.iter().product();
        Array::new(shape, Values::F32(vec![0.5; count]))
            .unwrap()
            .write(&path)
            .unwrap();
        assert!(Stack::open(&path, StackKind::Images).unwrap().is_none());
        assert!(refusal(&path, StackKind::Always).contains("leave --stack out"));
    }
    example(Format::Png8, 1, false).write(&path, Format::Png8).unwrap();
    assert!(Stack::open(&path, StackKind::Gray).unwrap().is_none());
    assert!(refusal(&path, StackKind::Always).contains("is one image"));
    let one = example(Format::Tiff8, 3, true);
    one.write(&path, Format::Tiff8).unwrap();
    assert!(Stack::open(&path, StackKind::Images).unwrap().is_none());
    assert_eq!(open(&path, StackKind::Always).read(0).unwrap(), one);
}

#[test]
fn pages_of_other_encoders_are_read_in_both_byte_orders() {
    let folder = folder();
    let path = folder.path().join("a.tif");
    for big_endian in [false, true] {
        let word = |v: u16| if big_endian { v.to_be_bytes() } else { v.to_le_bytes() };
        let page = |first: u16| TiffPage::new(2, 1, 1, 16, &[word(first), word(65535)].concat());
        std::fs::write(&path, tiff(big_endian, &[page(0), page(13107), page(26214)])).unwrap();
        let mut stack = open(&path, StackKind::Images);
        assert_eq!(stack.slices(), 3);
        for index in [2, 1, 0] {
            assert_eq!(stack.read(index).unwrap().planes, [0.2 * index as f32, 1.0]);
        }
    }
}

#[test]
fn defects_are_one_line_that_names_the_slice() {
    let folder = folder();
    let path = folder.path().join("a.npy");
    let expect = |text: String, parts: &[&str]| {
        assert!(!text.contains('\n'));
        for part in parts.iter().chain([&"a.npy"]) {
            assert!(text.contains(part), "no '{part}' in {text}");
        }
    };
    let read = |index: usize| open(&path, StackKind::Images).read(index).unwrap_err().to_string();
    let mut values = vec![0.25_f32; 4 * 5 * 6];
    values[2 * 30 + 13] = f32::NAN;
    values[2 * 30 + 20] = f32::INFINITY;
    let array = |shape: Vec<usize>, values: Vec<f32>| Array::new(shape, Values::F32(values)).unwrap();
    array(vec![4, 5, 6], values).write(&path).unwrap();
    assert!(open(&path, StackKind::Images).read(1).is_ok());
    expect(
        read(2),
        &["slice 2 has 2 values that are not finite", "row 2, column 1"],
    );

    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    expect(refusal(&path, StackKind::Images), &["truncated", "[4, 5, 6]"]);
    let mut fortran = bytes.clone();
    let at = fortran.windows(5).position(|word| word == b"False").unwrap();
    fortran[at..at + 5].copy_from_slice(b"True ");
    std::fs::write(&path, fortran).unwrap();
    expect(
        refusal(&path, StackKind::Images),
        &["Fortran order", "ascontiguousarray"],
    );
    array(vec![0, 5, 6], vec![]).write(&path).unwrap();
    expect(refusal(&path, StackKind::Images), &["no slices"]);
    Array::new(vec![2, 5, 6], Values::C64(vec![[0.0; 2]; 60]))
        .unwrap()
        .write(&path)
        .unwrap();
    expect(read(0), &["slice 0", "complex"]);

    let page = |width: u32| TiffPage::new(width, 2, 1, 8, &vec![1; 2 * width as usize]);
    std::fs::write(&path, tiff(false, &[page(3), page(3), page(4)])).unwrap();
    expect(read(2), &["slice 2 has 2 x 4 pixels", "slice 0 has 2 x 3 pixels"]);
    let deep = TiffPage::new(3, 2, 1, 16, &[0; 12]);
    std::fs::write(&path, tiff(false, &[page(3), deep])).unwrap();
    expect(read(1), &["slice 1 has", "16 bits", "8 bits"]);
    // The directory of the last page is cut off, then the samples of a page are outside the file.
    let whole = tiff(false, &[page(3), page(3), page(3)]);
    std::fs::write(&path, &whole[..whole.len() - 6]).unwrap();
    expect(refusal(&path, StackKind::Images), &["slice 2", "truncated or corrupt"]);
    let mut images = slices(Format::Tiff8, 1, false, 2);
    images[1].planes[0] = 0.0;
    write(&path, &images, Format::Tiff8);
    let written = std::fs::read(&path).unwrap();
    let garbled: Vec<u8> = written.iter().map(|byte| byte ^ 0x5a).collect();
    std::fs::write(&path, [&written[..8], &garbled[8..]].concat()).unwrap();
    expect(refusal(&path, StackKind::Images), &["TIFF"]);
    // A chain of directories that bites its tail.
    let mut circle = tiff(false, &[page(3), page(3)]);
    let (first, end) = (circle[4..8].to_vec(), circle.len());
    circle[end - 4..].copy_from_slice(&first);
    std::fs::write(&path, circle).unwrap();
    expect(refusal(&path, StackKind::Images), &["slice 1", "cycle"]);
}

#[test]
fn nothing_half_written_takes_the_name() {
    let folder = folder();
    for (name, format) in [("a.tif", Format::TiffF32), ("a.npy", Format::NpyF32)] {
        let path = folder.path().join(name);
        let images = slices(format, 1, false, 3);
        std::fs::write(&path, "old").unwrap();
        let mut writer = StackWriter::create(&path, 3, format).unwrap();
        writer.push(&images[0]).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        let other = slices(format, 3, false, 1);
        assert!(matches!(writer.push(&other[0]), Err(Error::Data(_))));
        let mut broken = images[1].clone();
        broken.planes[3] = f32::NAN;
        assert!(matches!(writer.push(&broken), Err(Error::Data(_))));
        writer.push(&images[1]).unwrap();
        let error = writer.finish().unwrap_err().to_string();
        assert!(error.contains("2 of 3"), "{error}");
        let mut writer = StackWriter::create(&path, 1, format).unwrap();
        writer.push(&images[0]).unwrap();
        assert!(matches!(writer.push(&images[1]), Err(Error::Data(_))));
        drop(writer);
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(names(folder.path()), [] as [PathBuf; 0]);
    }
    let error = StackWriter::create(folder.path().join("a.png"), 2, Format::Png8)
        .err()
        .unwrap();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains(".tif or .npy"), "{error}");
}

#[test]
fn tiff_beyond_four_gigabytes_becomes_bigtiff() {
    // 16 KiB of samples a page, 2^18 pages are 4 GiB: the first bytes tell before anything of that size is written.
    for (pages, variant) in [(1 << 18, 43), (1 << 17, 42)] {
        let folder = folder();
        let image = Image::gray(64, 64, vec![0.5; 4096], Format::TiffF32).unwrap();
        let mut writer = StackWriter::create(folder.path().join("a.tif"), pages, Format::TiffF32).unwrap();
        writer.push(&image).unwrap();
        let [temporary] = &names(folder.path())[..] else {
            panic!("one temporary file")
        };
        let bytes = std::fs::read(temporary).unwrap();
        assert_eq!(u16::from_ne_bytes([bytes[2], bytes[3]]), variant, "{pages} pages");
    }
}

#[test]
fn stacks_that_imagej_hides_behind_one_page_are_refused() {
    let folder = folder();
    let path = folder.path().join("a.tif");
    let mut bytes = std::io::Cursor::new(Vec::new());
    let mut encoder = tiff::encoder::TiffEncoder::new(&mut bytes).unwrap();
    let mut page = encoder.new_image::<tiff::encoder::colortype::Gray8>(2, 2).unwrap();
    page.encoder()
        .write_tag(tiff::tags::Tag::ImageDescription, "ImageJ=1.53t\nimages=7\nslices=7\n")
        .unwrap();
    page.write_data(&[1, 2, 3, 4]).unwrap();
    std::fs::write(&path, bytes.into_inner()).unwrap();
    let text = refusal(&path, StackKind::Images);
    assert!(text.contains("ImageJ") && text.contains("BigTIFF"), "{text}");
}
