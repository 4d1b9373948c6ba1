// Safeguarded accelerated descent, part 3 of 3: if the step was taken, z <- x' + beta (x' - x), x <- x'; if not, z <- x.
// The step that stops the iteration is taken too. One workgroup of 256 per 4096 pixels, y = slot. Arrays: (image, pixel).
#import descent

@group(0) @binding(0) var<uniform> params: DescentParams;
@group(0) @binding(1) var<storage, read> active_images: array<u32>;
@group(0) @binding(2) var<storage, read> states: array<DescentState>;
@group(0) @binding(3) var<storage, read> candidate: array<f32>;
@group(0) @binding(4) var<storage, read_write> x: array<f32>;
@group(0) @binding(5) var<storage, read_write> z: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let image = active_images[group.y];
    let state = states[image];
    for (var k = 0u; k < 16u; k++) {
        let pixel = group.x * 4096u + k * 256u + local;
        if (pixel < params.pixels) {
            let at = image * params.pixels + pixel;
            let before = x[at];
            let next = select(before, candidate[at], state.accepted == 1u);
            z[at] = next + state.beta * (next - before);
            x[at] = next;
        }
    }
}
