// Gradients of one layer: dW[o][i] = sum_samples d'[o] a[i], db[o] = sum_samples d'[o], summed in a fixed order.
// One workgroup of 64 per output unit and member: group = (o, member); an invocation sums every 64th sample, then
// invocation i adds the 64 sums of input i. source (a), delta (d'): (member, unit, sample); gradients: as parameters.
#import network

const IN: u32 = 10u;
const SUMS: u32 = IN + 1u; // the last is the bias
const SHARED: u32 = 704u; // 64 SUMS

@group(0) @binding(0) var<uniform> params: LayerParams;
@group(0) @binding(1) var<storage, read> source: array<f32>;
@group(0) @binding(2) var<storage, read> delta: array<f32>;
@group(0) @binding(3) var<storage, read_write> gradients: array<f32>;

var<workgroup> sh_sums: array<f32, SHARED>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let output = group.x;
    let member = group.y;
    let first = member * params.units;
    var sums: array<f32, SUMS>;
    // @unroll 33
    for (var i = 0u; i < SUMS; i++) {
        sums[i] = 0.0;
    }
    for (var s = local; s < params.samples; s += 64u) {
        let d = delta[(first + params.to_unit + output) * params.samples + s];
        // @unroll 32
        for (var i = 0u; i < IN; i++) {
            sums[i] += d * source[(first + params.from_unit + i) * params.samples + s];
        }
        sums[IN] += d;
    }
    // @unroll 33
    for (var i = 0u; i < SUMS; i++) {
        sh_sums[local * SUMS + i] = sums[i];
    }
    workgroupBarrier();
    if (local < SUMS) {
        var total = 0.0;
        for (var n = 0u; n < 64u; n++) {
            total += sh_sums[n * SUMS + local];
        }
        let weight = params.weights + output * IN + local;
        gradients[member * params.dense + select(weight, params.biases + output, local == IN)] = total;
    }
}
