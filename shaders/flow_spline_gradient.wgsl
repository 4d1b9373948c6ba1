// dL/df_k for every nodal value of a flow's splines (lib/flow), with hat_k constant beyond the outermost knots:
//   of m:  sum over samples  g_1 integral of hat_k from 0 to u_1  -  share hat_k(u_1) / m(u_1);   of n the same with index 2
//   of T:  sum over samples  g_2 hat_k(u_1)
// The hats are written out at every sample instead of looking for the two that are not 0, because an integral reaches to all
// samples beyond its knot anyway. One workgroup of 64 per entry; an invocation sums every 64th quad, then a tree adds:
// the same bits on every run. entries: (entry); inputs, pulls: as flow_backward leaves them; gradient: (entry).
#import flow

const FIRST: u32 = 1u;
const LAST: u32 = 2u;

struct FlowEntry {
    left: f32,        // knot before; any below `knot` if there is none
    knot: f32,
    right: f32,       // knot behind; any above `knot` if there is none
    ends: u32,        // FIRST, LAST or both where there is none
    plane: u32,       // (layer, coordinate) of its input
    pull: u32,        // (layer, coordinate) of the g that it meets
    shear: u32,       // 1: of T
    pad0: u32,
}

@group(0) @binding(0) var<uniform> params: FlowParams;
@group(0) @binding(1) var<storage, read> entries: array<FlowEntry>;
@group(0) @binding(2) var<storage, read> inputs: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> pulls: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> gradient: array<f32>;

var<workgroup> sh_sum: array<f32, 64>;

fn hat(u: vec4<f32>, e: FlowEntry) -> vec4<f32> {
    let rise = select((u - e.left) / (e.knot - e.left), vec4<f32>(1.0), (e.ends & FIRST) != 0u);
    let fall = select((e.right - u) / (e.right - e.knot), vec4<f32>(1.0), (e.ends & LAST) != 0u);
    return clamp(min(rise, fall), vec4<f32>(0.0), vec4<f32>(1.0));
}

// Of hat_k, from where it begins, or from its knot if it has always been 1.
fn hat_integral(u: vec4<f32>, e: FlowEntry) -> vec4<f32> {
    let before = clamp(u - e.left, vec4<f32>(0.0), vec4<f32>(e.knot - e.left));
    let behind = clamp(u - e.knot, vec4<f32>(0.0), vec4<f32>(e.right - e.knot));
    let rise = 0.5 * before * before / (e.knot - e.left);
    let fall = behind - 0.5 * behind * behind / (e.right - e.knot);
    return select(rise, min(u - e.knot, vec4<f32>(0.0)), (e.ends & FIRST) != 0u)
        + select(fall, max(u - e.knot, vec4<f32>(0.0)), (e.ends & LAST) != 0u);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let e = entries[group.x];
    let input = e.plane * params.quads;
    let pull = 2u * e.pull * params.quads;
    var sum = vec4<f32>(0.0);
    if (e.shear == 1u) {
        for (var q = local; q < params.quads; q += 64u) {
            sum += pulls[pull + q] * hat(inputs[input + q], e);
        }
    } else {
        let origin = hat_integral(vec4<f32>(0.0), e);
        for (var q = local; q < params.quads; q += 64u) {
            let u = inputs[input + q];
            sum += pulls[pull + q] * (hat_integral(u, e) - origin) + pulls[pull + params.quads + q] * hat(u, e);
        }
    }
    sh_sum[local] = dot(sum, vec4<f32>(1.0));
    workgroupBarrier();
    for (var width = 32u; width > 0u; width = width >> 1u) {
        if (local < width) {
            sh_sum[local] += sh_sum[local + width];
        }
        workgroupBarrier();
    }
    if (local == 0u) {
        gradient[group.x] = sh_sum[0];
    }
}
