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
