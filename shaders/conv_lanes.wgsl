// A layer of filters (lib/conv.wgsl) whose weights lie in the registers of a subgroup: of every LANES quads of a plane's weights each
// invocation loads one, and all of them take it from there. For software drivers, which load a uniform at an index that varies from loop
// to loop lane by lane. Subgroups must have LANES invocations, workgroups must be whole numbers of them, with numbered blocks.
#import conv

@group(0) @binding(0) var<uniform> params: ConvParams;
@group(0) @binding(1) var<uniform> weights: array<vec4<f32>, ALL_QUADS>;
@group(0) @binding(2) var<storage, read> src: array<f32>;
@group(0) @binding(3) var<storage, read_write> dst: array<f32>;
@group(0) @binding(4) var texels: texture_2d_array<f32>;

const LANES: u32 = 8u;
const HANDS: u32 = 4u; // quads that an invocation holds: PLANE_QUADS / LANES, rounded up

var<private> lane: u32;
var<private> hand: array<vec4<f32>, HANDS>;

fn hold_weights(first: u32) {
    // @unroll 64
    for (var h = 0u; h < HANDS; h++) {
        hand[h] = weights[min(first + h * LANES + lane, ALL_QUADS - 1u)];
    }
}

// @inline
fn weight(i: u32) -> vec4<f32> {
    return subgroupBroadcast(hand[i / LANES], i % LANES);
}

@compute @workgroup_size(WORKGROUP_X)
fn main(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(num_workgroups) launched: vec3<u32>,
    @builtin(subgroup_invocation_id) subgroup_lane: u32,
) {
    lane = subgroup_lane;
    conv(id, launched);
}
