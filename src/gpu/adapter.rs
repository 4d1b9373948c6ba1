//! Which adapter does the work: by request, by environment, else the most capable one.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Result};

/// A user's request for an adapter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AdapterChoice {
    /// `WGPU_ADAPTER_NAME` if set, else discrete before integrated before virtual before software.
    #[default]
    Best,
    /// The first adapter whose name contains this text, ignoring case.
    Name(String),
    /// `index:N`, the position in the list of `reconstruct info`.
    Index(usize),
    /// `pci:BUS`, the PCI bus id as the driver states it (`0000:3b:00.0`, leading parts may be left out).
    Pci(String),
}

impl FromStr for AdapterChoice {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        if let Some(index) = text.strip_prefix("index:") {
            let index = index
                .parse()
                .map_err(|_| format!("'{text}': want index:N with a whole number"))?;
            return Ok(Self::Index(index));
        }
        let named = text.strip_prefix("pci:");
        if named.unwrap_or(text).trim().is_empty() {
            return Err("want a part of the adapter's name, index:N or pci:BUS".into());
        }
        Ok(match named {
            Some(bus) => Self::Pci(bus.to_ascii_lowercase()),
            None => Self::Name(text.to_owned()),
        })
    }
}

impl fmt::Display for AdapterChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Best => write!(f, "any"),
            Self::Name(name) => write!(f, "named '{name}'"),
            Self::Index(index) => write!(f, "index:{index}"),
            Self::Pci(bus) => write!(f, "pci:{bus}"),
        }
    }
}

/// What a user can see of an adapter, also written into run reports.
#[derive(Clone, Debug, serde::Serialize)]
pub struct AdapterSummary {
    /// Position in the enumeration, for `--adapter index:N`.
    pub index: usize,
    /// Name the driver gives.
    pub name: String,
    /// `Vulkan`, `Metal` or `Dx12`.
    pub backend: String,
    /// `DiscreteGpu`, `IntegratedGpu`, `VirtualGpu`, `Cpu` or `Other`.
    pub kind: String,
    /// PCI bus id, empty where the backend states none.
    pub pci: String,
    /// Driver name and version.
    pub driver: String,
    /// Whether this is a software driver.
    pub software: bool,
    /// Invocations of a subgroup, where it is always the same number.
    pub lanes: Option<u32>,
    /// Optional abilities that matter for compute.
    pub features: Vec<&'static str>,
}

/// Abilities worth knowing of, by the names users search for. None is needed.
const FEATURES: [(&str, wgpu::Features); 5] = [
    ("timestamp-query", wgpu::Features::TIMESTAMP_QUERY),
    ("subgroup", wgpu::Features::SUBGROUP),
    ("shader-f16", wgpu::Features::SHADER_F16),
    ("immediates", wgpu::Features::IMMEDIATES),
    ("pipeline-cache", wgpu::Features::PIPELINE_CACHE),
];

impl AdapterSummary {
    pub(super) fn new(index: usize, adapter: &wgpu::Adapter) -> Self {
        let info = adapter.get_info();
        let offered = adapter.features();
        Self {
            features: FEATURES
                .iter()
                .filter(|(_, f)| offered.contains(*f))
                .map(|(name, _)| *name)
                .collect(),
            index,
            name: info.name.clone(),
            backend: format!("{:?}", info.backend),
            kind: format!("{:?}", info.device_type),
            pci: info.device_pci_bus_id.clone(),
            driver: format!("{} {}", info.driver, info.driver_info).trim().to_owned(),
            software: info.device_type == wgpu::DeviceType::Cpu,
            lanes: (offered.contains(wgpu::Features::SUBGROUP) && info.subgroup_min_size == info.subgroup_max_size)
                .then_some(info.subgroup_max_size),
        }
    }
}

impl fmt::Display for AdapterSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "index:{} {} ({}, {})",
            self.index, self.name, self.backend, self.kind
        )
    }
}

/// Compute needs storage buffers and WGSL semantics that the GL backend does not give everywhere.
const BACKENDS: wgpu::Backends = wgpu::Backends::VULKAN
    .union(wgpu::Backends::METAL)
    .union(wgpu::Backends::DX12);

pub(super) fn enumerate() -> Vec<wgpu::Adapter> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle_from_env();
    descriptor.backends &= BACKENDS;
    let backends = descriptor.backends;
    let instance = wgpu::Instance::new(descriptor);
    pollster::block_on(instance.enumerate_adapters(backends))
}

/// The adapters that this machine offers, in the order that `index:N` counts.
pub fn list_adapters() -> Vec<AdapterSummary> {
    enumerate()
        .iter()
        .enumerate()
        .map(|(i, a)| AdapterSummary::new(i, a))
        .collect()
}

pub(super) fn choose(choice: &AdapterChoice) -> Result<(usize, wgpu::Adapter)> {
    let mut adapters = enumerate();
    let summaries: Vec<_> = adapters
        .iter()
        .enumerate()
        .map(|(i, a)| AdapterSummary::new(i, a))
        .collect();
    let environment = std::env::var("WGPU_ADAPTER_NAME").ok().filter(|name| !name.is_empty());
    let index = pick(&summaries, choice, environment.as_deref())?;
    Ok((index, adapters.swap_remove(index)))
}

/// The index of the adapter to use; separate from the device so that every rule can be tested without one.
fn pick(adapters: &[AdapterSummary], choice: &AdapterChoice, environment: Option<&str>) -> Result<usize> {
    if adapters.is_empty() {
        let (asked, first) = match std::env::var("WGPU_BACKEND") {
            Ok(backend) => (
                format!(" for WGPU_BACKEND={backend}"),
                "unset that (vulkan, metal and dx12 are used), or ",
            ),
            Err(_) => (String::new(), ""),
        };
        return Err(Error::NoAdapter(format!(
            "no GPU adapter found{asked}; {first}install a driver (a software one on Debian/Ubuntu: apt-get install \
             mesa-vulkan-drivers libvulkan1)"
        )));
    }
    let named = |name: &str| {
        let name = name.to_lowercase();
        adapters.iter().position(|a| a.name.to_lowercase().contains(&name))
    };
    let (found, asked) = match choice {
        AdapterChoice::Name(name) => (named(name), choice.to_string()),
        AdapterChoice::Index(index) => ((*index < adapters.len()).then_some(*index), choice.to_string()),
        AdapterChoice::Pci(bus) => (
            adapters
                .iter()
                .position(|a| !a.pci.is_empty() && a.pci.to_lowercase().ends_with(bus.as_str())),
            choice.to_string(),
        ),
        AdapterChoice::Best => match environment {
            Some(name) => (named(name), format!("named '{name}' (WGPU_ADAPTER_NAME)")),
            None => (
                adapters.iter().enumerate().min_by_key(|(_, a)| rank(a)).map(|(i, _)| i),
                String::new(),
            ),
        },
    };
    found.ok_or_else(|| {
        let list: Vec<_> = adapters.iter().map(ToString::to_string).collect();
        Error::NoAdapter(format!("no adapter {asked}; there is: {}", list.join("; ")))
    })
}

fn rank(adapter: &AdapterSummary) -> u8 {
    match adapter.kind.as_str() {
        "DiscreteGpu" => 0,
        "IntegratedGpu" => 1,
        "VirtualGpu" => 2,
        "Other" => 3,
        _ => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Vec<AdapterSummary> {
        let adapter = |index, name: &str, kind: &str, pci: &str| AdapterSummary {
            index,
            name: name.into(),
            backend: "Vulkan".into(),
            kind: kind.into(),
            pci: pci.into(),
            driver: String::new(),
            software: kind == "Cpu",
            lanes: None,
            features: Vec::new(),
        };
        vec![
            adapter(0, "llvmpipe (LLVM 15)", "Cpu", ""),
            adapter(1, "Intel Graphics", "IntegratedGpu", "0000:00:02.0"),
            adapter(2, "Radeon Pro", "DiscreteGpu", "0000:3B:00.0"),
            adapter(3, "Radeon Pro", "DiscreteGpu", "0000:AF:00.0"),
        ]
    }

    #[test]
    fn discrete_comes_first_and_requests_are_honoured() {
        let machine = machine();
        let pick = |text: &str, env| pick(&machine, &text.parse().unwrap(), env);
        assert_eq!(super::pick(&machine, &AdapterChoice::Best, None).unwrap(), 2);
        assert_eq!(super::pick(&machine[..2], &AdapterChoice::Best, None).unwrap(), 1);
        assert_eq!(
            super::pick(&machine, &AdapterChoice::Best, Some("LLVMPIPE")).unwrap(),
            0
        );
        assert_eq!(
            pick("intel", Some("llvmpipe")).unwrap(),
            1,
            "an explicit request beats the environment"
        );
        assert_eq!(pick("index:3", None).unwrap(), 3);
        assert_eq!(pick("pci:af:00.0", None).unwrap(), 3);
    }

    #[test]
    fn a_request_that_nothing_fits_lists_what_there_is() {
        for text in ["nvidia", "index:9", "pci:01:00.0"] {
            let error = pick(&machine(), &text.parse().unwrap(), None).unwrap_err();
            assert_eq!(error.exit_code(), 5);
            assert!(error.to_string().contains("Radeon Pro"), "{error}");
        }
        let error = pick(&machine(), &AdapterChoice::Best, Some("voodoo"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("WGPU_ADAPTER_NAME"), "{error}");
        let error = pick(&[], &AdapterChoice::Best, None).unwrap_err().to_string();
        assert!(error.contains("mesa-vulkan-drivers"), "{error}");
    }

    #[test]
    fn malformed_requests_are_refused() {
        for text in ["index:", "index:-1", "pci:", "  ", ""] {
            assert!(text.parse::<AdapterChoice>().is_err(), "{text:?}");
        }
    }
}
