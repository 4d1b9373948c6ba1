// Filters to their coefficients in the orthonormal basis of cosines, or back:
//   c[f, u, v] = sum_k sum_l C[u, k] C[v, l] w[f, k, l],   INVERSE: w[f, k, l] = sum_u sum_v C[u, k] C[v, l] c[f, u, v],
//   C[u, k] = sqrt((2 - [u = 0]) / size) cos(pi (k + 1/2) u / size).
// One workgroup per filter of a layer, columns before rows. source, target: (layer, filter, row, column).

struct CosineParams {
    first: u32,        // the layer's first weight
    size: u32,         // side of its filters, at most 15
    cosines: u32,      // where its C begins
    pad0: u32,
}

const INVERSE: u32 = 0u;
const LARGEST: u32 = 225u;

@group(0) @binding(0) var<uniform> params: CosineParams;
@group(0) @binding(1) var<storage, read> cosines: array<f32>;
@group(0) @binding(2) var<storage, read> source: array<f32>;
@group(0) @binding(3) var<storage, read_write> target_filters: array<f32>;

var<workgroup> sh_cosines: array<f32, LARGEST>;
var<workgroup> sh_filter: array<f32, LARGEST>;
var<workgroup> sh_half: array<f32, LARGEST>;

// C[u, k], or for the way back C[k, u].
fn cosine(u: u32, k: u32) -> f32 {
    if (INVERSE == 1u) {
        return sh_cosines[k * params.size + u];
    }
    return sh_cosines[u * params.size + k];
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let size = params.size;
    let taps = size * size;
    let first = params.first + group.x * taps;
    for (var n = local; n < taps; n += 64u) {
        sh_cosines[n] = cosines[params.cosines + n];
        sh_filter[n] = source[first + n];
    }
    workgroupBarrier();
    for (var n = local; n < taps; n += 64u) {
        var sum = 0.0;
        for (var k = 0u; k < size; k++) {
            sum += cosine(n / size, k) * sh_filter[k * size + n % size];
        }
        sh_half[n] = sum;
    }
    workgroupBarrier();
    for (var n = local; n < taps; n += 64u) {
        var sum = 0.0;
        for (var l = 0u; l < size; l++) {
            sum += cosine(n % size, l) * sh_half[n / size * size + l];
        }
        target_filters[first + n] = sum;
    }
}
