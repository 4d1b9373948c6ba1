// Splitting, part 3 of 5, between the two Fourier transforms: planes(f) <- planes(f) / (1 + rho S(f)), where
// S = sum_c |W_c|^2 is the power spectrum of the filters. One invocation of 64 per element, y = slot.
// planes: (slot, element), complex; inverse = 1 / (1 + rho S): (element).
#import split

@group(0) @binding(0) var<uniform> params: SplitParams;
@group(0) @binding(1) var<storage, read> inverse: array<f32>;
@group(0) @binding(2) var<storage, read_write> planes: array<vec2<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let elements = params.plane_rows * params.plane_cols;
    if (id.x < elements) {
        planes[id.y * elements + id.x] *= inverse[id.x];
    }
}
