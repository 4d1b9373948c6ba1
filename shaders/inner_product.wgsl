// Partial sums of inner products and distances of images:
//   partial[slot][group] = ( <a, b>, |a - b|^2, |a|^2, 0 ) over 4096 consecutive pixels.
// One workgroup of 256 per 4096 pixels, y = slot. a, b: (image, pixel); partials: (slot, group).
#import reduce

struct SumParams {
    pixels: u32,
    groups: u32,
    pad0: u32,
    pad1: u32,
}

@group(0) @binding(0) var<uniform> params: SumParams;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> partials: array<vec4<f32>>;

var<workgroup> sh_sum: array<vec4<f32>, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    var sum = vec4<f32>(0.0);
    for (var k = 0u; k < 16u; k++) {
        let pixel = group.x * 4096u + k * 256u + local;
        if (pixel < params.pixels) {
            let p = a[group.y * params.pixels + pixel];
            let q = b[group.y * params.pixels + pixel];
            sum += vec4<f32>(p * q, (p - q) * (p - q), p * p, 0.0);
        }
    }
    let total = workgroup_sum(local, sum);
    if (local == 0u) {
        partials[group.y * params.groups + group.x] = total;
    }
}
