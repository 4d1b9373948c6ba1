// The end of a forward-backward iteration: d = (1 - a) v + a s N(v / s), x' = clamp(d, low, high), x <- x', and the sums
//   ( |x' - x|^2, |x|^2, |d|^2, 0 )
// by which `pnp_control` decides; |d|^2 because clamp may swallow a NaN. After the last iteration x is left alone, however many
// were recorded at once. One workgroup of 256 per 4096 pixels. v, network, x: (pixel); partials: (group).
#import pnp
#import reduce

@group(0) @binding(0) var<uniform> params: PnpParams;
@group(0) @binding(1) var<storage, read> state: PnpState;
@group(0) @binding(2) var<storage, read> v: array<f32>;
@group(0) @binding(3) var<storage, read> network: array<f32>;
@group(0) @binding(4) var<storage, read_write> x: array<f32>;
@group(0) @binding(5) var<storage, read_write> partials: array<vec4<f32>>;

var<workgroup> sh_sum: array<vec4<f32>, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let running = state.status == RUNNING;
    var sum = vec4<f32>(0.0);
    for (var k = 0u; k < 16u; k++) {
        let pixel = group.x * 4096u + k * 256u + local;
        if (running && pixel < params.pixels) {
            let before = x[pixel];
            let free = denoised(params, v[pixel], network[pixel]);
            let next = clamp(free, params.low, params.high);
            x[pixel] = next;
            let moved = next - before;
            sum += vec4<f32>(moved * moved, before * before, free * free, 0.0);
        }
    }
    let total = workgroup_sum(local, sum);
    if (local == 0u) {
        partials[group.x] = total;
    }
}
