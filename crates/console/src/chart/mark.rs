//! Marks on the time axis of charts: deployments, failed loads, alerts.

use maud::{Markup, html};
use tidegate_observe::Event;

use super::round;
use crate::badge::Tone;
use crate::event_table;
use crate::format::{ago, clock};

/// Maximum number of marks, one for each letter; the oldest are left out.
const MAX_MARKS: usize = 26;
/// Letters closer than this would overlap.
const LETTER_WIDTH: f64 = 12.0;

/// An event on the time axis.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    pub(crate) at_ms: u64,
    /// Its letter on the charts and in the list below them.
    pub(crate) letter: char,
    tone: Tone,
    event: Event,
}

impl Mark {
    /// Marks of events, the oldest first.
    pub(crate) fn of(events: &[Event]) -> Vec<Self> {
        let mut newest: Vec<&Event> = events.iter().collect();
        // By id, not by time: a clock that is set back must not change the order.
        newest.sort_by_key(|event| event.id);
        let surplus = newest.len().saturating_sub(MAX_MARKS);
        ('A'..='Z')
            .zip(&newest[surplus..])
            .map(|(letter, event)| Self::new(letter, event))
            .collect()
    }

    fn new(letter: char, event: &Event) -> Self {
        Self {
            at_ms: event.at_ms,
            letter,
            tone: event_table::tone(event),
            event: event.clone(),
        }
    }
}

/// A dashed line for each mark, with its letter above unless it would overlap the one before.
pub(super) fn draw(marks: &[Mark], place: impl Fn(u64) -> f64, top: f64, bottom: f64) -> Markup {
    let mut free_from = f64::MIN;
    let placed = marks.iter().map(|mark| {
        let x = round(place(mark.at_ms));
        let is_lettered = x >= free_from;
        if is_lettered {
            free_from = x + LETTER_WIDTH;
        }
        (mark, x, is_lettered)
    });
    html! {
        @for (mark, x, is_lettered) in placed {
            g.mark.(mark.tone.class()) {
                // A mark whose letter would overlap another has none: the tooltip says which mark
                // it is.
                title { (mark.letter) ": " (clock(mark.at_ms)) " " (event_table::sentence(&mark.event)) }
                line x1=(x) x2=(x) y1=(top) y2=(bottom) {}
                path d=(format!("M{x} {top}l-4 -5h8z")) {}
                @if is_lettered { text x=(x) y=(top - 7.0) text-anchor="middle" { (mark.letter) } }
            }
        }
    }
}

/// The events of the marks, the newest first.
pub(crate) fn mark_list(marks: &[Mark], now_ms: u64) -> Markup {
    html! {
        table.cards {
            thead { tr { th scope="col" { "Mark" } th scope="col" { "When" } th scope="col" { "What" } } }
            tbody {
                @for mark in marks.iter().rev() {
                    tr {
                        td data-label="Mark" { span.letter.mark.(mark.tone.class()) { (mark.letter) } }
                        td.nowrap data-label="When" { (clock(mark.at_ms)) " " span.soft { (ago(mark.at_ms, now_ms)) } }
                        td { (event_table::sentence(&mark.event)) }
                    }
                }
            }
        }
    }
}
