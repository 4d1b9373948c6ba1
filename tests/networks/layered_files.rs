//! Files of networks: what their certificates state; settings that are out of all proportion.

use std::path::Path;

use knotwork::layered::{Kind, Layered, LayeredConfig};

fn shipped(name: &str) -> (Vec<u8>, Layered) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/models");
    let bytes = std::fs::read(folder.join(format!("{name}.safetensors"))).unwrap();
    let model = Layered::from_bytes(&bytes).unwrap();
    (bytes, model)
}

/// The file with the last `from` in it replaced, which is in the certificate: it ends the description.
fn altered(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let at = bytes.windows(from.len()).rposition(|w| w == from.as_bytes()).unwrap();
    [&bytes[..at], to.as_bytes(), &bytes[at + from.len()..]].concat()
}

#[test]
fn a_certificate_promises_no_more_than_the_model_keeps() {
    for (name, from, to, entry) in [
        ("deblur-8", r#"lipschitz\":0.9"#, r#"lipschitz\":0.1"#, "lipschitz"),
        (
            "deblur-8",
            r#"norm_upper_bounds\":[0.9"#,
            r#"norm_upper_bounds\":[0.8"#,
            "norm_upper_bounds",
        ),
        (
            "deblur-8",
            r#"data_norm_squared\":0.9"#,
            r#"data_norm_squared\":0.5"#,
            "data_norm_squared",
        ),
        ("deblur-8", r#"\"step\":1.0"#, r#"\"step\":1.9"#, "step"),
        ("deblur-8", r#"\"step\":1.0"#, r#"\"step\":0.9"#, "step"),
        (
            "deblur-8",
            r#"every_step_is_proximal\":true"#,
            r#"every_step_is_proximal\":null"#,
            "every_step_is_proximal",
        ),
        ("deblur-8", r#"\"tied\":true"#, r#"\"tied\":null"#, "tied"),
        (
            "deblur-8",
            r#"\"slope_bounds\":[0.0,1.0]"#,
            r#"\"slope_bounds\":[0.0,0.9]"#,
            "slope_bounds",
        ),
        (
            "deblur-8",
            r#"\"largest_slopes\""#,
            r#"\"largest_slope_\""#,
            "largest_slopes",
        ),
        ("denoiser-25", r#"lipschitz\":0.9"#, r#"lipschitz\":0.1"#, "lipschitz"),
        (
            "denoiser-25",
            r#"firmly_nonexpansive\":false"#,
            r#"firmly_nonexpansive\":true "#,
            "firmly_nonexpansive",
        ),
        (
            "denoiser-25",
            r#"largest_slopes\":[0.9"#,
            r#"largest_slopes\":[0.7"#,
            "largest_slopes",
        ),
    ] {
        let error = Layered::from_bytes(&altered(&shipped(name).0, from, to))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("certificate states") && error.contains(entry),
            "{from}: {error}"
        );
    }
    // What is weaker than the truth is true.
    let (bytes, model) = shipped("deblur-8");
    let weaker = altered(&bytes, r#"lipschitz\":0.9"#, r#"lipschitz\":1.9"#);
    assert_eq!(Layered::from_bytes(&weaker).unwrap(), model);
}

#[test]
fn shipped_files_say_what_the_program_says() {
    for name in ["deblur-8", "denoiser-25", "unrolled-25"] {
        let (bytes, model) = shipped(name);
        let text = serde_json::to_string(&model.certificate()["norm_kind"]).unwrap();
        let text = text.trim_matches('"').as_bytes();
        assert!(bytes.windows(text.len()).any(|w| w == text), "{name}");
    }
}

#[test]
fn settings_out_of_all_proportion_are_refused_by_their_names() {
    let refused = |name: &str, change: &dyn Fn(&mut LayeredConfig)| {
        for kind in [Kind::Denoiser, Kind::Unrolled] {
            let mut config = LayeredConfig::of_kind(kind);
            change(&mut config);
            let error = config.check().unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    };
    refused("channels", &|c| c.network.channels = usize::MAX);
    refused("channels", &|c| c.network.channels = 1 << 32);
    refused("size", &|c| c.network.size = usize::MAX);
    refused("depth", &|c| c.network.depth = usize::MAX);
    refused("depth", &|c| {
        (c.network.channels, c.network.size, c.network.depth) = (256, 15, 1 << 60);
    });
}
