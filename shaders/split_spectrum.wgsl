// Splitting, once per set of filters: inverse(r, q) = 1 / (1 + rho S(r, q)) at the frequencies of its planes, where S is the
// power spectrum of the filters (lib/symbol.wgsl) at z = e^(2 pi i q / plane_cols), w = e^(2 pi i r / plane_rows).
// One workgroup of 64 per row r: side invocations make the B, then all of them run Horner's scheme over their columns.
// row_waves, col_waves: (cos, sin) of 2 pi n / plane_rows and / plane_cols, from f64; c: (ly + side - 1, lx).
#import split
#import symbol

const SIDE: u32 = 64u; // filters are no larger

@group(0) @binding(0) var<uniform> params: SplitParams;
@group(0) @binding(1) var<storage, read> correlation: array<f32>;
@group(0) @binding(2) var<storage, read> row_waves: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read> col_waves: array<vec2<f32>>;
@group(0) @binding(4) var<storage, read_write> inverse: array<f32>;

var<workgroup> sh_b: array<vec2<f32>, SIDE>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let side = params.side;
    if (local < side) {
        var b = vec2<f32>(correlation[(side - 1u) * side + local], 0.0);
        for (var n = 1u; n < side; n++) {
            b += symbol_pair(n, local, side, row_waves[(group.x * n) % params.plane_rows]);
        }
        sh_b[local] = b;
    }
    workgroupBarrier();
    for (var col = local; col < params.plane_cols; col += 64u) {
        // Rounding must not make S negative.
        let power = max(symbol_at(col_waves[col], side), 0.0);
        inverse[group.x * params.plane_cols + col] = 1.0 / (1.0 + params.penalty * power);
    }
}
