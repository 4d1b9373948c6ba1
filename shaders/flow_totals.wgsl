// What a flow's batch sums up to besides the gradients of its splines (lib/flow):
//   dL/dtau = 2 / (1 + tau^2) sum torque,  dL/dshift = sum g_1  of every layer, and the loss L = share sum nll
// One workgroup of 256 per layer, and one more for the loss; trees in a fixed order. pulls, torques: as flow_backward
// leaves them; nll: (quad); gradient: as `parameters`; losses: (batch).
#import flow
#import reduce

@group(0) @binding(0) var<uniform> params: FlowParams;
@group(0) @binding(1) var<storage, read> parameters: array<f32>;
@group(0) @binding(2) var<storage, read> pulls: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> torques: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> nll: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> gradient: array<f32>;
@group(0) @binding(6) var<storage, read_write> losses: array<f32>;

var<workgroup> sh_sum: array<vec4<f32>, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let layer = group.x;
    var sum = vec4<f32>(0.0);
    for (var q = local; q < params.quads; q += 256u) {
        if (layer < LAYERS) {
            let torque = dot(torques[layer * params.quads + q], vec4<f32>(1.0));
            let force = dot(pulls[2u * layer * DIMS * params.quads + q], vec4<f32>(1.0));
            sum += vec4<f32>(torque, force, 0.0, 0.0);
        } else {
            let sample = vec4<u32>(4u * q) + vec4<u32>(0u, 1u, 2u, 3u);
            let counted = select(vec4<f32>(0.0), nll[q], sample < vec4<u32>(params.samples));
            sum.x += dot(counted, vec4<f32>(1.0));
        }
    }
    let total = workgroup_sum(local, sum);
    if (local == 0u) {
        if (layer < LAYERS) {
            let at = params.frames + 2u * layer;
            let tau = parameters[at];
            gradient[at] = total.x * 2.0 / (1.0 + tau * tau);
            gradient[at + 1u] = total.y;
        } else {
            losses[params.entry] = params.share * total.x;
        }
    }
}
