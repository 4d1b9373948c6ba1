// Shared by the parts of the splitting: where images lie in the planes of its Fourier transform.
//
// The image of slot p is the real part of plane p, (row, column) of plane_rows x plane_cols, from (top, left) on. The imaginary
// part could hold another image, but then the bits of a result would depend on what else is in the batch.

struct SplitParams {
    rows: u32,         // of an image
    cols: u32,
    plane_rows: u32,   // of a plane
    plane_cols: u32,
    top: u32,          // first row and column of the image in its plane
    left: u32,
    penalty: f32,      // rho
    side: u32,         // of the filters, for their spectrum
}
