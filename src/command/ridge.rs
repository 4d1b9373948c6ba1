//! `train ridge`, `train denoiser` and `train unrolled`: models from a folder of images.

use super::training::{TrainingArgs, train_in_folder};
use crate::Result;
use crate::layered::{Kind, LayeredConfig, LayeredTrainer};
use crate::train::{RidgeConfig, Trainer};

/// `train ridge`: a (weakly) convex ridge regularizer.
///
/// # Errors
/// [`crate::Error::Input`] for unusable settings, images or checkpoints; [`crate::Error::Output`] for a folder that holds a training or
/// cannot be written; [`crate::Error::Interrupted`] after a signal or at the end of the time budget, with everything saved;
/// [`crate::Error::Diverged`]; device errors.
pub fn train_ridge(args: &TrainingArgs) -> Result<()> {
    let console = args.common.console();
    let Some((file, images)) = args.paths_or_print(&RidgeConfig::default())? else {
        return Ok(());
    };
    let config = RidgeConfig::read(file)?;
    let corpus = args.corpus(&console, images, &config.data, config.validation.images)?;
    let gpu = args.common.device.open(None)?;
    let model = &config.model;
    train_in_folder::<Trainer<'_>>(&gpu, args, &console, &config, &corpus, &config.name, |parameters| {
        let layers = match model.hidden.len() {
            0 => String::new(),
            hidden => format!(" from {} layers", hidden + 1),
        };
        format!(
            "{} filters of {}x{}{layers}, slopes in [{}, {}], {parameters} parameters",
            model.filters,
            model.side(),
            model.side(),
            0.0 - model.rho,
            model.mu
        )
    })
}

/// `train denoiser` and `train unrolled`: a 1-Lipschitz denoiser, an unrolled proximal gradient network.
///
/// # Errors
/// As [`train_ridge`].
pub fn train_layered(args: &TrainingArgs, kind: Kind) -> Result<()> {
    let console = args.common.console();
    let Some((file, images)) = args.paths_or_print(&LayeredConfig::of_kind(kind))? else {
        return Ok(());
    };
    let config = LayeredConfig::read(file, kind)?;
    let corpus = args.corpus(&console, images, &config.data, config.validation.images)?;
    let gpu = args.common.device.open(None)?;
    let net = &config.network;
    let depth = match kind {
        Kind::Denoiser => "layers",
        Kind::Unrolled => "steps",
    };
    train_in_folder::<LayeredTrainer<'_>>(&gpu, args, &console, &config, &corpus, &config.name, |parameters| {
        let (low, high) = net.slope_bounds();
        format!(
            "{} {depth} of {} channels, {}x{} filters, slopes in [{low}, {high}], {parameters} parameters",
            net.depth, net.channels, net.size, net.size
        )
    })
}
