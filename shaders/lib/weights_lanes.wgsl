// Weights that lie in the registers of a subgroup: of every LANES quads that are used next each invocation loads one, and all of them take it
// from there. For software drivers, which load a uniform at an index that varies from loop to loop lane by lane. Subgroups must have LANES
// invocations, workgroups must be whole numbers of them, with numbered blocks.
// The importing kernel declares `weights`, ALL_QUADS of them, and sets `lane` first.

const LANES: u32 = 8u;
const HANDS: u32 = 5u; // quads that an invocation holds: at least those used next / LANES

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
