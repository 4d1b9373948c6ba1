//! Lints of every shader and of every parameter struct; needs no device. All violations are reported at once.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test should panic")]

use std::collections::BTreeSet;
use std::path::Path;

use knotwork::filters::FilterNormParams;
use knotwork::filters::{ConvParams, ConvPlan, Region, WeightGradientParams, WeightTotalsParams};
use knotwork::fit::SampleParams;
use knotwork::flow::{FlowEntry, FlowParams, ProjectParams};
use knotwork::gpu::ceilings::FmaParams;
use knotwork::gpu::reduce::{SumParams, TotalParams};
use knotwork::gpu::{BindingKind, KernelStyle, ShaderStruct, compose, reflect, shaders};
use knotwork::layered::{CombinationParams, GramParams, PlaneSumParams};
use knotwork::model::device::{EnergyParams, LoadParams};
use knotwork::network::{LayerParams, LossParams, MatrixParams, MatrixRecord, SplineParams};
use knotwork::operator::{
    Beam, ChirpParams, CorrelateParams, FftParams, FilterParams, FrameParams, MaskParams, MriParams, RadonParams,
    TorusParams, View,
};
use knotwork::solver::{
    AgdParams, AgdState, DescentParams, DescentState, NormaliseParams, PnpParams, PnpState, ProxParams, SplitParams,
    SubtractParams, TvParams,
};
use knotwork::spline::device::tv2::{Tv2Params, Tv2Problem};
use knotwork::spline::device::{
    AlphaParams, ClipParams, EntryParams, GradientParams, PointwiseParams, SplitTableParams,
};
use knotwork::train::{
    AdamClock, AdamParams, CentreParams, CgState, ComposeParams, CosineParams, Entry, FilterPeak, GroupParams,
    ScalingParams, TrainingParams, ValuesParams,
};

/// Specialisations to lint besides the defaults: (kernel, constants).
const VARIANTS: &[(&str, &[(&str, u32)])] = &[
    (
        "conv_weight_gradient",
        &[
            ("K", 13),
            ("OUTPUTS", 32),
            ("CO", 2),
            ("TAPS", 13),
            ("CHUNKS", 11),
            ("LANES", 64),
        ],
    ),
    (
        "conv_weight_gradient",
        &[("INPUTS", 8), ("OUTPUTS", 60), ("CI", 4), ("CHUNKS", 13)],
    ),
    ("fft_radix", &[("RADIX", 1)]),
    ("fft_radix", &[("RADIX", 13)]),
    ("spline_activation", &[("PIVOTS", 31), ("CHANNELS", 60)]),
    ("spline_energy", &[("PIVOTS", 16), ("HALVINGS", 3), ("CHANNELS", 60)]),
    (
        "spline_forward",
        &[("PIVOTS", 3), ("CHANNELS", 60), ("SLOT_RECORDS", 60)],
    ),
    ("flow_forward", &[("LAYERS", 8), ("PIVOTS", 32)]),
    ("flow_forward", &[("LAYERS", 1), ("DIMS", 1), ("PIVOTS", 1)]),
    ("flow_backward", &[("LAYERS", 8), ("PIVOTS", 32)]),
    ("flow_backward", &[("LAYERS", 1), ("DIMS", 1), ("PIVOTS", 1)]),
    ("flow_inverse", &[("LAYERS", 8), ("PIVOTS", 32)]),
    ("flow_inverse", &[("LAYERS", 1), ("DIMS", 1), ("PIVOTS", 1)]),
    ("flow_totals", &[("LAYERS", 64), ("DIMS", 1)]),
    ("network_forward", &[("IN", 32), ("OUT", 32), ("HALVINGS", 4)]),
    ("network_forward", &[("IN", 1), ("OUT", 10), ("ACTIVATED", 0)]),
    ("network_backward", &[("IN", 32), ("OUT", 32), ("HALVINGS", 4)]),
    ("network_weight_gradient", &[("IN", 32), ("SHARED", 64 * 33)]),
    ("network_orthonormalise", &[("LAYERS", 9), ("ENTRIES", 1024)]),
    ("network_orthonormalise_vjp", &[("LAYERS", 9), ("ENTRIES", 1024)]),
    (
        "network_spline_sums",
        &[("ROWS", 16), ("SEGMENTS", 100), ("SHARED", 1600)],
    ),
    (
        "network_spline_sums",
        &[("ROWS", 8), ("SEGMENTS", 255), ("SHARED", 2040)],
    ),
    ("radon", &[("FAN", 1)]),
    ("radon_adjoint", &[("FAN", 1)]),
    ("spline_gradient", &[("WALKERS", 64), ("CHANNELS", 3000)]),
    ("spline_gradient_values", &[("LANES", 64)]),
    ("spline_histogram", &[("WALKERS", 64), ("OWN", 0)]),
];

/// Kernels with the constants of [`VARIANTS`], and convolutions as they are planned, from frames and from texels.
fn cases() -> Vec<(&'static str, Vec<(&'static str, u32)>)> {
    let defaults = shaders::KERNELS.iter().map(|s| (s.name, Vec::new()));
    let variants = VARIANTS.iter().map(|(name, consts)| (*name, consts.to_vec()));
    let mut cases: Vec<_> = defaults.chain(variants).collect();
    for (inputs, outputs, size) in [(1, 1, 1), (1, 32, 7), (60, 8, 5), (90, 8, 5), (40, 1, 9), (1, 60, 13)] {
        for style in KernelStyle::ALL {
            let plan = ConvPlan::new(style, inputs, outputs, size);
            let shifts = [None, Some(0), Some(3)];
            cases.extend(shifts.map(|shift| plan.kernel(size, shift, plan.workgroup([40, 40]), Some(8))));
        }
    }
    cases
}

#[test]
fn every_shader_is_valid_and_within_the_default_limits() {
    let mut complaints = Vec::new();
    for (name, consts) in cases() {
        let composed = compose(name, &consts).unwrap();
        let (module, info, bindings) = match reflect(&composed) {
            Ok(reflected) => reflected,
            Err(e) => {
                complaints.push(format!("{name} {consts:?}: {e}"));
                continue;
            }
        };
        let mut complain = |what: String| complaints.push(format!("{name} {consts:?}: {what}"));
        let entry = &module.entry_points[0];
        let invocations: u32 = entry.workgroup_size.iter().product();
        if invocations > 256 {
            complain(format!("{invocations} invocations per workgroup"));
        }
        let storage = bindings
            .iter()
            .filter(|b| matches!(b.kind, BindingKind::Read | BindingKind::ReadWrite))
            .count();
        if storage > 8 {
            complain(format!("{storage} storage buffers"));
        }
        if bindings
            .iter()
            .any(|b| matches!(b.kind, BindingKind::Uniform | BindingKind::Params) && b.min_bytes > 65536)
        {
            complain("a uniform above 64 KiB".into());
        }
        let uses = info.get_entry_point(0);
        let workgroup: u32 = module
            .global_variables
            .iter()
            .filter(|(h, v)| v.space == naga::AddressSpace::WorkGroup && !uses[*h].is_empty())
            .map(|(_, v)| module.types[v.ty].inner.size(module.to_ctx()).next_multiple_of(16))
            .sum();
        if workgroup > 16384 {
            complain(format!("{workgroup} bytes of workgroup memory"));
        }
        // Passing &array[i] to a function panics in naga's SPIR-V writer (wgpu#7315).
        for (_, function) in module.functions.iter() {
            for argument in &function.arguments {
                if let naga::TypeInner::Pointer { .. } | naga::TypeInner::ValuePointer { .. } =
                    module.types[argument.ty].inner
                {
                    complain(format!("function {:?} takes a pointer", function.name));
                }
            }
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn the_table_lists_every_file_and_every_file_opens_with_prose() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders");
    let stems = |folder: &Path, prefix: &str| -> BTreeSet<String> {
        std::fs::read_dir(folder)
            .unwrap()
            .map(|e| e.unwrap().path())
            .filter(|p| p.extension().is_some_and(|e| e == "wgsl"))
            .map(|p| format!("{prefix}{}", p.file_stem().unwrap().to_str().unwrap()))
            .collect()
    };
    let listed = |table: &[shaders::Source]| table.iter().map(|s| s.name.to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(stems(&root, ""), listed(shaders::KERNELS));
    assert_eq!(stems(&root.join("lib"), "lib/"), listed(shaders::LIBRARY));
    for source in shaders::KERNELS.iter().chain(shaders::LIBRARY) {
        assert!(source.text.starts_with("// "), "{} has no opening comment", source.name);
    }
    for source in shaders::LIBRARY {
        assert!(
            !source.text.contains("\n@group") && !source.text.contains("\n@compute"),
            "{} binds",
            source.name
        );
    }
}

/// Compares a host struct with the WGSL struct of the same name in `kernel`, member by member.
fn mismatches<P: ShaderStruct>(kernel: &str) -> Vec<String> {
    let (module, _, _) = reflect(&compose(kernel, &[]).unwrap()).unwrap();
    let found = module.types.iter().find(|(_, t)| t.name.as_deref() == Some(P::NAME));
    let Some((_, ty)) = found else {
        return vec![format!("{kernel} has no struct {}", P::NAME)];
    };
    let naga::TypeInner::Struct { members, span } = &ty.inner else {
        return vec![format!("{} is no struct", P::NAME)];
    };
    let theirs = members
        .iter()
        .map(|m| (m.name.clone().unwrap(), m.offset))
        .collect::<Vec<_>>();
    let scalars = |list: Vec<(String, u32)>| {
        list.into_iter()
            .filter(|(n, _)| !n.starts_with("pad"))
            .collect::<Vec<_>>()
    };
    let ours = P::members()
        .into_iter()
        .map(|(n, o)| (n.to_owned(), o as u32))
        .collect::<Vec<_>>();
    let mut wrong = Vec::new();
    if *span as usize != size_of::<P>() {
        wrong.push(format!(
            "{kernel}: {} spans {span} bytes in WGSL, {} on the host",
            P::NAME,
            size_of::<P>()
        ));
    }
    let (theirs, ours) = (scalars(theirs), scalars(ours));
    if theirs != ours {
        wrong.push(format!("{kernel}: {} differs: WGSL {theirs:?}, host {ours:?}", P::NAME));
    }
    wrong
}

#[test]
fn host_parameter_structs_match_the_shaders() {
    let wrong: Vec<_> = [
        mismatches::<Region>("conv"),
        mismatches::<ConvParams>("conv"),
        mismatches::<WeightGradientParams>("conv_weight_gradient"),
        mismatches::<WeightTotalsParams>("conv_weight_totals"),
        mismatches::<CentreParams>("filter_centre"),
        mismatches::<ComposeParams>("filter_compose"),
        mismatches::<ComposeParams>("filter_compose_vjp_before"),
        mismatches::<ComposeParams>("filter_compose_vjp_weights"),
        mismatches::<CosineParams>("filter_cosines"),
        mismatches::<TrainingParams>("training_loss"),
        mismatches::<TrainingParams>("cg_step"),
        mismatches::<CgState>("cg_step"),
        mismatches::<ValuesParams>("values_targets"),
        mismatches::<ValuesParams>("values_moments"),
        mismatches::<ValuesParams>("values_accept"),
        mismatches::<Entry>("values_targets"),
        mismatches::<AdamClock>("values_targets"),
        mismatches::<GroupParams>("group_norms"),
        mismatches::<FilterNormParams>("filter_spectrum"),
        mismatches::<FilterPeak>("filter_peak"),
        mismatches::<FilterPeak>("filter_pull"),
        mismatches::<GramParams>("gram_correlate"),
        mismatches::<GramParams>("gram_scale"),
        mismatches::<GramParams>("gram_pull_sums"),
        mismatches::<GramParams>("gram_pull"),
        mismatches::<CombinationParams>("linear_combination"),
        mismatches::<PlaneSumParams>("plane_sums"),
        mismatches::<Region>("plane_shift"),
        mismatches::<ScalingParams>("scaling_records"),
        mismatches::<ScalingParams>("scaling_gradient"),
        mismatches::<LoadParams>("tile_load"),
        mismatches::<PointwiseParams>("spline_activation"),
        mismatches::<PointwiseParams>("spline_forward"),
        mismatches::<PointwiseParams>("spline_hessian"),
        mismatches::<PointwiseParams>("spline_histogram"),
        mismatches::<GradientParams>("spline_gradient"),
        mismatches::<AlphaParams>("spline_gradient_alphas"),
        mismatches::<EntryParams>("spline_gradient_values"),
        mismatches::<ClipParams>("spline_clip"),
        mismatches::<ClipParams>("spline_clip_vjp"),
        mismatches::<EnergyParams>("spline_energy"),
        mismatches::<FmaParams>("measure_fma"),
        mismatches::<SumParams>("inner_product"),
        mismatches::<TotalParams>("sum_partials"),
        mismatches::<NormaliseParams>("normalise"),
        mismatches::<AgdParams>("agd_step"),
        mismatches::<AgdParams>("agd_control"),
        mismatches::<AgdParams>("agd_extrapolate"),
        mismatches::<AgdParams>("agd_residual"),
        mismatches::<AgdState>("agd_control"),
        mismatches::<SplitParams>("split_residual"),
        mismatches::<SplitParams>("split_filter"),
        mismatches::<SplitParams>("split_spectrum"),
        mismatches::<SplitTableParams>("split_table"),
        mismatches::<SplitParams>("split_move"),
        mismatches::<AgdState>("split_move"),
        mismatches::<LayerParams>("network_forward"),
        mismatches::<LayerParams>("network_backward"),
        mismatches::<LayerParams>("network_weight_gradient"),
        mismatches::<MatrixParams>("network_orthonormalise"),
        mismatches::<MatrixRecord>("network_orthonormalise"),
        mismatches::<MatrixParams>("network_orthonormalise_vjp"),
        mismatches::<MatrixRecord>("network_orthonormalise_vjp"),
        mismatches::<LossParams>("network_loss"),
        mismatches::<SplineParams>("network_spline_table"),
        mismatches::<SplineParams>("network_spline_sums"),
        mismatches::<SplineParams>("network_spline_gradient"),
        mismatches::<AdamParams>("adam_clock"),
        mismatches::<AdamClock>("adam_clock"),
        mismatches::<AdamParams>("adam"),
        mismatches::<AdamClock>("adam"),
        mismatches::<Tv2Problem>("tv2_prox"),
        mismatches::<Tv2Params>("tv2_prox"),
        mismatches::<Tv2Params>("tv2_nodes"),
        mismatches::<SampleParams>("tv2_samples"),
        mismatches::<DescentParams>("descent_step"),
        mismatches::<DescentParams>("descent_control"),
        mismatches::<DescentParams>("descent_move"),
        mismatches::<DescentParams>("descent_residual"),
        mismatches::<DescentParams>("tv_sums"),
        mismatches::<DescentState>("descent_control"),
        mismatches::<SubtractParams>("subtract"),
        mismatches::<PnpParams>("pnp_argument"),
        mismatches::<PnpParams>("pnp_forward_backward"),
        mismatches::<PnpParams>("pnp_douglas_rachford"),
        mismatches::<PnpParams>("pnp_control"),
        mismatches::<PnpState>("pnp_control"),
        mismatches::<ProxParams>("prox_start"),
        mismatches::<ProxParams>("prox_step"),
        mismatches::<TvParams>("tv_primal"),
        mismatches::<TvParams>("tv_value"),
        mismatches::<TvParams>("tv_dual"),
        mismatches::<FrameParams>("frame_pad"),
        mismatches::<FrameParams>("frame_fold"),
        mismatches::<CorrelateParams>("frame_correlate"),
        mismatches::<TorusParams>("torus_embed"),
        mismatches::<TorusParams>("torus_multiply"),
        mismatches::<TorusParams>("torus_take"),
        mismatches::<FftParams>("fft_radix"),
        mismatches::<FftParams>("fft_radix4"),
        mismatches::<ChirpParams>("fft_chirp"),
        mismatches::<MriParams>("mri_expand"),
        mismatches::<MriParams>("mri_mask"),
        mismatches::<MriParams>("mri_combine"),
        mismatches::<MriParams>("mri_root_sum_of_squares"),
        mismatches::<MaskParams>("mask"),
        mismatches::<RadonParams>("radon"),
        mismatches::<RadonParams>("radon_adjoint"),
        mismatches::<RadonParams>("radon_interpolate"),
        mismatches::<Beam>("radon"),
        mismatches::<Beam>("radon_adjoint"),
        mismatches::<View>("radon_interpolate"),
        mismatches::<FilterParams>("ramp_filter"),
        mismatches::<FlowParams>("flow_forward"),
        mismatches::<FlowParams>("flow_backward"),
        mismatches::<FlowParams>("flow_inverse"),
        mismatches::<FlowParams>("flow_totals"),
        mismatches::<FlowParams>("flow_spline_gradient"),
        mismatches::<FlowEntry>("flow_spline_gradient"),
        mismatches::<ProjectParams>("flow_project"),
    ]
    .concat();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
