//! The permissions that routes and methods declare.

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
}

impl Permission {
    /// Every permission.
    pub const ALL: [Self; 8] = [
        Self::Public,
        Self::Call,
        Self::ViewModels,
        Self::ManageModels,
        Self::ViewMetrics,
        Self::ViewOperations,
        Self::ManageAlerts,
        Self::ManageObjectives,
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
        }
    }

    /// Whether it allows changes to what the server does or whom it notifies.
    pub const fn is_change(self) -> bool {
        // The server refuses these from pages of other origins; `Call` changes nothing but
        // statistics.
        matches!(
            self,
            Self::ManageModels | Self::ManageAlerts | Self::ManageObjectives
        )
    }
}
