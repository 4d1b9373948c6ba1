//! Parameter structs shared with WGSL, and tables of them addressed by dynamic offset.

use std::marker::PhantomData;

use super::buffer::Buffer;

/// A `#[repr(C)]` struct of 4-byte scalars whose size is a multiple of 16 and which a WGSL struct mirrors. Declare it
/// with [`shader_struct!`](crate::shader_struct); `tests/shaders.rs` compares every member with naga's layout.
pub trait ShaderStruct: bytemuck::Pod {
    /// Name of the struct in WGSL.
    const NAME: &'static str;
    /// Member names and byte offsets.
    fn members() -> Vec<(&'static str, usize)>;
}

/// Declares a parameter struct: members of 4 bytes or structs of them, documented, padded by hand to a multiple of 16 bytes.
#[macro_export]
macro_rules! shader_struct {
    ($(#[$attribute:meta])* pub struct $name:ident { $($(#[$field_doc:meta])* pub $field:ident: $ty:ty),* $(,)? }) => {
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
        $(#[$attribute])*
        pub struct $name { $($(#[$field_doc])* pub $field: $ty),* }

        const _: () = assert!(size_of::<$name>() % 16 == 0, "pad to a multiple of 16 bytes");

        impl $crate::gpu::ShaderStruct for $name {
            const NAME: &'static str = stringify!($name);
            fn members() -> Vec<(&'static str, usize)> {
                vec![$((stringify!($field), std::mem::offset_of!($name, $field))),*]
            }
        }
    };
}

/// Parameter values for many dispatches in one uniform buffer; a dispatch names its entry. Values are written once at
/// set-up: `write_buffer` while recording would reach every recorded dispatch (wgpu applies it before the submit).
#[derive(Debug)]
pub struct ParamTable<P> {
    pub(super) buffer: Buffer,
    pub(super) stride: u32,
    pub(super) count: u32,
    pub(super) marker: PhantomData<P>,
}

impl<P: ShaderStruct> ParamTable<P> {
    /// Number of entries.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether the table has no entry.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The binding for the WGSL variable `params`.
    pub fn binding(&self) -> super::Binding<'_> {
        super::Binding::Params {
            buffer: &self.buffer,
            stride: self.stride,
            count: self.count,
            bytes: size_of::<P>() as u64,
            name: P::NAME,
        }
    }
}
