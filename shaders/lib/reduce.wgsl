// Fixed-shape tree sum over a workgroup of 256 invocations: the same order of additions on every run.
// The importing kernel declares   var<workgroup> sh_sum: array<vec4<f32>, 256>;   and calls this in uniform control flow.

fn workgroup_sum(local: u32, value: vec4<f32>) -> vec4<f32> {
    sh_sum[local] = value;
    workgroupBarrier();
    for (var width = 128u; width > 0u; width = width >> 1u) {
        if (local < width) {
            sh_sum[local] += sh_sum[local + width];
        }
        workgroupBarrier();
    }
    return sh_sum[0];
}

// Whether x is NaN or infinite; WGSL compilers may assume that neither occurs, so only the bits can tell.
fn not_finite(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7f800000u) == 0x7f800000u;
}
