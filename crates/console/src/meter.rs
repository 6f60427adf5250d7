//! What is left of an error budget, as a bar and a number.

use maud::{Markup, html};

use crate::badge::Tone;
use crate::format::percent;

/// Below this share somebody should look.
const LITTLE: f64 = 0.25;

/// How good it is that so much is left.
pub(crate) fn tone(remaining: f64) -> Tone {
    match remaining {
        left if left <= 0.0 => Tone::Bad,
        left if left < LITTLE => Tone::Notice,
        _ => Tone::Good,
    }
}

/// The share that is left; below nothing the bar is empty and the number says how far.
pub(crate) fn budget(remaining: f64) -> Markup {
    let tone = tone(remaining).class();
    let width = (remaining.clamp(0.0, 1.0) * 1000.0).round() / 10.0;
    html! {
        span {
            span.{ "text-" (tone) } { (percent(remaining)) }
            svg.meter viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true" {
                rect.whole width="100" height="6" rx="3" {}
                rect.(tone) width=(width) height="6" rx="3" {}
            }
        }
    }
}
