//! Pipelines that compile while the host goes on: drivers take up to a second for each, and most of it can overlap.

use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use super::faults::{Fault, Faults, lock, scoped};
use crate::{Error, Result};

/// Drivers recurse deeply in unrolled shaders, and threads have less stack than `main` by default.
const STACK: usize = 16 << 20;

type Compiled = std::result::Result<wgpu::ComputePipeline, Fault>;

/// A compute pipeline that a thread of its own compiles.
#[derive(Debug)]
pub(super) struct Pipeline {
    thread: Mutex<Option<JoinHandle<Compiled>>>,
    compiled: OnceLock<Option<wgpu::ComputePipeline>>,
    faults: Arc<Faults>,
}

impl Pipeline {
    /// Starts to compile what `make` makes. Errors of the driver go to `faults`.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] where no thread can be started.
    pub fn start(
        device: &wgpu::Device,
        faults: &Arc<Faults>,
        label: &str,
        make: impl FnOnce(&wgpu::Device) -> wgpu::ComputePipeline + Send + 'static,
    ) -> Result<Self> {
        let (device, name) = (device.clone(), label.to_owned());
        let compile = move || {
            let start = Instant::now();
            let compiled = scoped(&device, &name, make);
            log::debug!("kernel {name} compiled in {:.3} s", start.elapsed().as_secs_f64());
            compiled
        };
        let thread = Builder::new()
            .name(label.to_owned())
            .stack_size(STACK)
            .spawn(compile)
            .map_err(|e| Error::OutOfMemory(format!("no thread to compile kernel '{label}': {e}")))?;
        Ok(Self {
            thread: Mutex::new(Some(thread)),
            compiled: OnceLock::new(),
            faults: Arc::clone(faults),
        })
    }

    /// The pipeline, after waiting for it, and how long that was; `None` after an error.
    pub fn get(&self) -> (Option<&wgpu::ComputePipeline>, Duration) {
        if let Some(compiled) = self.compiled.get() {
            return (compiled.as_ref(), Duration::ZERO);
        }
        let start = Instant::now();
        let compiled = self.compiled.get_or_init(|| {
            let panicked = || Fault::Defect("a driver's compiler panicked".into());
            match lock(&self.thread).take()?.join().unwrap_or_else(|_| Err(panicked())) {
                Ok(pipeline) => Some(pipeline),
                Err(fault) => {
                    self.faults.set(fault);
                    None
                }
            }
        });
        (compiled.as_ref(), start.elapsed())
    }
}

impl Drop for Pipeline {
    /// Waits: a process that ends while a driver compiles may crash in its exit handlers.
    fn drop(&mut self) {
        if let Some(thread) = lock(&self.thread).take() {
            // What came of it matters to no one any more.
            let _ = thread.join();
        }
    }
}
