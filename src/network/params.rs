//! Parameter structs of the network kernels.

use crate::shader_struct;

shader_struct! {
    /// Parameters of the kernels that work on one layer of all members.
    pub struct LayerParams {
        /// Samples per member.
        pub samples: u32,
        /// Units per member, input and output included.
        pub units: u32,
        /// Weights and biases per member.
        pub dense: u32,
        /// Splines per member.
        pub splines: u32,
        /// Room for knots per spline.
        pub slots: u32,
        /// Where the scalings start among the parameters.
        pub alphas: u32,
        /// First unit of the layer's input.
        pub from_unit: u32,
        /// First unit of its output.
        pub to_unit: u32,
        /// Spline of its first input.
        pub from_spline: u32,
        /// Where its weights start among a member's dense parameters.
        pub weights: u32,
        /// Where its biases start there.
        pub biases: u32,
        /// Padding.
        pub pad0: u32,
    }
}

shader_struct! {
    /// Parameters of the orthonormalisation.
    pub struct MatrixParams {
        /// Weights and biases per member.
        pub dense: u32,
        /// Bjorck iterations.
        pub iterations: u32,
        /// 1: divide by the Frobenius norm first.
        pub normalise: u32,
        /// 1: the parameters themselves are replaced by the orthonormalised ones.
        pub project: u32,
    }
}

shader_struct! {
    /// A weight matrix among a member's dense parameters, row by row.
    pub struct MatrixRecord {
        /// Its first entry.
        pub weights: u32,
        /// Outputs.
        pub rows: u32,
        /// Inputs.
        pub columns: u32,
        /// Padding.
        pub pad0: u32,
    }
}

shader_struct! {
    /// Parameters of `network_loss.wgsl`.
    pub struct LossParams {
        /// Samples per member.
        pub samples: u32,
        /// Units per member, input and output included.
        pub units: u32,
        /// Padding.
        pub pad0: u32,
        /// Padding.
        pub pad1: u32,
    }
}

shader_struct! {
    /// Parameters of the kernels that work on splines.
    pub struct SplineParams {
        /// Samples per member.
        pub samples: u32,
        /// Units per member, input and output included.
        pub units: u32,
        /// Unit of a member's first spline.
        pub first_unit: u32,
        /// Splines per member.
        pub splines: u32,
        /// Splines of all members.
        pub total: u32,
        /// Room for knots per spline.
        pub slots: u32,
        /// Where the nodal values start among the parameters.
        pub values: u32,
        /// Where the scalings start.
        pub alphas: u32,
        /// Smallest slope.
        pub slope_min: f32,
        /// Largest slope.
        pub slope_max: f32,
        /// Padding.
        pub pad0: u32,
        /// Padding.
        pub pad1: u32,
    }
}
