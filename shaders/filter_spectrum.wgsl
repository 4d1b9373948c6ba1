// The symbol of W'W on a grid of frequencies, and its largest value in every row of the grid:
//   S(r, q) = B_0 + 2 Re sum_{lx > 0} B_lx z^lx,  z = e^(2 pi i q / grid),  B_lx = sum_ly c[ly, lx] e^(2 pi i r ly / grid).
// One workgroup of 64 per row r <= grid / 2 (S is even): size invocations make the B, then all of them run Horner's scheme over
// their columns. waves: (cos, sin) of 2 pi n / grid, from f64; the sine of a GPU is good to 2^-11 only.
// c: (ly + size - 1, lx), maxima: (row) of (largest S, its column as bits); of equal values the first column counts.
#import filter_norm

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
            let wave = waves[(group.x * n) & last];
            let above = correlation[(size - 1u - n) * size + local];
            let below = correlation[(size - 1u + n) * size + local];
            b += vec2<f32>(below + above, below - above) * wave;
        }
        sh_b[local] = b;
    }
    workgroupBarrier();
    var best = vec2<f32>(-1.0, 0.0);
    for (var col = local; col < params.grid; col += 64u) {
        let z = waves[col];
        var sum = vec2<f32>(0.0);
        for (var n = size - 1u; n > 0u; n--) {
            let b = sh_b[n] + sum;
            sum = vec2<f32>(b.x * z.x - b.y * z.y, b.x * z.y + b.y * z.x);
        }
        let value = sh_b[0].x + 2.0 * sum.x;
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
