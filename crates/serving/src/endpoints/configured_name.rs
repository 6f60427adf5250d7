//! The names of models and versions that stand in the configuration of a server.

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
    /// The version or alias of it, where one is named.
    pub version: Option<String>,
}

impl ConfiguredName {
    /// A name, and where it stands.
    pub fn new(key: impl Into<String>, model: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            model: model.into(),
            version: None,
        }
    }

    /// The name of a version of this model.
    #[must_use]
    pub fn with_version(self, version: impl Into<String>) -> Self {
        Self {
            version: Some(version.into()),
            ..self
        }
    }

    /// What is said of it while there is no such model.
    pub(crate) fn problem(&self) -> String {
        let Self { key, model, .. } = self;
        match &self.version {
            None => {
                format!("{key} names the model {model:?}, which does not exist: it has no effect")
            }
            Some(version) => format!(
                "{key} names the version {version:?} of {model:?}, which this server does not serve: it has no effect"
            ),
        }
    }
}
