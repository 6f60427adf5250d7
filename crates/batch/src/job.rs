//! A job: its plan, and its runs until it is done.

mod explain;
mod plan;
mod progress;
mod run;
mod spec;
mod status;

pub use self::explain::{Explanation, SampleRun};
pub use self::plan::Job;
pub use self::progress::Progress;
pub use self::run::{JobOutcome, RunOptions};
pub use self::spec::{JobSpec, Keep};
pub use self::status::JobStatus;
