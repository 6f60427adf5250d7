//! Silences: alerts that notify nobody for a while, because somebody asked for it.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Alert, Matcher};
use crate::window::DAY_MS;

/// Maximum number of silences.
pub const MAX_SILENCES: usize = 1000;
/// Maximum number of matchers of one silence.
const MAX_MATCHERS: usize = 20;
/// Maximum length of author and of comment, in bytes.
const MAX_TEXT: usize = 1024;
/// Longest duration of a silence. A leap year, so that "for a year" always works.
const MAX_LENGTH_MS: u64 = 366 * DAY_MS;
/// How long an expired silence is still listed.
const SHOWN_AFTER_MS: u64 = 5 * DAY_MS;

/// Alerts that match all matchers notify nobody between two moments, in Unix milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// Its unique id.
    pub id: String,
    /// All of them must match an alert.
    pub matchers: Vec<Matcher>,
    /// When it begins.
    pub from_ms: u64,
    /// When it ends.
    pub until_ms: u64,
    /// Who asked for it.
    pub author: String,
    /// The reason.
    pub comment: String,
}

/// Why a silence is not valid.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum SilenceError {
    #[error("a silence needs 1 to {MAX_MATCHERS} matchers, this one has {0}")]
    Matchers(usize),
    #[error("a silence needs a matcher that does not match every alert")]
    Everything,
    #[error("a silence must end after it begins and after now, within 366 days")]
    Times,
    #[error("a silence needs an author and a comment, of at most {MAX_TEXT} bytes each")]
    Text,
    #[error("there are {MAX_SILENCES} silences already, the maximum: expire some first")]
    TooMany,
}

impl Silence {
    /// Whether it is in effect at a moment.
    pub fn is_active(&self, now_ms: u64) -> bool {
        (self.from_ms..self.until_ms).contains(&now_ms)
    }

    /// `pending`, `active` or `expired`.
    pub fn state(&self, now_ms: u64) -> &'static str {
        match now_ms {
            _ if now_ms < self.from_ms => "pending",
            _ if now_ms < self.until_ms => "active",
            _ => "expired",
        }
    }

    fn check(&self, now_ms: u64) -> Result<(), SilenceError> {
        if !(1..=MAX_MATCHERS).contains(&self.matchers.len()) {
            return Err(SilenceError::Matchers(self.matchers.len()));
        }
        // Such a silence would match alerts with any labels: most likely a typing error.
        if self.matchers.iter().all(Matcher::accepts_absence) {
            return Err(SilenceError::Everything);
        }
        // Only the part that is still to come counts.
        let length_ms = self.until_ms.saturating_sub(self.from_ms.max(now_ms));
        if length_ms == 0
            || length_ms > MAX_LENGTH_MS
            || self.from_ms > now_ms.saturating_add(MAX_LENGTH_MS)
        {
            return Err(SilenceError::Times);
        }
        let mut texts = [&self.author, &self.comment].into_iter();
        if !texts.all(|text| (1..=MAX_TEXT).contains(&text.len())) {
            return Err(SilenceError::Text);
        }
        Ok(())
    }

    fn silences(&self, alert: &Alert, now_ms: u64) -> bool {
        self.is_active(now_ms) && Matcher::all_match(&self.matchers, &alert.labels)
    }
}

/// All silences of a server, the newest last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Silences(Vec<Silence>);

impl Silences {
    /// Adds a silence.
    ///
    /// # Errors
    /// What is wrong with it, or that there are too many.
    pub fn add(&mut self, silence: Silence, now_ms: u64) -> Result<(), SilenceError> {
        silence.check(now_ms)?;
        // First, so that what expired long ago does not count against the maximum.
        self.prune(now_ms);
        if self.0.len() >= MAX_SILENCES {
            return Err(SilenceError::TooMany);
        }
        self.0.push(silence);
        Ok(())
    }

    /// Takes over a silence that was added or expired on another replica; `false` if that changes
    /// nothing here. The order of such messages does not matter: the earlier end wins.
    pub fn merge(&mut self, silence: Silence, now_ms: u64) -> bool {
        if let Some(known) = self.0.iter_mut().find(|known| known.id == silence.id) {
            let is_changed = silence.until_ms < known.until_ms;
            // The minimum is the same in whatever order servers learn of changes.
            known.from_ms = known.from_ms.min(silence.from_ms);
            known.until_ms = known.until_ms.min(silence.until_ms);
            return is_changed;
        }
        self.add(silence, now_ms).is_ok()
    }

    /// Expires a silence now; `None` if there is none of this id that is still to end.
    pub fn expire(&mut self, id: &str, now_ms: u64) -> Option<&Silence> {
        let silence = self
            .0
            .iter_mut()
            .find(|silence| silence.id == id && silence.until_ms > now_ms)?;
        // One that has not begun yet must not end before it begins.
        silence.from_ms = silence.from_ms.min(now_ms);
        silence.until_ms = now_ms;
        Some(silence)
    }

    /// The silence that is in effect for an alert, if there is one.
    pub fn silencing(&self, alert: &Alert, now_ms: u64) -> Option<&Silence> {
        self.0
            .iter()
            .find(|silence| silence.silences(alert, now_ms))
    }

    /// Removes silences that expired long ago.
    pub fn prune(&mut self, now_ms: u64) {
        self.0
            .retain(|silence| silence.until_ms.saturating_add(SHOWN_AFTER_MS) > now_ms);
    }

    /// All silences, the newest last.
    pub fn iter(&self) -> impl Iterator<Item = &Silence> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerting::tests::alert;

    fn silence(matchers: &[&str], from_ms: u64, until_ms: u64) -> Silence {
        let matchers = matchers.iter().map(|text| text.parse().unwrap()).collect();
        let (author, comment) = ("ada".to_owned(), "maintenance".to_owned());
        Silence {
            id: "s1".to_owned(),
            matchers,
            from_ms,
            until_ms,
            author,
            comment,
        }
    }

    #[test]
    fn alerts_are_silent_while_it_holds_and_until_it_is_expired() {
        let mut silences = Silences::default();
        silences
            .add(
                silence(&["endpoint=\"fraud\"", "severity=\"ticket\""], 100, 200),
                50,
            )
            .unwrap();
        let ticket = alert("x", "ticket", "fraud");
        let at = |silences: &Silences, now_ms| {
            silences
                .silencing(&ticket, now_ms)
                .map(|silence| silence.id.clone())
        };
        assert_eq!((at(&silences, 99), at(&silences, 200)), (None, None));
        assert_eq!(at(&silences, 100).as_deref(), Some("s1"));
        assert!(
            silences
                .silencing(&alert("x", "page", "fraud"), 150)
                .is_none()
        );
        assert_eq!(
            silences.expire("s1", 150).map(|silence| silence.until_ms),
            Some(150)
        );
        assert_eq!(at(&silences, 150), None);
        assert!(silences.expire("s1", 160).is_none(), "it has ended");
        silences.prune(151 + SHOWN_AFTER_MS);
        assert_eq!(silences.iter().count(), 0);
    }

    #[test]
    fn silences_of_elsewhere_come_once_and_end_in_any_order() {
        let (added, mut silences) = (silence(&["a=\"b\""], 100, 200), Silences::default());
        assert!(silences.merge(added.clone(), 50) && !silences.merge(added.clone(), 50));
        let ended = Silence {
            until_ms: 150,
            ..added.clone()
        };
        assert!(silences.merge(ended.clone(), 150));
        assert!(!silences.merge(added, 150) && !silences.merge(ended.clone(), 150));
        assert_eq!(silences.iter().collect::<Vec<_>>(), [&ended]);
        assert!(!Silences::default().merge(ended, 150), "it is over");
    }

    #[test]
    fn a_silence_that_cannot_be_is_refused() {
        let add = |silence: Silence| Silences::default().add(silence, 50).unwrap_err();
        assert_eq!(add(silence(&[], 0, 100)), SilenceError::Matchers(0));
        assert_eq!(
            add(silence(&["endpoint=~\".*\""], 0, 100)),
            SilenceError::Everything
        );
        assert_eq!(add(silence(&["a=\"b\""], 0, 50)), SilenceError::Times);
        assert_eq!(add(silence(&["a=\"b\""], 0, u64::MAX)), SilenceError::Times);
        assert_eq!(
            add(Silence {
                comment: String::new(),
                ..silence(&["a=\"b\""], 0, 100)
            }),
            SilenceError::Text
        );
        let mut full = Silences::default();
        for _ in 0..MAX_SILENCES {
            full.add(silence(&["a=\"b\""], 0, 100), 50).unwrap();
        }
        assert_eq!(
            full.add(silence(&["a=\"b\""], 0, 100), 50),
            Err(SilenceError::TooMany)
        );
    }
}
