// Multiplies lines by a table and cuts them or pads them with zeros, the step between the transforms of Bluestein's method:
//   dst(o, k, i) = scale table(k) src(o, k, i) for k < src_length, 0 behind; table conjugated for the inverse.
// One invocation per element of dst. src: (outer, src_length, inner); dst: (outer, dst_length, inner);
// table: at least min(src_length, dst_length).
#import fft

struct ChirpParams {
    src_length: u32,
    dst_length: u32,
    inner: u32,
    items: u32,        // elements of dst
    width: u32,        // invocations per row of the launch
    direction: f32,    // 1 forward, -1 inverse
    scale: f32,
    pad0: u32,
}

@group(0) @binding(0) var<uniform> params: ChirpParams;
@group(0) @binding(1) var<storage, read> table: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read> src: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read_write> dst: array<vec2<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let item = id.y * params.width + id.x;
    if (item >= params.items) {
        return;
    }
    let inner = item % params.inner;
    let k = (item / params.inner) % params.dst_length;
    let outer = item / (params.inner * params.dst_length);
    var value = vec2<f32>(0.0);
    if (k < params.src_length) {
        let factor = vec2<f32>(table[k].x, params.direction * table[k].y);
        value = params.scale * complex_product(factor, src[(outer * params.src_length + k) * params.inner + inner]);
    }
    dst[item] = value;
}
