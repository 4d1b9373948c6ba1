// Brings the bound of the filters' norm to 1, in place: w <- scale w.
// One invocation per weight of the layer. w: (filter, row, column).
#import filter_norm

@group(0) @binding(0) var<uniform> params: FilterNormParams;
@group(0) @binding(1) var<storage, read> peak: FilterPeak;
@group(0) @binding(2) var<storage, read_write> weights: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x < params.filters * params.size * params.size) {
        weights[id.x] *= peak.scale;
    }
}
