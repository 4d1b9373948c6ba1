// From the gradient with respect to scalings to the one with respect to their logarithms s: alpha = exp(s) / (sigma + epsilon),
//   dL/ds[slot, c] = dL/dalpha[slot, c] * alpha[slot, c].
// One invocation per (slot, channel). records, of_alphas, of_logs: (slot, channel).

struct ScalingParams {
    count: u32,     // slots * channels
    epsilon: f32,
    pad0: u32,
    pad1: u32,
}

@group(0) @binding(0) var<uniform> params: ScalingParams;
@group(0) @binding(1) var<storage, read> records: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> of_alphas: array<f32>;
@group(0) @binding(3) var<storage, read_write> of_logs: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x < params.count) {
        of_logs[id.x] = of_alphas[id.x] * bitcast<f32>(records[id.x].z);
    }
}
