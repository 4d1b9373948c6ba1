// What the denoiser sees: v = keep x + add q, and v / s for the network. Forward-backward has q = H'(H x - y), v = x - gamma q;
// Douglas-Rachford has v = 2 x - q, q its governing iterate.
// One workgroup of 256 per 4096 pixels. All arrays (pixel).
#import pnp

@group(0) @binding(0) var<uniform> params: PnpParams;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> q: array<f32>;
@group(0) @binding(3) var<storage, read_write> v: array<f32>;
@group(0) @binding(4) var<storage, read_write> input: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    for (var k = 0u; k < 16u; k++) {
        let pixel = group.x * 4096u + k * 256u + local;
        if (pixel < params.pixels) {
            let value = params.keep * x[pixel] + params.add * q[pixel];
            v[pixel] = value;
            input[pixel] = value / params.strength;
        }
    }
}
