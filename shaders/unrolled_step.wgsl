// Back through one step x' = x - step ((x - y) + grad R(x)) of gradient descent, behind the product h = H(x) q:
//   q <- q - step (q + h).
// One invocation per pixel of the batch. q, h: (patch, pixel).
#import training

@group(0) @binding(0) var<uniform> params: TrainingParams;
@group(0) @binding(1) var<storage, read> h: array<f32>;
@group(0) @binding(2) var<storage, read_write> q: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let at = id.y * groups.x * 64u + id.x;
    if (at < arrayLength(&q)) {
        q[at] -= params.step * (q[at] + h[at]);
    }
}
