//! The short way into ONNX Runtime: names and types looked up once, outputs written straight into
//! the tensors' memory.
//!
//! It serves graphs whose tensors are of fixed width and whose outputs have one row for each row of
//! the inputs, which is nearly every model of rows; the binding's general way, which asks the
//! runtime for the type and shape of every output of every run, serves the rest.

use std::ffi::{CString, c_char};
use std::ptr;

use ort::AsPointer;
use ort::session::Session;
use ort::sys;
use smallvec::SmallVec;
use tidegate_core::{
    DataType, Dim, Shape, Signature, Tensor, TensorBuffer, TensorSpec, TensorView,
};

use crate::RunError;

/// Names and types of a graph in the runtime's own form.
pub(super) struct Direct {
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    memory: CpuMemory,
}

/// An input or output.
struct Port {
    name: CString,
    datatype: DataType,
    element: sys::ONNXTensorElementDataType,
    /// Extents behind the rows; only outputs have them.
    inner: Vec<usize>,
}

impl Direct {
    /// `None` for a graph that needs the general way.
    pub(super) fn new(signature: &Signature) -> Option<Self> {
        let inputs = signature
            .inputs
            .iter()
            .map(|spec| Port::new(spec, Some(Vec::new())));
        let outputs = signature
            .outputs
            .iter()
            .map(|spec| Port::new(spec, inner_extents(spec)));
        Some(Self {
            inputs: inputs.collect::<Option<_>>()?,
            outputs: outputs.collect::<Option<_>>()?,
            memory: CpuMemory::new()?,
        })
    }

    /// Runs inputs whose memory is aligned. `Ok(None)` where the inputs need the general way.
    pub(super) fn run(
        &self,
        session: &mut Session,
        inputs: &[Option<Tensor>],
    ) -> Result<Option<Vec<Tensor>>, RunError> {
        let Some(rows) = inputs.first().and_then(Option::as_ref).map(Tensor::rows) else {
            return Ok(None);
        };
        if rows == 0 {
            return Ok(None);
        }
        let mut names: SmallVec<[*const c_char; 4]> = SmallVec::new();
        let mut values: SmallVec<[Value; 4]> = SmallVec::new();
        for (port, tensor) in self.inputs.iter().zip(inputs) {
            let Some(tensor) = tensor else { continue };
            let TensorView::Fixed(bytes) = tensor.view() else {
                return Ok(None);
            };
            names.push(port.name.as_ptr());
            // The runtime takes inputs through the same pointer type as outputs and only reads
            // them.
            values.push(self.value(
                port,
                tensor.shape(),
                bytes.as_ptr().cast_mut(),
                bytes.len(),
            )?);
        }
        let mut output_names: SmallVec<[*const c_char; 4]> = SmallVec::new();
        let mut output_values: SmallVec<[Value; 4]> = SmallVec::new();
        let mut buffers: SmallVec<[TensorBuffer; 4]> = SmallVec::new();
        for port in &self.outputs {
            let extents: SmallVec<[usize; 4]> = std::iter::once(rows)
                .chain(port.inner.iter().copied())
                .collect();
            let Some(mut buffer) = Shape::new(&extents)
                .ok()
                .and_then(|shape| TensorBuffer::new(port.datatype, shape))
            else {
                return Ok(None);
            };
            let memory = buffer.bytes_mut();
            let (start, len) = (memory.as_mut_ptr(), memory.len());
            output_names.push(port.name.as_ptr());
            output_values.push(self.value(port, buffer.shape(), start, len)?);
            buffers.push(buffer);
        }
        let inputs: SmallVec<[*const sys::OrtValue; 4]> =
            values.iter().map(|value| value.0.cast_const()).collect();
        let mut outputs: SmallVec<[*mut sys::OrtValue; 4]> =
            output_values.iter().map(|value| value.0).collect();
        // SAFETY: the session is alive and borrowed for this run alone; names are NUL-terminated
        // and outlive the call, as do the values, which point into `inputs` and `buffers`, alive
        // until after the call and long enough for their shapes; all counts are those of the arrays
        // beside them.
        let status = unsafe {
            (ort::api().Run)(
                session.ptr_mut(),
                ptr::null(),
                names.as_ptr(),
                inputs.as_ptr(),
                inputs.len(),
                output_names.as_ptr(),
                outputs.len(),
                outputs.as_mut_ptr(),
            )
        };
        check(status)?;
        Ok(Some(
            buffers.into_iter().map(TensorBuffer::finish).collect(),
        ))
    }

    /// A tensor of the runtime over this memory.
    fn value(
        &self,
        port: &Port,
        shape: &Shape,
        start: *mut u8,
        bytes: usize,
    ) -> Result<Value, RunError> {
        let extents: SmallVec<[i64; 4]> = shape.iter().map(|extent| *extent as i64).collect();
        let mut value = ptr::null_mut();
        // SAFETY: the memory information is alive, the shape is read during the call only, and the
        // caller keeps `bytes` bytes from `start` on alive for as long as the value.
        let status = unsafe {
            (ort::api().CreateTensorWithDataAsOrtValue)(
                self.memory.0,
                start.cast(),
                bytes,
                extents.as_ptr(),
                extents.len(),
                port.element,
                &mut value,
            )
        };
        check(status)?;
        Ok(Value(value))
    }
}

impl Port {
    fn new(spec: &TensorSpec, inner: Option<Vec<usize>>) -> Option<Self> {
        Some(Self {
            name: CString::new(spec.name.as_str()).ok()?,
            datatype: spec.datatype,
            element: element(spec.datatype)?,
            inner: inner?,
        })
    }
}

/// The extents behind the rows of an output that says them all.
fn inner_extents(spec: &TensorSpec) -> Option<Vec<usize>> {
    let (first, inner) = spec.dims.as_ref()?.split_first()?;
    let extent = |dim: &Dim| {
        if let Dim::Fixed(extent) = dim {
            Some(*extent)
        } else {
            None
        }
    };
    (*first == Dim::Any)
        .then(|| inner.iter().map(extent).collect())
        .flatten()
}

/// The runtime's number of a type of fixed width.
fn element(datatype: DataType) -> Option<sys::ONNXTensorElementDataType> {
    use sys::ONNXTensorElementDataType as E;
    Some(match datatype {
        DataType::Bool => E::ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL,
        DataType::Uint8 => E::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8,
        DataType::Uint16 => E::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT16,
        DataType::Uint32 => E::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT32,
        DataType::Uint64 => E::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT64,
        DataType::Int8 => E::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8,
        DataType::Int16 => E::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT16,
        DataType::Int32 => E::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32,
        DataType::Int64 => E::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64,
        DataType::Fp16 => E::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16,
        DataType::Bf16 => E::ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16,
        DataType::Fp32 => E::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT,
        DataType::Fp64 => E::ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE,
        DataType::Bytes => return None,
    })
}

/// A value of the runtime, released when dropped; the memory that it points to is not its own.
struct Value(*mut sys::OrtValue);

impl Drop for Value {
    fn drop(&mut self) {
        // SAFETY: the pointer came from the runtime and is released once.
        unsafe { (ort::api().ReleaseValue)(self.0) };
    }
}

/// The runtime's word for ordinary memory.
struct CpuMemory(*mut sys::OrtMemoryInfo);

// SAFETY: the runtime never changes it once it is made.
unsafe impl Send for CpuMemory {}

impl CpuMemory {
    fn new() -> Option<Self> {
        let mut memory = ptr::null_mut();
        // SAFETY: the pointer is valid for the call.
        let status = unsafe {
            (ort::api().CreateCpuMemoryInfo)(
                sys::OrtAllocatorType::OrtDeviceAllocator,
                sys::OrtMemType::OrtMemTypeDefault,
                &mut memory,
            )
        };
        check(status).ok()?;
        Some(Self(memory))
    }
}

impl Drop for CpuMemory {
    fn drop(&mut self) {
        // SAFETY: the pointer came from the runtime and is released once.
        unsafe { (ort::api().ReleaseMemoryInfo)(self.0) };
    }
}

fn check(status: sys::OrtStatusPtr) -> Result<(), RunError> {
    // SAFETY: the status came from the runtime and is not used again.
    let result = unsafe { ort::Error::result_from_status(status) };
    result.map_err(|error| RunError::Engine(error.message().to_owned()))
}
