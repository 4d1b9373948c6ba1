// Chebyshev's iteration for (I + gamma H'H) x = b = z + gamma H'y from zero, the start: r = b, d = add b, x = d.
// One workgroup of 256 per 4096 pixels. All arrays (pixel); back = H'y.
#import prox

@group(0) @binding(0) var<uniform> params: ProxParams;
@group(0) @binding(1) var<storage, read> z: array<f32>;
@group(0) @binding(2) var<storage, read> back: array<f32>;
@group(0) @binding(3) var<storage, read_write> r: array<f32>;
@group(0) @binding(4) var<storage, read_write> d: array<f32>;
@group(0) @binding(5) var<storage, read_write> x: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    for (var k = 0u; k < 16u; k++) {
        let pixel = group.x * 4096u + k * 256u + local;
        if (pixel < params.pixels) {
            let b = z[pixel] + params.gamma * back[pixel];
            let first = params.add * b;
            r[pixel] = b;
            d[pixel] = first;
            x[pixel] = first;
        }
    }
}
