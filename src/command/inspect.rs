//! `train inspect`: what a model is and what it guarantees.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::Console;
use super::any_model::AnyModel;
use super::options::model_source;
use crate::flow::Flow;
use crate::io::atomic::{check_writable, write_atomically};
use crate::io::image::Format;
use crate::layered::Layered;
use crate::model::Border;
use crate::report::plot::{activations_figure, penalties_figure};
use crate::report::{certificate, filters_picture, layered_report, penalties_table};
use crate::{Error, Result};

/// Arguments of `train inspect`.
#[derive(Args, Clone, Debug)]
pub struct InspectArgs {
    /// Model file (regularizer, denoiser, unrolled network, flow), or one of the shipped models: default (wcrr-64), wcrr-48, wcrr-small, crr-48, crr-44, crr-32, dct5, wcrr-phantom, denoiser-25, deblur-8, unrolled-25,
    /// flow-moons, flow-ring, flow-hills
    pub model: PathBuf,
    /// Folder, made if need be, for certificate.json and pictures: activations.svg and filters.png, report.html of a
    /// network, with penalties.svg and penalties.json of an unrolled one, or splines.svg of a flow
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Print one JSON object as the last line of stdout
    #[arg(long)]
    pub json: bool,
    /// No messages but errors
    #[arg(short, long)]
    pub quiet: bool,
}

/// `train inspect`.
///
/// # Errors
/// An unusable model, unwritable outputs.
pub fn inspect(args: &InspectArgs) -> Result<()> {
    let console = Console::new(args.quiet, args.json);
    let model = AnyModel::open(&args.model)?;
    if let Some(folder) = &args.output {
        std::fs::create_dir_all(folder).map_err(|e| Error::output(folder, format!("{e}; name another folder")))?;
    }
    let model = match model {
        AnyModel::Ridge(model) => model,
        AnyModel::Layered(model) => return inspect_network(args, &console, &model),
        AnyModel::Flow(model) => return inspect_flow(args, &console, &model),
    };
    let constants = certificate(&model, 1.0);
    let result = json!({
        "model": model.name,
        "file": model_source(Some(&args.model))?,
        "channels": model.bank.channels(),
        "layers": model.bank.layers().iter().map(|l| [l.inputs, l.outputs, l.size]).collect::<Vec<_>>(),
        "activations": model.activations.len(),
        "knots": model.activations.iter().map(|a| a.len()).collect::<Vec<_>>(),
        "sigma_range": model.sigma_range,
        "certificate": constants,
        "provenance": model.provenance,
    });
    if let Some(folder) = &args.output {
        let file = |name: &str| folder.join(name);
        let (text, plot, picture) = (file("certificate.json"), file("activations.svg"), file("filters.png"));
        for output in [&text, &plot, &picture] {
            check_writable(output)?;
        }
        let names: Vec<String> = (0..model.activations.len()).map(|c| format!("phi {c}")).collect();
        let named: Vec<_> = names.iter().map(String::as_str).zip(&model.activations).collect();
        let figure = activations_figure(&named);
        let pretty = pretty(&result)?;
        write_atomically(&text, |out| out.write_all(pretty.as_bytes()))?;
        write_atomically(&plot, |out| out.write_all(figure.as_bytes()))?;
        filters_picture(&model.bank)?.write(&picture, Format::Png8)?;
    }
    say(&console, &result);
    console.result(&result)
}

fn inspect_network(args: &InspectArgs, console: &Console, model: &Layered) -> Result<()> {
    let certificate = model.certificate();
    let splines = || model.activations.iter().flatten();
    let result = json!({
        "model": model.name,
        "file": model_source(Some(&args.model))?,
        "network": model.architecture,
        "layers": model.filters.iter().map(|l| [l.inputs, l.outputs, l.size]).collect::<Vec<_>>(),
        "activations": splines().count(),
        "knots": splines().map(|a| a.len()).collect::<Vec<_>>(),
        "parameters": model.parameters(),
        "sigma": model.sigma,
        "certificate": certificate,
        "provenance": model.provenance,
    });
    if let Some(folder) = &args.output {
        let mut files = vec![
            ("certificate.json", pretty(&result)?),
            ("report.html", layered_report(model, &[], &model.provenance["config"])?),
        ];
        let penalties = model.penalties()?;
        if !penalties.is_empty() {
            let of_set = |(set, penalties): (usize, &Vec<_>)| -> Vec<String> {
                (0..penalties.len()).map(|c| format!("g {set}.{c}")).collect()
            };
            let names: Vec<String> = penalties.iter().enumerate().flat_map(of_set).collect();
            let named: Vec<_> = names
                .iter()
                .map(String::as_str)
                .zip(penalties.iter().flatten())
                .collect();
            files.push(("penalties.svg", penalties_figure(&named)));
            files.push(("penalties.json", pretty(&penalties_table(model)?)?));
        }
        for (name, _) in &files {
            check_writable(folder.join(name))?;
        }
        for (name, content) in &files {
            write_atomically(folder.join(name), |out| out.write_all(content.as_bytes()))?;
        }
    }
    console.say(format!(
        "{}: layers {}, {} splines of {} knots at most, {} parameters, for sigma {:.4}",
        model.name,
        result["layers"],
        result["activations"],
        splines().map(|a| a.len()).max().unwrap_or(0),
        result["parameters"],
        model.sigma
    ));
    if let Some(constants) = certificate.as_object() {
        for (name, value) in constants {
            console.say(format!("{name}: {value}"));
        }
    }
    console.result(&result)
}

fn inspect_flow(args: &InspectArgs, console: &Console, model: &Flow) -> Result<()> {
    let constants = model.certificate();
    let result = json!({
        "model": model.name,
        "dimensions": model.dims(),
        "layers": model.layers(),
        "knots": model.splines().map(|s| s.len()).collect::<Vec<_>>(),
        "parameters": model.parameters(),
        "slope_bounds": (model.slope_bounds.min(), model.slope_bounds.max()),
        "shear_bound": model.shear_bound,
        "certificate": constants,
        "provenance": model.provenance,
    });
    if let Some(folder) = &args.output {
        let (text, plot) = (folder.join("certificate.json"), folder.join("splines.svg"));
        for output in [&text, &plot] {
            check_writable(output)?;
        }
        let names: Vec<String> = (0..model.splines().count())
            .map(|n| format!("{} {}", ["m", "n", "T"][n / model.layers()], n % model.layers()))
            .collect();
        let named: Vec<_> = names.iter().map(String::as_str).zip(model.splines()).collect();
        let figure = activations_figure(&named);
        let pretty = pretty(&result)?;
        write_atomically(&text, |out| out.write_all(pretty.as_bytes()))?;
        write_atomically(&plot, |out| out.write_all(figure.as_bytes()))?;
    }
    console.say(format!(
        "{}: a flow in {} with {} layers and {} parameters, slopes inside {}, shears at most {}",
        model.name,
        if model.dims() == 1 {
            "1 dimension"
        } else {
            "2 dimensions"
        },
        model.layers(),
        model.parameters(),
        model.slope_bounds,
        model.shear_bound
    ));
    for (index, layer) in constants.layers.iter().enumerate() {
        console.say(format!(
            "layer {index}: Lipschitz {:.4}, its inverse {:.4}, slopes {:?}, |T'| at most {:.4}",
            layer.lipschitz, layer.inverse_lipschitz, layer.slopes, layer.shear
        ));
    }
    console.say(format!(
        "the flow: Lipschitz {:.3e}, its inverse {:.3e}",
        constants.lipschitz, constants.inverse_lipschitz
    ));
    console.result(&result)
}

/// JSON for readers, with a line break at its end.
fn pretty(value: &Value) -> Result<String> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Error::Internal(e.to_string()))?;
    Ok(text + "\n")
}

fn say(console: &Console, result: &Value) {
    let c = &result["certificate"];
    console.say(format!(
        "{}: {} channels, layers {}, {} activations of {} knots at most, sigma {} to {}",
        result["model"].as_str().unwrap_or_default(),
        result["channels"],
        result["layers"],
        result["activations"],
        result["knots"]
            .as_array()
            .map_or(0, |k| k.iter().filter_map(Value::as_u64).max().unwrap_or(0)),
        result["sigma_range"][0],
        result["sigma_range"][1],
    ));
    console.say(format!(
        "slopes {} inside the bounds {}",
        c["slopes"], c["slope_bounds"]
    ));
    console.say(format!(
        "|W|^2: {} ({}), rigorous upper bound {}",
        c["norm_squared"],
        c["norm_kind"].as_str().unwrap_or_default(),
        c["norm_squared_upper_bound"]
    ));
    console.say(format!(
        "grad R is Lipschitz with {}, R + {}/2 |x|^2 is convex; denoising with weight 1 is {}",
        c["gradient_lipschitz"],
        c["weak_convexity"],
        if c["energy_convex"] == true {
            "convex"
        } else {
            "not convex"
        }
    ));
    console.say(match c["border"] == json!(Border::Mirror) {
        true => "beyond the borders of an image that is denoised lies its mirror image, beyond those of others a part that is not measured"
            .to_owned(),
        false => "beyond the borders of an image lie zeros".to_owned(),
    });
}
