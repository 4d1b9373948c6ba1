// One pass of a Fourier transform with any small radix (formula and shapes: lib/fft.wgsl); radix 1 copies.
// One invocation per butterfly. src, dst: (outer, position, inner); roots: exp(-2 pi i k / n), k < n;
// small_roots: exp(-2 pi i k / RADIX) in the first two components, k < RADIX.
#import fft

const RADIX: u32 = 2u;

@group(0) @binding(0) var<uniform> params: FftParams;
@group(0) @binding(1) var<uniform> small_roots: array<vec4<f32>, RADIX>;
@group(0) @binding(2) var<storage, read> roots: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read> src: array<vec2<f32>>;
@group(0) @binding(4) var<storage, read_write> dst: array<vec2<f32>>;

fn directed(root: vec2<f32>) -> vec2<f32> {
    return vec2<f32>(root.x, params.direction * root.y);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let item = id.y * params.width + id.x;
    if (item >= params.items) {
        return;
    }
    let at = butterfly(item, params);
    var x: array<vec2<f32>, RADIX>;
    // @unroll RADIX
    for (var t = 0u; t < RADIX; t++) {
        x[t] = complex_product(directed(roots[t * at.root]), src[at.first + t * at.read_step]);
    }
    // @unroll RADIX
    for (var u = 0u; u < RADIX; u++) {
        var sum = x[0];
        // @unroll RADIX
        for (var t = 0u; t < RADIX; t++) {
            if (t > 0u) {
                sum += complex_product(directed(small_roots[(t * u) % RADIX].xy), x[t]);
            }
        }
        dst[at.target_first + u * at.write_step] = params.scale * sum;
    }
}
