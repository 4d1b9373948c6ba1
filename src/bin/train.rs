//! Making models: parse, call the library, print.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use knotwork::command::{self, DctArgs, ImportArgs, ReduceArgs};

/// Make regularizers: imported from published checkpoints, or built from cosines. (Training is not there yet.)
#[derive(Parser)]
#[command(name = "train", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Convert a published WCRR or CRR checkpoint (PyTorch) into a model file
    Import(ImportArgs),
    /// Build the regularizer of cosine filters with a smoothed absolute value, which needs no training
    Dct(DctArgs),
    /// Remove knots from the activations of a model within an error budget, inside its slope bounds
    Reduce(ReduceArgs),
}

fn main() -> ExitCode {
    let cli: Cli = match command::arguments() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    command::finish(match cli.command {
        Command::Import(args) => command::import_checkpoint(&args),
        Command::Dct(args) => command::build_dct(&args),
        Command::Reduce(args) => command::reduce_knots(&args),
    })
}
