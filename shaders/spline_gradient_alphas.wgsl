// Second pass of the gradient with respect to a bank's scalings, from the sums of the first. With x = alpha u,
//   d/d alpha [phi(alpha u) / alpha] = (phi'(x) x - phi(x)) / alpha^2 = (s_j t_j - f_j) / alpha^2 on segment j, a constant:
//   gradient[slot][c] = 1 / alpha * sum over chunks and segments of (s_j t_j - f_j) A_j.
// One workgroup of 64 per (channel, slot), each invocation adding a fixed set of partial sums, then a fixed tree.
// partials: (slot, chunk, channel, segment) of (A, D); gradient: (slot, channel).
#import spline

const CHANNELS: u32 = 1u;
const SLOT_RECORDS: u32 = 0u; // records from slot to slot: 0 if all slots share them
const WIDTH: u32 = 64u;

struct AlphaParams {
    chunks: u32,           // per slot
    partials: u32,         // of a chunk
    channel_partials: u32, // from channel to channel beyond `first`: the count of a spline that all share, else 0
    accumulate: u32,       // 1 to add to the gradient
}

@group(0) @binding(0) var<uniform> params: AlphaParams;
@group(0) @binding(1) var<storage, read> knots: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> channels: array<Channel>;
@group(0) @binding(3) var<storage, read> partials: array<vec2<f32>>;
@group(0) @binding(4) var<storage, read_write> gradient: array<f32>;

var<workgroup> sh_sums: array<f32, 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let channel = channels[group.y * SLOT_RECORDS + group.x];
    let segments = channel.count - 1u;
    var sum = 0.0;
    for (var i = local; i < params.chunks * segments; i += WIDTH) {
        let chunk = i / segments;
        let n = channel.first + i - chunk * segments;
        let entry = (group.y * params.chunks + chunk) * params.partials + group.x * params.channel_partials + n;
        sum += (knots[n].z * knots[n].x - knots[n].y) * partials[entry].x;
    }
    sh_sums[local] = sum;
    workgroupBarrier();
    for (var width = WIDTH / 2u; width > 0u; width = width >> 1u) {
        if (local < width) {
            sh_sums[local] += sh_sums[local + width];
        }
        workgroupBarrier();
    }
    if (local == 0u) {
        let at = group.y * CHANNELS + group.x;
        let value = sh_sums[0] * channel.inverse_alpha;
        gradient[at] = select(value, gradient[at] + value, params.accumulate == 1u);
    }
}
