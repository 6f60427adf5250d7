//! Adding and ending silences, here and at the other replicas of the group.

use tidegate_observe::Event;
use tidegate_observe::alerting::{Silence, SilenceError};

use super::Alerting;
use crate::clock::now_ms;
use crate::group_notes::GroupNote;

impl Alerting {
    /// Every silence that is active, will be, or was not long ago.
    pub(crate) fn silences(&self) -> Vec<Silence> {
        let state = self.state.lock();
        state.persisted.silences.iter().cloned().collect()
    }

    /// Adds a silence, and writes it before it returns.
    pub(crate) async fn add_silence(&self, silence: Silence) -> Result<(), SilenceError> {
        let now_ms = now_ms();
        {
            let mut state = self.state.lock();
            let event = silence_event("silence.added", &silence, now_ms);
            state.persisted.silences.add(silence.clone(), now_ms)?;
            self.context.events.add(event);
        }
        // Written first: what the group learns must survive a restart of this server.
        self.persist().await;
        self.notify_group(silence);
        Ok(())
    }

    /// Ends a silence; `None` if there is none of this name that has not ended.
    pub(crate) async fn expire_silence(&self, id: &str) -> Option<()> {
        let now_ms = now_ms();
        let silence = {
            let mut state = self.state.lock();
            let silence = state.persisted.silences.expire(id, now_ms)?.clone();
            let event = silence_event("silence.expired", &silence, now_ms);
            self.context.events.add(event);
            silence
        };
        self.persist().await;
        self.notify_group(silence);
        Some(())
    }

    /// Adds or ends a silence, as requested of another replica.
    pub(crate) async fn apply_silence(&self, silence: Silence, now_ms: u64) {
        {
            let mut state = self.state.lock();
            if !state.persisted.silences.merge(silence.clone(), now_ms) {
                return;
            }
            let has_ended = silence.until_ms <= now_ms;
            let name = if has_ended {
                "silence.expired"
            } else {
                "silence.added"
            };
            let event = silence_event(name, &silence, now_ms);
            self.context.events.add(event);
        }
        self.persist().await;
    }

    fn notify_group(&self, silence: Silence) {
        if let Some(group) = &self.context.group {
            group.send(&GroupNote::Silence(silence));
        }
    }
}

fn silence_event(name: &str, silence: &Silence, now_ms: u64) -> Event {
    let matchers: Vec<String> = silence.matchers.iter().map(ToString::to_string).collect();
    let event = Event::new(name, now_ms)
        .with("id", silence.id.as_str())
        .with("author", silence.author.as_str());
    event
        .with("matchers", matchers.join(", "))
        .with("until_ms", silence.until_ms)
}
