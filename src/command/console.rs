//! What a command says: messages and progress on stderr, one JSON object as the last line of stdout.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use clap::error::ErrorKind;
use indicatif::{ProgressBar, ProgressStyle};

use crate::{Error, Result};

/// Where a command's messages go.
#[derive(Clone, Copy, Debug)]
pub struct Console {
    quiet: bool,
    json: bool,
}

impl Console {
    /// Messages unless `quiet`, results as JSON on stdout if `json`. Also starts the log, at warnings unless `RUST_LOG`
    /// says otherwise.
    pub fn new(quiet: bool, json: bool) -> Self {
        let level = if quiet { "error" } else { "warn" };
        // Drivers' and wgpu's own messages are for those who ask: RUST_LOG=info shows them.
        let filter = format!("{level},wgpu_hal=error,wgpu_core=error");
        let environment = env_logger::Env::default().default_filter_or(filter);
        // Only fails if a log is running already, as in a test; then that one serves.
        let _ = env_logger::Builder::from_env(environment)
            .format_timestamp(None)
            .format_target(false)
            .try_init();
        Self { quiet, json }
    }

    /// A message for a person.
    pub fn say(&self, message: impl AsRef<str>) {
        if !self.quiet {
            // A closed stderr must not fail the work.
            let _ = writeln!(std::io::stderr(), "{}", message.as_ref());
        }
    }

    /// The machine-readable result, one line.
    ///
    /// # Errors
    /// [`Error::Output`] if stdout cannot be written.
    pub fn result(&self, value: &serde_json::Value) -> Result<()> {
        if !self.json {
            return Ok(());
        }
        writeln!(std::io::stdout(), "{value}").map_err(|e| Error::output("stdout", e.to_string()))
    }

    /// A progress line, visible on a terminal only.
    pub fn progress(&self, length: usize) -> ProgressBar {
        if self.quiet || !std::io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::new(length as u64);
        if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos}/{len} {msg} {elapsed}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }
}

/// Turns a command's outcome into the process's exit code, printing an error as one line.
pub fn finish(outcome: Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {}", error.to_string().replace('\n', " "));
            ExitCode::from(error.exit_code())
        }
    }
}

/// The arguments of this process. Help and version are printed as usual; a mistake becomes one line like every other
/// error, with the exit code 2.
///
/// # Errors
/// The exit code with which to end the process; everything has been said.
pub fn arguments<T: Parser>() -> std::result::Result<T, ExitCode> {
    T::try_parse().map_err(|error| {
        if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
        let _ = writeln!(std::io::stderr(), "{}", one_line(&error.render().to_string()));
        ExitCode::from(Error::Usage(String::new()).exit_code())
    })
}

/// Clap's message without its usage lines: `error: WHAT IS WRONG, tip: WHAT TO DO; try --help`.
pub(super) fn one_line(message: &str) -> String {
    let end = message
        .find("\n\nUsage:")
        .or_else(|| message.find("\n\nFor more information"))
        .unwrap_or(message.len());
    let parts: Vec<String> = message[..end]
        .split("\n\n")
        .map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    format!("{}; try --help", parts.join("; "))
}
