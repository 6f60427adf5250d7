//! Where models and versions stand, as the index shows it.

/// Where a model or a version stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelState {
    /// It could be loaded and is not.
    Absent,
    /// Its files are on their way from the registry into the local cache.
    Fetching,
    /// Its files are held against the registry's digests and its contract.
    Verifying,
    /// The engine reads it.
    Loading,
    /// It runs samples, so that its first requests are not its slowest.
    Warming,
    /// It answers.
    Ready,
    /// It takes no new requests and answers those that have begun.
    Draining,
    /// It was taken out of service.
    Unloaded,
    /// It could not be loaded, for this reason.
    Failed(String),
    /// It answers as it was loaded before; a newer load failed, for this reason.
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

/// A line of the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// The model's name.
    pub name: String,
    /// The version's number; empty where none is known.
    pub version: String,
    /// Where it stands.
    pub state: ModelState,
    /// The aliases that mean it.
    pub aliases: Vec<String>,
    /// Whether it answers requests that name no version.
    pub is_default: bool,
    /// What it takes of memory, where it is loaded.
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
