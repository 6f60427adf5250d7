//! What permissions are for.

use std::str::FromStr;

use thiserror::Error;

/// The kinds of resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResourceKind {
    /// What clients ask for predictions.
    Endpoint,
    /// A model with its versions.
    Model,
    /// The metrics.
    Metrics,
    /// Alerts, events, costs and replicas, as they are read; what is traced and logged.
    Operations,
    /// Silences.
    Alerts,
    /// Objectives.
    Objectives,
    /// API keys.
    Keys,
    /// The audit log.
    Audit,
    /// Features of the embedded store.
    Features,
}

impl ResourceKind {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::Endpoint,
        Self::Model,
        Self::Metrics,
        Self::Operations,
        Self::Alerts,
        Self::Objectives,
        Self::Keys,
        Self::Audit,
        Self::Features,
    ];

    /// Its name in patterns.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Endpoint => "endpoint",
            Self::Model => "model",
            Self::Metrics => "metrics",
            Self::Operations => "operations",
            Self::Alerts => "alerts",
            Self::Objectives => "objectives",
            Self::Keys => "keys",
            Self::Audit => "audit",
            Self::Features => "features",
        }
    }
}

/// Something that a permission is for, of the [kind](crate::Permission::resource_kind) that the
/// permission says.
pub trait Resource {
    /// Its name; empty for all resources of the kind together.
    fn name(&self) -> &str;
}

/// All resources of a kind together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AllResources;

impl Resource for AllResources {
    fn name(&self) -> &str {
        ""
    }
}

impl Resource for &str {
    fn name(&self) -> &str {
        self
    }
}

impl Resource for String {
    fn name(&self) -> &str {
        self
    }
}

/// Which resources a grant is for.
///
/// | pattern | matches |
/// |---|---|
/// | `*` | everything |
/// | `fraud` | the endpoint and the model `fraud` |
/// | `fraud*` | endpoints and models whose names begin with `fraud` |
/// | `endpoint:fraud*` | those endpoints, and not their models |
/// | `alerts:*` | all resources of the kind `alerts` |
///
/// ```
/// use tidegate_gateway::{ResourceKind, ResourcePattern};
///
/// let pattern: ResourcePattern = "fraud*".parse()?;
/// assert!(pattern.matches(ResourceKind::Endpoint, "fraud-eu"));
/// assert!(!pattern.matches(ResourceKind::Endpoint, ""), "all endpoints together are more");
/// # Ok::<(), tidegate_gateway::PatternError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourcePattern {
    /// `None` is every kind, for a pattern that is `*`, or endpoints and models.
    kind: Option<ResourceKind>,
    /// The name, or the beginning of it.
    name: Box<str>,
    is_prefix: bool,
}

/// A pattern that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{0:?} is not a resource: write a name without blanks, a beginning with * at its end, or KIND:NAME \
     with one of the kinds endpoint, model, metrics, operations, alerts, objectives, keys, audit, features"
)]
pub struct PatternError(String);

impl ResourcePattern {
    /// Matches everything.
    pub fn everything() -> Self {
        Self {
            kind: None,
            name: "".into(),
            is_prefix: true,
        }
    }

    /// The pattern of a new key. Endpoints and models whose names have blanks are mistyped lists, which
    /// would match nothing.
    pub(crate) fn of_new_key(text: &str) -> Result<Self, PatternError> {
        let pattern: Self = text.parse()?;
        let is_named = pattern.kind.is_none_or(is_named_by_people);
        if is_named && pattern.name.contains(char::is_whitespace) {
            return Err(PatternError(text.chars().take(128).collect()));
        }
        Ok(pattern)
    }

    /// Whether a resource is one of those meant.
    pub fn matches(&self, kind: ResourceKind, name: &str) -> bool {
        self.is_for(kind) && self.matches_name(name)
    }

    /// Whether every resource of a kind that `other` matches is matched by this one too.
    pub(crate) fn covers(&self, other: &Self, kind: ResourceKind) -> bool {
        if !other.is_for(kind) {
            return true;
        }
        let is_within = match self.is_prefix {
            true => other.name.starts_with(&*self.name),
            false => !other.is_prefix && other.name == self.name,
        };
        self.is_for(kind) && is_within
    }

    /// The name, if it matches one resource of a kind at most.
    pub(crate) fn only_name(&self, kind: ResourceKind) -> Option<&str> {
        (!self.is_prefix && self.is_for(kind)).then_some(&*self.name)
    }

    pub(crate) fn is_for(&self, kind: ResourceKind) -> bool {
        match self.kind {
            Some(own) => own == kind,
            None => self.is_everything() || is_named_by_people(kind),
        }
    }

    fn matches_name(&self, name: &str) -> bool {
        match (name, self.is_prefix) {
            ("", true) => self.name.is_empty(),
            ("", false) => false,
            (name, true) => name.starts_with(&*self.name),
            (name, false) => *name == *self.name,
        }
    }

    fn is_everything(&self) -> bool {
        self.is_prefix && self.name.is_empty()
    }
}

fn is_named_by_people(kind: ResourceKind) -> bool {
    matches!(kind, ResourceKind::Endpoint | ResourceKind::Model)
}

impl FromStr for ResourcePattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let problem = || PatternError(text.chars().take(128).collect());
        let (kind, name) = match text.split_once(':') {
            None => (None, text),
            Some((kind, name)) => {
                let mut kinds = ResourceKind::ALL.into_iter();
                let kind = kinds.find(|known| known.name() == kind);
                (Some(kind.ok_or_else(problem)?), name)
            }
        };
        let (name, is_prefix) = match name.strip_suffix('*') {
            Some(name) => (name, true),
            None => (name, false),
        };
        // A star elsewhere would look as if it matched anything.
        if name.contains('*') || (name.is_empty() && !is_prefix) {
            return Err(problem());
        }
        Ok(Self {
            kind,
            name: name.into(),
            is_prefix,
        })
    }
}

impl std::fmt::Display for ResourcePattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(kind) = self.kind {
            write!(f, "{}:", kind.name())?;
        }
        let star = if self.is_prefix { "*" } else { "" };
        write!(f, "{}{star}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, kind: ResourceKind, name: &str) -> bool {
        let parsed: ResourcePattern = pattern.parse().unwrap();
        assert_eq!(parsed.to_string(), pattern);
        parsed.matches(kind, name)
    }

    #[test]
    fn a_star_alone_matches_everything() {
        for kind in ResourceKind::ALL {
            assert!(
                matches("*", kind, "x") && matches("*", kind, ""),
                "{kind:?}"
            );
        }
    }

    #[test]
    fn a_name_is_that_of_an_endpoint_or_model() {
        assert!(matches("fraud", ResourceKind::Endpoint, "fraud"));
        assert!(matches("fraud", ResourceKind::Model, "fraud"));
        assert!(!matches("fraud", ResourceKind::Model, "fraud2"));
        assert!(!matches("keys", ResourceKind::Keys, "keys"));
    }

    #[test]
    fn a_beginning_does_not_match_all_resources_together() {
        assert!(matches("fraud*", ResourceKind::Model, "fraud2"));
        assert!(!matches("fraud*", ResourceKind::Model, "fra"));
        assert!(!matches("fraud*", ResourceKind::Model, ""));
    }

    #[test]
    fn a_kind_excludes_others() {
        assert!(matches("endpoint:*", ResourceKind::Endpoint, ""));
        assert!(!matches("endpoint:*", ResourceKind::Model, "fraud"));
        assert!(matches("alerts:*", ResourceKind::Alerts, ""));
    }

    #[test]
    fn what_looks_like_more_than_it_is_is_refused() {
        for wrong in ["", "a*b", "**", "table:x", "endpoint:", ":x"] {
            assert!(wrong.parse::<ResourcePattern>().is_err(), "{wrong}");
        }
    }
}
