// First pass of the gradient with respect to a bank's nodal values and scalings. With x = alpha_c u[c], the gradient g of the
// loss with respect to y[c] = phi_c(x) / alpha_c, and the segment j of x as the forward pass chose it, each workgroup sums
//   A_j = sum g / alpha_c,   D_j = sum g / alpha_c (x - t_j)
// over its positions inside the image. x is not clamped: the hats of the end segments extend linearly, as the function does.
// The hat function at knot j falls along segment j, so that d loss / d f_j = (A_j - D_j / h_j) + D_{j-1} / h_{j-1}.
// One workgroup of 64 per 256 * trips positions of a plane and 16 segments, whose sums stay in registers;
// group = (chunk, window of segments, slot * CHANNELS + channel). u, g: (slot, channel, row, column);
// partials: (slot, chunk, channel, segment) of (A, D), a channel's segments from its spline's first entry on; the last entry
// of a spline starts no segment and gets zeros.
#import walk
#import spline

const CHANNELS: u32 = 1u;
const SLOT_RECORDS: u32 = 0u; // records from slot to slot: 0 if all slots share them
const WINDOW: u32 = 16u;
const BORDERS: u32 = WINDOW + 1u;
const PITCH: u32 = 33u; // sums of an invocation in workgroup memory, and one word so that banks differ
const LARGEST = 3.4028234e38;

struct GradientParams {
    walk: PointwiseParams,
    partials: u32,         // of a chunk: entries of all channels' splines
    channel_partials: u32, // from channel to channel beyond `first`: the count of a spline that all share, else 0
    pad0: u32,
    pad1: u32,
}

@group(0) @binding(0) var<uniform> params: GradientParams;
@group(0) @binding(1) var<storage, read> knots: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> channels: array<Channel>;
@group(0) @binding(3) var<storage, read> u: array<f32>;
@group(0) @binding(4) var<storage, read> g: array<f32>;
@group(0) @binding(5) var<storage, read_write> partials: array<f32>;

var<workgroup> sh_sums: array<f32, 2112>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let slot = group.z / CHANNELS;
    let plane = group.z % CHANNELS;
    let channel = channels[slot * SLOT_RECORDS + plane];
    let base = group.y * WINDOW;
    let last = channel.count - 2u;
    // Segment j of the window holds border[j] <= x < border[j + 1]. The first segment has no border on its left, the last
    // none on its right, and what lies behind it holds nothing.
    var border: array<f32, BORDERS>;
    var knot: array<f32, WINDOW>;
    // @unroll 16
    for (var j = 0u; j < WINDOW; j++) {
        knot[j] = knots[channel.first + min(base + j, last)].x;
        border[j] = select(LARGEST, select(knot[j], -LARGEST, base + j == 0u), base + j <= last);
    }
    border[WINDOW] = select(LARGEST, knots[channel.first + min(base + WINDOW, last)].x, base + WINDOW <= last);
    var a: array<f32, WINDOW>;
    var d: array<f32, WINDOW>;
    // @unroll 16
    for (var j = 0u; j < WINDOW; j++) {
        a[j] = 0.0;
        d[j] = 0.0;
    }
    let first = region_index(params.walk.region, slot, plane, 0u, 0u);
    var at = walk_start(params.walk, group.x, local);
    let trips = select(0u, params.walk.trips, base <= last);
    for (var trip = 0u; trip < trips; trip++) {
        let quad = walk_quad(params.walk, at, first);
        var x = vec4<f32>(0.0);
        var upstream = vec4<f32>(0.0);
        // @unroll 4
        for (var k = 0u; k < QUAD; k++) {
            if (quad.inside[k]) {
                x[k] = u[quad.index[k]];
                upstream[k] = g[quad.index[k]];
            }
        }
        x *= channel.alpha;
        upstream *= channel.inverse_alpha;
        var reached = vec4<f32>(border[0]) <= x;
        // @unroll 16
        for (var j = 0u; j < WINDOW; j++) {
            let passed = vec4<f32>(border[j + 1u]) <= x;
            let here = select(vec4<f32>(0.0), upstream, reached & !passed);
            let lever = here * (x - knot[j]);
            a[j] += (here.x + here.y) + (here.z + here.w);
            d[j] += (lever.x + lever.y) + (lever.z + lever.w);
            reached = passed;
        }
        at = walk_next(params.walk, at);
    }
    // @unroll 16
    for (var j = 0u; j < WINDOW; j++) {
        sh_sums[local * PITCH + 2u * j] = a[j];
        sh_sums[local * PITCH + 2u * j + 1u] = d[j];
    }
    workgroupBarrier();
    let segment = base + local / 2u;
    if (local < 2u * WINDOW && segment <= last + 1u) {
        var sum = 0.0;
        for (var i = 0u; i < WALKERS; i++) {
            sum += sh_sums[i * PITCH + local];
        }
        let chunk = slot * groups.x + group.x;
        let entry = chunk * params.partials + plane * params.channel_partials + channel.first + segment;
        partials[2u * entry + local % 2u] = sum;
    }
}
