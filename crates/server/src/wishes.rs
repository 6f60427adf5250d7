//! What people want of this server and, where it is one of a group, of all replicas.

use tidegate_observe::alerting::{Silence, SilenceError};
use tidegate_observe::{Event, Objective};

use crate::app::App;
use crate::clock::now_ms;
use crate::objectives::NotSet;
use crate::replicas::notes::{self, Thaw};

impl App {
    /// Adds a silence.
    pub(crate) async fn silence(&self, silence: Silence) -> Result<(), SilenceError> {
        self.alerting.silence(silence.clone(), now_ms()).await?;
        self.tell(|| notes::of_silence(&silence));
        Ok(())
    }

    /// Ends a silence; `None` if there is none of this name that has not ended.
    pub(crate) async fn expire_silence(&self, id: &str) -> Option<()> {
        let silence = self.alerting.expire_silence(id, now_ms()).await?;
        self.tell(|| notes::of_silence(&silence));
        Some(())
    }

    /// Lets rollouts go on for a while; `None` if there is no such objective, or it freezes
    /// nothing.
    pub(crate) async fn thaw(&self, slo: &str, thaw: &Thaw) -> Option<()> {
        self.thaw_here(slo, thaw).await?;
        self.tell(|| notes::of_thaw(slo, thaw));
        Some(())
    }

    /// Sets an objective.
    pub(crate) async fn set_objective(&self, objective: Objective) -> Result<(), NotSet> {
        self.set_objective_here(objective.clone()).await?;
        self.tell(|| notes::of_objective(&objective));
        Ok(())
    }

    /// Removes an objective that was set.
    pub(crate) async fn remove_objective(&self, name: &str) -> Result<(), NotSet> {
        self.remove_objective_here(name).await?;
        self.tell(|| notes::of_removal(name));
        Ok(())
    }

    /// Lets rollouts go on, as this server or another one was told.
    pub(crate) async fn thaw_here(&self, slo: &str, thaw: &Thaw) -> Option<()> {
        if self.objectives.lift_freeze(slo, thaw.until_ms).await? {
            let event = Event::new("rollouts.thawed", now_ms())
                .with("slo", slo)
                .with("until_ms", thaw.until_ms);
            let event = event
                .with("author", thaw.author.as_str())
                .with("comment", thaw.comment.as_str());
            self.hold_rollouts();
            self.alerting.note(event).await;
        }
        Some(())
    }

    /// Sets an objective, as this server or another one was told.
    pub(crate) async fn set_objective_here(&self, objective: Objective) -> Result<(), NotSet> {
        let event = Event::new("objective.set", now_ms()).with("slo", objective.name.as_str());
        let event = event
            .with("target", objective.target)
            .with("window", objective.window.to_string());
        if self.objectives.set(objective).await? {
            // What the group has counted for it may have come before it was known here.
            self.replicas
                .iter()
                .for_each(|replicas| replicas.read_all());
            self.hold_rollouts();
            self.alerting.note(event).await;
        }
        Ok(())
    }

    /// Removes an objective, as this server or another one was told.
    pub(crate) async fn remove_objective_here(&self, name: &str) -> Result<(), NotSet> {
        self.objectives.remove(name).await?;
        self.hold_rollouts();
        self.alerting
            .note(Event::new("objective.removed", now_ms()).with("slo", name))
            .await;
        Ok(())
    }

    fn tell(&self, note: impl FnOnce() -> tidegate_store::Note) {
        if let Some(replicas) = &self.replicas {
            replicas.say(note());
        }
    }
}
