// The ceiling of memory: y <- u, 16 bytes at a time, neighbours side by side.
// One workgroup of 256 per 1024 vec4s, each invocation taking every 256th; groups cover the arrays exactly.
// u, y: (element) in vec4s.

@group(0) @binding(0) var<storage, read> u: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let first = group.x * 1024u + local;
    let a = u[first];
    let b = u[first + 256u];
    let c = u[first + 512u];
    let d = u[first + 768u];
    y[first] = a;
    y[first + 256u] = b;
    y[first + 512u] = c;
    y[first + 768u] = d;
}
