// Accelerated projected gradient, part 1 of 3, for h(x) = |x - y|^2 / 2 + lambda R(x) over the box [low, high]:
//   d = z - clamp(z - step ((z - y) + lambda grad R(z)), low, high),   x_old <- x,   x <- z - d,
// and the sums that part 2 decides by: ( <d, x - x_old>, |x - x_old|^2, |x|^2, |g|^2 ). Images that have stopped are left alone.
// One workgroup of 256 per 4096 pixels, y = slot. Images: (image, pixel); gradient: (slot, pixel); partials: (slot, group).
// g = (z - y) + lambda grad R(z) enters the sums because clamp may swallow a NaN.
#import agd
#import reduce

@group(0) @binding(0) var<uniform> params: AgdParams;
@group(0) @binding(1) var<storage, read> active_images: array<u32>;
@group(0) @binding(2) var<storage, read> states: array<AgdState>;
@group(0) @binding(3) var<storage, read> y: array<f32>;
@group(0) @binding(4) var<storage, read> z: array<f32>;
@group(0) @binding(5) var<storage, read> gradient: array<f32>;
@group(0) @binding(6) var<storage, read_write> x: array<f32>;
@group(0) @binding(7) var<storage, read_write> x_old: array<f32>;
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
            let g = (from_z - y[at]) + params.lambda * gradient[group.y * params.pixels + pixel];
            let x_before = x[at];
            let x_new = clamp(from_z - params.step * g, params.low, params.high);
            x_old[at] = x_before;
            x[at] = x_new;
            let moved = x_new - x_before;
            sum += vec4<f32>((from_z - x_new) * moved, moved * moved, x_new * x_new, g * g);
        }
    }
    let total = workgroup_sum(local, sum);
    if (local == 0u) {
        partials[group.y * params.groups + group.x] = total;
    }
}
