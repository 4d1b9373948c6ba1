// The splines D = id - (id + ratio phi)^-1 of a bank from its splines phi, as lib/conv_block.wgsl reads them. D has
//   the knots T_j = t_j + ratio f_j, the values ratio f_j and the slopes S_j = ratio s_j / (1 + ratio s_j);
// segment j counts from low_j = 0 to high_j = T_{j+1} - T_j, but the first one from and the last one to where f32 ends.
// One invocation of 64 per spline. knots: (entry), lib/spline.wgsl; ranges: (spline) of (first entry, count); pieces: (entry).

struct SplitTableParams {
    ratio: f32,        // lambda / rho; 1 + ratio s > 0
    splines: u32,
    pad0: u32,
    pad1: u32,
}

@group(0) @binding(0) var<uniform> params: SplitTableParams;
@group(0) @binding(1) var<storage, read> knots: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> ranges: array<vec2<u32>>;
@group(0) @binding(3) var<storage, read_write> pieces: array<vec4<f32>>;

const FAR: f32 = 3.4e38;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x < params.splines) {
        let first = ranges[id.x].x;
        let last = first + ranges[id.x].y - 1u;
        for (var j = first; j < last; j++) {
            let k = knots[j];
            let width = knots[j + 1u].x - k.x;
            let slope = params.ratio * k.z;
            pieces[j] = vec4<f32>(
                k.x + params.ratio * k.y,
                slope / (1.0 + slope),
                select(0.0, -FAR, j == first),
                select(width * (1.0 + slope), FAR, j + 1u == last),
            );
        }
        pieces[last] = vec4<f32>(params.ratio * knots[first].y, 0.0, 0.0, 0.0);
    }
}
