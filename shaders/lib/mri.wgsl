// Magnetic resonance images and their k-space, both centred: pixel or frequency zero of n lies at n / 2, rounded down.
// Fourier transforms have zero first. Every kernel here works at a centred position and finds the transform's with
// `uncentred`, which is the shift of either side, so no pass only moves data.
// Complex arrays are (coil, row, column) of vec2, real part first.

struct MriParams {
    rows: u32,
    cols: u32,
    coils: u32,
    adjoint: u32,      // 1: mri_mask leads from k-space to the transform
}

// fftshift(u)(i) = u(uncentred(i)) and ifftshift(c)(uncentred(i)) = c(i).
fn uncentred(i: u32, n: u32) -> u32 {
    let moved = i + (n + 1u) / 2u;
    return select(moved, moved - n, moved >= n);
}

// The index in the transform's order of the centred position (row, col) of a coil.
fn transform_index(coil: u32, row: u32, col: u32, params: MriParams) -> u32 {
    return (coil * params.rows + uncentred(row, params.rows)) * params.cols + uncentred(col, params.cols);
}
