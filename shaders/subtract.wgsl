// a <- a - b, b one of several arrays that lie one behind the other. One workgroup of 256 per 4096 values, in rows of `row` workgroups.
// a: (value); b: (array, value).

struct SubtractParams {
    count: u32,
    row: u32,          // workgroups per row of workgroups: more than 65535 do not fit one dimension
    first: u32,        // of b
    pad0: u32,
}

@group(0) @binding(0) var<uniform> params: SubtractParams;
@group(0) @binding(1) var<storage, read_write> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    for (var k = 0u; k < 16u; k++) {
        let at = (group.y * params.row + group.x) * 4096u + k * 256u + local;
        if (at < params.count) {
            a[at] -= b[params.first + at];
        }
    }
}
