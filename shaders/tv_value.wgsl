// Isotropic total variation: partials[group].x = sum over 4096 consecutive pixels of |D x|, forward differences, 0 beyond the last row and
// column; the other components are 0. One workgroup of 256 per 4096 pixels. x: (row, column); partials: (group).
#import tv
#import reduce

@group(0) @binding(0) var<uniform> params: TvParams;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> partials: array<vec4<f32>>;

var<workgroup> sh_sum: array<vec4<f32>, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    var sum = vec4<f32>(0.0);
    for (var k = 0u; k < 16u; k++) {
        let pixel = group.x * 4096u + k * 256u + local;
        if (pixel < params.rows * params.cols) {
            sum.x += length(difference(pixel / params.cols, pixel % params.cols));
        }
    }
    let total = workgroup_sum(local, sum);
    if (local == 0u) {
        partials[group.x] = total;
    }
}
