//! The open device: limits, kernels, memory and errors.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::adapter::{self, AdapterChoice, AdapterSummary};
use super::buffer::{Buffer, Charge};
use super::compose::{compose, compose_text};
use super::faults::{Fault, Faults, lock, scoped};
use super::kernel::{Bound, Kernel, Specialisation};
use super::params::{ParamTable, ShaderStruct};
use super::pipeline::Pipeline;
use super::profile::{Profile, Profiler};
use super::recorder::Recorder;
use super::style::KernelStyle;
use crate::{Error, Result};

/// How to open the device.
#[derive(Clone, Debug)]
pub struct GpuOptions {
    /// Which adapter.
    pub adapter: AdapterChoice,
    /// Bounds and loop checks inside shaders. Default: on if `KNOTWORK_SHADER_CHECKS` is set to anything but `0`.
    pub shader_checks: bool,
    /// Stay within wgpu's default limits (128 MiB bindings) even where the adapter offers more.
    pub default_limits: bool,
    /// How long one wait for the device may take before it counts as hung.
    pub timeout: Duration,
    /// Time every dispatch on the device, for [`Gpu::profile`]. An adapter without timestamps gives a warning and no times.
    pub profile: bool,
    /// Features to treat as absent, for testing what happens without them.
    pub withheld: wgpu::Features,
}

impl Default for GpuOptions {
    fn default() -> Self {
        Self {
            adapter: AdapterChoice::Best,
            shader_checks: std::env::var("KNOTWORK_SHADER_CHECKS").is_ok_and(|v| !v.is_empty() && v != "0"),
            default_limits: false,
            timeout: Duration::from_secs(600),
            profile: false,
            withheld: wgpu::Features::empty(),
        }
    }
}

/// Seconds spent on the device's side of set-up.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub struct Timings {
    /// Opening the adapter and device.
    pub open: f64,
    /// Composing and reflecting kernels, waiting for drivers to compile them, first launches included.
    pub compile: f64,
}

/// An open device. Everything the crate does on a GPU goes through one of these.
pub struct Gpu {
    device: wgpu::Device,
    queue: wgpu::Queue,
    summary: AdapterSummary,
    options: GpuOptions,
    limits: wgpu::Limits,
    faults: Arc<Faults>,
    kernels: Mutex<HashMap<Specialisation, Arc<Kernel>>>,
    pub(super) recording: AtomicI64,
    allocated: Arc<AtomicU64>,
    peak: AtomicU64,
    budget: Option<u64>,
    timings: Mutex<Timings>,
    profiler: Option<Profiler>,
    style: KernelStyle,
}

impl Gpu {
    /// Opens the adapter that `options` ask for, with wgpu's default limits; only buffer and binding sizes are raised
    /// to what the adapter offers.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] if none fits or the device cannot be opened.
    pub fn open(options: GpuOptions) -> Result<Self> {
        let start = Instant::now();
        let (index, adapter) = adapter::choose(&options.adapter)?;
        let summary = AdapterSummary::new(index, &adapter);
        let offered = adapter.limits();
        let mut limits = wgpu::Limits::default();
        if !options.default_limits {
            limits.max_buffer_size = limits.max_buffer_size.max(offered.max_buffer_size);
            limits.max_storage_buffer_binding_size = limits
                .max_storage_buffer_binding_size
                .max(offered.max_storage_buffer_binding_size);
        }
        let mut wanted = wgpu::Features::empty();
        wanted.set(wgpu::Features::TIMESTAMP_QUERY, options.profile);
        wanted.set(wgpu::Features::SUBGROUP, summary.lanes.is_some());
        let required_features = adapter.features().difference(options.withheld).intersection(wanted);
        let timestamps = required_features.contains(wgpu::Features::TIMESTAMP_QUERY);
        let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor {
            label: Some("knotwork"),
            required_features,
            required_limits: limits.clone(),
            ..Default::default()
        }))
        .map_err(|e| {
            Error::NoAdapter(format!(
                "cannot open adapter {summary}: {e}; choose another with --adapter"
            ))
        })?;
        let faults = Arc::new(Faults::default());
        let sink = Arc::clone(&faults);
        device.on_uncaptured_error(Arc::new(move |e| sink.set(Fault::of(e, "device"))));
        let sink = Arc::clone(&faults);
        device.set_device_lost_callback(move |reason, message| {
            if reason != wgpu::DeviceLostReason::Destroyed {
                sink.set(Fault::Lost(format!(
                    "the device was lost ({}); run again, or use a smaller image",
                    message.trim()
                )));
            }
        });
        log::info!("adapter {summary}, driver {}", summary.driver);
        if summary.software {
            log::warn!("no GPU in use: {} is a software driver; expect CPU speed", summary.name);
        }
        if options.profile && !timestamps {
            log::warn!(
                "timings are not available on this adapter ({}): it has no timestamp queries; the run goes on without a profile",
                summary.name
            );
        }
        let budget = summary.software.then(available_memory).flatten();
        let style = KernelStyle::suiting(summary.software, summary.lanes);
        let timings = Timings {
            open: start.elapsed().as_secs_f64(),
            compile: 0.0,
        };
        let mut gpu = Self {
            device,
            queue,
            summary,
            options,
            limits,
            faults,
            kernels: Mutex::default(),
            recording: AtomicI64::new(0),
            allocated: Arc::default(),
            peak: AtomicU64::new(0),
            budget,
            timings: Mutex::new(timings),
            profiler: None,
            style,
        };
        if timestamps {
            gpu.profiler = Some(Profiler::new(&gpu)?);
        }
        Ok(gpu)
    }

    /// The adapter in use.
    pub fn adapter(&self) -> &AdapterSummary {
        &self.summary
    }

    /// How kernels are cut unless a caller asks for something else: what suits the kind of adapter, or
    /// [`Self::with_style`].
    pub fn style(&self) -> KernelStyle {
        self.style
    }

    /// The same device with another style.
    #[must_use]
    pub fn with_style(self, style: KernelStyle) -> Self {
        Self { style, ..self }
    }

    /// Invocations of a subgroup, where it is always the same number and kernels may pass values on within it.
    pub fn lanes(&self) -> Option<u32> {
        let granted = self.device.features().contains(wgpu::Features::SUBGROUP);
        self.summary.lanes.filter(|_| granted)
    }

    /// The options the device was opened with.
    pub fn options(&self) -> &GpuOptions {
        &self.options
    }

    /// The limits granted.
    pub fn limits(&self) -> &wgpu::Limits {
        &self.limits
    }

    /// Seconds spent opening and compiling so far.
    pub fn timings(&self) -> Timings {
        *lock(&self.timings)
    }

    /// The most bytes of device memory that were allocated at once.
    pub fn peak_bytes(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }

    pub(super) fn device(&self) -> &wgpu::Device {
        &self.device
    }

    pub(super) fn queue(&self) -> &wgpu::Queue {
        &self.queue
    }

    pub(super) fn profiler(&self) -> Option<&Profiler> {
        self.profiler.as_ref()
    }

    pub(super) fn recording(&self, change: i64) {
        self.recording.fetch_add(change, Ordering::Relaxed);
    }

    pub(super) fn report(&self, defect: String) {
        self.faults.set(Fault::Defect(defect));
    }

    /// Waits for everything submitted and returns the times of all dispatches so far, those of [`Gpu::warm_up`] and
    /// [`Gpu::record_untimed`] left out; `None` unless the device was opened with [`GpuOptions::profile`] on an adapter
    /// that has timestamps.
    ///
    /// # Errors
    /// As [`Gpu::wait`].
    pub fn profile(&self) -> Result<Option<Profile>> {
        self.profiler.as_ref().map(|p| p.profile(self)).transpose()
    }

    /// Runs device calls that return invalid objects instead of errors, and turns what they report into a value.
    pub(super) fn scoped<T>(&self, label: &str, make: impl FnOnce(&wgpu::Device) -> T) -> Result<T> {
        scoped(&self.device, label, make).map_err(|fault| fault.error())
    }

    /// Starts to compile what `make` makes; an error fails every later read.
    pub(super) fn pipeline(
        &self,
        label: &str,
        make: impl FnOnce(&wgpu::Device) -> wgpu::ComputePipeline + Send + 'static,
    ) -> Result<Arc<Pipeline>> {
        Ok(Arc::new(Pipeline::start(&self.device, &self.faults, label, make)?))
    }

    /// Waits for a pipeline.
    pub(super) fn compiled<'p>(&self, pipeline: &'p Pipeline) -> Option<&'p wgpu::ComputePipeline> {
        let (compiled, waited) = pipeline.get();
        if !waited.is_zero() {
            lock(&self.timings).compile += waited.as_secs_f64();
        }
        compiled
    }

    /// The kernel `name` specialised by `consts`, compiled once per device. The driver compiles it on another thread until
    /// its first launch; what it has to say against it fails the reads after that.
    ///
    /// # Errors
    /// [`Error::Internal`] for a defect in the shader, [`Error::OutOfMemory`] without a thread.
    pub fn kernel(&self, name: &str, consts: &[(&str, u32)]) -> Result<Arc<Kernel>> {
        let key = Specialisation {
            name: name.to_owned(),
            constants: consts.iter().map(|(n, v)| ((*n).to_owned(), *v)).collect(),
        };
        if let Some(kernel) = lock(&self.kernels).get(&key) {
            return Ok(Arc::clone(kernel));
        }
        let start = Instant::now();
        let kernel = Arc::new(Kernel::new(self, &compose(name, consts)?)?);
        let seconds = start.elapsed().as_secs_f64();
        log::debug!("kernel {name} {consts:?} composed and validated in {seconds:.3} s");
        lock(&self.timings).compile += seconds;
        lock(&self.kernels).insert(key, Arc::clone(&kernel));
        Ok(kernel)
    }

    /// A kernel from WGSL text that is not in the table, `#import` and `@unroll` included: for experiments and benchmarks.
    /// Not kept: every call compiles.
    ///
    /// # Safety
    /// Unless the device was opened with `shader_checks`, the text must never index out of bounds, loop for ever or divide
    /// integers by zero. The kernels of the table are tested for that; this text is not.
    ///
    /// # Errors
    /// As [`Gpu::kernel`].
    pub unsafe fn kernel_from_text(&self, name: &str, text: &str, consts: &[(&str, u32)]) -> Result<Arc<Kernel>> {
        Ok(Arc::new(Kernel::new(self, &compose_text(name, text, consts)?)?))
    }

    /// Launches one workgroup of each kernel and waits. Drivers finish compilation at the first launch; doing it here
    /// keeps it out of the timed work. The kernels write rubbish into what they are bound to: call before filling it.
    ///
    /// # Errors
    /// Whatever the launches raise.
    pub fn warm_up<'a>(&self, kernels: impl IntoIterator<Item = &'a Bound>) -> Result<()> {
        let kernels: Vec<_> = kernels.into_iter().collect();
        for bound in &kernels {
            self.compiled(&bound.pipeline);
        }
        let start = Instant::now();
        let mut recorder = self.record_untimed();
        for bound in kernels {
            recorder.dispatch(bound, [1, 1, 1], 0);
        }
        recorder.submit();
        self.wait()?;
        lock(&self.timings).compile += start.elapsed().as_secs_f64();
        Ok(())
    }

    pub(super) fn check_binding(&self, bytes: u64) -> Result<()> {
        let limit = self.limits.max_storage_buffer_binding_size;
        if bytes > limit {
            return Err(Error::OutOfMemory(format!(
                "an array of {} MiB is larger than this adapter binds at once ({} MiB); use a smaller image or crop",
                bytes >> 20,
                limit >> 20
            )));
        }
        Ok(())
    }

    /// Enters `bytes` in the account of device memory.
    pub(super) fn charge(&self, label: &str, bytes: u64) -> Result<Charge> {
        let total = self.allocated.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let charge = Charge {
            account: Arc::clone(&self.allocated),
            bytes,
        };
        self.peak.fetch_max(total, Ordering::Relaxed);
        // A software driver never reports exhaustion, it dies: keep an own account.
        if let Some(budget) = self.budget.filter(|b| total > *b) {
            return Err(Error::OutOfMemory(format!(
                "'{label}': {} MiB asked for in all, {} MiB of memory are free; use a smaller image or crop",
                total >> 20,
                budget >> 20
            )));
        }
        Ok(charge)
    }

    pub(super) fn allocate(&self, label: &str, bytes: u64, usage: wgpu::BufferUsages) -> Result<Buffer> {
        let limit = self.limits.max_buffer_size;
        if bytes > limit {
            return Err(Error::OutOfMemory(format!(
                "'{label}' needs {} MiB in one buffer, this adapter allows {} MiB; use a smaller image or crop",
                bytes >> 20,
                limit >> 20
            )));
        }
        let charge = self.charge(label, bytes)?;
        let descriptor = wgpu::BufferDescriptor {
            label: Some(label),
            size: bytes,
            usage,
            mapped_at_creation: false,
        };
        let raw = self.scoped(label, |device| device.create_buffer(&descriptor))?;
        Ok(Buffer {
            raw,
            bytes,
            _charge: charge,
        })
    }

    /// Zeroed device memory for `len` 4-byte elements.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn buffer(&self, label: &str, len: usize) -> Result<Buffer> {
        let bytes = (len as u64 * 4).max(4);
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        self.allocate(label, bytes, usage)
    }

    /// Device memory filled with `data`.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn upload<T: bytemuck::Pod>(&self, label: &str, data: &[T]) -> Result<Buffer> {
        let buffer = self.buffer(label, size_of_val(data) / 4)?;
        self.write(&buffer, data)?;
        Ok(buffer)
    }

    /// Memory for `var<uniform>`, filled with `data` (padded to 16 bytes).
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn uniform<T: bytemuck::Pod>(&self, label: &str, data: &[T]) -> Result<Buffer> {
        self.uniform_for(label, data, wgpu::BufferUsages::empty())
    }

    /// The same, which kernels can write too, as `var<storage, read_write>`.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn written_uniform<T: bytemuck::Pod>(&self, label: &str, data: &[T]) -> Result<Buffer> {
        self.uniform_for(label, data, wgpu::BufferUsages::STORAGE)
    }

    fn uniform_for<T: bytemuck::Pod>(&self, label: &str, data: &[T], more: wgpu::BufferUsages) -> Result<Buffer> {
        let mut bytes: Vec<u8> = bytemuck::cast_slice(data).to_vec();
        bytes.resize(bytes.len().next_multiple_of(16).max(16), 0);
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST | more;
        let buffer = self.allocate(label, bytes.len() as u64, usage)?;
        self.write(&buffer, &bytes)?;
        Ok(buffer)
    }

    /// A table of parameter structs, one per dispatch that will name it.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn params<P: ShaderStruct>(&self, entries: &[P]) -> Result<ParamTable<P>> {
        let stride = size_of::<P>().next_multiple_of(self.limits.min_uniform_buffer_offset_alignment as usize);
        let mut bytes = vec![0_u8; stride * entries.len().max(1)];
        for (slot, entry) in bytes.chunks_exact_mut(stride).zip(entries) {
            slot[..size_of::<P>()].copy_from_slice(bytemuck::bytes_of(entry));
        }
        let buffer = self.uniform(P::NAME, &bytes)?;
        Ok(ParamTable {
            buffer,
            stride: stride as u32,
            count: entries.len() as u32,
            marker: PhantomData,
        })
    }

    /// A new recorder.
    pub fn record(&self) -> Recorder<'_> {
        Recorder::new(self, self.profiler.is_some())
    }

    /// A new recorder whose dispatches do not appear in a profile.
    pub fn record_untimed(&self) -> Recorder<'_> {
        Recorder::new(self, false)
    }

    /// Waits for everything submitted.
    ///
    /// # Errors
    /// [`Error::DeviceLost`] after the timeout or a loss, and any error that arrived since the last wait.
    pub fn wait(&self) -> Result<()> {
        let wait = wgpu::PollType::Wait {
            submission_index: None,
            timeout: Some(self.options.timeout),
        };
        let outcome = self.device.poll(wait);
        self.faults.check()?;
        outcome.map(|_| ()).map_err(|e| match e {
            wgpu::PollError::Timeout => Error::DeviceLost(format!(
                "the device did not answer within {} s; it may hang, or the image is too large for it (--timeout raises the limit)",
                self.options.timeout.as_secs()
            )),
            other => Error::Internal(other.to_string()),
        })
    }
}

/// Bytes of memory that the system could give out, where it says so.
fn available_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib * 1024)
}
