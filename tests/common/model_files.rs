//! Small model files, good and bad.
#![allow(dead_code, reason = "each test program uses some of it")]

use knotwork::filters::{ConvLayer, FilterBank};
use knotwork::model::{Border, NormKind, Ridge, Scaling};
use knotwork::spline::Spline;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};

/// A weakly convex model of two 3 x 3 filters, `rho = 0.5`, for noise levels up to 0.5.
pub fn small_model() -> Ridge {
    let weights = [
        [0.0, 0.0, 0.0, 0.0, -0.5, 0.5, 0.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, 0.0, -0.5, 0.0, 0.0, 0.5, 0.0],
    ];
    let activation = |scale: f64| {
        let knots = vec![-3.0, -1.0, 1.0, 3.0];
        Spline::new(knots, [1.0, -2.0, 2.0, -1.0].map(|v| scale * v / 3.0).to_vec()).unwrap()
    };
    let model = Ridge {
        bank: FilterBank::new(vec![ConvLayer::new(1, 2, 3, weights.concat()).unwrap()]).unwrap(),
        activations: vec![activation(1.0), activation(0.5)],
        scaling: Scaling {
            log: vec![Spline::new(vec![0.0, 0.25, 0.5], vec![0.0, 0.1, 0.0]).unwrap()],
            epsilon: 1e-5,
        },
        slope_bounds: (-0.5, 1.0),
        sigma_range: (0.0, 0.5),
        norm_squared: 2.0,
        norm_kind: NormKind::Bound,
        border: Border::Zero,
        name: "small".into(),
        provenance: serde_json::json!({ "made_by": "a test" }),
    };
    model.check().unwrap();
    model
}

/// A tensor's type, shape and bytes.
pub type Raw = (Dtype, Vec<usize>, Vec<u8>);

/// The file of [`small_model`] after `edit` of its description and its tensors.
pub fn edited(edit: impl FnOnce(&mut Value, &mut BTreeMap<String, Raw>)) -> Vec<u8> {
    let bytes = small_model().to_bytes().unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let mut description: Value = serde_json::from_str(&header.metadata().as_ref().unwrap()["knotwork"]).unwrap();
    let mut tensors: BTreeMap<String, Raw> = SafeTensors::deserialize(&bytes)
        .unwrap()
        .iter()
        .map(|(name, view)| {
            (
                name.to_owned(),
                (view.dtype(), view.shape().to_vec(), view.data().to_vec()),
            )
        })
        .collect();
    edit(&mut description, &mut tensors);
    pack(&tensors, Some([("knotwork", description.to_string())]))
}

/// A safetensors file.
pub fn pack<const N: usize>(tensors: &BTreeMap<String, Raw>, metadata: Option<[(&str, String); N]>) -> Vec<u8> {
    let views = tensors
        .iter()
        .map(|(name, (dtype, shape, bytes))| (name, TensorView::new(*dtype, shape.clone(), bytes).unwrap()));
    let metadata: Option<HashMap<String, String>> =
        metadata.map(|entries| entries.into_iter().map(|(k, v)| (k.to_owned(), v)).collect());
    safetensors::serialize(views, metadata).unwrap()
}

/// Replaces value number `at` of an f64 tensor.
pub fn set_f64(raw: &mut Raw, at: usize, value: f64) {
    raw.2[8 * at..8 * at + 8].copy_from_slice(&value.to_le_bytes());
}

/// Model files that must be refused, with a part of the reason.
pub fn bad_models() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let good = small_model().to_bytes().unwrap();
    let weights_only: BTreeMap<String, Raw> = [("w".to_owned(), (Dtype::F32, vec![1], vec![0; 4]))].into();
    let describe = |key: &'static str, value: Value| edited(move |d, _| d[key] = value);
    let part = |name: &'static str, edit: fn(&mut Raw)| edited(move |_, t| edit(t.get_mut(name).unwrap()));
    vec![
        ("cut in the length", good[..5].to_vec(), "truncated"),
        ("cut in the header", good[..100].to_vec(), "truncated"),
        ("cut in the data", good[..good.len() - 20].to_vec(), "truncated"),
        ("cut by one byte", good[..good.len() - 1].to_vec(), "truncated"),
        ("empty", Vec::new(), ""),
        (
            "a PNG",
            b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec(),
            "not a readable model file",
        ),
        ("no metadata", pack::<0>(&weights_only, None), "train import"),
        (
            "other metadata",
            pack(&weights_only, Some([("format", "pt".to_owned())])),
            "train import",
        ),
        (
            "no JSON",
            pack(&weights_only, Some([("knotwork", "{".to_owned())])),
            "model description",
        ),
        (
            "no version",
            edited(|d, _| drop(d.as_object_mut().unwrap().remove("schema"))),
            "no schema version",
        ),
        ("version 2", describe("schema", 2.into()), "schema 2"),
        ("unknown key", describe("colour", 1.into()), "colour"),
        ("architecture", describe("architecture", "unet".into()), "'unet' model"),
        (
            "noise range",
            describe("sigma_range", serde_json::json!([0.5, 0.1])),
            "noise range",
        ),
        ("norm", describe("norm_squared", 0.0.into()), "norm"),
        ("boundary", describe("boundary", "open".into()), "'open'"),
        (
            "slopes above",
            describe("slope_bounds", serde_json::json!([-0.5, 0.6])),
            "outside [-0.5, 0.6]",
        ),
        (
            "slopes below",
            describe("slope_bounds", serde_json::json!([-0.4, 1.0])),
            "outside [-0.4, 1]",
        ),
        (
            "unsorted knots",
            part("activations.knots", |raw| set_f64(raw, 1, 2.0)),
            "'activations' spline 0",
        ),
        (
            "equal knots",
            part("activations.knots", |raw| set_f64(raw, 5, -3.0)),
            "'activations' spline 1",
        ),
        (
            "NaN knot",
            part("scaling.knots", |raw| set_f64(raw, 1, f64::NAN)),
            "'scaling' spline 0",
        ),
        (
            "NaN value",
            part("activations.values", |raw| set_f64(raw, 2, f64::NAN)),
            "'activations' spline 0",
        ),
        (
            "infinite value",
            part("scaling.values", |raw| set_f64(raw, 2, f64::INFINITY)),
            "'scaling' spline 0",
        ),
        (
            "NaN weight",
            part("filters.0", |raw| {
                raw.2[16..20].copy_from_slice(&f32::NAN.to_le_bytes())
            }),
            "filter weight 4",
        ),
        (
            "counts",
            part("activations.counts", |raw| raw.2[0] = 3),
            "counts [3, 4]",
        ),
        (
            "huge counts",
            part("activations.counts", |raw| raw.2.fill(255)),
            "counts",
        ),
        (
            "number of splines",
            part("activations.counts", |raw| {
                *raw = (Dtype::U32, vec![3], [4, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0].to_vec())
            }),
            "3 activations",
        ),
        (
            "even filters",
            part("filters.0", |raw| *raw = (Dtype::F32, vec![2, 1, 2, 2], vec![0; 32])),
            "odd",
        ),
        (
            "oblong filters",
            part("filters.0", |raw| raw.1 = vec![2, 1, 1, 9]),
            "square",
        ),
        (
            "flat filters",
            part("filters.0", |raw| raw.1 = vec![18]),
            "4-dimensional",
        ),
        (
            "two inputs",
            part("filters.0", |raw| raw.1 = vec![1, 2, 3, 3]),
            "layer 0 reads 2 planes",
        ),
        ("wrong type", part("filters.0", |raw| raw.0 = Dtype::I32), "want F32"),
        (
            "no filters",
            edited(|_, t| drop(t.remove("filters.0"))),
            "needs a layer",
        ),
        (
            "no knots",
            edited(|_, t| drop(t.remove("activations.knots"))),
            "no tensor 'activations.knots'",
        ),
    ]
}
