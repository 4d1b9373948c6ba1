// A flow's nodal values (lib/flow) put back into their bounds after a step:
//   m, n:  f_k = clamp(f_k, slope_min, slope_max), the projection, so that M and N have slopes inside the bounds
//   T:     slopes clipped to [-shear, shear] with the mean of the values kept, as spline_clip does it
// One invocation per spline, because the sum of T runs along its knots; global id.x = spline. The first `monotone` splines
// are m and n. positions, values: (entry); records: (spline) of (first entry, count, ..); parameters: nodal values first.
#import nodal

struct ProjectParams {
    splines: u32,
    monotone: u32,
    slope_min: f32,
    slope_max: f32,
    shear: f32,
    pad0: u32,
    pad1: u32,
    pad2: u32,
}

@group(0) @binding(0) var<uniform> params: ProjectParams;
@group(0) @binding(1) var<storage, read> positions: array<f32>;
@group(0) @binding(2) var<storage, read> records: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> parameters: array<f32>;
@group(0) @binding(4) var<storage, read_write> values: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x < params.splines) {
        let first = records[id.x].x;
        let end = first + records[id.x].y;
        if (id.x < params.monotone) {
            for (var n = first; n < end; n++) {
                let inside = clamp(parameters[n], params.slope_min, params.slope_max);
                parameters[n] = inside;
                values[n] = inside;
            }
        } else {
            var g = parameters[first];
            var difference = 0.0;
            var clipped = false;
            values[first] = g;
            for (var n = first; n + 1u < end; n++) {
                let slope = nodal_slope(n, parameters[n], parameters[n + 1u]);
                let inside = clamp(slope, -params.shear, params.shear);
                clipped = clipped || inside != slope;
                g += inside * (positions[n + 1u] - positions[n]);
                values[n + 1u] = g;
                difference += parameters[n + 1u] - g;
            }
            let shift = difference / f32(end - first);
            for (var n = first; n < end; n++) {
                let inside = select(parameters[n], values[n] + shift, clipped);
                values[n] = inside;
                parameters[n] = inside;
            }
        }
    }
}
