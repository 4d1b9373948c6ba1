//! A profile for people, for programs and for trace viewers.

use serde_json::{Value, json};

use crate::gpu::ceilings::Ceilings;
use crate::gpu::{KernelTime, Profile, Specialisation};

/// Rates of a kernel and their shares of the ceilings.
struct Rates {
    bytes_per_second: f64,
    multiply_adds_per_second: f64,
}

fn rates(kernel: &KernelTime) -> Option<Rates> {
    let seconds = kernel.nanoseconds * 1e-9;
    let work = kernel.work.filter(|_| seconds > 0.0)?;
    Some(Rates {
        bytes_per_second: work.bytes as f64 / seconds,
        multiply_adds_per_second: work.multiply_adds as f64 / seconds,
    })
}

/// Indices of the kernels, the dearest first.
fn ranking(profile: &Profile) -> Vec<&KernelTime> {
    let mut kernels: Vec<_> = profile.kernels.iter().collect();
    kernels.sort_by(|a, b| b.nanoseconds.total_cmp(&a.nanoseconds));
    kernels
}

/// A table with a line per kernel, the dearest first: total milliseconds, share of all kernels' time, launches, mean
/// microseconds, bytes and multiply-adds per second ([`crate::gpu::Work`] says what counts), each as a part of its ceiling,
/// and the kernel with what it was specialised for. What is not known or nothing is a dash. Bytes may pass 100 %: the
/// ceiling is that of memory, and caches are faster.
pub fn table(profile: &Profile, ceilings: Option<&Ceilings>) -> String {
    let total = profile.nanoseconds();
    let mut lines = vec![format!(
        "{:>10} {:>6} {:>8} {:>10} {:>7} {:>6} {:>7} {:>6}  kernel",
        "total ms", "share", "launches", "mean us", "GB/s", "copy", "GMAC/s", "peak"
    )];
    let number = |value: Option<f64>, digits: usize, unit: &str| match value {
        Some(value) if value > 0.0 => format!("{value:.digits$}{unit}"),
        _ => "-".into(),
    };
    for kernel in ranking(profile) {
        let rates = rates(kernel);
        let bytes = rates.as_ref().map(|r| r.bytes_per_second);
        let multiply_adds = rates.as_ref().map(|r| r.multiply_adds_per_second);
        let of =
            |rate: Option<f64>, ceiling: Option<f64>| rate.zip(ceiling).map(|(rate, ceiling)| 100.0 * rate / ceiling);
        lines.push(format!(
            "{:>10.3} {:>6} {:>8} {:>10.1} {:>7} {:>6} {:>7} {:>6}  {}",
            kernel.nanoseconds * 1e-6,
            format!("{:.1}%", 100.0 * kernel.nanoseconds / total.max(f64::MIN_POSITIVE)),
            kernel.launches,
            kernel.nanoseconds * 1e-3 / kernel.launches as f64,
            number(bytes.map(|b| b * 1e-9), 2, ""),
            number(of(bytes, ceilings.map(|c| c.bytes_per_second)), 0, "%"),
            number(multiply_adds.map(|m| m * 1e-9), 2, ""),
            number(of(multiply_adds, ceilings.map(|c| c.multiply_adds_per_second)), 0, "%"),
            kernel.kernel,
        ));
    }
    let ceilings = ceilings.map_or(String::new(), |c| format!("; {}", ceiling_line(c)));
    lines.push(format!(
        "{:>10.3} {:>6} {:>8}  on the device{ceilings}",
        total * 1e-6,
        "",
        profile.count()
    ));
    lines.join("\n")
}

/// The ceilings in words.
pub fn ceiling_line(ceilings: &Ceilings) -> String {
    format!(
        "this device copies {:.1} GB/s (loads and stores) and does {:.1} GMAC/s in registers",
        ceilings.bytes_per_second * 1e-9,
        ceilings.multiply_adds_per_second * 1e-9
    )
}

fn constants(kernel: &Specialisation) -> Value {
    kernel.constants.iter().map(|(n, v)| (n.clone(), json!(v))).collect()
}

/// The sums by kernel, the dearest first, and the ceilings, for a record.
pub fn summary(profile: &Profile, ceilings: Option<&Ceilings>) -> Value {
    let kernels: Vec<_> = ranking(profile)
        .into_iter()
        .map(|k| {
            json!({
                "kernel": k.kernel.name,
                "constants": constants(&k.kernel),
                "launches": k.launches,
                "milliseconds": k.nanoseconds * 1e-6,
                "work": k.work,
            })
        })
        .collect();
    json!({
        "kernels": kernels,
        "launches": profile.count(),
        "milliseconds": profile.nanoseconds() * 1e-6,
        "ceilings": ceilings,
    })
}

/// The launches one by one in the trace event format, which Perfetto and chrome://tracing load: complete events (`ph` "X")
/// with start and duration in microseconds of the device's clock.
pub fn chrome_trace(profile: &Profile, adapter: &str) -> Value {
    let name =
        |what: &str, name: &str| json!({ "ph": "M", "pid": 1, "tid": 1, "name": what, "args": { "name": name } });
    let mut events = vec![name("process_name", adapter), name("thread_name", "dispatches")];
    events.extend(profile.launches.iter().map(|launch| {
        let kernel = &profile.kernels[launch.kernel].kernel;
        json!({
            "ph": "X",
            "pid": 1,
            "tid": 1,
            "cat": "kernel",
            "name": kernel.name,
            "ts": launch.start * 1e-3,
            "dur": launch.nanoseconds * 1e-3,
            "args": { "constants": constants(kernel), "groups": launch.groups },
        })
    }));
    json!({ "traceEvents": events, "displayTimeUnit": "ms" })
}
