//! Whatever the bytes of an image file are, reading gives an image or one readable line.

use crate::image_files::{ALL_FORMATS, TiffPage, example, file_bytes, tiff};
use knotwork::Error;
use knotwork::io::image::Image;
use proptest::prelude::*;
use std::sync::LazyLock;

static FILES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let mut files: Vec<Vec<u8>> = ALL_FORMATS
        .iter()
        .flat_map(|&format| [example(format, 1, false), example(format, 3, true)])
        .map(|image| file_bytes(&image, image.format))
        .collect();
    files.push(tiff(
        true,
        &[TiffPage::new(2, 1, 3, 8, &[1; 6]).rgb().separate_planes()],
    ));
    files
});

#[test]
fn every_truncation_is_refused() {
    for (number, bytes) in FILES.iter().enumerate() {
        Image::from_bytes(bytes).unwrap();
        for length in 0..bytes.len() {
            let outcome = Image::from_bytes(&bytes[..length]);
            assert!(
                outcome.is_err(),
                "file {number} of {} bytes, cut to {length}",
                bytes.len()
            );
        }
    }
}

/// A header changed so that the check sum still fits, as a hostile one would be.
#[test]
fn absurd_png_extents_are_refused_before_memory_is_asked_for() {
    let with_extents = |width: u32, height: u32| {
        let mut bytes = FILES[0].clone();
        bytes[16..20].copy_from_slice(&width.to_be_bytes());
        bytes[20..24].copy_from_slice(&height.to_be_bytes());
        let check_sum = crc32(&bytes[12..29]);
        bytes[29..33].copy_from_slice(&check_sum.to_be_bytes());
        Image::from_bytes(&bytes).unwrap_err()
    };
    assert!(with_extents(1 << 30, 1 << 30).contains("2147483648 pixels"));
    assert!(with_extents(40_000, 40_000).contains("can hold"));
    with_extents(0, 4);
}

/// The check sum of PNG chunks.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| (sum >> 1) ^ ((sum & 1) * 0xedb8_8320))
    })
}

#[test]
fn other_types_are_recognised_and_say_what_to_do() {
    for (bytes, expected) in [
        (&b"GIF89a...."[..], "GIF image"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "WebP"),
        (b"PK\x03\x04....", "numpy.save"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "truncated or corrupt image"),
        (b"P5 9 9 255 x", "truncated or corrupt"),
        (b"just text", "not a PNG, TIFF, NPY, JPEG, BMP or PGM file"),
    ] {
        let reason = Image::from_bytes(bytes).unwrap_err();
        assert!(reason.contains(expected), "{reason}");
    }
}

#[test]
fn unusable_paths_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("empty.png"), b"").unwrap();
    std::fs::write(path("cut.png"), &FILES[0][..40]).unwrap();
    // The content counts, not the name.
    std::fs::write(path("a-tiff.png"), &FILES[4]).unwrap();
    Image::read(path("a-tiff.png")).unwrap();
    for (path, expected) in [
        (path("missing.png"), "no such file"),
        (path("empty.png"), "is empty"),
        (path("cut.png"), "truncated or corrupt PNG"),
        (folder.path().to_path_buf(), "is a folder"),
        (path("empty.png").join("below.png"), "cannot be read"),
    ] {
        match Image::read(&path).unwrap_err() {
            Error::Input { path: named, reason } => {
                assert_eq!(named, path);
                assert!(reason.contains(expected) && !reason.contains('\n'), "{reason}");
            }
            other => panic!("{other:?}"),
        }
    }
}

/// An image that was read is whole, whatever it was read from.
fn check_outcome(outcome: Result<Image, String>) -> Result<(), TestCaseError> {
    match outcome {
        Ok(image) => {
            prop_assert!(matches!(image.channels, 1 | 3));
            prop_assert_eq!(image.planes.len(), image.channels * image.height * image.width);
            prop_assert!(image.planes.iter().all(|value| value.is_finite()));
        }
        Err(reason) => prop_assert!(!reason.is_empty() && !reason.contains('\n'), "{}", reason),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn damaged_bytes_give_a_line_or_an_image(
        which in 0..19_usize,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = FILES[which].clone();
        for (position, value) in damage {
            let position = position.index(bytes.len());
            bytes[position] = value;
        }
        check_outcome(Image::from_bytes(&bytes))?;
    }

    #[test]
    fn any_bytes_after_a_known_start_give_a_line_or_an_image(
        which in 0..19_usize,
        kept in 4..40_usize,
        rest in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut bytes = FILES[which][..kept].to_vec();
        bytes.extend(rest);
        check_outcome(Image::from_bytes(&bytes))?;
    }
}
