//! Being asked to stop: by Ctrl-C, by a system that shuts down, by a scheduler that warns before its limit.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::{Error, Result};

/// The signals that ask to stop. Windows knows the first (Ctrl-C) and the second only.
const SIGNALS: &[(i32, &str)] = &[
    (SIGINT, "SIGINT"),
    (SIGTERM, "SIGTERM"),
    #[cfg(unix)]
    (signal_hook::consts::SIGUSR1, "SIGUSR1"),
];

/// Remembers that the process was asked to stop, so that long work can end at a place of its own choice and leave a
/// checkpoint ([`Error::Interrupted`] then gives the exit code that says so).
#[derive(Clone, Debug)]
pub struct Interrupt {
    /// The number of the last signal in [`SIGNALS`], from 1; 0 for none.
    received: Arc<AtomicUsize>,
}

impl Interrupt {
    /// From now on SIGINT, SIGTERM and SIGUSR1 set a flag instead of ending the process. The second SIGINT or SIGTERM ends it
    /// at once, as if nobody had listened; SIGUSR1, the early warning of batch systems, never does and does not count. All that
    /// listen in a process hear the same.
    ///
    /// # Errors
    /// [`Error::Internal`] when the system does not allow it.
    pub fn install() -> Result<Self> {
        static INSTALLED: OnceLock<Interrupt> = OnceLock::new();
        if let Some(installed) = INSTALLED.get() {
            return Ok(installed.clone());
        }
        let refused = |error: std::io::Error| Error::Internal(format!("signals cannot be handled ({error})"));
        let received = Arc::new(AtomicUsize::new(0));
        let last_chance = Arc::new(AtomicBool::new(false));
        for (index, &(signal, _)) in SIGNALS.iter().enumerate() {
            if matches!(signal, SIGINT | SIGTERM) {
                // Handlers run in this order: the first signal finds the flag down, the second finds it up.
                flag::register_conditional_default(signal, last_chance.clone()).map_err(refused)?;
                flag::register(signal, last_chance.clone()).map_err(refused)?;
            }
            flag::register_usize(signal, received.clone(), index + 1).map_err(refused)?;
        }
        Ok(INSTALLED.get_or_init(|| Self { received }).clone())
    }

    /// The name of the signal by which the process was asked to stop, the last if there were several.
    pub fn requested(&self) -> Option<&'static str> {
        let index = self.received.load(Ordering::SeqCst).checked_sub(1)?;
        SIGNALS.get(index).map(|(_, name)| *name)
    }
}
