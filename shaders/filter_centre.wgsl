// Takes the mean away from filters, in place:
//   w[f, k] <- w[f, k] - 1/taps sum_j w[f, j],   f < filters.
// The map is symmetric: applied to a gradient with respect to centred filters it gives the one with respect to free ones.
// One invocation per filter. w: (filter, tap); what follows the filters stays as it is.

struct CentreParams {
    filters: u32,
    taps: u32,
    pad0: u32,
    pad1: u32,
}

@group(0) @binding(0) var<uniform> params: CentreParams;
@group(0) @binding(1) var<storage, read_write> weights: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x < params.filters) {
        let first = id.x * params.taps;
        var sum = 0.0;
        for (var k = 0u; k < params.taps; k++) {
            sum += weights[first + k];
        }
        let mean = sum / f32(params.taps);
        for (var k = 0u; k < params.taps; k++) {
            weights[first + k] -= mean;
        }
    }
}
