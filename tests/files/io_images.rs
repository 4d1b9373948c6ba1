//! Image files: round trips of every format, the variants other programs write, and the choice of the output's format.

use crate::common::shared;
use crate::image_files::{ALL_FORMATS, TiffPage, example, file_bytes, tiff};
use knotwork::Error;
use knotwork::io::image::{Axes, Format, Image, side_by_side};
use knotwork::io::npy::{Array, Values};

fn npy(shape: &[usize], values: Values) -> Vec<u8> {
    let mut bytes = Vec::new();
    Array::new(shape.to_vec(), values)
        .unwrap()
        .write_to(&mut bytes)
        .unwrap();
    bytes
}

#[test]
fn every_format_survives_a_round_trip_exactly() {
    let folder = tempfile::tempdir().unwrap();
    for format in ALL_FORMATS {
        for channels in [1, 3] {
            for alpha in [false, true] {
                let image = example(format, channels, alpha);
                let path = folder.path().join("image");
                image.write(&path, format).unwrap();
                assert_eq!(
                    Image::read(&path).unwrap(),
                    image,
                    "{format:?}, {channels} channels, alpha {alpha}"
                );
            }
        }
    }
}

#[test]
fn all_integers_survive() {
    let every_16_bit: Vec<f32> = (0..=u16::MAX).map(|value| f32::from(value) / 65535.0).collect();
    let every_8_bit: Vec<f32> = (0..=u8::MAX).map(|value| f32::from(value) / 255.0).collect();
    for (format, width, values) in [
        (Format::Png8, 16, &every_8_bit),
        (Format::Tiff8, 16, &every_8_bit),
        (Format::NpyU8, 16, &every_8_bit),
        (Format::Png16, 256, &every_16_bit),
        (Format::Tiff16, 256, &every_16_bit),
        (Format::NpyU16, 256, &every_16_bit),
    ] {
        let image = Image::gray(width, width, values.clone(), format).unwrap();
        assert_eq!(
            Image::from_bytes(&file_bytes(&image, format)).unwrap().planes,
            *values,
            "{format:?}"
        );
    }
}

#[test]
fn integers_clamp_and_round_and_floats_do_neither() {
    let values = vec![-0.5, 1.5, 0.4999 / 255.0, 0.5001 / 255.0, 1.5 / 255.0, 254.4 / 255.0];
    for (format, expected) in [
        (
            Format::Png8,
            [0.0, 1.0, 0.0, 1.0 / 255.0, 2.0 / 255.0, 254.0 / 255.0].to_vec(),
        ),
        (
            Format::Tiff8,
            [0.0, 1.0, 0.0, 1.0 / 255.0, 2.0 / 255.0, 254.0 / 255.0].to_vec(),
        ),
        (Format::TiffF32, values.clone()),
        (Format::NpyF32, values.clone()),
        (Format::NpyF64, values.clone()),
    ] {
        let image = Image::gray(2, 3, values.clone(), format).unwrap();
        assert_eq!(
            Image::from_bytes(&file_bytes(&image, format)).unwrap().planes,
            expected,
            "{format:?}"
        );
    }
}

#[test]
fn the_name_of_the_output_decides_its_format() {
    use Format::{NpyF32, NpyF64, NpyU8, NpyU16, Png8, Png16, Tiff8, Tiff16, TiffF32};
    for (input, png, tif, npy) in [
        (Png8, Png8, Tiff8, NpyF32),
        (Png16, Png16, Tiff16, NpyF32),
        (Tiff8, Png8, Tiff8, NpyF32),
        (Tiff16, Png16, Tiff16, NpyF32),
        (TiffF32, Png16, TiffF32, NpyF32),
        (NpyU8, Png8, Tiff8, NpyU8),
        (NpyU16, Png16, Tiff16, NpyU16),
        (NpyF32, Png16, TiffF32, NpyF32),
        (NpyF64, Png16, TiffF32, NpyF64),
    ] {
        assert_eq!(input.for_output("a.png").unwrap(), png);
        assert_eq!(input.for_output("a.b.TIFF").unwrap(), tif);
        assert_eq!(input.for_output("a.tif").unwrap(), tif);
        assert_eq!(input.for_output("a.npy").unwrap(), npy);
    }
    for name in ["a.jpg", "a", ".png"] {
        let error = Png8.for_output(name).unwrap_err();
        assert!(
            matches!(error, Error::Output { .. }) && error.to_string().contains(".tif"),
            "{error}"
        );
    }
}

/// PNG of the given kind, as other programs write it.
fn png(
    (width, height): (u32, u32),
    color: png::ColorType,
    depth: png::BitDepth,
    configure: impl FnOnce(&mut png::Encoder<&mut Vec<u8>>),
    data: &[u8],
) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(color);
    encoder.set_depth(depth);
    configure(&mut encoder);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(data).unwrap();
    writer.finish().unwrap();
    bytes
}

#[test]
fn palettes_few_bits_and_transparent_colours_are_expanded() {
    use png::{BitDepth, ColorType};
    let palette = png(
        (4, 1),
        ColorType::Indexed,
        BitDepth::Two,
        |encoder| {
            encoder.set_palette(vec![0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 51]);
            encoder.set_trns(vec![0, 255, 51]);
        },
        &[0b00_01_10_11],
    );
    let image = Image::from_bytes(&palette).unwrap();
    assert_eq!(
        (image.channels, image.height, image.width, image.format),
        (3, 1, 4, Format::Png8)
    );
    assert_eq!(image.plane(0), [0.0, 1.0, 0.0, 0.0]);
    assert_eq!(image.plane(1), [0.0, 0.0, 1.0, 0.0]);
    assert_eq!(image.plane(2), [0.0, 0.0, 0.0, 0.2]);
    assert_eq!(image.alpha.unwrap(), [0.0, 1.0, 0.2, 1.0]);

    let one_bit = png(
        (3, 2),
        ColorType::Grayscale,
        BitDepth::One,
        |_| {},
        &[0b1010_0000, 0b0110_0000],
    );
    let image = Image::from_bytes(&one_bit).unwrap();
    assert_eq!((image.channels, image.format), (1, Format::Png8));
    assert_eq!(image.planes, [1.0, 0.0, 1.0, 0.0, 1.0, 1.0]);
}

#[test]
fn animated_png_images_are_refused() {
    let animated = png(
        (1, 1),
        png::ColorType::Grayscale,
        png::BitDepth::Eight,
        |encoder| encoder.set_animated(1, 0).unwrap(),
        &[7],
    );
    assert!(Image::from_bytes(&animated).unwrap_err().contains("single frame"));
}

#[test]
fn tiff_variants_of_other_programs_are_read() {
    let samples = [10, 20, 30, 40, 50, 60];
    let unit = |values: &[u8]| values.iter().map(|&value| f32::from(value) / 255.0).collect::<Vec<_>>();
    for big_endian in [false, true] {
        let gray = tiff(big_endian, &[TiffPage::new(3, 2, 1, 8, &samples)]);
        let image = Image::from_bytes(&gray).unwrap();
        assert_eq!(
            (image.channels, image.height, image.width, image.format),
            (1, 2, 3, Format::Tiff8)
        );
        assert_eq!(image.planes, unit(&samples));

        let interleaved = TiffPage::new(2, 1, 3, 8, &samples).rgb();
        let image = Image::from_bytes(&tiff(big_endian, &[interleaved])).unwrap();
        assert_eq!((image.channels, image.planes), (3, unit(&[10, 40, 20, 50, 30, 60])));

        let separate = TiffPage::new(2, 1, 3, 8, &samples).rgb().separate_planes();
        let image = Image::from_bytes(&tiff(big_endian, &[separate])).unwrap();
        assert_eq!((image.channels, image.planes), (3, unit(&samples)));

        let opaque = TiffPage::new(3, 1, 2, 8, &samples);
        let image = Image::from_bytes(&tiff(big_endian, &[opaque])).unwrap();
        assert_eq!((image.channels, image.planes), (1, unit(&[10, 30, 50])));
        assert_eq!(image.alpha.unwrap(), unit(&[20, 40, 60]));
    }
    let words = tiff(true, &[TiffPage::new(1, 1, 1, 16, &[0x80, 0x01])]);
    assert_eq!(
        Image::from_bytes(&words).unwrap().planes,
        [f32::from(0x8001_u16) / 65535.0]
    );
}

#[test]
fn compressed_tiff_images_are_read() {
    use tiff::encoder::{Compression, DeflateLevel, Predictor, TiffEncoder, colortype::RGB16};
    let words: Vec<u16> = (0..5 * 7 * 3).map(|index| index * 613).collect();
    let compressions = [
        Compression::Lzw,
        Compression::Packbits,
        Compression::Deflate(DeflateLevel::Fast),
    ];
    for (number, compression) in compressions.into_iter().enumerate() {
        for predictor in [Predictor::None, Predictor::Horizontal] {
            let mut bytes = std::io::Cursor::new(Vec::new());
            let encoder = TiffEncoder::new(&mut bytes).unwrap();
            let mut encoder = encoder.with_compression(compression).with_predictor(predictor);
            encoder.write_image::<RGB16>(5, 7, &words).unwrap();
            let image = Image::from_bytes(bytes.get_ref()).unwrap();
            let green = words.iter().skip(1).step_by(3).map(|&word| f32::from(word) / 65535.0);
            assert!(
                image.plane(1).iter().copied().eq(green),
                "compression {number}, {predictor:?}"
            );
        }
    }
}

#[test]
fn tiff_images_that_are_not_read_say_what_to_do() {
    let one = |page: TiffPage| tiff(false, &[page]);
    let page = || TiffPage::new(1, 1, 1, 8, &[1]);
    for (bytes, expected) in [
        (tiff(false, &[page(), page()]), "more than one page"),
        (one(TiffPage::new(8, 1, 1, 1, &[1])), "samples of 1 bits"),
        (one(TiffPage::new(1, 1, 1, 32, &[1, 2, 3, 4])), "type that is not read"),
        (one(TiffPage::new(1, 1, 1, 64, &[0; 8]).float()), "samples of 64 bits"),
        (one(TiffPage::new(1, 1, 5, 8, &[1; 5])), "colours of type"),
        (
            one(TiffPage::new(1, 1, 1, 32, &f32::NAN.to_le_bytes()).float()),
            "row 0, column 0",
        ),
        (one(TiffPage::new(u32::MAX, u32::MAX, 1, 8, &[1])), "2147483648 pixels"),
        (one(TiffPage::new(40_000, 40_000, 1, 8, &[1])), "can hold"),
        (one(TiffPage::new(0, 4, 1, 8, &[1])), "dimensions: 0x4"),
    ] {
        let reason = Image::from_bytes(&bytes).unwrap_err();
        assert!(reason.contains(expected), "expected {expected}: {reason}");
    }
}

#[test]
fn npy_arrays_keep_type_and_axes() {
    let values: Vec<f32> = (0..12_u8).map(f32::from).collect();
    for (shape, channels, axes) in [
        (&[3, 4][..], 1, Axes::Planar),
        (&[1, 3, 4], 1, Axes::LeadingOne),
        (&[3, 2, 2], 3, Axes::Planar),
        (&[2, 2, 3], 3, Axes::Interleaved),
    ] {
        let bytes = npy(shape, Values::F32(values.clone()));
        let image = Image::from_bytes(&bytes).unwrap();
        assert_eq!(
            (image.channels, image.axes, image.format),
            (channels, axes, Format::NpyF32)
        );
        assert_eq!(file_bytes(&image, image.format), bytes, "{shape:?}");
    }
    let interleaved = Image::from_bytes(&npy(&[2, 2, 3], Values::F32(values))).unwrap();
    assert_eq!(interleaved.plane(1), [1.0, 4.0, 7.0, 10.0]);
}

#[test]
fn npy_arrays_that_are_no_images_say_what_to_do() {
    for (array, expected) in [
        (npy(&[4], Values::F32(vec![0.0; 4])), "reshape it"),
        (npy(&[2, 2, 2], Values::F32(vec![0.0; 8])), "reshape it"),
        (npy(&[1, 1, 2, 2], Values::F32(vec![0.0; 4])), "reshape it"),
        (npy(&[0, 5], Values::F32(vec![])), "no pixels"),
        (npy(&[1, 2], Values::I64(vec![0; 2])), "astype"),
        (npy(&[1, 2], Values::C64(vec![[0.0; 2]; 2])), "numpy.abs"),
        (
            npy(&[2, 2], Values::F32(vec![0.0, 0.0, f32::NAN, f32::INFINITY])),
            "2 values that are not finite",
        ),
        (
            npy(&[3, 1, 2], Values::F64(vec![0.0, 0.0, 0.0, 1e300, 0.0, 0.0])),
            "first at row 0, column 1",
        ),
    ] {
        let reason = Image::from_bytes(&array).unwrap_err();
        assert!(reason.contains(expected), "{reason}");
    }
}

#[test]
fn equal_images_give_equal_bytes() {
    for format in ALL_FORMATS {
        let image = example(format, 3, true);
        assert_eq!(file_bytes(&image, format), file_bytes(&image, format), "{format:?}");
    }
}

#[test]
fn images_that_make_no_sense_are_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.png");
    let good = Image::gray(2, 2, vec![0.5; 4], Format::Png8).unwrap();
    let mut short = good.clone();
    short.planes.pop();
    let mut not_a_number = good.clone();
    not_a_number.planes[3] = f32::NAN;
    let mut short_alpha = good.clone();
    short_alpha.alpha = Some(vec![1.0; 3]);
    for image in [short, not_a_number, short_alpha] {
        assert!(matches!(image.write(&path, Format::Png8), Err(Error::Data(_))));
    }
    assert!(!path.exists());
    assert!(matches!(Image::gray(0, 2, vec![], Format::Png8), Err(Error::Data(_))));
    assert!(matches!(
        Image::new(2, 1, 1, vec![0.0; 2], Format::Png8),
        Err(Error::Data(_))
    ));
    assert!(matches!(
        Image::gray(usize::MAX, 2, vec![], Format::Png8),
        Err(Error::Data(_))
    ));
}

#[test]
fn images_stand_side_by_side() {
    let gray = Image::gray(2, 1, vec![0.1, 0.2], Format::Png8).unwrap();
    let color = Image::new(3, 2, 1, vec![0.3, 0.4, 0.5, 0.6, 0.7, 0.8], Format::Png16).unwrap();
    let both = side_by_side(&[&gray, &color], 1).unwrap();
    assert_eq!(
        (both.channels, both.height, both.width, both.format),
        (3, 2, 3, Format::Png8)
    );
    assert_eq!(both.plane(0), [0.1, 1.0, 0.3, 0.2, 1.0, 0.4]);
    assert_eq!(both.plane(2), [0.1, 1.0, 0.7, 0.2, 1.0, 0.8]);
    assert_eq!(side_by_side(&[&gray], 5).unwrap(), gray);
    let taller = Image::gray(3, 1, vec![0.0; 3], Format::Png8).unwrap();
    assert!(matches!(side_by_side(&[&gray, &taller], 0), Err(Error::Data(_))));
    assert!(matches!(side_by_side(&[], 0), Err(Error::Data(_))));
}

#[test]
fn classic_test_images_are_read() {
    for (name, side) in [("01.png", 256), ("08.png", 512)] {
        let Some(path) = shared::shared(&format!("data/set12/{name}")) else {
            return;
        };
        let image = Image::read(&path).unwrap();
        assert_eq!(
            (image.channels, image.height, image.width, image.format),
            (1, side, side, Format::Png8)
        );
        assert!(image.planes.iter().all(|value| (0.0..=1.0).contains(value)));
        assert_eq!(Image::from_bytes(&file_bytes(&image, image.format)).unwrap(), image);
    }
}
