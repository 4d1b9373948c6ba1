// Weight matrices of norm at most 1 from free parameters V: W = Bjorck iterations of V / |V|_F, see lib/orthonormal.
// One workgroup of 64 per matrix: group = (layer, member); an invocation computes every 64th entry.
// parameters: (member, dense) in front; matrices: (member, dense); iterates: (member, iteration, dense), B_0 .. B_{n-1},
// which the backward pass reads; norms: (member, layer), |V|_F, or 1 without the division.
#import orthonormal

@group(0) @binding(0) var<uniform> params: MatrixParams;
@group(0) @binding(1) var<uniform> layers: array<MatrixRecord, LAYERS>;
@group(0) @binding(2) var<storage, read_write> parameters: array<f32>;
@group(0) @binding(3) var<storage, read_write> matrices: array<f32>;
@group(0) @binding(4) var<storage, read_write> iterates: array<f32>;
@group(0) @binding(5) var<storage, read_write> norms: array<f32>;

var<workgroup> sh_matrix: array<f32, ENTRIES>;
var<workgroup> sh_gram: array<f32, ENTRIES>;
var<workgroup> sh_next: array<f32, ENTRIES>;
var<workgroup> sh_sum: array<f32, 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let layer = layers[group.x];
    let columns = layer.columns;
    let entries = layer.rows * columns;
    let first = group.y * params.dense + layer.weights;
    var sum = 0.0;
    for (var e = local; e < entries; e += 64u) {
        let v = parameters[first + e];
        sh_matrix[e] = v;
        sum += v * v;
    }
    sh_sum[local] = sum;
    workgroupBarrier();
    var norm = 0.0;
    for (var n = 0u; n < 64u; n++) {
        norm += sh_sum[n];
    }
    // A matrix of zeros stays one.
    norm = select(1.0, sqrt(max(norm, 1e-30)), params.normalise == 1u);
    if (local == 0u) {
        norms[group.y * LAYERS + group.x] = norm;
    }
    for (var e = local; e < entries; e += 64u) {
        sh_matrix[e] /= norm;
    }
    workgroupBarrier();
    for (var k = 0u; k < params.iterations; k++) {
        let iterate = (group.y * params.iterations + k) * params.dense + layer.weights;
        for (var e = local; e < columns * columns; e += 64u) {
            let i = e / columns;
            let j = e % columns;
            var gram = 0.0;
            for (var r = 0u; r < layer.rows; r++) {
                gram += sh_matrix[r * columns + i] * sh_matrix[r * columns + j];
            }
            sh_gram[e] = gram;
        }
        workgroupBarrier();
        for (var e = local; e < entries; e += 64u) {
            let row = e / columns * columns;
            var product = 0.0;
            for (var n = 0u; n < columns; n++) {
                product += sh_matrix[row + n] * sh_gram[n * columns + e - row];
            }
            iterates[iterate + e] = sh_matrix[e];
            sh_next[e] = 1.5 * sh_matrix[e] - 0.5 * product;
        }
        workgroupBarrier();
        // Every invocation copies the entries that it wrote.
        for (var e = local; e < entries; e += 64u) {
            sh_matrix[e] = sh_next[e];
        }
        workgroupBarrier();
    }
    for (var e = local; e < entries; e += 64u) {
        matrices[first + e] = sh_matrix[e];
        if (params.project == 1u) {
            parameters[first + e] = sh_matrix[e];
        }
    }
}
