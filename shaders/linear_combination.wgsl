// out[n] = a x[n] + b y[n], n < count. One invocation per element.

struct CombinationParams {
    count: u32,
    a: f32,
    b: f32,
    pad0: u32,
}

@group(0) @binding(0) var<uniform> params: CombinationParams;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> y: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let n = id.x + id.y * groups.x * 256u;
    if (n < params.count) {
        out[n] = params.a * x[n] + params.b * y[n];
    }
}
