// A layer of filters (lib/conv.wgsl) whose weights are loaded from the uniform where they are used.
#import conv

var<private> first_quad: u32;

fn hold_weights(first: u32) {
    first_quad = first;
}

fn weight(i: u32) -> vec4<f32> {
    return weights[first_quad + i];
}

@compute @workgroup_size(WORKGROUP_X, max(WORKGROUP_Y, 1u))
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) launched: vec3<u32>) {
    conv(id, launched);
}
