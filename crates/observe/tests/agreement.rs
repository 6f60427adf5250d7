//! Three days of requests, evaluated by this crate and by Prometheus: the same alerts fire at the same
//! minutes.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::fmt::Write as _;
use std::fs;

use tidegate_observe::{BURN_ALERTS, BurnAlerts, Ledger, RuleFile, Severity, Slo, SloStatus};

const MINUTE_MS: u64 = 60_000;
const MINUTES: usize = 3 * 24 * 60;
/// A moment at the beginning of a day.
const START_MS: u64 = 20_000 * 24 * 60 * MINUTE_MS;
/// How far coarse buckets may move what is seen of windows above six hours.
const COARSE_MINUTES: usize = 11;

/// The good and bad requests of a minute.
type Minute = (u64, u64);

#[test]
fn built_in_and_prometheus_fire_at_the_same_minutes() {
    let slo = support::slos().remove(0);
    let minutes = requests();
    let days = BuiltIn::run(&slo, &minutes);
    // The incidents below are seen at all: both pages come and go, both tickets come.
    for (alert, firing) in BURN_ALERTS.iter().zip(&days.firing) {
        let begins = firing.windows(2).filter(|pair| !pair[0] && pair[1]).count();
        assert!(begins >= 1, "{} never fires", alert.id);
    }
    let folder = support::folder("agreement");
    let mut groups = support::generated().groups;
    groups.truncate(1);
    fs::write(
        folder.join("rules.yaml"),
        RuleFile { groups }.to_yaml().unwrap(),
    )
    .unwrap();
    let case = folder.join("case.yaml");
    fs::write(&case, case_of(&minutes, &days)).unwrap();
    support::promtool(&["test", "rules"], &case);
}

/// Noisy traffic with a daily rhythm, in which one in 5,000 fails, and five incidents.
fn requests() -> Vec<Minute> {
    let mut random = 1u64;
    let mut noise = move |below: u64| {
        // Numerical Recipes' linear congruential generator; its high bits are good enough for
        // noise.
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    let failing = |minute: usize| match minute {
        // Parts of 10,000: an outage, one in twenty, one in a hundred, one in three hundred, a
        // short spike.
        900..=907 => 10_000,
        1500..=1530 => 500,
        2000..=2200 => 100,
        2400..=3300 => 33,
        3600 => 2_000,
        _ => 2,
    };
    let minute = |minute: usize| {
        let hour = minute as f64 / 60.0;
        let usual = 3000.0 + 2000.0 * (hour / 24.0 * std::f64::consts::TAU).sin();
        let total = usual as u64 + noise(400);
        let bad = (total * failing(minute) + noise(10_000)) / 10_000;
        (total - bad, bad)
    };
    (0..MINUTES).map(minute).collect()
}

/// What this crate makes of the requests: after each minute, which alerts fire, and the burn rates.
struct BuiltIn {
    firing: [Vec<bool>; 4],
    statuses: Vec<SloStatus>,
}

impl BuiltIn {
    fn run(slo: &Slo, minutes: &[Minute]) -> Self {
        let (mut ledger, mut alerts) = (Ledger::default(), BurnAlerts::default());
        let mut days = Self {
            firing: [const { Vec::new() }; 4],
            statuses: Vec::new(),
        };
        for (minute, &(good, bad)) in (0u64..).zip(minutes) {
            ledger.add(START_MS + minute * MINUTE_MS, good, good + bad);
            let now_ms = START_MS + (minute + 1) * MINUTE_MS;
            alerts.evaluate(slo, &ledger, now_ms);
            for (alert, firing) in BURN_ALERTS.iter().zip(&mut days.firing) {
                firing.push(alerts.firing().any(|fires| fires == alert));
            }
            days.statuses.push(SloStatus::of(slo, &ledger, now_ms));
        }
        days
    }

    /// The minutes after which the state of an alert is checked: around each change, and every
    /// hour.
    fn checked(&self, alert: usize) -> Vec<usize> {
        let firing = &self.firing[alert];
        let coarse = BURN_ALERTS[alert].severity == Severity::Ticket;
        let margin = if coarse { COARSE_MINUTES } else { 0 };
        let changes = || (1..MINUTES).filter(|&at| firing[at] != firing[at - 1]);
        let around = changes().flat_map(|at| [at - 1 - margin, at + margin]);
        let mut checked: Vec<usize> = around
            .chain((59..MINUTES).step_by(60))
            .filter(|&at| at < MINUTES)
            .collect();
        checked.retain(|&at| {
            margin == 0 || changes().all(|change| change > at + margin || change + margin <= at)
        });
        checked.sort_unstable();
        checked.dedup();
        checked
    }
}

/// A test case for promtool: the requests as counters, and what was made of them as what is to be.
fn case_of(minutes: &[Minute], days: &BuiltIn) -> String {
    let mut case = String::from(
        "rule_files: [rules.yaml]\nevaluation_interval: 1m\ntests:\n  - interval: 1m\n    input_series:\n",
    );
    let success = "nv_inference_request_success{job=\"tidegate\",model=\"fraud\",version=\"1\"}";
    let failure = "nv_inference_request_failure{job=\"tidegate\",model=\"fraud\",version=\"1\",reason=\"internal\"}";
    for (series, counts) in [
        (
            success,
            minutes.iter().map(|minute| minute.0).collect::<Vec<_>>(),
        ),
        (failure, minutes.iter().map(|minute| minute.1).collect()),
    ] {
        write!(case, "      - series: {series}\n        values: 0").unwrap();
        let mut sum = 0;
        for count in counts {
            sum += count;
            write!(case, " {sum}").unwrap();
        }
        case.push('\n');
    }
    case.push_str("    promql_expr_test:\n");
    for (alert, at) in
        (0..4).flat_map(|alert| days.checked(alert).into_iter().map(move |at| (alert, at)))
    {
        let expression = format!(
            "count(ALERTS{{alertstate=\"firing\",long_window=\"{}\"}})",
            BURN_ALERTS[alert].long.name()
        );
        expect(
            &mut case,
            &expression,
            at,
            days.firing[alert][at].then_some(1.0),
        );
    }
    // Rates of windows that are kept by the minute are the same; the others within 1%.
    for at in (59..MINUTES).step_by(360) {
        for (window, burn) in tidegate_observe::BurnWindow::ALL
            .iter()
            .zip(&days.statuses[at].burns)
        {
            let rate = burn.rate.unwrap();
            let tolerance = if window.ms() <= 6 * 60 * MINUTE_MS {
                1e-9
            } else {
                0.01
            };
            let series = format!("tidegate_slo:burn_rate:ratio{}", window.name());
            let near = format!(
                "vector(1) and on () (abs({series} - {rate}) <= {})",
                rate * tolerance
            );
            expect(&mut case, &near, at, Some(1.0));
        }
    }
    case
}

/// What an expression is to give after a minute; nothing, or one number without labels.
fn expect(case: &mut String, expression: &str, at: usize, value: Option<f64>) {
    let samples = value.map_or_else(
        || "[]".to_owned(),
        |value| format!("[{{labels: '{{}}', value: {value}}}]"),
    );
    let (minute, expression) = (at + 1, expression.replace('\'', "''"));
    writeln!(
        case,
        "      - expr: '{expression}'\n        eval_time: {minute}m\n        exp_samples: {samples}"
    )
    .unwrap();
}
