//! Roles: named sets of permissions, and on which resources somebody has them.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

use crate::{Permission, Permissions, ResourcePattern};

/// A named set of permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads models, metrics, objectives, alerts, events and costs.
    Viewer,
    /// Asks endpoints for predictions, and reads the metadata of their models.
    Caller,
    /// As a viewer and a caller; loads and unloads models, writes features, sets traffic policies.
    Deployer,
    /// As a viewer; silences alerts, sets objectives, ends freezes, reads the audit log, changes what is
    /// traced and logged.
    Operator,
    /// Everything.
    Admin,
}

/// A role that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("there is no role {0:?}: use viewer, caller, deployer, operator or admin")]
pub struct UnknownRole(String);

impl Role {
    /// Every role.
    pub const ALL: [Self; 5] = [
        Self::Viewer,
        Self::Caller,
        Self::Deployer,
        Self::Operator,
        Self::Admin,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Caller => "caller",
            Self::Deployer => "deployer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// What it permits.
    pub const fn permissions(self) -> Permissions {
        use Permission::{
            Call, ManageAlerts, ManageDiagnostics, ManageFeatures, ManageModels, ManageObjectives,
            ManagePredictions, ManageTraffic, ViewAudit, ViewMetrics, ViewModels, ViewOperations,
            ViewPredictions,
        };
        match self {
            Self::Viewer => Permissions::of(&[ViewModels, ViewMetrics, ViewOperations]),
            Self::Caller => Permissions::of(&[Call, ViewModels]),
            Self::Deployer => Permissions::of(&[
                Call,
                ViewModels,
                ViewMetrics,
                ViewOperations,
                ManageModels,
                ManageFeatures,
                ViewPredictions,
                ManageTraffic,
            ]),
            Self::Operator => Permissions::of(&[
                ViewModels,
                ViewMetrics,
                ViewOperations,
                ManageAlerts,
                ManageObjectives,
                ManageDiagnostics,
                ViewAudit,
                ViewPredictions,
                ManagePredictions,
            ]),
            Self::Admin => Permissions::of(&Permission::ALL),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        let mut roles = Self::ALL.into_iter();
        roles
            .find(|role| role.name() == text)
            .ok_or_else(|| UnknownRole(text.chars().take(128).collect()))
    }
}

/// Permissions on some resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// What is permitted.
    pub permissions: Permissions,
    /// On which resources.
    pub resources: Vec<ResourcePattern>,
}

impl Grant {
    /// A role on some resources.
    pub fn of_role(role: Role, resources: Vec<ResourcePattern>) -> Self {
        Self {
            permissions: role.permissions(),
            resources,
        }
    }

    /// Whether it permits to manage API keys.
    pub(crate) fn manages_keys(&self) -> bool {
        self.permits(Permission::ManageKeys, "")
    }

    /// Whether it permits this on the resource of this name; on all of the kind together where the
    /// name is empty.
    pub fn permits(&self, permission: Permission, name: &str) -> bool {
        let kind = permission.resource_kind();
        self.permissions.contains(permission)
            && self
                .resources
                .iter()
                .any(|pattern| pattern.matches(kind, name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_admin_manages_keys() {
        for role in Role::ALL {
            let may = role.permissions().contains(Permission::ManageKeys);
            assert_eq!(may, role == Role::Admin, "{role}");
        }
    }

    #[test]
    fn a_viewer_changes_nothing_and_asks_for_no_predictions() {
        let viewer = Role::Viewer.permissions();
        for permission in Permission::ALL {
            let may = viewer.contains(permission);
            assert!(!may || !permission.is_change(), "{permission:?}");
        }
        assert!(!viewer.contains(Permission::Call));
    }

    #[test]
    fn a_grant_needs_both_the_permission_and_the_resource() {
        let grant = Grant::of_role(Role::Caller, vec!["fraud*".parse().unwrap()]);
        assert!(grant.permits(Permission::Call, "fraud-eu"));
        assert!(!grant.permits(Permission::Call, "churn"));
        assert!(!grant.permits(Permission::ManageModels, "fraud-eu"));
        assert!(!grant.permits(Permission::ViewModels, ""));
    }

    #[test]
    fn names_of_roles_are_read_back() {
        for role in Role::ALL {
            assert_eq!(role.name().parse(), Ok(role));
        }
        assert!("root".parse::<Role>().is_err());
    }
}
