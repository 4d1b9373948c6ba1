//! Headless reconstruction: parse, call the library, print.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use knotwork::command::{self, DeblurArgs, DemoArgs, DenoiseArgs, InfoArgs, InpaintArgs, UpscaleArgs};

/// Reconstruct images with learned, provably convergent regularizers, on any GPU or none.
#[derive(Parser)]
#[command(name = "reconstruct", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Remove white Gaussian noise of known strength from an image
    Denoise(DenoiseArgs),
    /// Fill in missing pixels
    Inpaint(InpaintArgs),
    /// Undo a known blur
    Deblur(DeblurArgs),
    /// Make an image 2, 3 or 4 times as large
    Upscale(UpscaleArgs),
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
        Command::Denoise(args) => command::denoise(&args),
        Command::Inpaint(args) => command::inpaint(&args),
        Command::Deblur(args) => command::deblur(&args),
        Command::Upscale(args) => command::upscale(&args),
        Command::Demo(args) => command::demo(&args),
        Command::Info(args) => command::info(&args),
    })
}
