//! A session of the runtime, in which several instances run at the same time.
//!
//! The binding's `Session::run` takes the session by `&mut`, because some execution providers of the
//! runtime are not safe to run in many threads. The CPU's provider is, and no other is ever registered
//! here: the runtime documents that threads may call `Run` of one session at the same time, it
//! protects what a session's runs share (the memory arena, the plans of memory by input shape) by
//! locks of its own, and it runs one at a time by itself where a provider says that it must. So this
//! calls `Run` of the C interface. No state in Rust is shared by runs but the numbers of
//! [`PeakWatch`]: names, values and outputs belong to the caller.

use std::ffi::{CString, c_char};
use std::ptr;
use std::sync::{Arc, Weak};

use ort::AsPointer;
use ort::session::{NoSelectedOutputs, RunOptions, Session};
use ort::sys;
use ort::value::DynValue;
use parking_lot::Mutex;
use tidegate_core::{Signature, TensorSpec};

use super::SessionFactory;
use super::peak_watch::PeakWatch;
use crate::engines::sharers;
use crate::{LoadError, RunError};

/// The sessions of an artifact.
pub(super) struct Sessions {
    factory: SessionFactory,
    made: Mutex<Vec<Weak<SharedSession>>>,
    /// The session that was made to read the signature; the first instance takes it.
    first: Mutex<Option<Arc<SharedSession>>>,
}

impl Sessions {
    pub(super) fn new(
        factory: SessionFactory,
        first: Session,
        signature: &Signature,
    ) -> Result<Self, LoadError> {
        let first = Arc::new(SharedSession::new(first, signature)?);
        Ok(Self {
            factory,
            made: Mutex::new(vec![Arc::downgrade(&first)]),
            first: Mutex::new(Some(first)),
        })
    }

    /// How many threads a run keeps busy.
    pub(super) fn threads(&self) -> usize {
        self.factory.threads
    }

    /// A session for one more instance.
    pub(super) fn next(&self, signature: &Signature) -> Result<Arc<SharedSession>, LoadError> {
        if let Some(first) = self.first.lock().take() {
            return Ok(first);
        }
        let sharers = sharers(self.threads());
        let mut made = self.made.lock();
        made.retain(|session| session.strong_count() > 0);
        let open = made
            .iter()
            .find(|session| session.strong_count() < sharers)
            .and_then(Weak::upgrade);
        if let Some(session) = open {
            return Ok(session);
        }
        let session = Arc::new(SharedSession::new(self.factory.session()?, signature)?);
        made.push(Arc::downgrade(&session));
        Ok(session)
    }
}

/// A session, with the names of its inputs and outputs in the order of the signature.
pub(super) struct SharedSession {
    session: Session,
    input_names: Vec<CString>,
    output_names: Vec<CString>,
    /// Of a run that returns free memory of the arena when it ends.
    releasing: RunOptions<NoSelectedOutputs>,
    peaks: PeakWatch,
}

/// What a run takes, and the places of what it gives.
pub(super) struct Call<'a> {
    pub(super) input_names: &'a [*const c_char],
    pub(super) inputs: &'a [*const sys::OrtValue],
    pub(super) output_names: &'a [*const c_char],
    /// Tensors to write to; the runtime makes those that are null.
    pub(super) outputs: &'a mut [*mut sys::OrtValue],
}

impl SharedSession {
    fn new(session: Session, signature: &Signature) -> Result<Self, LoadError> {
        Ok(Self {
            session,
            input_names: names("input", &signature.inputs)?,
            output_names: names("output", &signature.outputs)?,
            releasing: releasing().map_err(|error| LoadError::Engine {
                engine: super::NAME,
                message: error.message().to_owned(),
            })?,
            peaks: PeakWatch::default(),
        })
    }

    pub(super) fn input_names(&self) -> &[CString] {
        &self.input_names
    }

    /// Whether a run over so many bytes of inputs should release what larger runs left behind.
    pub(super) fn is_peak_over(&self, bytes: usize) -> bool {
        self.peaks.is_over(bytes)
    }

    /// Runs with values of any kind, whose names are `names`. The runtime makes the outputs.
    ///
    /// # Safety
    /// As for [`call`](Self::call), for the inputs.
    pub(super) unsafe fn run(
        &self,
        names: &[*const c_char],
        values: &[*const sys::OrtValue],
        release: bool,
    ) -> Result<Vec<DynValue>, RunError> {
        let output_names: Vec<_> = self.output_names.iter().map(|name| name.as_ptr()).collect();
        let mut outputs = vec![ptr::null_mut(); output_names.len()];
        let call = Call {
            input_names: names,
            inputs: values,
            output_names: &output_names,
            outputs: &mut outputs,
        };
        // SAFETY: the output names are those of this session, and no output has memory yet. The
        // caller keeps names and values of the inputs alive.
        unsafe { self.call(call, release) }?;
        let allocator = self.session.allocator();
        let outputs = outputs.into_iter().map(|output| {
            let output = ptr::NonNull::new(output)
                .ok_or_else(|| RunError::Engine("a run gave no output".to_owned()))?;
            // SAFETY: the run succeeded, so that it made this value and gave it to us alone.
            Ok(unsafe { DynValue::from_ptr(output, Some(allocator)) })
        });
        outputs.collect()
    }

    /// Runs the graph. With `release` the arena returns its free memory afterwards.
    ///
    /// # Safety
    /// Names must end with a NUL, and lists of names must be as long as those of their values. Names,
    /// values and their memory must be alive during the call. Nothing else may use the memory of
    /// outputs meanwhile.
    pub(super) unsafe fn call(&self, mut call: Call<'_>, release: bool) -> Result<(), RunError> {
        // A build of the runtime without arenas refuses the option before it runs.
        if release {
            // SAFETY: as for this function.
            let released = unsafe { self.call_with(self.releasing.ptr(), &mut call) };
            if released.is_ok() {
                return Ok(());
            }
        }
        // SAFETY: as for this function.
        unsafe { self.call_with(ptr::null(), &mut call) }
    }

    /// # Safety
    /// As for [`call`](Self::call).
    unsafe fn call_with(
        &self,
        options: *const sys::OrtRunOptions,
        call: &mut Call<'_>,
    ) -> Result<(), RunError> {
        // SAFETY: counts are those of the arrays, and the caller keeps what they point to alive. The
        // runtime changes a session in a run only under its own locks, see the module.
        let status = unsafe {
            (ort::api().Run)(
                self.session.ptr().cast_mut(),
                options,
                call.input_names.as_ptr(),
                call.inputs.as_ptr(),
                call.inputs.len(),
                call.output_names.as_ptr(),
                call.output_names.len(),
                call.outputs.as_mut_ptr(),
            )
        };
        check(status)
    }
}

pub(super) fn check(status: sys::OrtStatusPtr) -> Result<(), RunError> {
    // SAFETY: the status came from the runtime and is not used again.
    let result = unsafe { ort::Error::result_from_status(status) };
    result.map_err(|error| RunError::Engine(error.message().to_owned()))
}

fn releasing() -> ort::Result<RunOptions<NoSelectedOutputs>> {
    let mut options = RunOptions::new()?;
    options.set("memory.enable_memory_arena_shrinkage", "cpu:0")?;
    Ok(options)
}

/// Names as the C interface takes them, from which they came.
fn names(side: &'static str, specs: &[TensorSpec]) -> Result<Vec<CString>, LoadError> {
    let names = specs.iter().map(|spec| {
        CString::new(spec.name.as_str()).map_err(|_| LoadError::Unsupported {
            side,
            name: spec.name.clone(),
            problem: "has a NUL in its name".to_owned(),
        })
    });
    names.collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tidegate_core::EngineOptions;

    use crate::onnxruntime::OnnxRuntimeEngine;

    /// The addresses of the sessions of nine instances.
    fn sessions(threads: usize) -> Vec<usize> {
        let engine = OnnxRuntimeEngine::new(None);
        let options = EngineOptions {
            instances: Some(9),
            intra_op_threads: Some(threads),
            ..EngineOptions::default()
        };
        let path = Path::new(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/data/gemm_relu_gemm.onnx"
        ));
        let artifact = engine.open(path, &options, 2).unwrap();
        let instances: Vec<_> = (0..9).map(|_| artifact.place().unwrap()).collect();
        let addresses = instances.iter().map(std::sync::Arc::as_ptr);
        addresses.map(|address| address as usize).collect()
    }

    fn distinct(mut addresses: Vec<usize>) -> usize {
        addresses.sort_unstable();
        addresses.dedup();
        addresses.len()
    }

    #[test]
    fn eight_instances_of_one_thread_share_a_session() {
        assert_eq!(distinct(sessions(1)), 2);
    }

    #[test]
    fn instances_with_threads_of_their_own_have_a_session_each() {
        assert_eq!(distinct(sessions(2)), 9);
    }
}
