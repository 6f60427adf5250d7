//! What is known of a server from looking at it again and again; as much as a minute needs.

use std::collections::VecDeque;

use super::view::View;
use crate::ask::{Figures, Look};

/// Over how long percentiles are.
const WINDOW_MS: u64 = 60_000;
/// Moments of that window of which the metrics are kept, beside the last two.
const KEPT: usize = 6;

/// A server that is looked at again and again.
#[derive(Debug)]
pub(super) struct Watch {
    server: String,
    last: Option<Look>,
    /// The metrics of the look before the last one.
    previous: Option<Moment>,
    /// Metrics of the last minute, the oldest first.
    minute: VecDeque<Moment>,
    gone: Option<Gone>,
}

/// Metrics at a moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Moment {
    pub(super) at_ms: u64,
    pub(super) figures: Figures,
}

/// A server that does not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Gone {
    /// When that was seen first, in Unix milliseconds.
    pub(super) since_ms: u64,
    pub(super) why: String,
}

impl Watch {
    pub(super) fn new(server: &str) -> Self {
        Self {
            server: server.to_owned(),
            last: None,
            previous: None,
            minute: VecDeque::new(),
            gone: None,
        }
    }

    /// Takes in a look at the server.
    pub(super) fn saw(&mut self, look: Look) {
        self.gone = None;
        if let Some(last) = self.last.replace(look) {
            let moment = Moment {
                at_ms: last.at_ms,
                figures: last.figures,
            };
            self.keep(&moment);
            self.previous = Some(moment);
        }
    }

    /// Takes in that the server could not be looked at.
    pub(super) fn missed(&mut self, why: String, now_ms: u64) {
        let since_ms = self.gone.as_ref().map_or(now_ms, |gone| gone.since_ms);
        self.gone = Some(Gone { since_ms, why });
    }

    fn keep(&mut self, moment: &Moment) {
        let now_ms = self.last.as_ref().map_or(moment.at_ms, |last| last.at_ms);
        // The oldest one that is kept begins the window.
        while self
            .minute
            .front()
            .is_some_and(|kept| now_ms.saturating_sub(kept.at_ms) > WINDOW_MS)
        {
            self.minute.pop_front();
        }
        let is_due =
            |kept: &Moment| moment.at_ms.saturating_sub(kept.at_ms) >= WINDOW_MS / KEPT as u64;
        if self.minute.back().is_none_or(is_due) {
            self.minute.push_back(moment.clone());
        }
    }

    /// What there is to show.
    pub(super) fn view(&self) -> View {
        let nothing = Moment::default();
        let previous = self.previous.as_ref().unwrap_or(&nothing);
        let oldest = self.minute.front().unwrap_or(previous);
        View::of(
            &self.server,
            self.last.as_ref(),
            previous,
            oldest,
            self.gone.clone(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(at_ms: u64, answered: u64) -> Look {
        let figures = Figures::parse(&format!(
            "nv_inference_request_success{{model=\"m\",version=\"1\"}} {answered}"
        ));
        Look {
            at_ms,
            figures,
            ..Look::default()
        }
    }

    #[test]
    fn a_day_of_looks_keeps_a_minute() {
        let mut watch = Watch::new("http://a");
        for second in 0..2000 {
            watch.saw(look(second * 1000, second * 10));
        }
        assert!(
            (KEPT..=KEPT + 1).contains(&watch.minute.len()),
            "{}",
            watch.minute.len()
        );
        let begins_ms = watch.minute[0].at_ms;
        assert!((1_939_000..=1_949_000).contains(&begins_ms), "{begins_ms}");
        assert_eq!(watch.view().endpoints[0].rate, 10.0);
    }

    #[test]
    fn a_server_is_gone_since_it_was_first_missed_until_it_is_back() {
        let mut watch = Watch::new("http://a");
        watch.saw(look(1000, 1));
        watch.missed("refused".to_owned(), 2000);
        watch.missed("timeout".to_owned(), 3000);
        let view = watch.view();
        assert_eq!(
            view.gone,
            Some(Gone {
                since_ms: 2000,
                why: "timeout".to_owned()
            })
        );
        assert_eq!(view.endpoints.len(), 1, "what was last seen stays");
        watch.saw(look(4000, 1));
        assert_eq!(watch.view().gone, None);
    }
}
