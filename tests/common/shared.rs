//! Where data lies that is used for checks but is no part of the project.

use std::path::PathBuf;

/// The path of `relative` in the folder that `KNOTWORK_SHARED` names; says why there is none.
pub fn shared(relative: &str) -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("KNOTWORK_SHARED") else {
        eprintln!("skipped: KNOTWORK_SHARED is not set, so {relative} cannot be read");
        return None;
    };
    Some(PathBuf::from(folder).join(relative))
}
