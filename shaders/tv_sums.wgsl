// The sums by which a proximal step is judged: ( <z - x', x' - x>, |x' - x|^2, |x'|^2, |x' - z|^2 ), x' the candidate. Where
// v, what it was made from, is not finite or was clamped to the largest number, the last sum is not finite either.
// One workgroup of 256 per 4096 pixels. All arrays (pixel); partials: (group).
#import descent
#import reduce

@group(0) @binding(0) var<uniform> params: DescentParams;
@group(0) @binding(1) var<storage, read> v: array<f32>;
@group(0) @binding(2) var<storage, read> z: array<f32>;
@group(0) @binding(3) var<storage, read> x: array<f32>;
@group(0) @binding(4) var<storage, read> candidate: array<f32>;
@group(0) @binding(5) var<storage, read_write> partials: array<vec4<f32>>;

var<workgroup> sh_sum: array<vec4<f32>, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    var sum = vec4<f32>(0.0);
    for (var k = 0u; k < 16u; k++) {
        let pixel = group.x * 4096u + k * 256u + local;
        if (pixel < params.pixels) {
            let next = candidate[pixel];
            let moved = next - x[pixel];
            let back = z[pixel] - next;
            let size = v[pixel] * v[pixel];
            let stepped = select(back * back, size, not_finite(size));
            sum += vec4<f32>(back * moved, moved * moved, next * next, stepped);
        }
    }
    let total = workgroup_sum(local, sum);
    if (local == 0u) {
        partials[group.x] = total;
    }
}
