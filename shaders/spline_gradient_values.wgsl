// Second pass of the gradient with respect to a bank's nodal values, from the sums of the first:
//   gradient[n] = sum over i of (A_n - D_n / h_n) + D_{n-1} / h_{n-1},   h_n = t_{n+1} - t_n.
// The last entry of a spline has the sums 0, so that no entry needs to know where its spline begins or ends.
// LANES invocations per entry, each adding every LANES-th of the partial sums, then a fixed tree; a workgroup of 64 has
// 64 / LANES entries. partials: (i, entry) of (A, D), i over slots, chunks and the channels that share a spline;
// gradient: (entry).

const LANES: u32 = 1u; // a power of 2, at most 64
const WIDTH: u32 = 64u;

struct EntryParams {
    entries: u32,
    count: u32,        // partial sums per entry
    accumulate: u32,   // 1 to add to the gradient
    pad0: u32,
}

@group(0) @binding(0) var<uniform> params: EntryParams;
@group(0) @binding(1) var<storage, read> positions: array<f32>;
@group(0) @binding(2) var<storage, read> partials: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read_write> gradient: array<f32>;

var<workgroup> sh_sums: array<vec4<f32>, 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let across = WIDTH / LANES;
    let n = group.x * across + local % across;
    let lane = local / across;
    // A_n, D_n and D_{n-1}.
    var sum = vec4<f32>(0.0);
    if (n < params.entries) {
        let before = max(n, 1u) - 1u;
        for (var i = lane; i < params.count; i += LANES) {
            let own = partials[i * params.entries + n];
            sum += vec4<f32>(own, partials[i * params.entries + before].y, 0.0);
        }
    }
    sh_sums[local] = sum;
    workgroupBarrier();
    for (var width = LANES / 2u; width > 0u; width = width >> 1u) {
        if (lane < width) {
            sh_sums[local] += sh_sums[local + width * across];
        }
        workgroupBarrier();
    }
    if (n < params.entries && lane == 0u) {
        let total = sh_sums[local];
        let here = positions[n];
        let behind = positions[min(n + 1u, params.entries - 1u)];
        let before = positions[max(n, 1u) - 1u];
        // Where no segment is, the sum is 0 and the quotient may be anything.
        let falling = select(0.0, total.y / (behind - here), total.y != 0.0);
        let rising = select(0.0, total.z / (here - before), n > 0u && total.z != 0.0);
        let value = (total.x - falling) + rising;
        gradient[n] = select(value, gradient[n] + value, params.accumulate == 1u);
    }
}
