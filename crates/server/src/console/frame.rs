//! The bar at the top of every page.

use tidegate_console::{Frame, Tone, User};

use crate::console::Console;
use crate::describe::SERVER_VERSION;

/// The version and state of the server, and how many alerts fire.
pub(super) fn frame(console: &Console, now_ms: u64, user: Option<User>) -> Frame {
    let (state, tone) = match (
        console.front_end.lifecycle.is_stopping(),
        console.front_end.lifecycle.has_started(),
        console.front_end.lifecycle.is_ready(),
    ) {
        (true, ..) => ("stopping", Tone::Notice),
        (_, false, _) => ("starting", Tone::Busy),
        (_, _, false) => ("not ready", Tone::Bad),
        _ => ("ready", Tone::Good),
    };
    let firing = console
        .alerting
        .alerts()
        .iter()
        .filter(|triaged| triaged.is_notified())
        .count();
    Frame {
        version: SERVER_VERSION,
        state,
        tone,
        firing,
        now_ms,
        user,
    }
}
