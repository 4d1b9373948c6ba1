//! The record of a run.

use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};

use crate::gpu::Gpu;
use crate::io::atomic::write_atomically;
use crate::{Error, Result};

/// Everything needed to repeat and to judge a run, written as `run.json`.
#[derive(Debug, Serialize)]
pub struct RunRecord {
    /// Layout version of this file.
    pub schema: u32,
    /// The command.
    pub command: String,
    /// Arguments as given.
    pub arguments: Vec<String>,
    /// All settings after defaults were filled in.
    pub settings: Value,
    /// Program version and dependencies that matter for the numbers.
    pub versions: Value,
    /// The adapter, its driver, and the limits in force.
    pub adapter: Value,
    /// Files read, with BLAKE3 hashes.
    pub inputs: Value,
    /// Files written, with BLAKE3 hashes.
    pub outputs: Value,
    /// What came out.
    pub results: Value,
    /// Metric conventions.
    pub conventions: &'static str,
}

impl RunRecord {
    /// A record for `command` on `gpu`.
    pub fn new(command: &str, gpu: &Gpu, settings: Value) -> Self {
        Self {
            schema: 1,
            command: command.into(),
            arguments: std::env::args().skip(1).collect(),
            settings,
            versions: json!({ "knotwork": env!("CARGO_PKG_VERSION"), "wgpu": "30" }),
            adapter: json!({
                "adapter": gpu.adapter(),
                "kernels": gpu.style().name(),
                "shader_checks": gpu.options().shader_checks,
                "max_binding_bytes": gpu.limits().max_storage_buffer_binding_size,
                "max_buffer_bytes": gpu.limits().max_buffer_size,
                "peak_device_bytes": gpu.peak_bytes(),
            }),
            inputs: json!({}),
            outputs: json!({}),
            results: json!({}),
            conventions: super::metrics::CONVENTIONS,
        }
    }

    /// Writes the record.
    ///
    /// # Errors
    /// [`Error::Output`].
    pub fn write(&self, path: &Path) -> Result<()> {
        use std::io::Write;
        let mut text = serde_json::to_string_pretty(self).map_err(|e| Error::Internal(e.to_string()))?;
        text.push('\n');
        write_atomically(path, |file| file.write_all(text.as_bytes()))
    }
}
