// Matched back projection, the transpose of radon.wgsl, gathered: image(pixel) = sum over beams and over the few rays that
// touch the pixel of length max(0, 1 - |u(j, k) - i|) sinogram(ray), with u and the length from the same expressions.
// One invocation per 4 pixels of a row, workgroup of 16 x 16. image: (row, column); sinogram: (angle, detector).
#import radon

@group(0) @binding(0) var<uniform> params: RadonParams;
@group(0) @binding(1) var<storage, read> beams: array<Beam>;
@group(0) @binding(2) var<storage, read> sinogram: array<f32>;
@group(0) @binding(3) var<storage, read_write> image: array<f32>;

@compute @workgroup_size(16, 16)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let col = id.x * 4u;
    if (col >= params.cols || id.y >= params.rows) {
        return;
    }
    // What lies behind the last column, perhaps near a source, repeats it and is not stored.
    let columns = min(vec4<f32>(f32(col)) + vec4<f32>(0.0, 1.0, 2.0, 3.0), vec4<f32>(f32(params.cols) - 1.0));
    let rows = vec4<f32>(f32(id.y));
    var total = vec4<f32>(0.0);
    for (var b = params.first; b < params.first + params.count; b++) {
        let beam = beams[b];
        let by_rows = vec4<bool>(beam.along_rows == 1u);
        let steps = select(columns - middle(params.cols), rows - middle(params.rows), by_rows);
        let across = select(rows, columns, by_rows);
        // |u - across| < 1 for detectors strictly between those whose rays pass one pixel to either side. What rounding
        // loses at the ends has a weight next to 0.
        let before = detectors_at(beam, across - 1.0, steps);
        let after = detectors_at(beam, across + 1.0, steps);
        let lowest = vec4<f32>(f32(beam.first));
        let highest = vec4<f32>(f32(beam.first + beam.count - 1u));
        let first = max(floor(min(before, after)) + 1.0, lowest);
        let last = min(ceil(max(before, after)) - 1.0, highest);
        let more = last - first;
        let rounds = max(max(more.x, more.y), max(more.z, more.w));
        var sum = vec4<f32>(0.0);
        for (var n = 0.0; n <= rounds; n += 1.0) {
            let j = first + n;
            let own = rays(beam, j);
            let u = own.at_middle + own.per_step * steps;
            let weight = own.length * max(1.0 - abs(u - across), vec4<f32>(0.0));
            let held = beam.row + vec4<u32>(clamp(j, lowest, highest));
            let values = vec4<f32>(sinogram[held.x], sinogram[held.y], sinogram[held.z], sinogram[held.w]);
            sum += select(vec4<f32>(0.0), weight * values, j <= last);
        }
        total += sum;
    }
    // @unroll 4
    for (var n = 0u; n < 4u; n++) {
        if (col + n < params.cols) {
            let at = id.y * params.cols + col + n;
            var value = total[n];
            if (params.accumulate == 1u) {
                value += image[at];
            }
            image[at] = value;
        }
    }
}
