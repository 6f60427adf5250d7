//! The loaded versions of a model, and which of them a request means.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::Version;

/// The loaded versions of a model, at least one.
pub struct Model {
    pub(crate) name: String,
    pub(crate) versions: BTreeMap<u64, Arc<Version>>,
    pub(crate) aliases: BTreeMap<String, u64>,
    /// The version that answers requests without a version; `None` while it is not loaded.
    pub(crate) default_version: Option<Arc<Version>>,
}

impl Model {
    /// A model whose newest version is its default version. `None` if there are no versions.
    pub(crate) fn of_versions(name: String, versions: BTreeMap<u64, Arc<Version>>) -> Option<Self> {
        let (_, newest) = versions.last_key_value()?;
        let default_version = Some(newest.clone());
        Some(Self {
            name,
            versions,
            aliases: BTreeMap::new(),
            default_version,
        })
    }

    /// The model's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The loaded versions, ascending.
    pub fn versions(&self) -> impl Iterator<Item = &Arc<Version>> {
        self.versions.values()
    }

    /// Routing rule of loaded versions: the default version, or that of a number or alias.
    pub(crate) fn resolve(&self, requested: Option<&str>) -> Option<&Arc<Version>> {
        match requested {
            None => self.default_version.as_ref(),
            Some(requested) => self
                .versions
                .get(&requested_number(requested, &self.aliases)?),
        }
    }

    pub(crate) fn is_default(&self, version: &Arc<Version>) -> bool {
        self.default_version
            .as_ref()
            .is_some_and(|default| Arc::ptr_eq(default, version))
    }

    /// Whether requests would see no difference.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.aliases == other.aliases
            && same_version(
                self.default_version.as_ref(),
                other.default_version.as_ref(),
            )
            && self.versions.keys().eq(other.versions.keys())
            && self
                .versions()
                .zip(other.versions())
                .all(|(one, two)| Arc::ptr_eq(one, two))
    }
}

/// The version number that the text of a request stands for. Digits are always a number: an alias
/// of digits only could otherwise hide a version.
pub(crate) fn requested_number(requested: &str, aliases: &BTreeMap<String, u64>) -> Option<u64> {
    let number = requested.parse().ok();
    number.or_else(|| aliases.get(requested).copied())
}

fn same_version(one: Option<&Arc<Version>>, two: Option<&Arc<Version>>) -> bool {
    one.map(Arc::as_ptr) == two.map(Arc::as_ptr)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_a_number_and_other_text_an_alias() {
        let aliases = BTreeMap::from([("7".to_owned(), 1), ("champion".to_owned(), 2)]);
        assert_eq!(requested_number("7", &aliases), Some(7));
        assert_eq!(requested_number("champion", &aliases), Some(2));
        assert_eq!(requested_number("challenger", &aliases), None);
        assert_eq!(requested_number("", &aliases), None);
    }
}
