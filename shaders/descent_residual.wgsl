// How far x is from minimising f(x) = |H x - y|^2 / 2 + lambda R(x) over the box [low, high]: the least element v of the subdifferential,
//   v = data + lambda prior, but for what the box holds back,      data = H'(H x - y), prior = grad R(x),
// and sums over 4096 consecutive pixels: ( |v|^2, |data|^2, |lambda prior|^2, |x|^2 ).
// One workgroup of 256 per 4096 pixels, y = image, which has the slot of its own number. Arrays: (image, pixel); partials: (image, group).
#import descent
#import box
#import reduce

@group(0) @binding(0) var<uniform> params: DescentParams;
@group(0) @binding(1) var<storage, read> data: array<f32>;
@group(0) @binding(2) var<storage, read> prior: array<f32>;
@group(0) @binding(3) var<storage, read> x: array<f32>;
@group(0) @binding(4) var<storage, read_write> partials: array<vec4<f32>>;

var<workgroup> sh_sum: array<vec4<f32>, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    var sum = vec4<f32>(0.0);
    for (var k = 0u; k < 16u; k++) {
        let pixel = group.x * 4096u + k * 256u + local;
        if (pixel < params.pixels) {
            let at = group.y * params.pixels + pixel;
            let here = x[at];
            let weighted = params.lambda * prior[at];
            let v = unheld(data[at] + weighted, here, params.low, params.high);
            sum += vec4<f32>(v * v, data[at] * data[at], weighted * weighted, here * here);
        }
    }
    let total = workgroup_sum(local, sum);
    if (local == 0u) {
        partials[group.y * params.groups + group.x] = total;
    }
}
