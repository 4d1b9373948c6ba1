//! Headless reconstruction: parse, call the library, print.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use knotwork::command::{self, DemoArgs, InfoArgs, Job, SimulateArgs};

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
    Job(Job),
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
        Command::Simulate(args) => command::simulate(&args),
        Command::Demo(args) => command::demo(&args),
        Command::Info(args) => command::info(&args),
    })
}
