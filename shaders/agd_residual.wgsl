// How far images x are from minimising h(x) = |x - y|^2 / 2 + lambda R(x) over the box [low, high]: the least element v of the
// subdifferential, with g = (x - y) + lambda grad R(x),
//   v = g,  but min(g, 0) where x = low and max(g, 0) where x = high,
// and sums over 4096 consecutive pixels: ( |v|^2, |x - y|^2, |lambda grad R(x)|^2, |x|^2 ). Stopped or not, all images count.
// One workgroup of 256 per 4096 pixels, y = slot. Images: (image, pixel); gradient: (slot, pixel); partials: (slot, group).
#import agd
#import box
#import reduce

@group(0) @binding(0) var<uniform> params: AgdParams;
@group(0) @binding(1) var<storage, read> active_images: array<u32>;
@group(0) @binding(2) var<storage, read> y: array<f32>;
@group(0) @binding(3) var<storage, read> x: array<f32>;
@group(0) @binding(4) var<storage, read> gradient: array<f32>;
@group(0) @binding(5) var<storage, read_write> partials: array<vec4<f32>>;

var<workgroup> sh_sum: array<vec4<f32>, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let image = active_images[group.y];
    var sum = vec4<f32>(0.0);
    for (var k = 0u; k < 16u; k++) {
        let pixel = group.x * 4096u + k * 256u + local;
        if (pixel < params.pixels) {
            let at = image * params.pixels + pixel;
            let here = x[at];
            let from_y = here - y[at];
            let prior = params.lambda * gradient[group.y * params.pixels + pixel];
            let v = unheld(from_y + prior, here, params.low, params.high);
            sum += vec4<f32>(v * v, from_y * from_y, prior * prior, here * here);
        }
    }
    let total = workgroup_sum(local, sum);
    if (local == 0u) {
        partials[group.y * params.groups + group.x] = total;
    }
}
