//! Every objective.

use tidegate_console::{Listing, ObjectiveRow, Objectives, describe_target};

use crate::objectives::Status;

pub(crate) fn objectives(
    objectives: &crate::objectives::Objectives,
    mut listing: Listing,
    now_ms: u64,
) -> Objectives {
    let is_wanted = |status: &Status| {
        listing.matches(status.slo.name())
            || status
                .slo
                .endpoint()
                .is_some_and(|own| listing.matches(own))
    };
    let mut status: Vec<Status> = objectives.status().into_iter().filter(is_wanted).collect();
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
