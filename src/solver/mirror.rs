//! Images that go on beyond their borders, for models with [`crate::model::Border::Mirror`].

/// The plane (row, column) of `size` with `by` more pixels on every side: mirrored at its borders, the outermost pixels twice, and
/// back and forth where it is smaller than that.
pub(super) fn extended(plane: &[f32], [rows, cols]: [usize; 2], by: usize) -> Vec<f32> {
    let mirrored = |at: usize, side: usize| {
        // `2 side by` more than the place, which changes nothing and keeps it from falling below 0.
        let place = (at + 2 * side * by - by) % (2 * side);
        place.min(2 * side - 1 - place)
    };
    let columns: Vec<usize> = (0..cols + 2 * by).map(|col| mirrored(col, cols)).collect();
    (0..rows + 2 * by)
        .flat_map(|row| {
            let first = mirrored(row, rows) * cols;
            columns.iter().map(move |col| plane[first + col])
        })
        .collect()
}

/// The part of an extended plane that has `size`.
pub(super) fn inner(plane: &[f32], [rows, cols]: [usize; 2], by: usize) -> Vec<f32> {
    let width = cols + 2 * by;
    (by..rows + by)
        .flat_map(|row| &plane[row * width + by..row * width + by + cols])
        .copied()
        .collect()
}
