// The table of the proximal splines J = (id + ratio phi)^-1 of a bank from that of the splines phi, entry by entry:
//   (t, f, s, p) -> (t + ratio f, t, 1 / (1 + ratio s), 0); nothing asks for the integral of J.
// One invocation of 64 per entry. knots, proximal: (entry), lib/spline.wgsl.

struct SplitTableParams {
    ratio: f32,        // lambda / rho; 1 + ratio s > 0
    entries: u32,
    pad0: u32,
    pad1: u32,
}

@group(0) @binding(0) var<uniform> params: SplitTableParams;
@group(0) @binding(1) var<storage, read> knots: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> proximal: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x < params.entries) {
        let k = knots[id.x];
        proximal[id.x] = vec4<f32>(k.x + params.ratio * k.y, k.x, 1.0 / (1.0 + params.ratio * k.z), 0.0);
    }
}
