// Adds a number to every plane of responses: u[s, c](r, q) <- u[s, c](r, q) + b[c] inside the image.
// One invocation per position of a plane, x = column, y = row, z = slot * CHANNELS + channel. u: (slot, channel, row, column), shifts b: (channel).
#import tile

const CHANNELS: u32 = 1u;

@group(0) @binding(0) var<uniform> params: Region;
@group(0) @binding(1) var<storage, read> shifts: array<f32>;
@group(0) @binding(2) var<storage, read_write> u: array<f32>;

@compute @workgroup_size(16, 16)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (region_holds(params, id.y, id.x) && region_inside(params, id.y, id.x)) {
        let at = region_index(params, id.z / CHANNELS, id.z % CHANNELS, id.y, id.x);
        u[at] += shifts[id.z % CHANNELS];
    }
}
