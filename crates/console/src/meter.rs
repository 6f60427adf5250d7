//! What is left of an error budget, as a bar and a text.

use maud::{Markup, html};

use crate::badge::Tone;
use crate::format::budget_text;

/// Below this share of the budget, the meter asks for attention.
const NOTICE_BELOW: f64 = 0.25;

/// The tone of a remaining budget.
pub(crate) fn tone(remaining: f64) -> Tone {
    match remaining {
        left if left <= 0.0 => Tone::Bad,
        left if left < NOTICE_BELOW => Tone::Notice,
        _ => Tone::Good,
    }
}

/// A bar of the share that is left, empty if it is overspent, with the share as text.
pub(crate) fn budget(remaining: f64) -> Markup {
    let tone = tone(remaining).class();
    let width = (remaining.clamp(0.0, 1.0) * 1000.0).round() / 10.0;
    html! {
        span {
            span.{ "text-" (tone) } { (budget_text(remaining)) }
            // Hidden from screen readers: the text before it says the same.
            svg.meter viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true" {
                rect.whole width="100" height="6" rx="3" {}
                rect.(tone) width=(width) height="6" rx="3" {}
            }
        }
    }
}
