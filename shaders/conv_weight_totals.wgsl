// Second pass of the gradient with respect to a layer's filters:
//   gradient[first + n] = sum over chunks of partials[chunk][n],  one chunk after the other, or += with accumulate.
// One invocation per weight, because there are far more weights than chunks. partials: (chunk, o, i, ky, kx);
// gradient: (layer, o, i, ky, kx).

struct WeightTotalsParams {
    weights: u32,  // of the layer
    chunks: u32,
    first: u32,    // index of the layer's first weight
    accumulate: u32,
}

@group(0) @binding(0) var<uniform> params: WeightTotalsParams;
@group(0) @binding(1) var<storage, read> partials: array<f32>;
@group(0) @binding(2) var<storage, read_write> gradient: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x < params.weights) {
        var sum = 0.0;
        for (var chunk = 0u; chunk < params.chunks; chunk++) {
            sum += partials[chunk * params.weights + id.x];
        }
        let at = params.first + id.x;
        if (params.accumulate != 0u) {
            sum += gradient[at];
        }
        gradient[at] = sum;
    }
}
