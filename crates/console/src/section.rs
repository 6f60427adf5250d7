//! The sections of the navigation.

use crate::format::segment;

/// A page that the navigation leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Section {
    Home,
    Models,
    Objectives,
    Alerts,
    Events,
    Rollouts,
    Experiments,
    Quality,
    Cost,
    Try,
}

impl Section {
    /// Every section, in the order of the navigation.
    pub const ALL: [Self; 10] = [
        Self::Home,
        Self::Models,
        Self::Objectives,
        Self::Alerts,
        Self::Events,
        Self::Rollouts,
        Self::Experiments,
        Self::Quality,
        Self::Cost,
        Self::Try,
    ];

    /// Its title.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Home => "Home",
            Self::Models => "Models",
            Self::Objectives => "Objectives",
            Self::Alerts => "Alerts",
            Self::Events => "Events",
            Self::Rollouts => "Rollouts",
            Self::Experiments => "Experiments",
            Self::Quality => "Quality",
            Self::Cost => "Cost",
            Self::Try => "Try",
        }
    }

    /// Its path.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Home => "/console",
            Self::Models => "/console/models",
            Self::Objectives => "/console/objectives",
            Self::Alerts => "/console/alerts",
            Self::Events => "/console/events",
            Self::Rollouts => "/console/rollouts",
            Self::Experiments => "/console/experiments",
            Self::Quality => "/console/quality",
            Self::Cost => "/console/cost",
            Self::Try => "/console/try",
        }
    }
}

/// The page of an endpoint.
pub(crate) fn endpoint_path(name: &str) -> String {
    format!("/console/endpoints/{}", segment(name))
}

/// The page of a model.
pub(crate) fn model_path(name: &str) -> String {
    format!("/console/models/{}", segment(name))
}

/// The page to try a model on.
pub(crate) fn try_path(name: &str) -> String {
    format!("{}?model={}", Section::Try.path(), segment(name))
}
