// The step of nodal values under slope bounds and TV2, part 1 of 3: Adam's moments,
//   g = factor gradient, antisymmetric part if odd;  m = beta1 m + (1 - beta1) g,  v = beta2 v + (1 - beta2) g^2.
// One invocation per entry. gradient: (entry), moments: (entry) of (m, v).
#import training
#import adam

@group(0) @binding(0) var<uniform> params: ValuesParams;
@group(0) @binding(1) var<storage, read> clock: AdamClock;
@group(0) @binding(2) var<storage, read> entries: array<Entry>;
@group(0) @binding(3) var<storage, read> gradient: array<f32>;
@group(0) @binding(4) var<storage, read_write> moments: array<vec2<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x >= params.entries) {
        return;
    }
    var g = gradient[id.x];
    if (params.odd != 0u) {
        g = 0.5 * (g - gradient[entries[id.x].mirror]);
    }
    g *= clock.factor;
    let beta = vec2<f32>(params.beta1, params.beta2);
    moments[id.x] = beta * moments[id.x] + (1.0 - beta) * vec2<f32>(g, g * g);
}
