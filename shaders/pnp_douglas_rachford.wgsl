// The end of a Douglas-Rachford iteration, x = prox(z), v = 2 x - z: w = (1 - a) v + a s N(v / s), z <- z + (w - x),
// image <- clamp(w, low, high), and the sums
//   ( |w - x|^2, |x|^2, |z|^2, 0 )
// by which `pnp_control` decides. After the last iteration z and image are left alone, however many were recorded at once.
// One workgroup of 256 per 4096 pixels. v, network, x, z, image: (pixel); partials: (group).
#import pnp
#import reduce

@group(0) @binding(0) var<uniform> params: PnpParams;
@group(0) @binding(1) var<storage, read> state: PnpState;
@group(0) @binding(2) var<storage, read> v: array<f32>;
@group(0) @binding(3) var<storage, read> network: array<f32>;
@group(0) @binding(4) var<storage, read> x: array<f32>;
@group(0) @binding(5) var<storage, read_write> z: array<f32>;
@group(0) @binding(6) var<storage, read_write> image: array<f32>;
@group(0) @binding(7) var<storage, read_write> partials: array<vec4<f32>>;

var<workgroup> sh_sum: array<vec4<f32>, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let running = state.status == RUNNING;
    var sum = vec4<f32>(0.0);
    for (var k = 0u; k < 16u; k++) {
        let pixel = group.x * 4096u + k * 256u + local;
        if (running && pixel < params.pixels) {
            let near_data = x[pixel];
            let w = denoised(params, v[pixel], network[pixel]);
            let moved = w - near_data;
            let next = z[pixel] + moved;
            z[pixel] = next;
            image[pixel] = clamp(w, params.low, params.high);
            sum += vec4<f32>(moved * moved, near_data * near_data, next * next, 0.0);
        }
    }
    let total = workgroup_sum(local, sum);
    if (local == 0u) {
        partials[group.x] = total;
    }
}
