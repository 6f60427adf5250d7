//! Finding and loading ONNX Runtime's shared library.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use ort::environment::Environment;
use ort::logging::LogLevel;

/// The environment variable that names the library.
const VARIABLE: &str = "TIDEGATE_ONNXRUNTIME";

#[cfg(target_os = "macos")]
const FILE: &str = "libonnxruntime.dylib";
#[cfg(windows)]
const FILE: &str = "onnxruntime.dll";
#[cfg(not(any(target_os = "macos", windows)))]
const FILE: &str = "libonnxruntime.so";

/// The loaded library; there is one per process.
#[derive(Clone)]
pub(crate) struct OnnxRuntime {
    environment: Environment,
    library: Arc<str>,
    version: Arc<str>,
}

impl OnnxRuntime {
    /// Looks at `explicit`, or else at the environment variable; if neither is set, next to the
    /// executable, in the user's cache (newest version first), and on the system's library path.
    ///
    /// The first call of a process decides; the library cannot be exchanged afterwards.
    pub(crate) fn find(explicit: Option<&Path>) -> Result<Self, String> {
        static FOUND: OnceLock<Result<OnnxRuntime, String>> = OnceLock::new();
        FOUND.get_or_init(|| Self::search(explicit)).clone()
    }

    fn search(explicit: Option<&Path>) -> Result<Self, String> {
        let explicit = explicit
            .map(Path::to_owned)
            .or_else(|| std::env::var_os(VARIABLE).map(PathBuf::from));
        if let Some(library) = explicit {
            return Self::open(&library).map_err(|error| format!("{}: {error}", library.display()));
        }
        let mut tried = Vec::new();
        for library in candidates() {
            match Self::open(&library) {
                Ok(runtime) => return Ok(runtime),
                Err(error) => tried.push(format!("{}: {error}", library.display())),
            }
        }
        Err(format!(
            "no usable library was found ({})",
            tried.join("; ")
        ))
    }

    fn open(library: &Path) -> Result<Self, String> {
        let builder = ort::init_from(library).map_err(|error| error.to_string())?;
        let logger =
            |level: LogLevel, _category: &str, _id: &str, place: &str, message: &str| match level {
                // At debug level: an error also comes back as a result, which the caller reports.
                LogLevel::Fatal | LogLevel::Error | LogLevel::Warning => {
                    tracing::debug!(target: "onnxruntime", place, "{message}");
                }
                LogLevel::Info | LogLevel::Verbose => {
                    tracing::trace!(target: "onnxruntime", place, "{message}")
                }
            };
        let environment = builder
            .with_name("tidegate")
            // Nothing leaves the machine that the operator has not configured.
            .with_telemetry(false)
            .with_logger(Arc::new(logger))
            .build()
            .map_err(|error| error.to_string())?;
        environment.set_log_level(LogLevel::Error);
        let version = version(library).unwrap_or_else(|| "of unknown version".to_owned());
        Ok(Self {
            environment,
            library: library.display().to_string().into(),
            version: version.into(),
        })
    }

    pub(crate) fn environment(&self) -> &Environment {
        &self.environment
    }

    pub(crate) fn library(&self) -> &str {
        &self.library
    }

    pub(crate) fn version(&self) -> &str {
        &self.version
    }
}

/// The version that a loaded library says it has.
fn version(library: &Path) -> Option<String> {
    // SAFETY: the library is loaded already, so that no initializer runs; the symbol has this type
    // in every release, and the text that it leads to is static and ends with a NUL.
    unsafe {
        let library = libloading::Library::new(library).ok()?;
        let base: libloading::Symbol<
            '_,
            unsafe extern "system" fn() -> *const ort::sys::OrtApiBase,
        > = library.get(b"OrtGetApiBase").ok()?;
        let text = ((*base()).GetVersionString)();
        Some(
            std::ffi::CStr::from_ptr(text.cast())
                .to_string_lossy()
                .into_owned(),
        )
    }
}

fn candidates() -> Vec<PathBuf> {
    let mut candidates = Vec::new();
    let beside = std::env::current_exe()
        .ok()
        .and_then(|exe| exe.parent().map(|dir| dir.join(FILE)));
    candidates.extend(beside.filter(|library| library.exists()));
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
    if let Some(cache) = cache {
        let versions = std::fs::read_dir(cache.join("tidegate/onnxruntime"))
            .into_iter()
            .flatten()
            .flatten();
        let mut libraries: Vec<PathBuf> =
            versions.map(|version| version.path().join(FILE)).collect();
        libraries.retain(|library| library.exists());
        libraries.sort_by_key(|library| std::cmp::Reverse(version_number(library)));
        candidates.extend(libraries);
    }
    // A bare name, so that the system's loader searches the paths that it is configured for.
    candidates.push(PathBuf::from(FILE));
    candidates
}

/// `…/1.31.1/libonnxruntime.so` as numbers that sort.
fn version_number(library: &Path) -> Vec<u32> {
    let version = library
        .parent()
        .and_then(Path::file_name)
        .map(|name| name.to_string_lossy().into_owned());
    version
        .unwrap_or_default()
        .split('.')
        .map(|part| part.parse().unwrap_or(0))
        .collect()
}
