// Real planes on a torus of complex values, where correlations are products of spectra. The plane begins at position 0 of the torus,
// whose other values are zero or of no account. Torus arrays are (row, column) of vec2, real part first.

struct TorusParams {
    rows: u32,         // of the plane
    cols: u32,
    torus_rows: u32,
    torus_cols: u32,
    conjugate: u32,    // 1: torus_multiply takes the conjugates of the filter
    scale: f32,        // factor of what torus_embed lays down
    pad0: u32,
    pad1: u32,
}
