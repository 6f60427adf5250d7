//! The permissions that routes and methods declare.

use crate::ResourceKind;

/// What a caller must be allowed to do. Every REST route and gRPC method declares one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Permission {
    /// Nothing: liveness, readiness and what describes the interface are open to everybody, since
    /// probes and load balancers carry no credentials.
    Public,
    /// Ask an endpoint for predictions.
    Call,
    /// Read metadata, configuration and statistics of models.
    ViewModels,
    /// Load and unload models.
    ManageModels,
    /// Read the metrics.
    ViewMetrics,
    /// Read objectives, alerts, events, costs and replicas, and the console's pages of them.
    ViewOperations,
    /// Add and end silences.
    ManageAlerts,
    /// Set and remove objectives, and override a rollout freeze.
    ManageObjectives,
    /// Change which traces are kept and which lines the log has.
    ManageDiagnostics,
    /// List, create, rotate and revoke API keys.
    ManageKeys,
    /// Read the audit log.
    ViewAudit,
    /// Read and change the features of the embedded store.
    ManageFeatures,
    /// Read captured predictions, and the data sets made of them.
    ViewPredictions,
    /// Erase captured predictions, make and delete data sets of them, and decide on triggers of
    /// retraining.
    ManagePredictions,
    /// Set, remove and undo the traffic policies of endpoints.
    ManageTraffic,
}

impl Permission {
    /// Every permission.
    pub const ALL: [Self; 15] = [
        Self::Public,
        Self::Call,
        Self::ViewModels,
        Self::ManageModels,
        Self::ViewMetrics,
        Self::ViewOperations,
        Self::ManageAlerts,
        Self::ManageObjectives,
        Self::ManageDiagnostics,
        Self::ManageKeys,
        Self::ViewAudit,
        Self::ManageFeatures,
        Self::ViewPredictions,
        Self::ManagePredictions,
        Self::ManageTraffic,
    ];

    /// The stable name, as OpenAPI and the reference show it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Call => "call",
            Self::ViewModels => "view-models",
            Self::ManageModels => "manage-models",
            Self::ViewMetrics => "view-metrics",
            Self::ViewOperations => "view-operations",
            Self::ManageAlerts => "manage-alerts",
            Self::ManageObjectives => "manage-objectives",
            Self::ManageDiagnostics => "manage-diagnostics",
            Self::ManageKeys => "manage-keys",
            Self::ViewAudit => "view-audit",
            Self::ManageFeatures => "manage-features",
            Self::ViewPredictions => "view-predictions",
            Self::ManagePredictions => "manage-predictions",
            Self::ManageTraffic => "manage-traffic",
        }
    }

    /// Whether it allows changes to what the server does or whom it notifies.
    pub const fn is_change(self) -> bool {
        // The server refuses these from pages of other origins; `Call` changes nothing but
        // statistics.
        matches!(
            self,
            Self::ManageModels
                | Self::ManageAlerts
                | Self::ManageObjectives
                | Self::ManageDiagnostics
                | Self::ManageKeys
                | Self::ManageFeatures
                | Self::ManagePredictions
                | Self::ManageTraffic
        )
    }

    /// The kind of resource that it is about.
    pub const fn resource_kind(self) -> ResourceKind {
        match self {
            Self::Call | Self::ManageTraffic => ResourceKind::Endpoint,
            Self::ViewPredictions | Self::ManagePredictions => ResourceKind::Endpoint,
            Self::ViewModels | Self::ManageModels => ResourceKind::Model,
            Self::ViewMetrics => ResourceKind::Metrics,
            Self::ViewOperations | Self::ManageDiagnostics | Self::Public => {
                ResourceKind::Operations
            }
            Self::ManageAlerts => ResourceKind::Alerts,
            Self::ManageObjectives => ResourceKind::Objectives,
            Self::ManageKeys => ResourceKind::Keys,
            Self::ViewAudit => ResourceKind::Audit,
            Self::ManageFeatures => ResourceKind::Features,
        }
    }
}

/// Any number of permissions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Permissions(u16);

impl Permissions {
    /// These and no others.
    pub const fn of(permissions: &[Permission]) -> Self {
        let mut set = 0;
        let mut index = 0;
        // `for` is not allowed in a constant function.
        while index < permissions.len() {
            set |= 1 << permissions[index] as u16;
            index += 1;
        }
        Self(set)
    }

    /// Whether it is one of them.
    pub const fn contains(self, permission: Permission) -> bool {
        self.0 & (1 << permission as u16) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_what_was_put_into_it() {
        let set = Permissions::of(&[Permission::Call, Permission::ViewAudit]);
        for permission in Permission::ALL {
            let expected = matches!(permission, Permission::Call | Permission::ViewAudit);
            assert_eq!(set.contains(permission), expected, "{permission:?}");
        }
    }
}
