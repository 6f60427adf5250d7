//! Rollouts that wait: told to the fleet, left as events, kept over restarts.

use tidegate_observe::{Event, FreezeChange};

use super::{Alerting, State};
use crate::app::App;
use crate::objectives::FreezeNews;

impl Alerting {
    /// Holds the rollouts that were held before a restart. Called before the fleet follows the
    /// registry.
    pub(crate) fn restore_freezes(&self, app: &App) {
        if let Some(fleet) = app.serving.fleet() {
            fleet.restore_names(self.state.lock().kept.frozen_names.clone());
        }
        app.hold_rollouts();
    }

    /// Leaves events of what began and ended, and notes what names mean meanwhile.
    pub(super) fn watch_freezes(state: &mut State, app: &App) {
        for news in app.objectives.take_freeze_news() {
            state.events.add(event(&news));
        }
        if let Some(fleet) = app.serving.fleet() {
            let names = fleet.frozen_names();
            // Right after a start nothing is served yet: what was kept stays until it is.
            state
                .kept
                .frozen_names
                .retain(|model, _| fleet.is_frozen(model));
            state.kept.frozen_names.extend(names);
        }
    }
}

fn event(news: &FreezeNews) -> Event {
    let FreezeNews {
        slo,
        endpoint,
        change,
        budget_remaining,
        at_ms,
    } = news;
    let name = match change {
        FreezeChange::Frozen => "rollouts.frozen",
        FreezeChange::Thawed => "rollouts.thawed",
    };
    let event = Event::new(name, *at_ms).about(endpoint.as_deref().unwrap_or(""), "");
    event
        .with("slo", slo.as_str())
        .with("budget_remaining", *budget_remaining)
}
