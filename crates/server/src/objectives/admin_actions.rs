//! Actions of administrators on objectives: set, remove, and let rollouts go on without a budget.
//!
//! Each action is done here and then sent to the other replicas of the group, which
//! [`Objectives::apply_objective`] and its like do the same.

use tidegate_observe::{Event, Objective};

use super::{ChangeError, Objectives};
use crate::clock::now_ms;
use crate::group_notes::{GroupNote, Thaw};

impl Objectives {
    /// Lets rollouts go on for a while; `None` if there is no such objective, or its policy does
    /// not freeze them.
    pub(crate) async fn thaw(&self, slo: &str, thaw: &Thaw) -> Option<()> {
        self.apply_thaw(slo, thaw).await?;
        self.notify_group(|| GroupNote::Thaw {
            slo: slo.to_owned(),
            thaw: thaw.clone(),
        });
        Some(())
    }

    /// Sets an objective.
    pub(crate) async fn set_objective(&self, objective: Objective) -> Result<(), ChangeError> {
        self.apply_objective(objective.clone()).await?;
        self.notify_group(|| GroupNote::Objective(objective));
        Ok(())
    }

    /// Removes an objective that was set.
    pub(crate) async fn remove_objective(&self, name: &str) -> Result<(), ChangeError> {
        self.apply_removal(name).await?;
        self.notify_group(|| GroupNote::ObjectiveRemoved(name.to_owned()));
        Ok(())
    }

    /// Lets rollouts go on, as requested of this replica or of another one.
    pub(crate) async fn apply_thaw(&self, slo: &str, thaw: &Thaw) -> Option<()> {
        if self.lift_freeze(slo, thaw.until_ms).await? {
            let event = Event::new("rollouts.thawed", now_ms())
                .with("slo", slo)
                .with("until_ms", thaw.until_ms)
                .with("author", thaw.author.as_str())
                .with("comment", thaw.comment.as_str());
            self.hold_rollouts();
            self.events.record(event).await;
        }
        Some(())
    }

    /// Sets an objective, as requested of this replica or of another one.
    pub(crate) async fn apply_objective(&self, objective: Objective) -> Result<(), ChangeError> {
        let event = Event::new("objective.set", now_ms())
            .with("slo", objective.name.as_str())
            .with("target", objective.target)
            .with("window", objective.window.to_string());
        if self.set(objective).await? {
            // What the group has counted for it may have come before it was known here.
            if let Some(group) = &self.group {
                group.reread_counts();
            }
            self.hold_rollouts();
            self.events.record(event).await;
        }
        Ok(())
    }

    /// Removes an objective, as requested of this replica or of another one.
    pub(crate) async fn apply_removal(&self, name: &str) -> Result<(), ChangeError> {
        self.remove(name).await?;
        self.hold_rollouts();
        self.events
            .record(Event::new("objective.removed", now_ms()).with("slo", name))
            .await;
        Ok(())
    }

    fn notify_group(&self, note: impl FnOnce() -> GroupNote) {
        if let Some(group) = &self.group {
            group.send(&note());
        }
    }
}
