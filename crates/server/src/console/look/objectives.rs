//! Every objective.

use tidegate_console::{Listing, ObjectiveRow, Objectives, promise};

use crate::app::App;
use crate::objectives::Status;

pub(crate) fn objectives(app: &App, mut listing: Listing, now_ms: u64) -> Objectives {
    let is_wanted = |status: &Status| {
        listing.wants(status.slo.name())
            || status.slo.endpoint().is_some_and(|own| listing.wants(own))
    };
    let mut status: Vec<Status> = app
        .objectives
        .status()
        .into_iter()
        .filter(is_wanted)
        .collect();
    status.sort_by(|one, other| {
        one.standing
            .budget_remaining
            .total_cmp(&other.standing.budget_remaining)
    });
    let rows = listing.page_of(status).into_iter().map(row).collect();
    Objectives {
        now_ms,
        rows,
        listing,
    }
}

fn row(status: Status) -> ObjectiveRow {
    let Status {
        slo,
        standing,
        alerts,
        ..
    } = status;
    ObjectiveRow {
        name: slo.name().to_owned(),
        endpoint: slo.endpoint().map(str::to_owned),
        promise: promise(&slo),
        good: standing.counts.good,
        total: standing.counts.total,
        remaining: standing.budget_remaining,
        exhausted_ms: standing.exhausted_ms,
        burns: standing.burns.iter().map(|burn| burn.rate).collect(),
        alerts: alerts.into_iter().map(|(_, state)| state).collect(),
    }
}
