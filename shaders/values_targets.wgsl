// The step of nodal values under slope bounds and TV2, part 2 of 3: what the proximal operator is applied to,
//   D = max( sqrt(v^), floor max over the spline of sqrt(v^) ) + epsilon,  target = f - eta m^ / D,  weight = D / eta,
// eta the present learning rate, m^ and v^ Adam's unbiased moments: the next values minimise
//   sum m^ f + sum D / (2 eta) (f - f_before)^2 + lambda TV2(f)   under the slope bounds.
// One invocation per entry. values: (entry), moments: (entry) of (m, v), targets: (entry) of (target, weight).
#import training
#import adam

@group(0) @binding(0) var<uniform> params: ValuesParams;
@group(0) @binding(1) var<storage, read> clock: AdamClock;
@group(0) @binding(2) var<storage, read> entries: array<Entry>;
@group(0) @binding(3) var<storage, read> values: array<f32>;
@group(0) @binding(4) var<storage, read> moments: array<vec2<f32>>;
@group(0) @binding(5) var<storage, read_write> targets: array<vec2<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x >= params.entries) {
        return;
    }
    let entry = entries[id.x];
    var largest = 0.0;
    for (var n = 0u; n < entry.count; n++) {
        largest = max(largest, moments[entry.first + n].y);
    }
    let unbiased = 1.0 - clock.decay2;
    let scale = max(sqrt(moments[id.x].y / unbiased), params.floor * sqrt(largest / unbiased)) + params.epsilon;
    let eta = clock.rate * params.learning_rate;
    let mean = moments[id.x].x / (1.0 - clock.decay1);
    targets[id.x] = vec2<f32>(values[id.x] - eta * mean / scale, scale / eta);
}
