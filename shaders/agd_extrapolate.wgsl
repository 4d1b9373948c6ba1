// Accelerated projected gradient, part 3 of 3: z <- x + beta (x - x_old). Images that have stopped are left alone.
// One workgroup of 256 per 4096 pixels, y = slot. Images: (image, pixel).
#import agd

@group(0) @binding(0) var<uniform> params: AgdParams;
@group(0) @binding(1) var<storage, read> active_images: array<u32>;
@group(0) @binding(2) var<storage, read> states: array<AgdState>;
@group(0) @binding(3) var<storage, read> x: array<f32>;
@group(0) @binding(4) var<storage, read> x_old: array<f32>;
@group(0) @binding(5) var<storage, read_write> z: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let image = active_images[group.y];
    if (states[image].status != RUNNING) {
        return;
    }
    let beta = states[image].beta;
    for (var k = 0u; k < 16u; k++) {
        let pixel = group.x * 4096u + k * 256u + local;
        if (pixel < params.pixels) {
            let at = image * params.pixels + pixel;
            z[at] = x[at] + beta * (x[at] - x_old[at]);
        }
    }
}
