// Adam, part 2 of 2, elementwise, with g the gradient times the clock's factor:
//   m = beta1 m + (1 - beta1) g,  v = beta2 v + (1 - beta2) g^2
//   x -= rate learning_rate (m / (1 - beta1^step)) / (sqrt(v / (1 - beta2^step)) + epsilon)
// One invocation per parameter of the group that `params` names. moments: (parameter) of (m, v).
#import adam

@group(0) @binding(0) var<uniform> params: AdamParams;
@group(0) @binding(1) var<storage, read> clock: AdamClock;
@group(0) @binding(2) var<storage, read> gradients: array<f32>;
@group(0) @binding(3) var<storage, read_write> moments: array<vec2<f32>>;
@group(0) @binding(4) var<storage, read_write> parameters: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x >= params.count) {
        return;
    }
    let at = params.first + id.x;
    let g = clock.factor * gradients[at];
    let beta = vec2<f32>(params.beta1, params.beta2);
    let moment = beta * moments[at] + (1.0 - beta) * vec2<f32>(g, g * g);
    moments[at] = moment;
    let unbiased = moment / (1.0 - vec2<f32>(clock.decay1, clock.decay2));
    parameters[at] -= clock.rate * params.learning_rate * unbiased.x / (sqrt(unbiased.y) + params.epsilon);
}
