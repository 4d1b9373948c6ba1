// Shared by the two parts of Adam (Kingma and Ba 2015): the counter kept on the device and the step.

struct AdamClock {
    step: u32,         // steps taken
    rate: f32,         // factor of the learning rates in this step
    decay1: f32,       // beta1^step
    decay2: f32,       // beta2^step
    factor: f32,       // what gradients are multiplied by
    pad0: u32,
    pad1: u32,
    pad2: u32,
}

struct AdamParams {
    first: u32,        // first parameter of the group
    count: u32,        // parameters in the group
    learning_rate: f32,
    beta1: f32,
    beta2: f32,
    epsilon: f32,
    hold: u32,         // steps at the full learning rate
    steps: u32,        // steps at whose end it has fallen to 0, linearly
}
