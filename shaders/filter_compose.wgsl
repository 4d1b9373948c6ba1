// One more layer of filters behind others, as one filter from the image to each of its planes:
//   composed[o](m) = sum_i sum_k w[o, i](k) e[i](m - k),
// since a layer correlates, y[o](p) = sum_i sum_k w[o, i](k) x[i](p + k), and so do the layers before it.
// One invocation per element of the result. e: (input, row, column) of side `before`; w: (output, input, row, column);
// composed: (output, row, column) of side before + size - 1.
#import compose

@group(0) @binding(0) var<uniform> params: ComposeParams;
@group(0) @binding(1) var<storage, read> weights: array<f32>;
@group(0) @binding(2) var<storage, read> before: array<f32>;
@group(0) @binding(3) var<storage, read_write> composed: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let size = params.size;
    let side = params.before + size - 1u;
    if (id.x >= params.outputs * side * side) {
        return;
    }
    let output = id.x / (side * side);
    let row = id.x / side % side;
    let col = id.x % side;
    var sum = 0.0;
    for (var n = 0u; n < params.inputs * size * size; n++) {
        let input = n / (size * size);
        // Less than 0 becomes larger than any side.
        let r = row - n / size % size;
        let c = col - n % size;
        if (r < params.before && c < params.before) {
            let w = weights[params.first + output * params.inputs * size * size + n];
            sum += w * before[(input * params.before + r) * params.before + c];
        }
    }
    composed[id.x] = sum;
}
