//! JPEG, BMP, PGM and PPM are read as any encoder writes them, and damage to them does no harm.

use image::{DynamicImage, GrayImage, ImageBuffer, ImageFormat, Luma, Rgb, RgbImage};
use knotwork::io::image::{Format, Image};
use proptest::prelude::*;
use std::io::Cursor;
use std::sync::LazyLock;

const WIDTH: u32 = 13;
const HEIGHT: u32 = 7;

/// Values without symmetry, so that exchanged axes or channels show.
fn level(col: u32, row: u32, channel: u32) -> u32 {
    (20 + 11 * col + 9 * row + 40 * channel) % 256
}

fn gray8() -> DynamicImage {
    GrayImage::from_fn(WIDTH, HEIGHT, |c, r| Luma([level(c, r, 0) as u8])).into()
}

fn colour8() -> DynamicImage {
    RgbImage::from_fn(WIDTH, HEIGHT, |c, r| Rgb([0, 1, 2].map(|k| level(c, r, k) as u8))).into()
}

fn gray16() -> DynamicImage {
    ImageBuffer::from_fn(WIDTH, HEIGHT, |c, r| Luma([(level(c, r, 0) * 257 - 3) as u16])).into()
}

fn colour16() -> DynamicImage {
    ImageBuffer::from_fn(WIDTH, HEIGHT, |c, r| {
        Rgb([0, 1, 2].map(|k| (level(c, r, k) * 200 + 7) as u16))
    })
    .into()
}

/// The binary form of PGM and PPM; the encoder would choose PAM, which is another format.
fn portable(image: &DynamicImage) -> Vec<u8> {
    let magic = if image.color().has_color() { "P6" } else { "P5" };
    let deep = image.color().bytes_per_pixel() / image.color().channel_count() == 2;
    let mut bytes = format!(
        "{magic}\n# a comment\n{WIDTH} {HEIGHT}\n{}\n",
        if deep { 65535 } else { 255 }
    )
    .into_bytes();
    if deep {
        let native = image.as_bytes().as_chunks::<2>().0;
        bytes.extend(native.iter().flat_map(|v| u16::from_ne_bytes(*v).to_be_bytes()));
    } else {
        bytes.extend(image.as_bytes());
    }
    bytes
}

fn file(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    if format == ImageFormat::Pnm {
        return portable(image);
    }
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

static FILES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    vec![
        file(&gray8(), ImageFormat::Jpeg),
        file(&colour8(), ImageFormat::Jpeg),
        file(&gray8(), ImageFormat::Bmp),
        file(&colour8(), ImageFormat::Bmp),
        file(&gray8(), ImageFormat::Pnm),
        file(&colour8(), ImageFormat::Pnm),
        file(&gray16(), ImageFormat::Pnm),
        file(&colour16(), ImageFormat::Pnm),
    ]
});

#[test]
fn lossless_files_give_their_values() {
    for (image, format, channels, stored, top) in [
        (gray8(), ImageFormat::Bmp, 1, Format::Png8, 255.0),
        (colour8(), ImageFormat::Bmp, 3, Format::Png8, 255.0),
        (gray8(), ImageFormat::Pnm, 1, Format::Png8, 255.0),
        (colour8(), ImageFormat::Pnm, 3, Format::Png8, 255.0),
        (gray16(), ImageFormat::Pnm, 1, Format::Png16, 65535.0),
        (colour16(), ImageFormat::Pnm, 3, Format::Png16, 65535.0),
    ] {
        let read = Image::from_bytes(&file(&image, format)).unwrap();
        // Encoders may store gray as colours with a palette.
        assert!(read.channels == channels || (read.channels == 3 && format == ImageFormat::Bmp));
        assert_eq!((read.height, read.width), (HEIGHT as usize, WIDTH as usize));
        assert_eq!((read.format, &read.alpha), (stored, &None));
        let source = image.to_rgb16();
        let to_own = if top == 255.0 { 257 } else { 1 };
        for channel in 0..read.channels {
            for (index, &got) in read.plane(channel).iter().enumerate() {
                let pixel = source.get_pixel(index as u32 % WIDTH, index as u32 / WIDTH);
                let want = f32::from(pixel.0[channel] / to_own) / top;
                assert!((got - want).abs() <= f32::EPSILON, "{format:?}: {got}, want {want}");
            }
        }
    }
}

#[test]
fn portable_maps_count_up_to_their_own_maximum() {
    for (bytes, want) in [
        (&b"P5 3 1 100\n\x00\x32\x64"[..], &[0.0, 0.5, 1.0][..]),
        (b"P5 2 1 1000\n\x01\xf4\x03\xe8", &[0.5, 1.0]),
        (b"P2 3 1 4\n0 2 4\n", &[0.0, 0.5, 1.0]),
        (b"P3 1 1 4\n0 2 4\n", &[0.0, 0.5, 1.0]),
    ] {
        let read = Image::from_bytes(bytes).unwrap();
        assert_eq!(read.planes.len(), want.len());
        for (got, want) in read.planes.iter().zip(want) {
            // Half of an integer range, rounded.
            assert!((got - want).abs() < 0.5 / 255.0 + 1e-6, "{got}, want {want}");
        }
    }
}

#[test]
fn jpeg_gives_about_its_values() {
    let ramp = |c: u32, r: u32, k: u32| (40 + 8 * c + 6 * r + 20 * k) as u8;
    let gray: DynamicImage = GrayImage::from_fn(WIDTH, HEIGHT, |c, r| Luma([ramp(c, r, 0)])).into();
    let colour: DynamicImage = RgbImage::from_fn(WIDTH, HEIGHT, |c, r| Rgb([0, 1, 2].map(|k| ramp(c, r, k)))).into();
    for (image, channels) in [(gray, 1), (colour, 3)] {
        let read = Image::from_bytes(&file(&image, ImageFormat::Jpeg)).unwrap();
        assert_eq!(
            (read.channels, read.height, read.width),
            (channels, HEIGHT as usize, WIDTH as usize)
        );
        assert_eq!(read.format, Format::Png8);
        for channel in 0..channels {
            for (index, &got) in read.plane(channel).iter().enumerate() {
                let want = ramp(index as u32 % WIDTH, index as u32 / WIDTH, channel as u32);
                // Quantisation at quality 75 costs some levels.
                assert!(
                    (255.0 * got - f32::from(want)).abs() < 12.0,
                    "{got}, want {}",
                    f32::from(want) / 255.0
                );
            }
        }
    }
}

/// What is read is whole and in range, whatever it was read from.
fn check_outcome(outcome: Result<Image, String>) {
    match outcome {
        Ok(image) => {
            assert!(matches!(image.channels, 1 | 3));
            assert_eq!(image.planes.len(), image.channels * image.height * image.width);
            assert!(image.planes.iter().all(|value| (0.0..=1.0).contains(value)));
        }
        Err(reason) => assert!(!reason.is_empty() && !reason.contains('\n'), "{reason}"),
    }
}

#[test]
fn truncations_give_a_line_or_an_image() {
    for (number, bytes) in FILES.iter().enumerate() {
        for length in 0..bytes.len() {
            let outcome = Image::from_bytes(&bytes[..length]);
            // JPEG decoders fill in what is missing at the end; files of plain numbers have no such excuse.
            assert!(outcome.is_err() || number < 2, "file {number}, cut to {length}");
            check_outcome(outcome);
        }
    }
}

#[test]
fn absurd_extents_are_refused_before_memory_is_asked_for() {
    let mut bitmap = FILES[3].clone();
    bitmap[18..22].copy_from_slice(&40_000_u32.to_le_bytes());
    bitmap[22..26].copy_from_slice(&40_000_u32.to_le_bytes());
    for bytes in [
        &b"P5 40000 40000 255\nx"[..],
        b"P6 4294967295 4294967295 255\nx",
        b"P5 99999999999999999999 2 255\nx",
        b"P5 0 4 255\n",
        b"P5 4 4 0\n0123456789abcdef",
        b"P5 4 4 70000\n0123456789abcdef0123456789abcdef",
        &bitmap,
    ] {
        let reason = Image::from_bytes(bytes).unwrap_err();
        assert!(!reason.contains('\n'), "{reason}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn damaged_bytes_give_a_line_or_an_image(
        which in 0..8_usize,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = FILES[which].clone();
        for (position, value) in damage {
            let position = position.index(bytes.len());
            bytes[position] = value;
        }
        check_outcome(Image::from_bytes(&bytes));
    }
}
