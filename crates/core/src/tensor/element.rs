//! The Rust types of elements.

use bytemuck::Pod;
use half::{bf16, f16};

use crate::DataType;

/// A Rust type that stands for a fixed-width [`DataType`]; `BOOL` is read and written as `u8`
/// bytes.
pub trait Element: Pod + Send + Sync {
    /// The data type of the protocol.
    const DATATYPE: DataType;
}

macro_rules! elements {
    ($($rust:ty => $datatype:ident),* $(,)?) => {
        $(impl Element for $rust { const DATATYPE: DataType = DataType::$datatype; })*
    };
}

elements! {
    u8 => Uint8, u16 => Uint16, u32 => Uint32, u64 => Uint64,
    i8 => Int8, i16 => Int16, i32 => Int32, i64 => Int64,
    f16 => Fp16, bf16 => Bf16, f32 => Fp32, f64 => Fp64,
}

/// Runs an expression with `$element` standing for the [`Element`] type of a data type; `BOOL` and
/// `BYTES`, which have none, take the `else` arm.
#[macro_export]
macro_rules! with_element {
    ($datatype:expr, $element:ident => $body:expr, else => $other:expr $(,)?) => {{
        use $crate::DataType as D;
        macro_rules! arm {
            ($rust:ty) => {{
                type $element = $rust;
                $body
            }};
        }
        match $datatype {
            D::Uint8 => arm!(u8),
            D::Uint16 => arm!(u16),
            D::Uint32 => arm!(u32),
            D::Uint64 => arm!(u64),
            D::Int8 => arm!(i8),
            D::Int16 => arm!(i16),
            D::Int32 => arm!(i32),
            D::Int64 => arm!(i64),
            D::Fp16 => arm!($crate::f16),
            D::Bf16 => arm!($crate::bf16),
            D::Fp32 => arm!(f32),
            D::Fp64 => arm!(f64),
            // A Rust type stands for one data type: `u8` is UINT8, and BYTES has no fixed width.
            D::Bool | D::Bytes => $other,
        }
    }};
}
