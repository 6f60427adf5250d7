//! Strings of any bytes in the runtime's tensors. The binding takes and gives UTF-8 without NUL only,
//! so this calls the runtime itself.

use std::ffi::c_char;
use std::ptr;

use ort::AsPointer;
use ort::value::DynValue;
use tidegate_core::StringArray;

/// Writes one element of a tensor of strings.
pub(super) fn set(
    tensor: &mut ort::value::Tensor<String>,
    at: usize,
    bytes: &[u8],
) -> ort::Result<()> {
    let mut start: *mut c_char = ptr::null_mut();
    // SAFETY: the value is alive, and the runtime checks the position. It gives memory for as many
    // bytes as were asked for, which stays in its place until the element changes again.
    unsafe {
        let status = (ort::api().GetResizedStringTensorElementBuffer)(
            tensor.ptr_mut(),
            at,
            bytes.len(),
            &mut start,
        );
        ort::Error::result_from_status(status)?;
        if !bytes.is_empty() && !start.is_null() {
            ptr::copy_nonoverlapping(bytes.as_ptr(), start.cast::<u8>(), bytes.len());
        }
    }
    Ok(())
}

/// The elements of a tensor of so many strings.
pub(super) fn read(value: &DynValue, count: usize) -> ort::Result<StringArray> {
    let mut bytes = 0;
    // SAFETY: the value is alive, and `bytes` outlives the call.
    let status = unsafe { (ort::api().GetStringTensorDataLength)(value.ptr(), &mut bytes) };
    // SAFETY: the status came from the runtime and is not used again.
    unsafe { ort::Error::result_from_status(status) }?;
    let mut content = vec![0u8; bytes];
    let mut starts = vec![0usize; count];
    // SAFETY: both buffers are as long as the call is told, and outlive it.
    let status = unsafe {
        (ort::api().GetStringTensorContent)(
            value.ptr(),
            content.as_mut_ptr().cast(),
            content.len(),
            starts.as_mut_ptr(),
            starts.len(),
        )
    };
    // SAFETY: as above.
    unsafe { ort::Error::result_from_status(status) }?;
    let ends = starts.iter().skip(1).copied().chain([bytes]);
    let strings = starts.iter().zip(ends);
    Ok(strings.map(|(start, end)| &content[*start..end]).collect())
}
