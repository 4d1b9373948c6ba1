// Shared by the parts of the proximal operator of total variation (Beck and Teboulle 2009):
//   argmin_x |x - v|^2 / 2 + radius TV(x) over the box = clamp(v - D' u) for the best u with |u(pixel)| <= radius,
// where D x = (x(r + 1, c) - x(r, c), x(r, c + 1) - x(r, c)), 0 beyond the last row and column, and |D|^2 <= 8.

struct TvParams {
    rows: u32,
    cols: u32,
    radius: f32,       // lambda / L
    beta: f32,         // momentum of this inner iteration
    low: f32,          // the box
    high: f32,
    pad0: u32,
    pad1: u32,
}

// D x at a pixel. The importing kernel binds params and x: (row, column).
fn difference(row: u32, col: u32) -> vec2<f32> {
    let at = row * params.cols + col;
    var down_right = vec2<f32>(0.0);
    if (row + 1u < params.rows) {
        down_right.x = x[at + params.cols] - x[at];
    }
    if (col + 1u < params.cols) {
        down_right.y = x[at + 1u] - x[at];
    }
    return down_right;
}
