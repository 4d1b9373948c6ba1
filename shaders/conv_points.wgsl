// A layer of filters by points (lib/conv_points.wgsl) whose weights are loaded from the uniform where they are used.
#import conv_points
#import weights_uniform

@group(0) @binding(0) var<uniform> params: ConvParams;
@group(0) @binding(1) var<uniform> weights: array<vec4<f32>, ALL_QUADS>;
@group(0) @binding(2) var<storage, read> src: array<f32>;
@group(0) @binding(3) var<storage, read_write> dst: array<f32>;
@group(0) @binding(4) var texels: texture_2d_array<f32>;
@group(0) @binding(5) var<uniform> pieces: array<vec4<f32>, PIECES>;
@group(0) @binding(6) var<storage, read> channels: array<Channel>;

@compute @workgroup_size(WORKGROUP_X, max(WORKGROUP_Y, 1u))
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) launched: vec3<u32>) {
    conv_points(id, launched);
}
