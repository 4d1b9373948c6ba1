// Counts how many of the arguments x = alpha_c u[c] inside the image have reached each knot, and how many there are:
//   reached[n] += #(x >= t_n),   total[spline] += #x,
// from which the host takes differences: the inputs of every segment and of both tails. Counts are integers, so that the
// order in which atomics add them does not matter.
// One workgroup of 64 per 256 * trips positions of a plane and 16 knots, whose counts stay in registers;
// group = (chunk, window of knots, slot * CHANNELS + channel). u: (slot, channel, row, column); reached: (entry).
#import walk
#import spline

const CHANNELS: u32 = 1u;
const SLOT_RECORDS: u32 = 0u; // records from slot to slot: 0 if all slots share them
const OWN: u32 = 1u; // 0 if all channels share one spline
const WINDOW: u32 = 16u;
const PITCH: u32 = 17u; // counts of an invocation in workgroup memory: those of the knots and that of all arguments

@group(0) @binding(0) var<uniform> params: PointwiseParams;
@group(0) @binding(1) var<storage, read> knots: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> channels: array<Channel>;
@group(0) @binding(3) var<storage, read> u: array<f32>;
@group(0) @binding(4) var<storage, read_write> reached: array<atomic<u32>>;
@group(0) @binding(5) var<storage, read_write> total: array<atomic<u32>>;

var<workgroup> sh_counts: array<u32, 1088>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let slot = group.z / CHANNELS;
    let plane = group.z % CHANNELS;
    let channel = channels[slot * SLOT_RECORDS + plane];
    let base = group.y * WINDOW;
    var knot: array<f32, WINDOW>;
    var count: array<u32, WINDOW>;
    // @unroll 16
    for (var j = 0u; j < WINDOW; j++) {
        knot[j] = knots[channel.first + min(base + j, channel.count - 1u)].x;
        count[j] = 0u;
    }
    var all = 0u;
    let first = region_index(params.region, slot, plane, 0u, 0u);
    var at = walk_start(params, group.x, local);
    let trips = select(0u, params.trips, base < channel.count);
    for (var trip = 0u; trip < trips; trip++) {
        let quad = walk_quad(params, at, first);
        // @unroll 4
        for (var k = 0u; k < QUAD; k++) {
            if (quad.inside[k]) {
                let x = channel.alpha * u[quad.index[k]];
                all += 1u;
                // @unroll 16
                for (var j = 0u; j < WINDOW; j++) {
                    count[j] += select(0u, 1u, knot[j] <= x);
                }
            }
        }
        at = walk_next(params, at);
    }
    // @unroll 16
    for (var j = 0u; j < WINDOW; j++) {
        sh_counts[local * PITCH + j] = count[j];
    }
    sh_counts[local * PITCH + WINDOW] = all;
    workgroupBarrier();
    if (local < PITCH) {
        var sum = 0u;
        for (var i = 0u; i < WALKERS; i++) {
            sum += sh_counts[i * PITCH + local];
        }
        if (local == WINDOW) {
            if (group.y == 0u) {
                atomicAdd(&total[plane * OWN], sum);
            }
        } else if (base + local < channel.count) {
            atomicAdd(&reached[channel.first + base + local], sum);
        }
    }
}
