// The autocorrelation of a layer of filters, summed over them, whose Fourier series is the symbol of W'W:
//   c[ly, lx] = sum_f sum_k w[f, k] w[f, k + (ly, lx)],   -size < ly < size,  0 <= lx < size (c is even).
// One workgroup of 256 per lag, invocations share the filters' rows. w: (filter, row, column), c: (ly + size - 1, lx).
#import filter_norm
#import reduce

@group(0) @binding(0) var<uniform> params: FilterNormParams;
@group(0) @binding(1) var<storage, read> weights: array<f32>;
@group(0) @binding(2) var<storage, read_write> correlation: array<f32>;

var<workgroup> sh_sum: array<vec4<f32>, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let size = params.size;
    let down = i32(group.x / size) - i32(size) + 1;
    let right = group.x % size;
    var sum = 0.0;
    for (var n = local; n < params.filters * size; n += 256u) {
        let row = i32(n % size);
        if (row + down >= 0 && row + down < i32(size)) {
            let first = n * size;
            let other = u32(i32(n) + down) * size;
            for (var k = 0u; k + right < size; k++) {
                sum += weights[first + k] * weights[other + k + right];
            }
        }
    }
    let total = workgroup_sum(local, vec4<f32>(sum, 0.0, 0.0, 0.0));
    if (local == 0u) {
        correlation[group.x] = total.x;
    }
}
