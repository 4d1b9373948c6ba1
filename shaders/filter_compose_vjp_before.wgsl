// The derivative of filter_compose.wgsl with respect to the filters before the layer: from G, the gradient at the composed filters,
//   of_before[i](j) = sum_o sum_k G[o](k + j) w[o, i](k).
// One invocation per element of the result. G: (output, row, column) of side before + size - 1; w: (output, input, row, column);
// of_before: (input, row, column) of side `before`.
#import compose

@group(0) @binding(0) var<uniform> params: ComposeParams;
@group(0) @binding(1) var<storage, read> gradient: array<f32>;
@group(0) @binding(2) var<storage, read> weights: array<f32>;
@group(0) @binding(3) var<storage, read_write> of_before: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let size = params.size;
    let before = params.before;
    let side = before + size - 1u;
    if (id.x >= params.inputs * before * before) {
        return;
    }
    let input = id.x / (before * before);
    let row = id.x / before % before;
    let col = id.x % before;
    var sum = 0.0;
    for (var output = 0u; output < params.outputs; output++) {
        let first = params.first + (output * params.inputs + input) * size * size;
        for (var k = 0u; k < size * size; k++) {
            sum += gradient[(output * side + row + k / size) * side + col + k % size] * weights[first + k];
        }
    }
    of_before[id.x] = sum;
}
