//! The names of models that stand in the configuration of a server.

/// A model that a section of the configuration names, and which section that is.
///
/// The model may come later, so that a name without one keeps no server from starting. But it may be
/// mistyped too, and then the section would be without effect and nobody would know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfiguredName {
    /// Where it stands, such as `platform.model`.
    pub key: String,
    /// The name.
    pub model: String,
}

impl ConfiguredName {
    /// A name, and where it stands.
    pub fn new(key: impl Into<String>, model: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            model: model.into(),
        }
    }

    /// What is said of it while there is no such model.
    pub(crate) fn problem(&self) -> String {
        let Self { key, model } = self;
        format!("{key} names the model {model:?}, which does not exist: it has no effect")
    }
}
