// Shared by the parts of the splitting: where images lie in the planes of its Fourier transform.
//
// The image of slot p lies in plane p, (row, column) of plane_rows x plane_cols real values, from (top, left) on. A plane is transformed
// as the complex one of half its columns, the number of which is even: column 2 n is the real and 2 n + 1 the imaginary part of element
// n of a row.

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
