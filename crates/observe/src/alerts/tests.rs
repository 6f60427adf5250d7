use super::*;
use crate::objective::Objective;
use crate::window::{DAY_MS, HOUR_MS};

const START: u64 = 20_000 * DAY_MS;

/// An objective of 99.9% whose requests come as given, minute by minute.
struct Simulation {
    slo: Slo,
    ledger: Ledger,
    alerts: BurnAlerts,
    minute: u64,
    /// (minute, alert, whether it began to fire or resolved).
    log: Vec<(u64, &'static str, bool)>,
}

impl Simulation {
    fn new() -> Self {
        let slo = Objective {
            name: "x".to_owned(),
            ..Objective::default()
        }
        .parse()
        .unwrap();
        Self {
            slo,
            ledger: Ledger::default(),
            alerts: BurnAlerts::default(),
            minute: 0,
            log: Vec::new(),
        }
    }

    /// For so many minutes, `bad` of `total` requests are bad.
    fn go(&mut self, minutes: u64, bad: u64, total: u64) -> &mut Self {
        for _ in 0..minutes {
            self.ledger
                .add(START + self.minute * MINUTE_MS, total - bad, total);
            self.minute += 1;
            let changes =
                self.alerts
                    .evaluate(&self.slo, &self.ledger, START + self.minute * MINUTE_MS);
            self.log
                .extend(changes.iter().filter_map(|change| match change.after {
                    AlertState::Firing { .. } => Some((self.minute, change.alert.id, true)),
                    AlertState::Resolved { .. } => Some((self.minute, change.alert.id, false)),
                    _ => None,
                }));
        }
        self
    }

    fn pages(&self) -> Vec<(u64, &'static str, bool)> {
        let pages = |id: &str| {
            BURN_ALERTS
                .iter()
                .any(|alert| alert.id == id && alert.severity == Severity::Page)
        };
        self.log
            .iter()
            .copied()
            .filter(|(_, id, _)| pages(id))
            .collect()
    }
}

#[test]
fn an_outage_pages_within_a_minute_and_resolves_when_the_short_window_is_clean() {
    // 1.44% of an hour is 51.84 s: after one minute of nothing but errors 1.67% of the hour's
    // requests failed. Four minutes after the outage's 10 minutes the last 5 still have one of them
    // (20%), five minutes after none. The six-hour alert needs 0.6% of 360 minutes, 2.16; 1.67% of
    // half an hour stays above 0.6% for 30 minutes.
    let mut run = Simulation::new();
    run.go(360, 0, 1000).go(10, 1000, 1000).go(120, 0, 1000);
    assert_eq!(
        run.pages(),
        [
            (361, "1h5m", true),
            (363, "6h30m", true),
            (375, "1h5m", false),
            (400, "6h30m", false)
        ]
    );
}

#[test]
fn one_in_twenty_pages_after_eighteen_minutes() {
    // 5% of m minutes of 60 is above 1.44% from 17.28 minutes on.
    let mut run = Simulation::new();
    run.go(360, 0, 1000).go(60, 50, 1000);
    assert_eq!(run.pages()[0], (378, "1h5m", true));
}

#[test]
fn a_slow_burn_files_a_ticket_and_never_pages() {
    // 0.2% burns twice as fast as it may. Of three days more than 0.1% failed after more than a day
    // and a half (2,160 minutes), and a ticket holds for 15 minutes. Ten-minute buckets move this
    // by up to ten minutes.
    let mut run = Simulation::new();
    run.go(3 * 24 * 60, 0, 1000).go(3 * 24 * 60, 2, 1000);
    assert_eq!(run.log.len(), 1, "{:?}", run.log);
    let (minute, id, fires) = run.log[0];
    assert_eq!((id, fires), ("3d6h", true));
    let expected = 3 * 24 * 60 + 2161 + 15;
    assert!((expected..expected + 10).contains(&minute), "{minute}");
}

#[test]
fn what_may_fail_may_fail() {
    let mut run = Simulation::new();
    run.go(4 * 24 * 60, 1, 1000);
    assert_eq!(run.log, []);
}

#[test]
fn thirty_days_of_healthy_noise_are_quiet() {
    // 200 requests a minute, of which on average one in 2,000 fails, by a linear congruential
    // generator.
    let mut random = 7u64;
    let mut run = Simulation::new();
    for _ in 0..30 * 24 * 60 {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        run.go(1, u64::from((random >> 33).is_multiple_of(10)), 200);
    }
    assert_eq!(run.log, []);
}

#[test]
fn few_requests_do_not_page() {
    let mut run = Simulation::new();
    run.go(9, 1, 1);
    assert_eq!(run.log, []);
    run.go(1, 1, 1);
    assert_eq!(
        run.pages(),
        [(10, "1h5m", true), (10, "6h30m", true)],
        "the tenth is enough"
    );
}

#[test]
fn a_ticket_is_pending_before_it_fires() {
    let ticket = &BURN_ALERTS[3];
    let next =
        |state: AlertState, holds, minute| state.next(holds, ticket.hold_ms, minute * MINUTE_MS);
    let pending = next(AlertState::Inactive, true, 10);
    assert_eq!(
        pending,
        AlertState::Pending {
            since_ms: 10 * MINUTE_MS
        }
    );
    assert_eq!(next(pending, true, 24), pending);
    assert_eq!(next(pending, false, 24), AlertState::Inactive);
    let firing = next(pending, true, 25);
    assert_eq!(
        firing,
        AlertState::Firing {
            since_ms: 25 * MINUTE_MS
        }
    );
    assert_eq!(next(firing, true, 30), firing);
    let resolved = next(firing, false, 31);
    assert_eq!(
        resolved,
        AlertState::Resolved {
            since_ms: 31 * MINUTE_MS
        }
    );
    assert_eq!(next(resolved, false, 32), resolved);
    assert_eq!(
        next(resolved, true, 33),
        AlertState::Pending {
            since_ms: 33 * MINUTE_MS
        }
    );
}

#[test]
fn a_change_carries_its_numbers() {
    let mut run = Simulation::new();
    run.go(59, 0, 100);
    run.ledger.add(START + 59 * MINUTE_MS, 0, 100);
    let changes = run.alerts.evaluate(&run.slo, &run.ledger, START + HOUR_MS);
    let change = changes[0];
    assert_eq!(
        (change.alert.id, change.before),
        ("1h5m", AlertState::Inactive)
    );
    assert_eq!(
        (change.long.counts.bad(), change.long.counts.total),
        (100, 6000)
    );
    assert!((change.long.rate.unwrap() - 100.0 / 6.0).abs() < 1e-9);
    assert!((change.short.rate.unwrap() - 200.0).abs() < 1e-9);
}

#[test]
fn a_restart_does_not_page_again() {
    let mut run = Simulation::new();
    run.go(60, 1, 10);
    let firing: Vec<&str> = run.alerts.firing().map(|alert| alert.id).collect();
    assert_eq!(firing, ["1h5m", "6h30m", "1d2h", "3d6h"]);
    run.alerts = serde_json::from_str(&serde_json::to_string(&run.alerts).unwrap()).unwrap();
    let before = run.log.len();
    run.go(10, 1, 10);
    assert_eq!(run.log.len(), before);
}
