//! Image files for tests: small ones of every format, and TIFF pages no encoder here would write.
#![allow(dead_code, reason = "each test program uses some of it")]

use knotwork::io::image::{Axes, Format, Image};

pub const ALL_FORMATS: [Format; 9] = [
    Format::Png8,
    Format::Png16,
    Format::Tiff8,
    Format::Tiff16,
    Format::TiffF32,
    Format::NpyU8,
    Format::NpyU16,
    Format::NpyF32,
    Format::NpyF64,
];

/// A small image whose values its format can hold exactly. NPY has no opacity, so it gets none.
pub fn example(format: Format, channels: usize, alpha: bool) -> Image {
    const HEIGHT: usize = 3;
    const WIDTH: usize = 4;
    let value = |index: usize| match format {
        Format::Png8 | Format::Tiff8 | Format::NpyU8 => (index * 37 % 256) as f32 / 255.0,
        Format::Png16 | Format::Tiff16 | Format::NpyU16 => (index * 9973 % 65536) as f32 / 65535.0,
        Format::TiffF32 | Format::NpyF32 | Format::NpyF64 => (index as f32).sin() * 3.7,
    };
    let pixels = HEIGHT * WIDTH;
    let has_alpha = alpha && !matches!(format, Format::NpyU8 | Format::NpyU16 | Format::NpyF32 | Format::NpyF64);
    Image {
        channels,
        height: HEIGHT,
        width: WIDTH,
        planes: (0..pixels * channels).map(value).collect(),
        alpha: has_alpha.then(|| (0..pixels).map(|index| value(index + 50)).collect()),
        format,
        axes: Axes::Planar,
    }
}

/// The bytes of the file that an image is written to.
pub fn file_bytes(image: &Image, format: Format) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    image.write(&path, format).unwrap();
    std::fs::read(path).unwrap()
}

/// One page of a TIFF file, uncompressed.
pub struct TiffPage {
    width: u32,
    height: u32,
    samples: u16,
    bits: u16,
    sample_format: u16,
    photometric: u16,
    planar: u16,
    data: Vec<u8>,
}

impl TiffPage {
    /// A page of unsigned integers, black is zero, the samples of a pixel together.
    pub fn new(width: u32, height: u32, samples: u16, bits: u16, data: &[u8]) -> Self {
        Self {
            width,
            height,
            samples,
            bits,
            sample_format: 1,
            photometric: 1,
            planar: 1,
            data: data.to_vec(),
        }
    }

    pub fn rgb(self) -> Self {
        Self { photometric: 2, ..self }
    }

    pub fn float(self) -> Self {
        Self {
            sample_format: 3,
            ..self
        }
    }

    pub fn separate_planes(self) -> Self {
        Self { planar: 2, ..self }
    }
}

/// A TIFF file of these pages, in either byte order.
pub fn tiff(big_endian: bool, pages: &[TiffPage]) -> Vec<u8> {
    let u16_bytes = |value: u16| {
        if big_endian {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        }
    };
    let u32_bytes = |value: u32| {
        if big_endian {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        }
    };
    let position = |bytes: &[u8]| u32_bytes(u32::try_from(bytes.len()).unwrap());

    let mut bytes = if big_endian {
        b"MM\0\x2a".to_vec()
    } else {
        b"II\x2a\0".to_vec()
    };
    let mut link = bytes.len();
    bytes.extend([0; 4]);
    for page in pages {
        // Strip offsets and sizes, one per plane, and the per-sample numbers do not fit into their tags.
        let strips = if page.planar == 2 { usize::from(page.samples) } else { 1 };
        let size = page.data.len() / strips;
        let list = |bytes: &mut Vec<u8>, values: &[u32], short: bool| -> [u8; 4] {
            let encoded: Vec<u8> = values
                .iter()
                .flat_map(|&value| {
                    if short {
                        u16_bytes(u16::try_from(value).unwrap()).to_vec()
                    } else {
                        u32_bytes(value).to_vec()
                    }
                })
                .collect();
            if encoded.len() <= 4 {
                let mut inline = [0; 4];
                inline[..encoded.len()].copy_from_slice(&encoded);
                return inline;
            }
            let offset = position(bytes);
            bytes.extend(encoded);
            offset
        };
        let data_start = u32::try_from(bytes.len()).unwrap();
        bytes.extend(&page.data);
        let size = u32::try_from(size).unwrap();
        let offsets: Vec<u32> = (0..u32::try_from(strips).unwrap())
            .map(|strip| data_start + strip * size)
            .collect();
        let per_sample = usize::from(page.samples);
        let tags: [(u16, Vec<u32>, bool); 11] = [
            (256, vec![page.width], false),
            (257, vec![page.height], false),
            (258, vec![u32::from(page.bits); per_sample], true),
            (259, vec![1], true),
            (262, vec![u32::from(page.photometric)], true),
            (273, offsets, false),
            (277, vec![u32::from(page.samples)], true),
            (278, vec![page.height], false),
            (279, vec![size; strips], false),
            (284, vec![u32::from(page.planar)], true),
            (339, vec![u32::from(page.sample_format); per_sample], true),
        ];
        let entries: Vec<(u16, bool, usize, [u8; 4])> = tags
            .iter()
            .map(|(tag, values, short)| (*tag, *short, values.len(), list(&mut bytes, values, *short)))
            .collect();
        let start = position(&bytes);
        bytes[link..link + 4].copy_from_slice(&start);
        bytes.extend(u16_bytes(11));
        for (tag, short, count, value) in entries {
            bytes.extend(u16_bytes(tag));
            bytes.extend(u16_bytes(if short { 3 } else { 4 }));
            bytes.extend(u32_bytes(u32::try_from(count).unwrap()));
            bytes.extend(value);
        }
        link = bytes.len();
        bytes.extend([0; 4]);
    }
    bytes
}
