//! The pages of the console: what they contain and how they look.
//!
//! **In**: plain structs of values that the server gathers, and types of `observe`. **Out**: HTML.
//! Each page is one struct with a `page()` method that makes a [`Page`] of [`Part`]s; parts that
//! change are sent again while the page is open.
//!
//! This crate knows neither HTTP nor models, reads no clock, and escapes every text. Charts are SVG,
//! so that a page is complete without scripts and loads nothing from elsewhere.
//!
//! ```
//! use tidegate_console::{Frame, Tone, not_found};
//!
//! let frame = Frame { version: "1.0", state: "ready", tone: Tone::Good, firing: 0, now_ms: 0, user: None };
//! let html = not_found("there is no model <b>").render(&frame);
//! assert!(html.starts_with("<!DOCTYPE html>") && html.contains("&lt;b&gt;"));
//! ```

mod alert_table;
mod alerts;
mod asset;
mod badge;
mod chart;
mod costs;
mod endpoint;
mod event_table;
mod events;
mod experiments;
mod format;
mod home;
mod listing;
mod login;
mod meter;
mod model;
mod models;
mod not_found;
mod objectives;
mod page;
mod quality;
mod range;
mod rollouts;
mod section;
mod timeline;
mod trial;

pub use alerts::{Alerts, NewSilence};
pub use asset::{Asset, assets};
pub use badge::Tone;
pub use costs::{BudgetRow, Costs};
pub use endpoint::{Endpoint, ObjectiveTrend, VersionTraffic};
pub use events::Events;
pub use experiments::{ExperimentArmView, ExperimentMetricView, ExperimentView, Experiments};
pub use home::{EndpointRow, Home, Problem};
pub use listing::Listing;
pub use login::{Forbidden, Login};
pub use model::{Model, Tensor, VersionDetail};
pub use models::{Models, VersionRow, VersionState};
pub use not_found::not_found;
pub use objectives::{ObjectiveRow, Objectives, describe_target};
pub use page::{Frame, Page, Part, User};
pub use quality::{AccuracyFigure, DriftFigure, EstimatedFigures, Quality, VersionQuality};
pub use range::Range;
pub use rollouts::{
    ArmsView, CheckPointView, CheckView, EventView, IntervalView, RolloutView, Rollouts,
    TracePointView, TraceView, rollout_report,
};
pub use section::Section;
pub use trial::{Trial, TrialAnswer};
