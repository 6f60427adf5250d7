//! Since when something is different.
//!
//! - [`Cusum`] watches a standardized series, and finds small lasting shifts soonest: how long it
//!   goes without a false alarm is chosen.
//! - [`Adwin`] watches any series between 0 and 1, such as error rates or distances, without
//!   knowing its distribution.
//! - [`first_changed`] looks back at the windows of a column that has drifted, and says which was
//!   the first.

mod adwin;
mod cusum;
mod first_changed;

pub use adwin::{Adwin, AdwinAlarm};
pub use cusum::{Cusum, CusumAlarm};
pub use first_changed::{FirstChanged, first_changed, first_changed_counts};
