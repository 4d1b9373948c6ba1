// Safeguarded accelerated descent, part 1 of 3, for f(x) = |H x - y|^2 / 2 + lambda R(x) over the box [low, high]:
//   g = data + lambda prior,   x' = clamp(z - g / L, low, high),      data = H'(H z - y), prior = grad R(z),
// and the sums that part 2 decides by: ( D, |x' - x|^2, |x'|^2, |x' - z|^2 ), where
//   D = <g, x' - x> + L/2 |x' - z|^2 + weak/2 |z - x|^2 >= f(x') - f(x):
// the first two terms bound f(x') - f(z) + <g, z - x> since grad f is L-Lipschitz, the third f(z) - <g, z - x> - f(x) since
// f + weak/2 |x|^2 is convex. Where g is not finite, which clamp may swallow, D is not finite either.
// One workgroup of 256 per 4096 pixels, y = slot. z, x, candidate: (image, pixel); data, prior: (slot, pixel); partials: (slot, group).
#import descent
#import reduce

@group(0) @binding(0) var<uniform> params: DescentParams;
@group(0) @binding(1) var<storage, read> active_images: array<u32>;
@group(0) @binding(2) var<storage, read> states: array<DescentState>;
@group(0) @binding(3) var<storage, read> data: array<f32>;
@group(0) @binding(4) var<storage, read> prior: array<f32>;
@group(0) @binding(5) var<storage, read> z: array<f32>;
@group(0) @binding(6) var<storage, read> x: array<f32>;
@group(0) @binding(7) var<storage, read_write> candidate: array<f32>;
@group(0) @binding(8) var<storage, read_write> partials: array<vec4<f32>>;

var<workgroup> sh_sum: array<vec4<f32>, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let image = active_images[group.y];
    let running = states[image].status == RUNNING;
    var sum = vec4<f32>(0.0);
    for (var k = 0u; k < 16u; k++) {
        let pixel = group.x * 4096u + k * 256u + local;
        if (running && pixel < params.pixels) {
            let at = image * params.pixels + pixel;
            let from_z = z[at];
            let before = x[at];
            let in_slot = group.y * params.pixels + pixel;
            let g = data[in_slot] + params.lambda * prior[in_slot];
            let next = clamp(from_z - g / params.lipschitz, params.low, params.high);
            candidate[at] = next;
            let moved = next - before;
            let stepped = next - from_z;
            let ahead = from_z - before;
            let bound = g * moved + 0.5 * (params.lipschitz * stepped * stepped + params.weak * ahead * ahead);
            sum += vec4<f32>(bound, moved * moved, next * next, stepped * stepped);
        }
    }
    let total = workgroup_sum(local, sum);
    if (local == 0u) {
        partials[group.y * params.groups + group.x] = total;
    }
}
