// The derivative of the normalisation w = s v of filters, part 2 of 2: takes the gradient g at w to the one at v, in place,
//   g[f, k] <- s ( g[f, k] - <g, w> / factor Re( conj(w^_f) e^(i omega k) ) ),
// omega the peak of the symbol S and w^ the filters' transform there: s = sqrt(factor / S) and dS/dv[f, k] =
// 2 Re( conj(v^_f) e^(i omega k) ). The result is orthogonal to v, whose length w does not depend on.
// One invocation per weight. g: (filter, row, column), sums: (filter), see filter_pull_sums.wgsl.
#import filter_norm

@group(0) @binding(0) var<uniform> params: FilterNormParams;
@group(0) @binding(1) var<storage, read> peak: FilterPeak;
@group(0) @binding(2) var<storage, read> waves: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read> sums: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> gradient: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let taps = params.size * params.size;
    if (id.x >= params.filters * taps) {
        return;
    }
    var along = 0.0;
    for (var f = 0u; f < params.filters; f++) {
        along += sums[f].x;
    }
    let tap = id.x % taps;
    let phase = peak.row * (tap / params.size) + peak.col * (tap % params.size);
    let turned = dot(sums[id.x / taps].yz, waves[phase & (params.grid - 1u)]);
    gradient[id.x] = peak.scale * (gradient[id.x] - along / params.factor * turned);
}
