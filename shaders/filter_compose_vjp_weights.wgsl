// The derivative of filter_compose.wgsl with respect to the layer: from G, the gradient at the composed filters,
//   of_weights[o, i](k) = sum_j G[o](k + j) e[i](j).
// One invocation per weight. G: (output, row, column) of side before + size - 1; e: (input, row, column) of side `before`;
// of_weights: (output, input, row, column).
#import compose

@group(0) @binding(0) var<uniform> params: ComposeParams;
@group(0) @binding(1) var<storage, read> gradient: array<f32>;
@group(0) @binding(2) var<storage, read> before: array<f32>;
@group(0) @binding(3) var<storage, read_write> of_weights: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let size = params.size;
    let side = params.before + size - 1u;
    if (id.x >= params.outputs * params.inputs * size * size) {
        return;
    }
    let filter_index = id.x / (size * size);
    let output = filter_index / params.inputs;
    let input = filter_index % params.inputs;
    let row = id.x / size % size;
    let col = id.x % size;
    var sum = 0.0;
    for (var r = 0u; r < params.before; r++) {
        for (var c = 0u; c < params.before; c++) {
            sum += gradient[(output * side + row + r) * side + col + c] * before[(input * params.before + r) * params.before + c];
        }
    }
    of_weights[params.first + id.x] = sum;
}
