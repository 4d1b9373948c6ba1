//! Kernels: composed WGSL, its bindings reflected by naga, and bind groups made by WGSL name.

use std::borrow::Cow;
use std::num::NonZeroU64;
use std::sync::Arc;

use naga::proc::{GlobalCtx, TypeResolution};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};

use super::buffer::Slice;
use super::compose::Composed;
use super::device::Gpu;
use super::pipeline::Pipeline;
use super::texture::Texture;
use super::work::{Work, WorkTable};
use crate::{Error, Result};

/// How a kernel uses a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindingKind {
    /// `var<uniform>`.
    Uniform,
    /// `var<uniform> params`: bound with a dynamic offset into a [`super::ParamTable`].
    Params,
    /// `var<storage, read>`.
    Read,
    /// `var<storage, read_write>`.
    ReadWrite,
    /// `var name: texture_2d_array<f32>`, read with `textureLoad`.
    Texture,
}

/// One binding of a kernel as naga sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reflected {
    /// Name of the WGSL variable.
    pub name: String,
    /// `@binding(n)`; the group is always 0.
    pub index: u32,
    /// Address space and access.
    pub kind: BindingKind,
    /// Size of the type, of one element for a runtime-sized array.
    pub min_bytes: u64,
    /// Whether the kernel reads it and whether it writes it.
    pub accesses: [bool; 2],
}

/// A binding given to [`Kernel::bind`].
#[derive(Clone, Copy, Debug)]
pub enum Binding<'a> {
    /// Storage or uniform memory.
    Memory(Slice<'a>),
    /// Planes in texels.
    Texture(&'a Texture),
    /// A parameter table.
    #[doc(hidden)]
    Params {
        buffer: &'a super::Buffer,
        stride: u32,
        count: u32,
        bytes: u64,
        name: &'static str,
    },
}

impl<'a, T: Into<Slice<'a>>> From<T> for Binding<'a> {
    fn from(memory: T) -> Self {
        Self::Memory(memory.into())
    }
}

impl<'a> From<&'a Texture> for Binding<'a> {
    fn from(texture: &'a Texture) -> Self {
        Self::Texture(texture)
    }
}

/// A kernel's name and the constants it was specialised with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Specialisation {
    /// The kernel's name.
    pub name: String,
    /// Constants that replaced defaults, with their values.
    pub constants: Vec<(String, u32)>,
}

impl std::fmt::Display for Specialisation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.name)?;
        self.constants.iter().try_for_each(|(n, v)| write!(f, " {n}={v}"))
    }
}

/// A compiled compute pipeline.
#[derive(Debug)]
pub struct Kernel {
    identity: Arc<Specialisation>,
    pipeline: Arc<Pipeline>,
    layout: wgpu::BindGroupLayout,
    bindings: Vec<Reflected>,
    params_struct: Option<String>,
    workgroup: [u32; 3],
}

/// A kernel with its memory: what a dispatch needs. Made at set-up, used any number of times.
#[derive(Clone, Debug)]
pub struct Bound {
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) group: wgpu::BindGroup,
    pub(super) stride: Option<u32>,
    pub(super) entries: u32,
    pub(super) workgroup: [u32; 3],
    pub(super) kernel: Arc<Specialisation>,
    pub(super) work: Option<Arc<WorkTable>>,
}

/// Parses and validates a composed shader and lists the bindings that its entry point `main` uses.
///
/// # Errors
/// [`Error::Internal`] with file and line where the text is no valid WGSL, without optional capabilities but for subgroups in kernels named `*_lanes`.
pub fn reflect(composed: &Composed) -> Result<(naga::Module, ModuleInfo, Vec<Reflected>)> {
    let module = naga::front::wgsl::parse_str(&composed.text).map_err(|e| {
        let place = e
            .location(&composed.text)
            .map_or(composed.name.clone(), |l| composed.locate(l.line_number as usize));
        Error::Internal(format!("{place}: {}", e.message()))
    })?;
    let info = Validator::new(ValidationFlags::all(), capabilities(&composed.name))
        .validate(&module)
        .map_err(|e| {
            let place = e
                .location(&composed.text)
                .map_or(composed.name.clone(), |l| composed.locate(l.line_number as usize));
            Error::Internal(format!("{place}: {}", e.emit_to_string(&composed.text)))
        })?;
    if module.entry_points.len() != 1 || module.entry_points[0].name != "main" {
        return Err(Error::Internal(format!(
            "shader '{}' must have one entry point, main",
            composed.name
        )));
    }
    let uses = info.get_entry_point(0);
    let mut bindings = Vec::new();
    for (handle, variable) in module.global_variables.iter() {
        let (Some(place), Some(name)) = (&variable.binding, &variable.name) else {
            continue;
        };
        if uses[handle].is_empty() {
            continue;
        }
        let kind = match variable.space {
            naga::AddressSpace::Uniform if name == "params" => BindingKind::Params,
            naga::AddressSpace::Uniform => BindingKind::Uniform,
            naga::AddressSpace::Storage { access } if access.contains(naga::StorageAccess::STORE) => {
                BindingKind::ReadWrite
            }
            naga::AddressSpace::Storage { .. } => BindingKind::Read,
            naga::AddressSpace::Handle if is_plane_texture(&module.types[variable.ty].inner) => BindingKind::Texture,
            _ => {
                return Err(Error::Internal(format!(
                    "shader '{}': '{name}' is neither a buffer nor a texture_2d_array<f32>",
                    composed.name
                )));
            }
        };
        let min_bytes = match kind {
            BindingKind::Texture => 0,
            _ => u64::from(type_bytes(&module, variable.ty)),
        };
        bindings.push(Reflected {
            name: name.clone(),
            index: place.binding,
            kind,
            min_bytes,
            accesses: [naga::valid::GlobalUse::READ, naga::valid::GlobalUse::WRITE].map(|u| uses[handle].contains(u)),
        });
    }
    bindings.sort_by_key(|b| b.index);
    Ok((module, info, bindings))
}

/// What a kernel may use of what devices need not have; callers ask [`Gpu::lanes`] first.
fn capabilities(name: &str) -> Capabilities {
    if name.ends_with("_lanes") {
        Capabilities::SUBGROUP
    } else {
        Capabilities::empty()
    }
}

fn is_plane_texture(ty: &naga::TypeInner) -> bool {
    let float = naga::ImageClass::Sampled {
        kind: naga::ScalarKind::Float,
        multi: false,
    };
    matches!(ty, naga::TypeInner::Image { dim: naga::ImageDimension::D2, arrayed: true, class } if *class == float)
}

fn type_bytes(module: &naga::Module, ty: naga::Handle<naga::Type>) -> u32 {
    let context: GlobalCtx<'_> = module.to_ctx();
    TypeResolution::Handle(ty).inner_with(&module.types).size(context)
}

impl Kernel {
    pub(super) fn new(gpu: &Gpu, composed: &Composed) -> Result<Self> {
        let (module, _, bindings) = reflect(composed)?;
        let name = composed.name.as_str();
        let workgroup = module.entry_points[0].workgroup_size;
        let params_struct = module
            .global_variables
            .iter()
            .find(|(_, v)| v.name.as_deref() == Some("params"))
            .and_then(|(_, v)| module.types[v.ty].name.clone());
        let entries: Vec<_> = bindings.iter().map(layout_entry).collect();
        let layout = gpu.scoped(name, |device| {
            device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
                label: Some(name),
                entries: &entries,
            })
        })?;
        let checks = if gpu.options().shader_checks {
            wgpu::ShaderRuntimeChecks::checked()
        } else {
            wgpu::ShaderRuntimeChecks::unchecked()
        };
        let compile = {
            let (layout, name) = (layout.clone(), composed.name.clone());
            move |device: &wgpu::Device| compile(device, &name, module, &layout, checks)
        };
        let pipeline = gpu.pipeline(name, compile)?;
        Ok(Self {
            identity: Arc::new(Specialisation {
                name: composed.name.clone(),
                constants: composed.constants.clone(),
            }),
            pipeline,
            layout,
            bindings,
            params_struct,
            workgroup,
        })
    }

    /// The kernel's workgroup size.
    pub fn workgroup(&self) -> [u32; 3] {
        self.workgroup
    }

    /// Bytes that the kernel moves per element of elementwise arrays of 4-byte values, named by their WGSL variables: 4 for
    /// each that it reads and 4 for each that it writes.
    pub fn element_bytes(&self, names: &[&str]) -> u64 {
        let named = self.bindings.iter().filter(|b| names.contains(&b.name.as_str()));
        4 * named.flat_map(|b| b.accesses).filter(|&a| a).count() as u64
    }

    /// Joins the kernel with memory, by the names of its WGSL variables.
    ///
    /// # Errors
    /// [`Error::Internal`] naming the kernel and the missing, superfluous or too small binding.
    pub fn bind(&self, gpu: &Gpu, memory: &[(&str, Binding<'_>)]) -> Result<Bound> {
        let fail = |why: String| Error::Internal(format!("kernel '{}': {why}", self.identity.name));
        if let Some((extra, _)) = memory.iter().find(|(n, _)| self.bindings.iter().all(|b| b.name != *n)) {
            return Err(fail(format!("there is no binding '{extra}'")));
        }
        let mut entries = Vec::with_capacity(self.bindings.len());
        let (mut stride, mut count) = (None, 1);
        for want in &self.bindings {
            let (_, given) = memory
                .iter()
                .find(|(n, _)| *n == want.name)
                .ok_or_else(|| fail(format!("binding '{}' is missing", want.name)))?;
            let (buffer, offset, bytes) = match (*given, want.kind) {
                (Binding::Texture(texture), BindingKind::Texture) => {
                    entries.push(wgpu::BindGroupEntry {
                        binding: want.index,
                        resource: wgpu::BindingResource::TextureView(&texture.view),
                    });
                    continue;
                }
                (
                    Binding::Params {
                        buffer,
                        stride: s,
                        count: c,
                        bytes,
                        name,
                    },
                    BindingKind::Params,
                ) => {
                    if self.params_struct.as_deref() != Some(name) {
                        return Err(fail(format!("params is no {name}")));
                    }
                    (stride, count) = (Some(s), c);
                    (buffer, 0, bytes)
                }
                (Binding::Memory(s), kind) if !matches!(kind, BindingKind::Params | BindingKind::Texture) => {
                    (s.buffer, s.offset, s.bytes)
                }
                _ => return Err(fail(format!("binding '{}' wants a {:?}", want.name, want.kind))),
            };
            if bytes < want.min_bytes || offset + bytes > buffer.bytes {
                return Err(fail(format!(
                    "binding '{}': {bytes} bytes at {offset} do not fit",
                    want.name
                )));
            }
            if want.kind != BindingKind::Params && want.kind != BindingKind::Uniform {
                gpu.check_binding(bytes)?;
            }
            entries.push(wgpu::BindGroupEntry {
                binding: want.index,
                resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                    buffer: &buffer.raw,
                    offset,
                    size: NonZeroU64::new(bytes),
                }),
            });
        }
        let group = gpu.scoped(&self.identity.name, |device| {
            device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some(&self.identity.name),
                layout: &self.layout,
                entries: &entries,
            })
        })?;
        Ok(Bound {
            pipeline: Arc::clone(&self.pipeline),
            group,
            stride,
            entries: count,
            workgroup: self.workgroup,
            kernel: Arc::clone(&self.identity),
            work: None,
        })
    }
}

/// What the thread of a kernel's [`Pipeline`] does.
fn compile(
    device: &wgpu::Device,
    name: &str,
    module: naga::Module,
    layout: &wgpu::BindGroupLayout,
    checks: wgpu::ShaderRuntimeChecks,
) -> wgpu::ComputePipeline {
    let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: Some(name),
        bind_group_layouts: &[Some(layout)],
        immediate_size: 0,
    });
    let source = wgpu::ShaderSource::Naga(Cow::Owned(module));
    // SAFETY: wgpu requires that an unchecked shader never indexes out of bounds, loops for ever or divides by
    // zero. The shaders are this crate's own files, linted without a device by tests/shaders.rs; every kernel
    // test runs them at awkward sizes between guard words, and CI runs the whole suite with the checks on
    // (KNOTWORK_SHADER_CHECKS=1) and off and holds both to the same tolerances.
    let shader = unsafe {
        device.create_shader_module_trusted(
            wgpu::ShaderModuleDescriptor {
                label: Some(name),
                source,
            },
            checks,
        )
    };
    device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some(name),
        layout: Some(&pipeline_layout),
        module: &shader,
        entry_point: Some("main"),
        // Every kernel writes its workgroup memory before reading it; zeroing it first costs seconds of
        // compilation on DX12 and hits a driver bug on older AMD cards (wgpu#4591).
        compilation_options: wgpu::PipelineCompilationOptions {
            zero_initialize_workgroup_memory: false,
            ..Default::default()
        },
        cache: None,
    })
}

impl Bound {
    /// States the work of a launch, for profiles: that of parameter entry `e` is `entries[e]` times the number of
    /// workgroups along `axis`, or just `entries[e]` without one.
    #[must_use]
    pub fn with_work(mut self, axis: Option<usize>, entries: impl Into<Arc<[Work]>>) -> Self {
        self.work = Some(Arc::new(WorkTable {
            axis,
            entries: entries.into(),
        }));
        self
    }

    /// The work of a launch of `groups` workgroups with parameter entry `entry`, if it was stated.
    pub fn work(&self, groups: [u32; 3], entry: usize) -> Option<Work> {
        self.work.as_ref().and_then(|table| table.of(groups, entry))
    }

    /// Workgroup counts that cover `size` invocations.
    pub fn groups(&self, size: [u32; 3]) -> [u32; 3] {
        std::array::from_fn(|i| size[i].div_ceil(self.workgroup[i]))
    }
}

fn layout_entry(binding: &Reflected) -> wgpu::BindGroupLayoutEntry {
    let buffer = |ty| wgpu::BindingType::Buffer {
        ty,
        has_dynamic_offset: binding.kind == BindingKind::Params,
        min_binding_size: NonZeroU64::new(binding.min_bytes),
    };
    let ty = match binding.kind {
        BindingKind::Uniform | BindingKind::Params => buffer(wgpu::BufferBindingType::Uniform),
        BindingKind::Read => buffer(wgpu::BufferBindingType::Storage { read_only: true }),
        BindingKind::ReadWrite => buffer(wgpu::BufferBindingType::Storage { read_only: false }),
        BindingKind::Texture => wgpu::BindingType::Texture {
            sample_type: wgpu::TextureSampleType::Float { filterable: false },
            view_dimension: wgpu::TextureViewDimension::D2Array,
            multisampled: false,
        },
    };
    wgpu::BindGroupLayoutEntry {
        binding: binding.index,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty,
        count: None,
    }
}
