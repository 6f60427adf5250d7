//! The fast path into ONNX Runtime: names and types are looked up once, and outputs are written
//! straight into the memory of our tensors.
//!
//! It serves graphs whose tensors have elements of fixed width, and whose outputs have one row for
//! each row of the inputs. Nearly every model of tabular data is one. The binding's general path,
//! which asks the runtime for the type and shape of every output of every run, serves the rest.
//!
//! The runtime does not write every output into the memory that it is given: an output that is an
//! input, a weight or another output of the graph keeps its own, and the given memory stays as it
//! was, without an error. So the fast path is taken only once it was [proven](PreallocatedRun::proof)
//! that a run writes all of its outputs.

use std::ffi::{CString, c_char};
use std::ptr;
use std::sync::atomic::{AtomicU8, Ordering};

use ort::sys;
use smallvec::SmallVec;
use tidegate_core::{
    DataType, Dim, Shape, Signature, Tensor, TensorBuffer, TensorSpec, TensorView,
};

use super::session::{Call, SharedSession, check};
use crate::RunError;

/// Most models have few inputs and outputs: their lists need no allocation.
type Few<T> = SmallVec<[T; 4]>;

/// Fills of an output's memory before a run that must overwrite all of it. They differ in every
/// bit, so no byte that is left as it was can be right in both runs.
const FILLS: [u8; 2] = [0xA5, 0x5A];

/// After so many long runs a graph counts as one whose runs are long.
const MAX_LONG_RUNS: u8 = 5;

/// Whether the runs of a graph write all outputs into the memory that they are given. All instances
/// of an artifact share it, for they run the same graph.
#[derive(Default)]
pub(super) struct PreallocationProof {
    proof: AtomicU8,
    long_runs: AtomicU8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// No run could show it yet.
    Open,
    /// Each run writes all outputs.
    Holds,
    /// Some output is not written, or differs.
    Fails,
}

impl PreallocationProof {
    pub(super) fn get(&self) -> Proof {
        match self.proof.load(Ordering::Relaxed) {
            0 => Proof::Open,
            1 => Proof::Holds,
            _ => Proof::Fails,
        }
    }

    pub(super) fn set(&self, proof: Proof) {
        let number = match proof {
            Proof::Open => 0,
            Proof::Holds => 1,
            Proof::Fails => 2,
        };
        // Never back: another instance may have found out that it fails meanwhile.
        self.proof.fetch_max(number, Ordering::Relaxed);
    }

    /// What to take a run for that was long: by chance, as long as there were few of them.
    pub(super) fn after_long_run(&self) -> Proof {
        if self.long_runs.fetch_add(1, Ordering::Relaxed) < MAX_LONG_RUNS {
            Proof::Open
        } else {
            Proof::Fails
        }
    }
}

/// Names and types of a graph in the runtime's own form.
pub(super) struct PreallocatedRun {
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    memory: CpuMemory,
}

/// An input or output.
struct Port {
    name: CString,
    datatype: DataType,
    element: sys::ONNXTensorElementDataType,
    /// Extents after axis 0; only outputs have them.
    inner: Vec<usize>,
}

/// One side of a run, in the two arrays that the runtime takes.
#[derive(Default)]
struct Arguments {
    names: Few<*const c_char>,
    values: Few<Value>,
}

impl PreallocatedRun {
    /// `None` for a graph that needs the general path.
    pub(super) fn new(signature: &Signature) -> Option<Self> {
        if has_shared_output(signature) {
            return None;
        }
        let mut inputs = Vec::new();
        for spec in &signature.inputs {
            inputs.push(Port::new(spec, Vec::new())?);
        }
        let mut outputs = Vec::new();
        for spec in &signature.outputs {
            outputs.push(Port::new(spec, inner_extents(spec)?)?);
        }
        Some(Self {
            inputs,
            outputs,
            memory: CpuMemory::new()?,
        })
    }

    /// Runs inputs whose memory is aligned. `Ok(None)` where the inputs need the general path.
    pub(super) fn run(
        &self,
        session: &SharedSession,
        inputs: &[Option<Tensor>],
        release: bool,
    ) -> Result<Option<Vec<Tensor>>, RunError> {
        self.run_over(session, inputs, None, release)
    }

    /// Runs the inputs again, over memory that is filled with something else each time, and compares
    /// with the outputs of the general path. A graph whose runs differ stays on the general path.
    pub(super) fn proof(
        &self,
        session: &SharedSession,
        inputs: &[Option<Tensor>],
        expected: &[Tensor],
    ) -> Proof {
        if expected.iter().any(|output| output.byte_len() == 0) {
            return Proof::Open;
        }
        for fill in FILLS {
            match self.run_over(session, inputs, Some(fill), false) {
                Ok(Some(outputs)) if is_same(&outputs, expected) => {}
                Ok(None) => return Proof::Open,
                Ok(Some(_)) | Err(_) => return Proof::Fails,
            }
        }
        Proof::Holds
    }

    /// Runs inputs over memory for the outputs that is filled with `fill`, or as it comes.
    fn run_over(
        &self,
        session: &SharedSession,
        inputs: &[Option<Tensor>],
        fill: Option<u8>,
        release: bool,
    ) -> Result<Option<Vec<Tensor>>, RunError> {
        let rows = inputs.first().and_then(Option::as_ref).map(Tensor::rows);
        let Some(rows) = rows.filter(|rows| *rows > 0) else {
            return Ok(None);
        };
        let Some(arguments) = self.input_arguments(inputs)? else {
            return Ok(None);
        };
        let mut buffers: Few<TensorBuffer> = SmallVec::new();
        let mut results = Arguments::default();
        for port in &self.outputs {
            let Some(mut buffer) = port.buffer(rows) else {
                return Ok(None);
            };
            let memory = buffer.bytes_mut();
            if let Some(fill) = fill {
                memory.fill(fill);
            }
            let (start, len) = (memory.as_mut_ptr(), memory.len());
            results.names.push(port.name.as_ptr());
            results
                .values
                .push(self.value(port, buffer.shape(), start, len)?);
            buffers.push(buffer);
        }
        // SAFETY: the values point into `inputs`, which is only read, and into `buffers`, which
        // nothing else knows. Both outlive the call, as the ports with the names do.
        unsafe { call(session, &arguments, &results, release) }?;
        let outputs = buffers.into_iter().map(TensorBuffer::finish).collect();
        Ok(Some(outputs))
    }

    /// `Ok(None)` where an input has strings.
    fn input_arguments(&self, inputs: &[Option<Tensor>]) -> Result<Option<Arguments>, RunError> {
        let mut arguments = Arguments::default();
        for (port, tensor) in self.inputs.iter().zip(inputs) {
            let Some(tensor) = tensor else { continue };
            let TensorView::Fixed(bytes) = tensor.view() else {
                return Ok(None);
            };
            // The runtime takes inputs through the same pointer type as outputs. It only reads
            // them.
            let start = bytes.as_ptr().cast_mut();
            arguments.names.push(port.name.as_ptr());
            arguments
                .values
                .push(self.value(port, tensor.shape(), start, bytes.len())?);
        }
        Ok(Some(arguments))
    }

    /// A tensor of the runtime over this memory.
    fn value(
        &self,
        port: &Port,
        shape: &Shape,
        start: *mut u8,
        bytes: usize,
    ) -> Result<Value, RunError> {
        let extents: Few<i64> = shape.iter().map(|extent| *extent as i64).collect();
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

/// Runs the session, which writes into the memory of `results`.
///
/// # Safety
/// The memory of all values must be alive and as long as their shapes say. Nothing else may use
/// the memory of `results` during the call.
unsafe fn call(
    session: &SharedSession,
    arguments: &Arguments,
    results: &Arguments,
    release: bool,
) -> Result<(), RunError> {
    let inputs: Few<*const sys::OrtValue> = arguments
        .values
        .iter()
        .map(|value| value.0.cast_const())
        .collect();
    let mut outputs: Few<*mut sys::OrtValue> = results.values.iter().map(|value| value.0).collect();
    let call = Call {
        input_names: &arguments.names,
        inputs: &inputs,
        output_names: &results.names,
        outputs: &mut outputs,
    };
    // SAFETY: names end with a NUL and belong to the ports. The caller keeps the memory of the values
    // alive.
    unsafe { session.call(call, release) }
}

impl Port {
    fn new(spec: &TensorSpec, inner: Vec<usize>) -> Option<Self> {
        Some(Self {
            name: CString::new(spec.name.as_str()).ok()?,
            datatype: spec.datatype,
            element: element(spec.datatype)?,
            inner,
        })
    }

    /// Memory for an output of so many rows.
    fn buffer(&self, rows: usize) -> Option<TensorBuffer> {
        let inner = self.inner.iter().copied();
        let extents: Few<usize> = std::iter::once(rows).chain(inner).collect();
        TensorBuffer::new(self.datatype, Shape::new(&extents).ok()?)
    }
}

/// Whether an output has the name of an input or of another output: it is the same tensor.
fn has_shared_output(signature: &Signature) -> bool {
    let outputs = &signature.outputs;
    outputs.iter().enumerate().any(|(at, output)| {
        let others = signature.inputs.iter().chain(&outputs[..at]);
        others.into_iter().any(|other| other.name == output.name)
    })
}

fn is_same(outputs: &[Tensor], expected: &[Tensor]) -> bool {
    outputs.len() == expected.len()
        && outputs
            .iter()
            .zip(expected)
            .all(|(one, two)| one.shape() == two.shape() && one.wire() == two.wire())
}

/// The extents after axis 0 of an output, where they are all fixed and axis 0 is the batch axis.
fn inner_extents(spec: &TensorSpec) -> Option<Vec<usize>> {
    let (Dim::Any, inner) = spec.dims.as_ref()?.split_first()? else {
        return None;
    };
    let mut extents = Vec::with_capacity(inner.len());
    for dim in inner {
        let Dim::Fixed(extent) = dim else { return None };
        extents.push(*extent);
    }
    Some(extents)
}

/// The runtime's number for a data type whose elements have a fixed width.
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

/// A value of the runtime, released when dropped. It does not own the memory that it points to.
struct Value(*mut sys::OrtValue);

impl Drop for Value {
    fn drop(&mut self) {
        // SAFETY: the pointer came from the runtime and is released once.
        unsafe { (ort::api().ReleaseValue)(self.0) };
    }
}

/// The runtime's description of ordinary memory.
struct CpuMemory(*mut sys::OrtMemoryInfo);

// SAFETY: the runtime never changes it after its creation.
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
