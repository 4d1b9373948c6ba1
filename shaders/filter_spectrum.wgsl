// The symbol S of W'W (lib/symbol.wgsl) on a grid of frequencies, z = e^(2 pi i q / grid) and w = e^(2 pi i r / grid), and its largest
// value in every row r of the grid.
// One workgroup of 64 per row r <= grid / 2 (S is even): size invocations make the B, then all of them run Horner's scheme over
// their columns. waves: (cos, sin) of 2 pi n / grid, from f64; the sine of a GPU is good to 2^-11 only.
// c: (ly + size - 1, lx), maxima: (row) of (largest S, its column as bits); of equal values the first column counts.
#import filter_norm
#import symbol

@group(0) @binding(0) var<uniform> params: FilterNormParams;
@group(0) @binding(1) var<storage, read> correlation: array<f32>;
@group(0) @binding(2) var<storage, read> waves: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read_write> maxima: array<vec2<f32>>;

var<workgroup> sh_b: array<vec2<f32>, 16>;
var<workgroup> sh_best: array<vec2<f32>, 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let size = params.size;
    let last = params.grid - 1u;
    if (local < size) {
        var b = vec2<f32>(correlation[(size - 1u) * size + local], 0.0);
        for (var n = 1u; n < size; n++) {
            b += symbol_pair(n, local, size, waves[(group.x * n) & last]);
        }
        sh_b[local] = b;
    }
    workgroupBarrier();
    var best = vec2<f32>(-1.0, 0.0);
    for (var col = local; col < params.grid; col += 64u) {
        let value = symbol_at(waves[col], size);
        if (value > best.x) {
            best = vec2<f32>(value, bitcast<f32>(col));
        }
    }
    sh_best[local] = best;
    workgroupBarrier();
    for (var width = 32u; width > 0u; width = width >> 1u) {
        if (local < width) {
            let a = sh_best[local];
            let b = sh_best[local + width];
            if (b.x > a.x || (b.x == a.x && bitcast<u32>(b.y) < bitcast<u32>(a.y))) {
                sh_best[local] = b;
            }
        }
        workgroupBarrier();
    }
    if (local == 0u) {
        maxima[group.x] = sh_best[0];
    }
}
