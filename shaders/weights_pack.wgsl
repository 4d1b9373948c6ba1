// Weights in the order in which the launches of conv.wgsl read them, made anew after the trained ones changed:
//   packed[n] = weights[sources[n]], or 0 where a launch's block is padded (sources[n] = 2^32 - 1).
// One invocation per element. weights: (layer, o, i, ky, kx); sources, packed: (layer, then its adjoint; launch; element).

const PADDING = 0xffffffffu;

@group(0) @binding(0) var<storage, read> weights: array<f32>;
@group(0) @binding(1) var<storage, read> sources: array<u32>;
@group(0) @binding(2) var<storage, read_write> packed: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x < arrayLength(&sources)) {
        let source = sources[id.x];
        var value = 0.0;
        if (source != PADDING) {
            value = weights[source];
        }
        packed[id.x] = value;
    }
}
