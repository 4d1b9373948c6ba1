// The ceiling of arithmetic: chains of multiply-adds that live in registers,
//   v_i <- v_i * scale + shift, STEPS * trips times, and y = sum of all v_i,
// with scale and shift from memory, so that no compiler can foresee the result. CHAINS vec4s per invocation hide the
// latency of one by the others, and are few enough for the 16 registers of a CPU. Few steps are written out: LLVM puts the steps of
// one chain behind each other, and a CPU must still see the next chains.
// One invocation of a workgroup of 256 per y; groups cover y exactly. y: (invocation).

const CHAINS: u32 = 2u;
const STEPS: u32 = 8u;

struct FmaParams {
    scale: f32,
    shift: f32,
    trips: u32,
    pad0: u32,
}

@group(0) @binding(0) var<uniform> params: FmaParams;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let scale = vec4<f32>(params.scale);
    let shift = vec4<f32>(params.shift);
    var v: array<vec4<f32>, CHAINS>;
    // @unroll 8
    for (var i = 0u; i < CHAINS; i++) {
        v[i] = vec4<f32>(f32(id.x), f32(i), 1.0, 2.0);
    }
    for (var trip = 0u; trip < params.trips; trip++) {
        // @unroll 64
        for (var step = 0u; step < STEPS; step++) {
            // @unroll 8
            for (var i = 0u; i < CHAINS; i++) {
                v[i] = fma(v[i], scale, shift);
            }
        }
    }
    var total = vec4<f32>(0.0);
    // @unroll 8
    for (var i = 0u; i < CHAINS; i++) {
        total += v[i];
    }
    y[id.x] = (total.x + total.y) + (total.z + total.w);
}
