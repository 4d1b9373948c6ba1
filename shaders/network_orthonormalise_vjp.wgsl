// Gradient with respect to V from that with respect to W = orthonormalise(V), in place. With P = B^T B, Q = G^T B:
//   G_k = 3/2 G - 1/2 (G P + B (Q + Q^T))  for B = B_k, k = n-1 .. 0;
//   dV = (G_0 - B_0 <B_0, G_0>) / |V|_F, or G_0 without the division
// One workgroup of 64 per matrix: group = (layer, member); an invocation computes every 64th entry.
// gradients: (member, dense) in front; iterates: (member, iteration, dense); norms: (member, layer).
#import orthonormal

@group(0) @binding(0) var<uniform> params: MatrixParams;
@group(0) @binding(1) var<uniform> layers: array<MatrixRecord, LAYERS>;
@group(0) @binding(2) var<storage, read> iterates: array<f32>;
@group(0) @binding(3) var<storage, read> norms: array<f32>;
@group(0) @binding(4) var<storage, read_write> gradients: array<f32>;

var<workgroup> sh_matrix: array<f32, ENTRIES>;
var<workgroup> sh_gradient: array<f32, ENTRIES>;
var<workgroup> sh_gram: array<f32, ENTRIES>;
var<workgroup> sh_mixed: array<f32, ENTRIES>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let layer = layers[group.x];
    let columns = layer.columns;
    let entries = layer.rows * columns;
    let first = group.y * params.dense + layer.weights;
    for (var e = local; e < entries; e += 64u) {
        sh_gradient[e] = gradients[first + e];
    }
    for (var k = params.iterations; k > 0u; k--) {
        let iterate = (group.y * params.iterations + k - 1u) * params.dense + layer.weights;
        for (var e = local; e < entries; e += 64u) {
            sh_matrix[e] = iterates[iterate + e];
        }
        workgroupBarrier();
        for (var e = local; e < columns * columns; e += 64u) {
            let i = e / columns;
            let j = e % columns;
            var gram = 0.0;
            var mixed = 0.0;
            for (var at = 0u; at < entries; at += columns) {
                let b = vec2<f32>(sh_matrix[at + i], sh_matrix[at + j]);
                gram += b.x * b.y;
                mixed += sh_gradient[at + i] * b.y + sh_gradient[at + j] * b.x;
            }
            sh_gram[e] = gram;
            sh_mixed[e] = mixed;
        }
        workgroupBarrier();
        // The new gradient replaces the old one only when everybody has read it; storage holds it meanwhile.
        for (var e = local; e < entries; e += 64u) {
            let row = e / columns * columns;
            var product = 0.0;
            for (var n = 0u; n < columns; n++) {
                let at = n * columns + e - row;
                product += sh_gradient[row + n] * sh_gram[at] + sh_matrix[row + n] * sh_mixed[at];
            }
            gradients[first + e] = 1.5 * sh_gradient[e] - 0.5 * product;
        }
        workgroupBarrier();
        for (var e = local; e < entries; e += 64u) {
            sh_gradient[e] = gradients[first + e];
        }
    }
    workgroupBarrier();
    // sh_matrix is B_0 now.
    var inner = 0.0;
    for (var e = 0u; e < entries; e++) {
        inner += sh_matrix[e] * sh_gradient[e];
    }
    inner = select(0.0, inner, params.normalise == 1u);
    for (var e = local; e < entries; e += 64u) {
        gradients[first + e] = (sh_gradient[e] - inner * sh_matrix[e]) / norms[group.y * LAYERS + group.x];
    }
}
