//! The one error type of the crate. Every failure a user can meet is a value with one readable line and a stable exit
//! code; the library never panics on input, files or device trouble.

use std::path::{Path, PathBuf};

/// Result of every fallible operation of the crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, grouped by who can mend it. The message is one line that names the object and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line or a configuration asks for something impossible.
    #[error("{0}")]
    Usage(String),
    /// A file that was given cannot be used: missing, truncated, wrong type, shape or content.
    #[error("{}: {reason}", path.display())]
    Input {
        /// The offending file.
        path: PathBuf,
        /// What is wrong with it and what to do.
        reason: String,
    },
    /// Data handed to a library call is invalid (shape, order, non-finite values).
    #[error("{0}")]
    Data(String),
    /// The output cannot be written.
    #[error("cannot write {}: {reason}", path.display())]
    Output {
        /// The file that was to be written.
        path: PathBuf,
        /// What the system said, and the remedy.
        reason: String,
    },
    /// No adapter fits the request.
    #[error("{0}")]
    NoAdapter(String),
    /// The device, or a limit the device granted, is too small for the work.
    #[error("{0}")]
    OutOfMemory(String),
    /// The device was lost or did not answer in time.
    #[error("{0}")]
    DeviceLost(String),
    /// An iteration produced non-finite values.
    #[error("{0}")]
    Diverged(String),
    /// Some items of a batch failed, the others are done.
    #[error("{0}")]
    Partial(String),
    /// The process was asked to stop before the work was done; what there is was saved, and running again goes on.
    #[error("{0}")]
    Interrupted(String),
    /// A defect of this program: an invalid shader, binding or invariant.
    #[error("internal error: {0}")]
    Internal(String),
}

impl Error {
    /// An unusable input file.
    pub fn input(path: impl AsRef<Path>, reason: impl Into<String>) -> Self {
        Self::Input {
            path: path.as_ref().to_path_buf(),
            reason: reason.into(),
        }
    }

    /// An output that cannot be written.
    pub fn output(path: impl AsRef<Path>, reason: impl Into<String>) -> Self {
        Self::Output {
            path: path.as_ref().to_path_buf(),
            reason: reason.into(),
        }
    }

    /// The process exit code: 1 internal, 2 usage or unwritable output, 3 invalid input, 4 some items of a batch failed,
    /// 5 no adapter, 6 out of memory, 7 device lost or timeout, 8 diverged, 75 interrupted with everything saved (a temporary
    /// failure: run again to continue).
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Internal(_) => 1,
            Self::Usage(_) | Self::Output { .. } => 2,
            Self::Input { .. } | Self::Data(_) => 3,
            Self::Partial(_) => 4,
            Self::NoAdapter(_) => 5,
            Self::OutOfMemory(_) => 6,
            Self::DeviceLost(_) => 7,
            Self::Diverged(_) => 8,
            Self::Interrupted(_) => 75,
        }
    }
}
