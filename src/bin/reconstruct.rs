//! Headless reconstruction: parse, call the library, print.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use knotwork::command::{self, BatchArgs, DemoArgs, InfoArgs, Job, SimulateArgs, TuneArgs};

/// Reconstruct images with learned, provably convergent regularizers, on any GPU or none.
#[derive(Parser)]
#[command(name = "reconstruct", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    #[command(flatten)]
    Job(Box<Job>),
    /// Do one of these for many files, on one device and in any number of processes; what is done is not done again
    Batch(BatchArgs),
    /// Find the best strength of the regularizer on measurements whose true images are known
    Tune(TuneArgs),
    /// Make measurements from true images, with seeded noise
    Simulate(SimulateArgs),
    /// Add noise to a bundled photograph and remove it again
    Demo(DemoArgs),
    /// List adapters and limits, and check that the chosen one computes correctly
    Info(InfoArgs),
}

fn main() -> ExitCode {
    let cli: Cli = match command::arguments() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    command::finish(match cli.command {
        Command::Job(job) => job.run_alone(),
        Command::Batch(args) => command::batch(&args),
        Command::Tune(args) => command::tune(&args),
        Command::Simulate(args) => command::simulate(&args),
        Command::Demo(args) => command::demo(&args),
        Command::Info(args) => command::info(&args),
    })
}
