//! Cutting an image into tiles whose intermediate planes fit the device, with exact overlap.
//!
//! A tile owns a rectangle of pixels. Its frame adds a halo of twice the filter bank's radius: the adjoint of a pixel
//! reads responses one radius away, and each of those reads pixels another radius away. Layer by layer the computed
//! rectangle shrinks from the frame to the owned pixels, so every pixel sees the same operands in the same order as in
//! an untiled run.

use crate::filters::{ConvLayer, FilterBank, Region};
use crate::gpu::TexelPlanes;
use crate::{Error, Result};

/// Bytes that the responses of one tile may take: well below the default binding limit of 128 MiB.
const RESPONSE_BYTES: usize = 120 << 20;

/// A tile: the rectangle it owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    /// First row and column.
    pub top: usize,
    /// See `top`.
    pub left: usize,
    /// Rows owned.
    pub rows: usize,
    /// Columns owned.
    pub cols: usize,
}

/// The tiles of an image and the layout of the frames they share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tiling {
    /// Rows of the image.
    pub height: usize,
    /// Columns of the image.
    pub width: usize,
    /// The tiles; their rectangles partition the image.
    pub tiles: Vec<Tile>,
    /// Pixels added on every side.
    pub halo: usize,
    /// Columns before the first pixel in a frame, `halo` or a few more: windows of the widest filters begin with whole
    /// texels ([`crate::gpu::TexelPlanes`]).
    pub lead: usize,
    /// Elements from row to row of a frame: whole rows of a texture.
    pub row_stride: usize,
    /// Elements of one plane of a frame.
    pub plane_stride: usize,
}

impl Tiling {
    /// Tiles for `slots` images of `height` x `width` at once: the whole image if its responses fit, else the largest
    /// equal tiles that do, or tiles of about `side` pixels if given.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] if even a small tile does not fit.
    pub fn new(bank: &FilterBank, height: usize, width: usize, slots: usize, side: Option<usize>) -> Result<Self> {
        let halo = 2 * bank.radius();
        let stride = |cols: usize| (cols + 2 * halo + 3).next_multiple_of(TexelPlanes::ROW);
        let fits =
            |rows: usize, cols: usize| (rows + 2 * halo) * stride(cols) * bank.channels() * slots * 4 <= RESPONSE_BYTES;
        let (mut rows, mut cols) = (height, width);
        if let Some(side) = side {
            (rows, cols) = (side.clamp(1, height), side.clamp(1, width));
        }
        // Halve the longer side until a tile fits, then even the tiles out.
        while !fits(rows, cols) {
            if rows.max(cols) <= 16 {
                return Err(Error::OutOfMemory(format!(
                    "{slots} images with {} channels at once do not fit in the smallest tiles",
                    bank.channels()
                )));
            }
            if rows >= cols {
                rows = rows.div_ceil(2);
            } else {
                cols = cols.div_ceil(2);
            }
        }
        let (down, across) = (height.div_ceil(rows), width.div_ceil(cols));
        let (rows, cols) = (height.div_ceil(down), width.div_ceil(across));
        let tiles = (0..height)
            .step_by(rows)
            .flat_map(|top| (0..width).step_by(cols).map(move |left| (top, left)))
            .map(|(top, left)| Tile {
                top,
                left,
                rows: rows.min(height - top),
                cols: cols.min(width - left),
            })
            .collect();
        Ok(Self::with_frames([height, width], tiles, halo, widest_radius(bank)))
    }

    /// One tile for images that are worked on whole, however many: the frame adds only the zeros that the widest layer
    /// reads.
    pub fn whole(bank: &FilterBank, height: usize, width: usize) -> Self {
        Self::framed(widest_radius(bank), height, width)
    }

    /// One tile for whole images in frames with `halo` zeros on every side.
    pub fn framed(halo: usize, height: usize, width: usize) -> Self {
        let tile = Tile {
            top: 0,
            left: 0,
            rows: height,
            cols: width,
        };
        Self::with_frames([height, width], vec![tile], halo, halo)
    }

    fn with_frames([height, width]: [usize; 2], tiles: Vec<Tile>, halo: usize, radius: usize) -> Self {
        let rows = tiles.iter().map(|t| t.rows).max().unwrap_or(0);
        let cols = tiles.iter().map(|t| t.cols).max().unwrap_or(0);
        let lead = radius + (halo - radius).next_multiple_of(4);
        let row_stride = (lead + cols + halo).next_multiple_of(TexelPlanes::ROW);
        Self {
            height,
            width,
            tiles,
            halo,
            lead,
            row_stride,
            plane_stride: row_stride * (rows + 2 * halo),
        }
    }

    /// The rectangle of `tile` grown by `margin` in the tile's frame, for stacks of `planes` planes.
    ///
    /// With a single tile the rectangle is clipped to the image: nothing else ever writes the frame's border, which
    /// stays zero from its creation. With several, each tile must write the zeros its neighbour may have replaced.
    pub fn region(&self, tile: usize, margin: usize, planes: usize) -> Region {
        let Tile { top, left, rows, cols } = self.tiles[tile];
        let margin = if self.tiles.len() == 1 { 0 } else { margin };
        let reach = |start: usize, count: usize, size: usize| {
            let outside = margin.saturating_sub(start);
            let end = (start + count + margin).min(size);
            (outside, end - (start + outside - margin))
        };
        let (inside_top, inside_rows) = reach(top, rows, self.height);
        let (inside_left, inside_cols) = reach(left, cols, self.width);
        Region {
            rows: (rows + 2 * margin) as u32,
            cols: (cols + 2 * margin) as u32,
            first: self.frame_index(self.halo - margin, self.lead - margin) as u32,
            row_stride: self.row_stride as u32,
            plane_stride: self.plane_stride as u32,
            image_stride: (self.plane_stride * planes) as u32,
            inside_top: inside_top as u32,
            inside_left: inside_left as u32,
            inside_rows: inside_rows as u32,
            inside_cols: inside_cols as u32,
            ..Default::default()
        }
    }

    /// The pixels that `tile` owns, in full image planes.
    pub fn in_image(&self, tile: usize) -> Region {
        let Tile { top, left, rows, cols } = self.tiles[tile];
        let (rows, cols) = (rows as u32, cols as u32);
        Region {
            rows,
            cols,
            first: (top * self.width + left) as u32,
            row_stride: self.width as u32,
            plane_stride: (self.height * self.width) as u32,
            image_stride: (self.height * self.width) as u32,
            inside_top: 0,
            inside_left: 0,
            inside_rows: rows,
            inside_cols: cols,
            ..Default::default()
        }
    }

    fn frame_index(&self, row: usize, col: usize) -> usize {
        row * self.row_stride + col
    }
}

fn widest_radius(bank: &FilterBank) -> usize {
    bank.layers().iter().map(ConvLayer::radius).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bank() -> FilterBank {
        FilterBank::new(vec![ConvLayer::new(1, 60, 13, vec![0.0; 60 * 169]).unwrap()]).unwrap()
    }

    #[test]
    fn tiles_partition_the_image_and_fit_the_budget() {
        for (height, width, slots, side) in [
            (481, 321, 1, None),
            (4096, 4096, 1, None),
            (100, 37, 3, Some(16)),
            (1, 9, 1, Some(4)),
        ] {
            let tiling = Tiling::new(&bank(), height, width, slots, side).unwrap();
            let mut owned = vec![0_u8; height * width];
            for t in &tiling.tiles {
                for row in t.top..t.top + t.rows {
                    owned[row * width + t.left..row * width + t.left + t.cols]
                        .iter_mut()
                        .for_each(|p| *p += 1);
                }
            }
            assert!(owned.iter().all(|&p| p == 1), "{height} x {width}");
            assert!(tiling.plane_stride * 60 * slots * 4 <= RESPONSE_BYTES);
        }
        assert_eq!(Tiling::new(&bank(), 481, 321, 1, None).unwrap().tiles.len(), 1);
    }

    #[test]
    fn frames_are_rows_of_texels_and_the_widest_windows_begin_with_one() {
        for (size, side) in [(1, None), (3, Some(7)), (5, None), (7, None), (9, Some(30)), (13, None)] {
            let layer = ConvLayer::new(1, 2, size, vec![0.0; 2 * size * size]).unwrap();
            let bank = FilterBank::new(vec![layer]).unwrap();
            for tiling in [
                Tiling::new(&bank, 61, 83, 1, side).unwrap(),
                Tiling::whole(&bank, 61, 83),
            ] {
                let cols = tiling.tiles.iter().map(|t| t.cols).max().unwrap();
                assert_eq!(
                    (tiling.row_stride % TexelPlanes::ROW, (tiling.lead - size / 2) % 4),
                    (0, 0)
                );
                assert!((tiling.halo..tiling.halo + 4).contains(&tiling.lead));
                assert!(tiling.lead + cols + tiling.halo <= tiling.row_stride);
            }
        }
    }

    #[test]
    fn regions_know_which_part_lies_in_the_image() {
        let tiling = Tiling::new(&bank(), 40, 40, 1, Some(20)).unwrap();
        assert_eq!(tiling.tiles.len(), 4);
        let r = tiling.region(3, 10, 1);
        assert_eq!(
            (r.rows, r.inside_top, r.inside_rows),
            (40, 0, 30),
            "grows into the image above, not below"
        );
        let r = tiling.region(0, 12, 1);
        assert_eq!((r.rows, r.first, r.inside_top, r.inside_rows), (44, 2, 12, 32));
    }
}
