//! `train import` and `train dct`: models made without training.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::CommonArgs;
use crate::filters::norm;
use crate::io::atomic::check_writable;
use crate::model::dct::{DctSettings, dct};
use crate::model::{NormKind, import};
use crate::solver::gram_norm;
use crate::{Error, Result};

/// Images and iterations of the published code's own norm estimate, so that published results are reproduced.
const NORM_IMAGE: [usize; 2] = [256, 256];
const NORM_ITERATIONS: usize = 200;

/// Arguments of `train import`.
#[derive(Args, Clone, Debug)]
pub struct ImportArgs {
    /// Published WCRR or CRR checkpoint (PyTorch)
    pub checkpoint: PathBuf,
    /// Its configuration [default: config.json beside the checkpoint]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where the model goes
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Turn the layers into one filter per channel, padded with zeros at the image border only: the norm is then
    /// certified, and differs from the published one near the border
    #[arg(long)]
    pub collapse: bool,
    /// Messages and device
    #[command(flatten)]
    pub common: CommonArgs,
}

/// `train import`.
///
/// # Errors
/// An unreadable checkpoint or configuration, an unwritable output, a device error.
pub fn import_checkpoint(args: &ImportArgs) -> Result<()> {
    let console = args.common.console();
    check_writable(&args.output)?;
    let config = match &args.config {
        Some(config) => config.clone(),
        None => {
            let beside = args.checkpoint.with_file_name("config.json");
            if args.checkpoint.exists() && !beside.exists() {
                return Err(Error::input(
                    beside,
                    "no such file beside the checkpoint; name the configuration with --config",
                ));
            }
            beside
        }
    };
    let mut model = import::read_checkpoint(&args.checkpoint, &config)?;
    if args.collapse {
        model.bank = model.bank.collapsed()?;
        model.name.push_str("-collapsed");
    }
    let gpu = args.common.device.open(None)?;
    let estimate = gram_norm(&gpu, &model, NORM_IMAGE, NORM_ITERATIONS)?;
    let bound = norm::upper_bound(&model.bank);
    // A certified bound is used where it is tight, which is the case for a single layer.
    model = if args.collapse {
        model.normalised(bound, NormKind::Bound)
    } else {
        model.normalised(estimate, NormKind::Estimate)
    };
    model.provenance["filter_norm_squared"] = json!({ "estimate": estimate, "upper_bound": bound });
    model.check()?;
    model.write(&args.output)?;
    console.say(format!(
        "{}: {} channels, |W|^2 {estimate:.2} by power iteration, at most {bound:.2}, rho {:.3}, mu {:.3}",
        args.output.display(),
        model.bank.channels(),
        model.weak_convexity(),
        model.slope_bounds.1
    ));
    let mut result = json!({
        "output": args.output,
        "model": model.name,
        "channels": model.bank.channels(),
        "norm_squared_estimate": estimate,
        "norm_squared_upper_bound": bound,
        "slope_bounds": model.slope_bounds,
    });
    args.common.device.report(&gpu, &console, &mut result)?;
    console.result(&result)
}

/// Arguments of `train dct`.
#[derive(Args, Clone, Debug)]
pub struct DctArgs {
    /// Where the model goes
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Side of the cosine filters, odd
    #[arg(long, default_value_t = DctSettings::default().size)]
    pub size: usize,
    /// Slope of the activation around 0
    #[arg(long, default_value_t = DctSettings::default().slope, allow_hyphen_values = true)]
    pub slope: f64,
    /// Largest pull on a filter response, in units of sigma
    #[arg(long, default_value_t = DctSettings::default().threshold, allow_hyphen_values = true)]
    pub threshold: f64,
}

/// `train dct`.
///
/// # Errors
/// Settings out of range, an unwritable output.
pub fn build_dct(args: &DctArgs) -> Result<()> {
    check_writable(&args.output)?;
    dct(&DctSettings {
        size: args.size,
        slope: args.slope,
        threshold: args.threshold,
    })?
    .write(&args.output)
}
