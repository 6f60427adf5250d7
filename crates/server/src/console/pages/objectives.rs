//! Every objective.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use tidegate_console::{Listing, ObjectiveRow, Objectives, describe_target};

use crate::console::Console;
use crate::console::answer::answer;
use crate::console::page_query::{Asked, ListQuery, asked};
use crate::console::visitor::Visitor;
use crate::objectives::Status;

pub(super) async fn show(
    State(console): State<Arc<Console>>,
    query: Asked<ListQuery>,
    visitor: Visitor,
) -> Response {
    let listing = asked(query).listing();
    answer(console, &visitor, move |console, now_ms| {
        Ok(objectives(&console.objectives, listing.clone(), now_ms).page())
    })
    .await
}

fn objectives(
    objectives: &crate::objectives::Objectives,
    mut listing: Listing,
    now_ms: u64,
) -> Objectives {
    let mut status = objectives.status();
    status.retain(|status| is_wanted(status, &listing));
    // The objective that is closest to missing its target comes first.
    status.sort_by(|one, other| {
        one.slo_status
            .budget_remaining
            .total_cmp(&other.slo_status.budget_remaining)
    });
    let rows = listing.page_of(status).into_iter().map(row).collect();
    Objectives {
        now_ms,
        rows,
        listing,
    }
}

fn is_wanted(status: &Status, listing: &Listing) -> bool {
    let endpoint = status.slo.endpoint();
    listing.matches(status.slo.name()) || endpoint.is_some_and(|name| listing.matches(name))
}

fn row(status: Status) -> ObjectiveRow {
    let Status {
        slo,
        slo_status,
        alerts,
        ..
    } = status;
    ObjectiveRow {
        name: slo.name().to_owned(),
        endpoint: slo.endpoint().map(str::to_owned),
        target: describe_target(&slo),
        good: slo_status.counts.good,
        total: slo_status.counts.total,
        remaining: slo_status.budget_remaining,
        exhausted_ms: slo_status.exhausted_ms,
        burns: slo_status.burns.iter().map(|burn| burn.rate).collect(),
        alerts: alerts.into_iter().map(|(_, state)| state).collect(),
    }
}
