// A layer of filters by points (lib/conv_points.wgsl) whose weights the lanes of a subgroup pass on to each other.
#import conv_points
#import weights_lanes

@group(0) @binding(0) var<uniform> params: ConvParams;
@group(0) @binding(1) var<uniform> weights: array<vec4<f32>, ALL_QUADS>;
@group(0) @binding(2) var<storage, read> src: array<f32>;
@group(0) @binding(3) var<storage, read_write> dst: array<f32>;
@group(0) @binding(4) var texels: texture_2d_array<f32>;
@group(0) @binding(5) var<uniform> pieces: array<vec4<f32>, PIECES>;
@group(0) @binding(6) var<storage, read> channels: array<Channel>;

@compute @workgroup_size(WORKGROUP_X)
fn main(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(num_workgroups) launched: vec3<u32>,
    @builtin(subgroup_invocation_id) subgroup_lane: u32,
) {
    lane = subgroup_lane;
    conv_points(id, launched);
}
