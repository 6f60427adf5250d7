//! The states of models and versions, as the index shows them.

/// The state of a model or a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelState {
    /// It is not loaded, and could be.
    Absent,
    /// Its files are copied from the registry into the local cache.
    Fetching,
    /// Its files are checked against the registry's digests, and its weights for NaN.
    Verifying,
    /// The engine loads it.
    Loading,
    /// It runs samples, so that its first requests are not its slowest, and its own checks.
    Warming,
    /// It answers requests.
    Ready,
    /// It takes no new requests, and answers those that have begun.
    Draining,
    /// It was taken out of service.
    Unloaded,
    /// It could not be loaded; the reason.
    Failed(String),
    /// The versions that were loaded before still answer, as a reload failed; the reason.
    Stale(String),
}

impl ModelState {
    /// Every state's name.
    pub const NAMES: [&str; 10] = [
        "absent",
        "fetching",
        "verifying",
        "loading",
        "warming",
        "ready",
        "draining",
        "unloaded",
        "failed",
        "stale",
    ];

    /// The state's name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Fetching => "fetching",
            Self::Verifying => "verifying",
            Self::Loading => "loading",
            Self::Warming => "warming",
            Self::Ready => "ready",
            Self::Draining => "draining",
            Self::Unloaded => "unloaded",
            Self::Failed(_) => "failed",
            Self::Stale(_) => "stale",
        }
    }
}

/// One entry of the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// The model's name.
    pub name: String,
    /// The version's number; empty where none is known.
    pub version: String,
    /// Its state.
    pub state: ModelState,
    /// Its aliases.
    pub aliases: Vec<String>,
    /// Whether it is the default version, which answers requests without a version.
    pub is_default: bool,
    /// The memory that it takes, in bytes, if it is loaded.
    pub memory_bytes: Option<u64>,
}

impl IndexEntry {
    pub(crate) fn new(name: String, version: &str, state: ModelState) -> Self {
        Self {
            name,
            version: version.to_owned(),
            state,
            aliases: Vec::new(),
            is_default: false,
            memory_bytes: None,
        }
    }
}
