//! The pages that people look at: what they say and how they look, and nothing of where it comes
//! from.
//!
//! In: plain structs of figures, and what `observe` has. Out: HTML. Each page is one struct that
//! becomes a [`Page`] of parts; a part that changes is sent again while somebody looks. This room
//! knows neither HTTP nor models: it is given the time and the figures, and escapes every text.
//!
//! Charts are drawn here as SVG, so that a page is whole without a script and needs nothing from
//! elsewhere.

mod alert_table;
mod alerts;
mod asset;
mod badge;
mod chart;
mod costs;
mod endpoint;
mod event_table;
mod events;
mod format;
mod home;
mod listing;
mod meter;
mod model;
mod models;
mod not_found;
mod objectives;
mod page;
mod range;
mod section;
mod timeline;
mod trial;

pub use alerts::{Alerts, NewSilence};
pub use asset::{Asset, assets};
pub use badge::Tone;
pub use costs::{BudgetRow, Costs};
pub use endpoint::{Endpoint, ObjectiveTrend, VersionTraffic};
pub use events::Events;
pub use home::{EndpointRow, Home, Problem};
pub use listing::Listing;
pub use model::{Model, Tensor, VersionDetail};
pub use models::{Models, VersionRow, VersionState};
pub use not_found::not_found;
pub use objectives::{ObjectiveRow, Objectives, describe_target};
pub use page::{Frame, Page, Part};
pub use range::Range;
pub use section::Section;
pub use trial::{Trial, TrialAnswer};
