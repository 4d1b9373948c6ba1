//! The table of shader sources. A new kernel is one file in `shaders/` and one line here.

/// A kernel: its name (the file stem) and its source.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    /// File stem, also the name by which kernels are asked for.
    pub name: &'static str,
    /// The WGSL text, with `#import` lines.
    pub text: &'static str,
}

macro_rules! sources {
    ($($name:literal),* $(,)?) => {
        &[$(Source { name: $name, text: include_str!(concat!("../../shaders/", $name, ".wgsl")) }),*]
    };
}

/// Kernels: one entry point `main` each.
pub const KERNELS: &[Source] = sources![
    "adam",
    "adam_clock",
    "agd_control",
    "agd_extrapolate",
    "agd_residual",
    "agd_step",
    "cg_start",
    "cg_step",
    "conv",
    "conv_weight_gradient",
    "conv_weight_totals",
    "descent_control",
    "descent_move",
    "descent_step",
    "fft_chirp",
    "fft_radix",
    "fft_radix4",
    "filter_centre",
    "filter_correlation",
    "filter_peak",
    "filter_pull",
    "filter_pull_sums",
    "filter_scale",
    "filter_spectrum",
    "flow_backward",
    "flow_forward",
    "flow_inverse",
    "flow_project",
    "flow_spline_gradient",
    "flow_totals",
    "gram_correlate",
    "gram_pull",
    "gram_pull_sums",
    "gram_scale",
    "group_norms",
    "frame_correlate",
    "frame_fold",
    "frame_pad",
    "inner_product",
    "linear_combination",
    "mask",
    "measure_copy",
    "measure_fma",
    "mri_combine",
    "mri_expand",
    "mri_mask",
    "mri_root_sum_of_squares",
    "network_backward",
    "network_forward",
    "network_loss",
    "network_orthonormalise",
    "network_orthonormalise_vjp",
    "network_spline_gradient",
    "network_spline_sums",
    "network_spline_table",
    "network_weight_gradient",
    "normalise",
    "plane_shift",
    "plane_sums",
    "pnp_argument",
    "pnp_control",
    "pnp_douglas_rachford",
    "pnp_forward_backward",
    "prox_start",
    "prox_step",
    "radon",
    "radon_adjoint",
    "radon_interpolate",
    "ramp_filter",
    "scaling_gradient",
    "scaling_records",
    "split_filter",
    "split_move",
    "split_prox",
    "split_residual",
    "split_spectrum",
    "split_table",
    "spline_activation",
    "spline_clip",
    "spline_clip_vjp",
    "spline_energy",
    "spline_forward",
    "spline_gradient",
    "spline_gradient_alphas",
    "spline_gradient_values",
    "spline_hessian",
    "spline_histogram",
    "spline_table",
    "subtract",
    "sum_partials",
    "tile_load",
    "training_loss",
    "tv2_nodes",
    "tv2_prox",
    "tv2_samples",
    "tv_dual",
    "tv_primal",
    "tv_sums",
    "unrolled_step",
    "values_accept",
    "values_moments",
    "values_targets",
    "weights_pack",
];

/// Importable fragments: no entry point, no binding.
pub const LIBRARY: &[Source] = sources![
    "lib/adam",
    "lib/agd",
    "lib/descent",
    "lib/fft",
    "lib/filter_norm",
    "lib/flow",
    "lib/flow_spline",
    "lib/frame",
    "lib/gram",
    "lib/mri",
    "lib/network",
    "lib/network_spline",
    "lib/nodal",
    "lib/orthonormal",
    "lib/pnp",
    "lib/prox",
    "lib/radon",
    "lib/reduce",
    "lib/spline",
    "lib/split",
    "lib/symbol",
    "lib/tile",
    "lib/training",
    "lib/tv",
    "lib/tv2",
    "lib/walk",
];

/// The kernel source called `name`.
pub fn kernel(name: &str) -> Option<&'static Source> {
    KERNELS.iter().find(|s| s.name == name)
}

/// The library fragment called `name` (without `lib/`).
pub fn library(name: &str) -> Option<&'static Source> {
    LIBRARY.iter().find(|s| s.name.strip_prefix("lib/") == Some(name))
}
