//! Registering metrics and exposing them, in Prometheus's forms. Which metrics there are is known
//! to the modules that own them.

mod exposition;
mod gathered;
mod registry;
mod text;
mod values;

pub use self::exposition::{Exemplar, Exposition, Family, Labels, MetricKind, Sample};
pub use self::registry::{MetricEntry, MetricRegistry, MetricSource};
pub use self::text::{TextExposition, TextForm};
pub use self::values::{SeriesValue, SeriesValues};
