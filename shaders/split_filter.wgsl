// Splitting, part 3 of 5, between the two Fourier transforms: the real plane x becomes F^-1 (1 + rho S)^-1 F x, where
// S = sum_c |W_c|^2 is the power spectrum of the filters, on the transform Z of its pairs of columns (lib/split.wgsl).
//
// With E and O the transforms of the even and the odd columns, each half as wide as the plane, and w = exp(-2 pi i v / plane_cols),
//   E = (Z(u, v) + conj Z(-u, -v)) / 2,   O = (Z(u, v) - conj Z(-u, -v)) / 2i,
// that of the whole plane is E + w O at (u, v) and E - w O at (u, v + plane_cols / 2). Multiplied there by a and b and taken apart again:
//   E' = p E + q w O,   O' = q conj(w) E + p O,   Z' = E' + i O',   p = (a + b) / 2,   q = (a - b) / 2.
// One invocation of 64 per element of Z, y = slot. planes, filtered: (slot, element), complex; inverse = 1 / (1 + rho S): (row, column);
// col_waves: (cos, sin) of 2 pi n / plane_cols.
#import split

@group(0) @binding(0) var<uniform> params: SplitParams;
@group(0) @binding(1) var<storage, read> inverse: array<f32>;
@group(0) @binding(2) var<storage, read> col_waves: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read> planes: array<vec2<f32>>;
@group(0) @binding(4) var<storage, read_write> filtered: array<vec2<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let pairs = params.plane_cols / 2u;
    let elements = params.plane_rows * pairs;
    if (id.x >= elements) {
        return;
    }
    let row = id.x / pairs;
    let col = id.x - row * pairs;
    let mirror = (params.plane_rows - row) % params.plane_rows * pairs + (pairs - col) % pairs;
    let z = planes[id.y * elements + id.x];
    let m = planes[id.y * elements + mirror] * vec2<f32>(1.0, -1.0);
    let even = 0.5 * (z + m);
    let odd = 0.5 * vec2<f32>(z.y - m.y, m.x - z.x);
    let a = inverse[row * params.plane_cols + col];
    let b = inverse[row * params.plane_cols + col + pairs];
    let p = 0.5 * (a + b);
    let q = 0.5 * (a - b);
    let wave = col_waves[col];
    let new_even = p * even + q * vec2<f32>(wave.x * odd.x + wave.y * odd.y, wave.x * odd.y - wave.y * odd.x);
    let new_odd = p * odd + q * vec2<f32>(wave.x * even.x - wave.y * even.y, wave.x * even.y + wave.y * even.x);
    filtered[id.y * elements + id.x] = vec2<f32>(new_even.x - new_odd.y, new_even.y + new_odd.x);
}
