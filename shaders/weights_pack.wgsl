// Weights in the order and form in which the launches of convolutions read them, made anew after the trained ones changed:
//   packed[n] = sum_k g[point][k] weights[first + k],   k < count,
// or weights[first - k] if backwards. sources: (first, point + 8 count + 64 backwards); a weight as it is has point 0 and
// count 1, the padding of a launch's block has count 0. g: (point, k), src/filters/points.rs.
// One invocation per element. weights: (layer, o, i, ky, kx); sources, packed: (layer, then its adjoint; launch; element).

const SEGMENT: u32 = 5u;

@group(0) @binding(0) var<storage, read> weights: array<f32>;
@group(0) @binding(1) var<storage, read> g: array<f32>;
@group(0) @binding(2) var<storage, read> sources: array<vec2<u32>>;
@group(0) @binding(3) var<storage, read_write> packed: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x < arrayLength(&sources)) {
        let first = sources[id.x].x;
        let form = sources[id.x].y;
        var value = 0.0;
        for (var k = 0u; k < form / 8u % 8u; k++) {
            value += g[form % 8u * SEGMENT + k] * weights[select(first + k, first - k, form >= 64u)];
        }
        packed[id.x] = value;
    }
}
