// One step of Chebyshev's iteration for (I + gamma H'H) x = b, behind the product h = H'H d:
//   r <- r - (d + gamma h),  d <- keep d + add r,  x <- x + d.
// One workgroup of 256 per 4096 pixels. All arrays (pixel).
#import prox

@group(0) @binding(0) var<uniform> params: ProxParams;
@group(0) @binding(1) var<storage, read> h: array<f32>;
@group(0) @binding(2) var<storage, read_write> r: array<f32>;
@group(0) @binding(3) var<storage, read_write> d: array<f32>;
@group(0) @binding(4) var<storage, read_write> x: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    for (var k = 0u; k < 16u; k++) {
        let pixel = group.x * 4096u + k * 256u + local;
        if (pixel < params.pixels) {
            let direction = d[pixel];
            let rest = r[pixel] - (direction + params.gamma * h[pixel]);
            let next = params.keep * direction + params.add * rest;
            r[pixel] = rest;
            d[pixel] = next;
            x[pixel] += next;
        }
    }
}
