//! Making models: parse, call the library, print.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use knotwork::command::{
    self, DctArgs, EvaluateArgs, FitArgs, FitNetworkArgs, FlowArgs, FlowEvaluateArgs, ImportArgs, InspectArgs,
    ReduceArgs, SampleArgs, TrainingArgs,
};
use knotwork::layered::Kind;

/// Fit splines, flows or small networks to samples; make regularizers, imported from published checkpoints or built from cosines
#[derive(Parser)]
#[command(name = "train", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Fit a spline with adaptive knots and bounded slopes to samples of a function
    Fit(FitArgs),
    /// Fit functions with small 1-Lipschitz networks: splines on uniform grids against nonuniform adaptive knots
    FitNetwork(FitNetworkArgs),
    /// PSNR and SSIM of a model on a folder of clean images with seeded noise
    Evaluate(EvaluateArgs),
    /// The constants of a model and what they guarantee, with pictures of its filters and activations
    Inspect(InspectArgs),
    /// Convert a published WCRR or CRR checkpoint (PyTorch) into a model file
    Import(ImportArgs),
    /// Build the regularizer of cosine filters with a smoothed absolute value, which needs no training
    Dct(DctArgs),
    /// Train a (weakly) convex ridge regularizer on a folder of images
    Ridge(TrainingArgs),
    /// Train a 1-Lipschitz denoiser, convolution layers of norm 1 and splines, on a folder of images
    Denoiser(TrainingArgs),
    /// Train an unrolled proximal gradient network for denoising or deblurring on a folder of images
    Unrolled(TrainingArgs),
    /// Remove knots from the activations of a model within an error budget, inside its slope bounds
    Reduce(ReduceArgs),
    /// Train a normalising flow on points of the line or the plane: a density that can be evaluated and sampled
    Flow(FlowArgs),
    /// Likelihood of points under a flow, their log-densities, how well it inverts, and what its density integrates to
    FlowEvaluate(FlowEvaluateArgs),
    /// Draw samples from a flow
    Sample(SampleArgs),
}

fn main() -> ExitCode {
    let cli: Cli = match command::arguments() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    command::finish(match cli.command {
        Command::Fit(args) => command::fit(&args),
        Command::FitNetwork(args) => command::fit_network(&args),
        Command::Evaluate(args) => command::evaluate(&args),
        Command::Inspect(args) => command::inspect(&args),
        Command::Import(args) => command::import_checkpoint(&args),
        Command::Dct(args) => command::build_dct(&args),
        Command::Ridge(args) => command::train_ridge(&args),
        Command::Denoiser(args) => command::train_layered(&args, Kind::Denoiser),
        Command::Unrolled(args) => command::train_layered(&args, Kind::Unrolled),
        Command::Reduce(args) => command::reduce_knots(&args),
        Command::Flow(args) => command::train_flow(&args),
        Command::FlowEvaluate(args) => command::evaluate_flow(&args),
        Command::Sample(args) => command::sample_flow(&args),
    })
}
