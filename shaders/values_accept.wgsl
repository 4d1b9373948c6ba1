// The step of nodal values under slope bounds and TV2, part 3 of 3: the result of the proximal operator becomes the values,
//   f <- solution, its antisymmetric part if odd: the mean of two functions within the bounds is within them.
// One invocation per entry. solution, values: (entry).
#import training

@group(0) @binding(0) var<uniform> params: ValuesParams;
@group(0) @binding(1) var<storage, read> entries: array<Entry>;
@group(0) @binding(2) var<storage, read> solution: array<f32>;
@group(0) @binding(3) var<storage, read_write> values: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x >= params.entries) {
        return;
    }
    var value = solution[id.x];
    if (params.odd != 0u) {
        value = 0.5 * (value - solution[entries[id.x].mirror]);
    }
    values[id.x] = value;
}
