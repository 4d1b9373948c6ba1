// The loss of a batch and minus its gradient with respect to the images:
//   sums[s] = ( a_s sum_p l(x - c),  sum_p (x - c)^2,  0,  0 ),   b = -step a_s l'(x - c),   l(d) = d^2 / 2 or |d|,
// over the pixels p that at least `margin` others part from the border; b is 0 at these others.
// One workgroup of 256 per patch. x (image), c (clean), b: (patch, pixel); a (weights), sums: (patch).
#import training
#import reduce

@group(0) @binding(0) var<uniform> params: TrainingParams;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> clean: array<f32>;
@group(0) @binding(3) var<storage, read> weights: array<f32>;
@group(0) @binding(4) var<storage, read_write> descent: array<f32>;
@group(0) @binding(5) var<storage, read_write> sums: array<vec4<f32>>;

var<workgroup> sh_sum: array<vec4<f32>, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let weight = weights[group.x];
    var sum = vec4<f32>(0.0);
    for (var n = local; n < params.pixels; n += 256u) {
        let at = group.x * params.pixels + n;
        let row = n / params.width;
        let col = n % params.width;
        let others = min(min(row, params.pixels / params.width - 1u - row), min(col, params.width - 1u - col));
        let d = select(0.0, x[at] - clean[at], others >= params.margin);
        var value = 0.5 * d * d;
        var slope = d;
        if (params.loss == 1u) {
            value = abs(d);
            slope = sign(d);
        }
        descent[at] = -params.step * weight * slope;
        sum += vec4<f32>(weight * value, d * d, 0.0, 0.0);
    }
    let total = workgroup_sum(local, sum);
    if (local == 0u) {
        sums[group.x] = total;
    }
}
