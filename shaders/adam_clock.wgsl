// Adam, part 1 of 2: counts the step on the device, so that many steps can be recorded without writing in between.
//   step += 1,  decay_i *= beta_i,  rate = min(1, (steps - step + 1) / (steps - hold))
// One invocation. clock: one AdamClock, {0, 0, 1, 1, 1} before the first step.
#import adam

@group(0) @binding(0) var<uniform> params: AdamParams;
@group(0) @binding(1) var<storage, read_write> clock: AdamClock;

@compute @workgroup_size(1)
fn main() {
    clock.step += 1u;
    clock.decay1 *= params.beta1;
    clock.decay2 *= params.beta2;
    let left = f32(params.steps) - f32(clock.step) + 1.0;
    let span = f32(max(params.steps, params.hold + 1u) - params.hold);
    clock.rate = clamp(left / span, 0.0, 1.0);
}
