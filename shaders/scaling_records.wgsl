// The scalings of a bank of splines from their logarithms, for images of different noise levels:
//   alpha[slot, c] = exp(s_c(sigma[slot])) / (sigma[slot] + epsilon),
// written with its reciprocal into the records that the spline kernels read; first entry and count stay.
// One invocation per (slot, channel). sigmas, logs, records: (slot, channel); sigmas repeats a slot's for every channel.

struct ScalingParams {
    count: u32,     // slots * channels
    epsilon: f32,
    pad0: u32,
    pad1: u32,
}

@group(0) @binding(0) var<uniform> params: ScalingParams;
@group(0) @binding(1) var<storage, read> sigmas: array<f32>;
@group(0) @binding(2) var<storage, read> logs: array<f32>;
@group(0) @binding(3) var<storage, read_write> records: array<vec4<u32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x < params.count) {
        let alpha = exp(logs[id.x]) / (sigmas[id.x] + params.epsilon);
        records[id.x] = vec4<u32>(records[id.x].xy, bitcast<u32>(alpha), bitcast<u32>(1.0 / alpha));
    }
}
