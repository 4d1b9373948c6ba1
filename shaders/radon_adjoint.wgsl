// Matched back projection, the transpose of radon.wgsl, gathered: image(pixel) = sum over beams and over the few rays that
// touch the pixel of length max(0, 1 - |u(j, k) - i|) sinogram(ray), with u and the length from the same expressions.
// One invocation per 4 x 4 pixels, so that a value loaded meets all pixels which its ray passes; workgroup of 8 x 8.
// image: (row, column); sinogram: (angle, detector).
#import radon_block

@group(0) @binding(0) var<uniform> params: RadonParams;
@group(0) @binding(1) var<storage, read> beams: array<Beam>;
@group(0) @binding(2) var<storage, read> sinogram: array<f32>;
@group(0) @binding(3) var<storage, read_write> image: array<f32>;

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let col = id.x * 4u;
    let row = id.y * 4u;
    if (col >= params.cols || row >= params.rows) {
        return;
    }
    let mid_col = middle(params.cols);
    let mid_row = middle(params.rows);
    // Within the image, because a source may lie behind its edge.
    let right = f32(min(col + 3u, params.cols - 1u));
    let bottom = f32(min(row + 3u, params.rows - 1u));
    let corner_cols = vec4<f32>(f32(col), right, f32(col), right);
    let corner_rows = vec4<f32>(vec2<f32>(f32(row)), vec2<f32>(bottom));
    let next = vec4<f32>(0.0, 1.0, 2.0, 3.0);
    // Columns of a matrix stand for rows of the image.
    var total = mat4x4<f32>();
    for (var b = params.first; b < params.first + params.count; b++) {
        let beam = beams[b];
        let by_rows = beam.along_rows == 1u;
        // |u - across| < 1 for detectors strictly between those whose rays pass one pixel to either side; between the corners
        // of the block lies the rest of it. What rounding loses at the ends has a weight next to 0.
        let corner_steps = select(corner_cols - mid_col, corner_rows - mid_row, by_rows);
        let corner_across = select(corner_rows, corner_cols, by_rows);
        let before = detectors_at(beam, corner_across - 1.0, corner_steps);
        let after = detectors_at(beam, corner_across + 1.0, corner_steps);
        let first = f32(beam.first);
        let end = first + f32(beam.count);
        let from_detector = u32(clamp(floor(lowest(min(before, after))) + 1.0, first, end));
        let to_detector = u32(clamp(ceil(highest(max(before, after))), first, end));
        let step = select(f32(col) - mid_col, f32(row) - mid_row, by_rows);
        let across = next + select(f32(row), f32(col), by_rows);
        // One column for each of four steps.
        var block = mat4x4<f32>();
        for (var j = from_detector; j < to_detector; j++) {
            let own = ray(beam, j);
            let value = own.length * sinogram[beam.row + j];
            // @unroll 4
            for (var s = 0u; s < 4u; s++) {
                let u = own.at_middle + own.per_step * (step + f32(s));
                block[s] += value * max(1.0 - abs(u - across), vec4<f32>(0.0));
            }
        }
        if (by_rows) {
            total += block;
        } else {
            total += transpose(block);
        }
    }
    store_block(total, row, col);
}
