// Ramp filter of filtered back projection, in space (Ramachandran and Lakshminarayanan 1971), for detectors 1 apart:
//   dst(a, j) = sum_i h(j - i) src(a, i),  h(0) = 1/4,  h(n) = -1 / (pi n)^2 for odd n, 0 for even n.
// One invocation per element, y = angle. src, dst: (angle, detector).

struct FilterParams {
    detectors: u32,
    pad0: u32,
    pad1: u32,
    pad2: u32,
}

@group(0) @binding(0) var<uniform> params: FilterParams;
@group(0) @binding(1) var<storage, read> src: array<f32>;
@group(0) @binding(2) var<storage, read_write> dst: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x >= params.detectors) {
        return;
    }
    let row = id.y * params.detectors;
    var sum = 0.25 * src[row + id.x];
    // The detectors at an odd distance are those of the other parity.
    for (var i = (id.x + 1u) % 2u; i < params.detectors; i += 2u) {
        let n = 3.14159265 * f32(i32(i) - i32(id.x));
        sum -= src[row + i] / (n * n);
    }
    dst[row + id.x] = sum;
}
