//! System shared memory: tensors that a client on the same machine passes in POSIX shared memory
//! instead of in the request (an extension of the protocol by Triton).
//!
//! ```text
//! client: shm_open + write --register name, key--> Regions        (once)
//! client: infer, input "in region R at 0, 600 bytes" --> read the bytes, run, write the outputs
//! ```
//!
//! Inputs are copied before they are used: the client could change them while they are checked. The
//! memory is read and written as a file, so that a client that makes it smaller gets an error instead
//! of a server that is killed by `SIGBUS`.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::fs::OFlags;
use serde::Serialize;
use serde_json::{Value, json};
use tidegate_core::{DataType, Shape, Tensor, TensorError};
use tidegate_serving::{ErrorCode, InferError, InferResponse, MemoryReservation, OutputTensor};
use utoipa::ToSchema;

use crate::codec::{INLINE_BYTES, run_codec};
use crate::parameters::Parameters;

/// The folder of all shared memory objects.
const OBJECTS: &str = "/dev/shm";
/// Most regions that are registered at the same time.
const MAX_REGIONS: usize = 1024;
/// Longest name of a region or key, in bytes.
const MAX_NAME_BYTES: usize = 255;

/// The registered regions.
#[derive(Debug)]
pub(crate) struct SharedMemory {
    /// Whether clients may use shared memory at all.
    enabled: bool,
    /// Most bytes of all inputs of a request, as in a body.
    max_input_bytes: usize,
    regions: Mutex<BTreeMap<String, Arc<Region>>>,
}

/// A part of a shared memory object.
#[derive(Debug)]
struct Region {
    file: File,
    status: RegionStatus,
}

/// A registered region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct RegionStatus {
    /// The name that requests use.
    pub(crate) name: String,
    /// The name of the shared memory object, as for `shm_open`.
    pub(crate) key: String,
    /// Where the region begins in the object, in bytes.
    pub(crate) offset: u64,
    /// The size of the region, in bytes.
    pub(crate) byte_size: u64,
}

/// The error of every use of CUDA shared memory: no engine here runs on a GPU.
pub(crate) fn no_cuda_shared_memory() -> InferError {
    let message = "CUDA shared memory is not supported: use system shared memory";
    InferError::new(ErrorCode::InvalidParameter, message)
}

impl SharedMemory {
    /// What a region is called in the audit log.
    pub(crate) const RESOURCE_KIND: &str = "shared-memory";

    pub(crate) fn new(enabled: bool, max_input_bytes: usize) -> Self {
        Self {
            enabled,
            max_input_bytes,
            regions: Mutex::default(),
        }
    }

    /// Opens a region.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidParameter`] if there is no such object, if it is too small, or if the name
    /// is taken; [`ErrorCode::MethodNotAllowed`] if shared memory is off.
    pub(crate) fn register(&self, status: RegionStatus) -> Result<(), InferError> {
        self.check_enabled()?;
        let region = Arc::new(Region::open(status)?);
        let name = region.status.name.clone();
        let mut regions = self.regions.lock();
        if regions.contains_key(&name) {
            let message = format!("the shared memory region {name:?} is registered already");
            return Err(invalid(message));
        }
        if regions.len() >= MAX_REGIONS {
            let message = format!("there are {MAX_REGIONS} shared memory regions already");
            return Err(invalid(message));
        }
        regions.insert(name, region);
        Ok(())
    }

    /// Closes a region, or all of them without a name. Requests that use it end with it.
    ///
    /// # Errors
    /// [`ErrorCode::MethodNotAllowed`] if shared memory is off.
    pub(crate) fn unregister(&self, name: Option<&str>) -> Result<(), InferError> {
        self.check_enabled()?;
        let mut regions = self.regions.lock();
        match name {
            None => regions.clear(),
            Some(name) => {
                regions.remove(name);
            }
        }
        Ok(())
    }

    /// One region, or all of them without a name.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidParameter`] for an unknown name.
    pub(crate) fn status(&self, name: Option<&str>) -> Result<Vec<RegionStatus>, InferError> {
        match name {
            Some(name) => Ok(vec![self.region(name)?.status.clone()]),
            None => {
                let regions = self.regions.lock();
                let regions = regions.values();
                Ok(regions.map(|region| region.status.clone()).collect())
            }
        }
    }

    /// The registered regions, for the audit log.
    pub(crate) fn audit_state(&self) -> Value {
        let regions = self.regions.lock();
        regions
            .values()
            .map(|region| (region.status.name.clone(), json!(region.status)))
            .collect()
    }

    fn region(&self, name: &str) -> Result<Arc<Region>, InferError> {
        self.check_enabled()?;
        let found = self.regions.lock().get(name).cloned();
        found.ok_or_else(|| {
            let name: String = name.chars().take(128).collect();
            invalid(format!("there is no shared memory region {name:?}"))
        })
    }

    fn check_enabled(&self) -> Result<(), InferError> {
        if self.enabled {
            return Ok(());
        }
        let message = "shared memory is off: server.shared_memory is false";
        Err(InferError::new(ErrorCode::MethodNotAllowed, message))
    }

    /// Reads the inputs that a request has left in shared memory, each to its place among `inputs`:
    /// many bytes beside the thread that has the connection.
    ///
    /// # Errors
    /// If there is no such part of a region, or the bytes are no such tensor.
    pub(crate) async fn read_inputs(
        self: &Arc<Self>,
        shared: Vec<SharedInput>,
        inputs: &mut Vec<(String, Tensor)>,
        memory: &mut MemoryReservation,
    ) -> Result<(), InferError> {
        let sizes = shared.iter().map(|input| input.part.bytes);
        // The client chose the sizes: their sum must not wrap around to a small one.
        let bytes = sizes.fold(0, usize::saturating_add);
        if bytes > self.max_input_bytes {
            let message = format!(
                "the inputs in shared memory have {bytes} bytes, at most {} are read (server.max_body_bytes)",
                self.max_input_bytes
            );
            return Err(InferError::new(ErrorCode::BodyTooLarge, message));
        }
        memory.grow(bytes, ErrorCode::BodyTooLarge)?;
        if bytes <= INLINE_BYTES {
            return self.read_each(shared, inputs);
        }
        let (own, mut read) = (self.clone(), std::mem::take(inputs));
        let reading = run_codec(memory, move || {
            own.read_each(shared, &mut read)?;
            Ok::<_, InferError>(read)
        });
        *inputs = reading.await??;
        Ok(())
    }

    fn read_each(
        &self,
        shared: Vec<SharedInput>,
        inputs: &mut [(String, Tensor)],
    ) -> Result<(), InferError> {
        for input in shared {
            let Some((name, tensor)) = inputs.get_mut(input.position) else {
                continue;
            };
            let region = self.region(&input.part.region)?;
            let bytes = region.read(&input.part)?;
            *tensor =
                Tensor::from_wire(input.datatype, input.shape, bytes.into()).map_err(|error| {
                    let message = format!("input \"{name}\": {error}");
                    InferError::new(ErrorCode::from(&error), message)
                })?;
        }
        Ok(())
    }

    /// Writes the outputs that the client wants in shared memory, and gives for each output where it
    /// is now.
    ///
    /// # Errors
    /// If there is no such part of a region, or it is too small.
    pub(crate) fn write_outputs(
        &self,
        wanted: &[Option<SharedPart>],
        response: &InferResponse,
    ) -> Result<Vec<Option<SharedPart>>, InferError> {
        let outputs = response.outputs.iter().enumerate();
        let written = outputs.map(|(at, output)| match wanted.get(at) {
            Some(Some(part)) => self.write_output(part, output).map(Some),
            _ => Ok(None),
        });
        written.collect()
    }

    fn write_output(
        &self,
        part: &SharedPart,
        output: &OutputTensor,
    ) -> Result<SharedPart, InferError> {
        let bytes = output.tensor.wire();
        if bytes.len() > part.bytes {
            let message = format!(
                "an output takes {} bytes, the part of the shared memory region {:?} has {}",
                bytes.len(),
                part.region,
                part.bytes
            );
            return Err(invalid(message));
        }
        self.region(&part.region)?.write(part, &bytes)?;
        Ok(SharedPart {
            bytes: bytes.len(),
            ..part.clone()
        })
    }
}

impl Region {
    fn open(status: RegionStatus) -> Result<Self, InferError> {
        if !(1..=MAX_NAME_BYTES).contains(&status.name.len()) {
            let message = format!("the name of a region has 1 to {MAX_NAME_BYTES} bytes");
            return Err(invalid(message));
        }
        let key = object_name(&status.key)?;
        let (file, size) = open_object(key).map_err(|error| {
            let key = &status.key;
            invalid(format!(
                "the shared memory object {key:?} cannot be opened: {error}"
            ))
        })?;
        // An offset near the end of its range must not pass by an overflow.
        let end = status.offset.checked_add(status.byte_size);
        if status.byte_size == 0 || end.is_none_or(|end| end > size) {
            return Err(invalid(format!(
                "a region of {} bytes at {} is not within the shared memory object {:?} of {size} bytes",
                status.byte_size, status.offset, status.key
            )));
        }
        Ok(Self { file, status })
    }

    fn read(&self, part: &SharedPart) -> Result<Vec<u8>, InferError> {
        let start = self.start(part)?;
        let mut bytes = vec![0; part.bytes];
        self.file
            .read_exact_at(&mut bytes, start)
            .map_err(|error| self.lost(&error))?;
        Ok(bytes)
    }

    fn write(&self, part: &SharedPart, bytes: &[u8]) -> Result<(), InferError> {
        let start = self.start(part)?;
        // Writing behind its end would make the object larger.
        let size = self.file.metadata().map_or(0, |found| found.len());
        if start + bytes.len() as u64 > size {
            let error = io::Error::from(io::ErrorKind::UnexpectedEof);
            return Err(self.lost(&error));
        }
        self.file
            .write_all_at(bytes, start)
            .map_err(|error| self.lost(&error))
    }

    /// Where a part begins in the object.
    fn start(&self, part: &SharedPart) -> Result<u64, InferError> {
        let bytes = part.bytes as u64;
        let end = part.offset.checked_add(bytes);
        if end.is_none_or(|end| end > self.status.byte_size) {
            let message = format!(
                "{bytes} bytes at {} are not within the shared memory region {:?} of {} bytes",
                part.offset, self.status.name, self.status.byte_size
            );
            return Err(invalid(message));
        }
        Ok(self.status.offset + part.offset)
    }

    fn lost(&self, error: &io::Error) -> InferError {
        let (name, key) = (&self.status.name, &self.status.key);
        invalid(format!(
            "the shared memory region {name:?} ({key:?}) cannot be used: {error}"
        ))
    }
}

/// Opens a shared memory object, and gives its size. On Linux it is a file of this folder
/// (shm_overview(7)).
fn open_object(name: &str) -> io::Result<(File, u64)> {
    // Neither through a link to a file elsewhere, nor waiting for the other end of a pipe.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(flags.bits() as i32)
        .open(Path::new(OBJECTS).join(name))?;
    let found = file.metadata()?;
    match found.is_file() {
        true => Ok((file, found.len())),
        false => Err(io::Error::other("it is not a shared memory object")),
    }
}

/// The name of an object without its slash. One with more parts would be a file elsewhere.
fn object_name(key: &str) -> Result<&str, InferError> {
    let name = key.strip_prefix('/').unwrap_or(key);
    let is_name = (1..=MAX_NAME_BYTES).contains(&name.len())
        && !name.contains(['/', '\0'])
        && ![".", ".."].contains(&name);
    if is_name {
        return Ok(name);
    }
    let key: String = key.chars().take(128).collect();
    Err(invalid(format!(
        "{key:?} is not the name of a shared memory object: a slash and a file name"
    )))
}

fn invalid(message: impl Into<String>) -> InferError {
    InferError::new(ErrorCode::InvalidParameter, message.into())
}

/// A part of a region that holds a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SharedPart {
    pub(crate) region: String,
    /// Where it begins in the region, in bytes.
    pub(crate) offset: u64,
    /// Its size, or the most that may be written.
    pub(crate) bytes: usize,
}

impl SharedPart {
    /// The parameter that names a region, in requests and answers.
    pub(crate) const REGION: &str = "shared_memory_region";
    /// The parameter that says where the tensor begins.
    pub(crate) const OFFSET: &str = "shared_memory_offset";
    /// The parameter that says how many bytes it has.
    pub(crate) const BYTES: &str = "shared_memory_byte_size";

    /// The part that the parameters of an input or output name.
    pub(crate) fn of(parameters: &Parameters) -> Result<Option<Self>, InferError> {
        if parameters.is_empty() {
            return Ok(None);
        }
        let Some(region) = parameters.text(Self::REGION)? else {
            return Ok(None);
        };
        let bytes = parameters.size(Self::BYTES)?.ok_or_else(|| {
            let message = format!("\"{}\" needs \"{}\"", Self::REGION, Self::BYTES);
            invalid(message)
        })?;
        Ok(Some(Self {
            region: region.to_owned(),
            offset: parameters.number(Self::OFFSET)?.unwrap_or(0),
            bytes,
        }))
    }
}

/// An input whose data is in shared memory.
#[derive(Debug)]
pub(crate) struct SharedInput {
    /// Its place among the inputs of the request.
    pub(crate) position: usize,
    pub(crate) datatype: DataType,
    pub(crate) shape: Shape,
    pub(crate) part: SharedPart,
}

impl SharedInput {
    /// What stands among the inputs until the data is read.
    pub(crate) fn placeholder() -> Result<Tensor, InferError> {
        let empty = Shape::new(&[0]).map_err(TensorError::from);
        let empty = empty.and_then(|shape| Tensor::from_vec::<u8>(shape, Vec::new()));
        empty.map_err(|error| InferError::new(ErrorCode::Internal, error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// A shared memory object that is gone at the end of the test.
    struct Object(String, PathBuf);

    impl Object {
        fn new(name: &str, content: &[u8]) -> Self {
            let name = format!("tidegate-test-{name}-{}", std::process::id());
            let path = Path::new(OBJECTS).join(&name);
            std::fs::write(&path, content).unwrap();
            Self(format!("/{name}"), path)
        }

        fn region(&self, offset: u64, byte_size: u64) -> RegionStatus {
            RegionStatus {
                name: "r".to_owned(),
                key: self.0.clone(),
                offset,
                byte_size,
            }
        }
    }

    impl Drop for Object {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.1);
        }
    }

    fn part(offset: u64, bytes: usize) -> SharedPart {
        SharedPart {
            region: "r".to_owned(),
            offset,
            bytes,
        }
    }

    #[test]
    fn a_part_of_a_region_is_read_and_written() {
        let object = Object::new("read", &[1, 2, 3, 4, 5, 6, 7, 8]);
        let memory = SharedMemory::new(true, 1 << 20);
        memory.register(object.region(2, 5)).unwrap();
        let region = memory.region("r").unwrap();
        assert_eq!(region.read(&part(1, 2)).unwrap(), [4, 5]);
        region.write(&part(3, 2), &[9, 9]).unwrap();
        assert_eq!(region.read(&part(0, 5)).unwrap(), [3, 4, 5, 9, 9]);
        assert_eq!(memory.status(None).unwrap(), [object.region(2, 5)]);
        memory.unregister(Some("r")).unwrap();
        assert!(memory.status(Some("r")).is_err());
    }

    #[test]
    fn what_is_outside_of_a_region_or_an_object_is_refused() {
        let object = Object::new("outside", &[0; 8]);
        let memory = SharedMemory::new(true, 1 << 20);
        for (offset, bytes) in [(0, 9), (8, 1), (u64::MAX, 2), (0, 0)] {
            assert!(memory.register(object.region(offset, bytes)).is_err());
        }
        memory.register(object.region(0, 8)).unwrap();
        assert!(memory.register(object.region(0, 8)).is_err(), "twice");
        let region = memory.region("r").unwrap();
        assert!(region.read(&part(7, 2)).is_err());
        assert!(region.read(&part(u64::MAX, 2)).is_err());
    }

    #[test]
    fn an_object_that_gets_smaller_is_an_error() {
        let object = Object::new("smaller", &[0; 8]);
        let memory = SharedMemory::new(true, 1 << 20);
        memory.register(object.region(0, 8)).unwrap();
        let file = File::options().write(true).open(&object.1).unwrap();
        file.set_len(4).unwrap();
        let region = memory.region("r").unwrap();
        assert!(region.read(&part(0, 8)).is_err());
        assert!(region.write(&part(0, 8), &[1; 8]).is_err());
        assert_eq!(file.metadata().unwrap().len(), 4);
    }

    #[test]
    fn keys_are_names_and_not_paths() {
        for key in ["", "/", "/../etc/passwd", "a/b", "..", "/."] {
            assert!(object_name(key).is_err(), "{key:?}");
        }
        assert_eq!(object_name("/input_data").unwrap(), "input_data");
    }

    #[test]
    fn nothing_can_be_registered_while_it_is_off() {
        let object = Object::new("off", &[0; 8]);
        let error = SharedMemory::new(false, 1 << 20).register(object.region(0, 8));
        assert_eq!(error.unwrap_err().code, ErrorCode::MethodNotAllowed);
    }
}
