// One pass of a Fourier transform with radix 4 (formula and shapes: lib/fft.wgsl), the butterfly written out:
//   y0 = x0 + x1 + x2 + x3,   y1 = x0 - i x1 - x2 + i x3,   y2 = x0 - x1 + x2 - x3,   y3 = x0 + i x1 - x2 - i x3.
// One invocation per butterfly. src, dst: (outer, position, inner); roots: exp(-2 pi i k / n), k < n.
#import fft

@group(0) @binding(0) var<uniform> params: FftParams;
@group(0) @binding(1) var<storage, read> roots: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read> src: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read_write> dst: array<vec2<f32>>;

fn turned(index: u32, value: vec2<f32>) -> vec2<f32> {
    let root = roots[index];
    return complex_product(vec2<f32>(root.x, params.direction * root.y), value);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let item = id.y * params.width + id.x;
    if (item >= params.items) {
        return;
    }
    let at = butterfly(item, params);
    let x0 = src[at.first];
    let x1 = turned(at.root, src[at.first + at.read_step]);
    let x2 = turned(2u * at.root, src[at.first + 2u * at.read_step]);
    let x3 = turned(3u * at.root, src[at.first + 3u * at.read_step]);
    let even_sum = x0 + x2;
    let even_difference = x0 - x2;
    let odd_sum = x1 + x3;
    let odd = x1 - x3;
    // -i odd, or i odd for the inverse.
    let odd_turned = params.direction * vec2<f32>(odd.y, -odd.x);
    dst[at.target_first] = params.scale * (even_sum + odd_sum);
    dst[at.target_first + at.write_step] = params.scale * (even_difference + odd_turned);
    dst[at.target_first + 2u * at.write_step] = params.scale * (even_sum - odd_sum);
    dst[at.target_first + 3u * at.write_step] = params.scale * (even_difference - odd_turned);
}
