use super::*;
use crate::policy::{Share, VersionName};
use crate::sequential::{Arms, Counts, Unit};

fn target(endpoint: &str) -> Target {
    let (from, to) = (VersionName::number(7), VersionName::number(8));
    Target {
        endpoint: endpoint.into(),
        from,
        to,
    }
}

fn spec(checks: Vec<Check>) -> RolloutSpec {
    let weights = ["1%", "10%", "100%"].map(|weight| weight.parse::<Share>().unwrap());
    let mut spec = RolloutSpec::canary(target("fraud"), &weights);
    for step in &mut spec.steps {
        (step.min_duration_s, step.min_requests) = (60, 50);
    }
    spec.checks = checks;
    spec.check().unwrap();
    spec
}

fn errors(action: CheckAction) -> Check {
    let kind = CheckKind::Share {
        min_effect: 0.0,
        higher_is_better: false,
        unit: Unit::Request,
    };
    Check {
        name: "errors".into(),
        metric: "errors".into(),
        kind,
        alpha: None,
        action,
    }
}

/// The window of one second, with so many requests and errors of each version.
fn window(second: u64, candidate: (u64, u64), control: (u64, u64)) -> Window {
    let counts = Arms::new(
        Counts::new(candidate.1, candidate.0),
        Counts::new(control.1, control.0),
    );
    Window {
        number: second,
        start_ms: second * 1000,
        requests: counts.requests(),
        metrics: [("errors".to_owned(), Measured::Share(counts))].into(),
    }
}

fn good(second: u64) -> Window {
    window(second, (5, 0), (100, 0))
}

fn bad(second: u64) -> Window {
    window(second, (5, 4), (100, 0))
}

/// A server that does what it is asked for, each number once, and calls every second.
struct Server {
    rollout: Rollout,
    done: Vec<Action>,
    evidence: Evidence,
}

impl Server {
    fn new(spec: RolloutSpec) -> Self {
        Self {
            rollout: Rollout::new("r1", spec, 0),
            done: Vec::new(),
            evidence: Evidence {
                is_ready: true,
                ..Evidence::default()
            },
        }
    }

    /// Decides at a second, with the window of the second before.
    fn tick(&mut self, second: u64, window: Window) {
        self.evidence.windows = vec![window];
        self.decide(second);
    }

    fn decide(&mut self, second: u64) {
        let (rollout, actions) = decide(&self.rollout, &self.evidence, second * 1000);
        self.rollout = rollout;
        for action in actions {
            if self.done.iter().all(|done| done.number != action.number) {
                self.done.push(action.clone());
            }
        }
        self.evidence.done_action = self.done.last().map_or(0, |action| action.number);
    }

    fn run(&mut self, seconds: std::ops::Range<u64>, window: fn(u64) -> Window) {
        seconds.for_each(|second| self.tick(second, window(second - 1)));
    }

    fn command(&mut self, number: u64, kind: CommandKind) {
        self.evidence.commands.push(Command {
            number,
            kind,
            by: "ada".into(),
        });
    }

    /// The weights that were set, in order.
    fn weights(&self) -> Vec<String> {
        let kinds = self.done.iter().map(|action| &action.kind);
        kinds
            .filter_map(|kind| match kind {
                ActionKind::SetTraffic(traffic) => Some(traffic.answers.to_string()),
                _ => None,
            })
            .collect()
    }
}

#[test]
fn a_good_version_goes_through_all_steps_and_is_promoted() {
    let mut server = Server::new(spec(vec![errors(CheckAction::Abort)]));
    server.run(1..300, good);
    assert_eq!(server.rollout.phase, Phase::Promoted);
    assert_eq!(server.weights(), ["1%", "10%", "100%", "100%"]);
    assert!(
        server
            .done
            .iter()
            .any(|action| action.kind == ActionKind::MoveAliases)
    );
    assert_eq!(
        server.rollout.checks[0].verdict(0).outcome,
        Outcome::NotFailed
    );
}

#[test]
fn a_bad_version_goes_back_with_its_numbers() {
    let mut server = Server::new(spec(vec![errors(CheckAction::Abort)]));
    server.run(1..300, bad);
    assert!(
        matches!(&server.rollout.phase, Phase::Aborted { reason } if reason.contains("errors failed"))
    );
    assert_eq!(server.weights(), ["1%", "0%"]);
    let alerts = server.done.iter().filter_map(|action| match &action.kind {
        ActionKind::Alert { verdict, .. } => verdict.clone(),
        _ => None,
    });
    let alerts = alerts.collect::<Vec<_>>();
    assert_eq!(alerts.len(), 1);
    assert!(
        alerts[0].p_value <= 0.01 && alerts[0].events.candidate >= 4 && alerts[0].alpha == 0.01
    );
    let kinds: Vec<_> = server.done.iter().map(|action| &action.kind).collect();
    assert!(kinds.contains(&&ActionKind::RestoreAliases));
    assert!(
        kinds
            .iter()
            .any(|kind| matches!(kind, ActionKind::MarkBad { .. }))
    );
    // The verdict stays what it was when it failed.
    assert_eq!(server.rollout.checks[0].verdict(u64::MAX), *alerts[0]);
}

#[test]
fn a_step_needs_both_its_time_and_its_requests() {
    let mut server = Server::new(spec(Vec::new()));
    // 20 requests in the first 4 s are too few, and 60 s pass without any.
    server.run(1..6, good);
    server.run(6..90, |second| window(second, (0, 0), (100, 0)));
    assert_eq!(server.rollout.step, 0);
    server.run(90..97, good);
    assert_eq!(server.rollout.step, 1);
    // Now there are enough requests within a few seconds.
    server.run(97..120, good);
    assert_eq!(server.rollout.step, 1);
}

#[test]
fn without_requests_it_is_held_as_no_data_and_not_failed() {
    let mut few = spec(vec![errors(CheckAction::Abort)]);
    few.max_step_s = 600;
    let mut server = Server::new(few);
    server.run(1..700, |second| window(second, (0, 0), (100, 0)));
    assert!(
        matches!(&server.rollout.phase, Phase::Paused { reason } if reason.starts_with("no data: 0 of 50"))
    );
    assert_eq!(server.rollout.verdicts(0)[0].outcome, Outcome::NoData);
    assert_eq!(server.weights(), ["1%"]);
}

#[test]
fn gates_hold_traffic_but_never_keep_it_from_going_back() {
    let mut server = Server::new(spec(vec![errors(CheckAction::Abort)]));
    server.evidence.gates = vec!["freeze".into()];
    server.run(1..100, good);
    assert_eq!(
        (server.rollout.phase.clone(), server.weights().len()),
        (Phase::Waiting, 0)
    );
    server.evidence.gates.clear();
    server.run(100..110, good);
    server.evidence.gates = vec!["freeze".into()];
    server.command(1, CommandKind::Pause);
    server.run(110..120, bad);
    assert!(matches!(server.rollout.phase, Phase::Aborted { .. }));
}

#[test]
fn a_version_that_is_not_ready_gets_no_traffic() {
    let mut server = Server::new(spec(Vec::new()));
    server.evidence.is_ready = false;
    server.command(1, CommandKind::Promote);
    server.run(1..100, good);
    assert!(server.weights().is_empty() && server.rollout.phase == Phase::Waiting);
}

#[test]
fn every_fault_brings_traffic_back() {
    let faults = [
        Fault::ObjectiveBurn,
        Fault::BreakerOpen,
        Fault::LoadFailure,
        Fault::CrashLoop,
        Fault::MemoryOverBudget,
    ];
    for fault in faults {
        let mut server = Server::new(spec(Vec::new()));
        server.run(1..10, good);
        server.evidence.faults = vec![fault("instance 2".into())];
        server.run(10..11, good);
        assert!(
            matches!(&server.rollout.phase, Phase::Aborted { reason } if reason.ends_with(": instance 2"))
        );
        assert_eq!(server.weights().last().unwrap(), "0%");
    }
}

#[test]
fn a_check_that_holds_waits_for_a_person_and_holds_once() {
    let mut server = Server::new(spec(vec![errors(CheckAction::Hold)]));
    server.run(1..40, bad);
    assert!(matches!(server.rollout.phase, Phase::Paused { .. }));
    assert_eq!(server.weights(), ["1%"]);
    server.command(1, CommandKind::Resume);
    server.run(40..300, bad);
    assert_eq!(server.rollout.phase, Phase::Promoted);
    assert!(server.rollout.checks[0].is_overridden);
}

#[test]
fn a_check_that_warns_tells_once_and_goes_on() {
    let mut server = Server::new(spec(vec![errors(CheckAction::Warn)]));
    server.run(1..300, bad);
    let alerts = server
        .done
        .iter()
        .filter(|action| matches!(action.kind, ActionKind::Alert { .. }));
    assert_eq!((alerts.count(), server.rollout.phase), (1, Phase::Promoted));
}

#[test]
fn commands_are_obeyed_once_and_in_order() {
    let mut server = Server::new(spec(Vec::new()));
    server.command(1, CommandKind::Pause);
    server.run(1..200, good);
    assert!(matches!(&server.rollout.phase, Phase::Paused { reason } if reason == "paused by ada"));
    server.command(2, CommandKind::Resume);
    server.run(200..210, good);
    assert_eq!(server.rollout.phase, Phase::Running);
    server.command(3, CommandKind::Abort);
    server.run(210..211, good);
    assert!(matches!(server.rollout.phase, Phase::Aborted { .. }));
    // A person's abort says nothing about the version.
    assert!(
        !server
            .done
            .iter()
            .any(|action| matches!(action.kind, ActionKind::MarkBad { .. }))
    );
}

#[test]
fn a_retry_forgets_what_was_seen() {
    let mut server = Server::new(spec(vec![errors(CheckAction::Abort)]));
    server.run(1..60, bad);
    server.command(1, CommandKind::Retry);
    // The windows of the first attempt come again.
    server.evidence.windows = (1..60).map(bad).collect();
    server.decide(60);
    assert_eq!(
        (server.rollout.attempt, server.rollout.phase.clone()),
        (2, Phase::Running)
    );
    server.run(61..400, good);
    assert_eq!(server.rollout.phase, Phase::Promoted);
}

#[test]
fn copies_come_before_the_first_answer() {
    let mut shadow = spec(Vec::new());
    shadow.strategy = Strategy::ShadowThenCanary;
    assert_eq!(shadow.check(), Err(InvalidSpec::Shadow("it is missing")));
    let weight = "20%".parse().unwrap();
    shadow.shadow = Some(Step {
        weight,
        min_duration_s: 60,
        min_requests: 50,
    });
    shadow.check().unwrap();
    let mut server = Server::new(shadow);
    server.run(1..3, good);
    assert_eq!(
        server.rollout.traffic(),
        Traffic {
            answers: Share::NONE,
            copies: weight
        }
    );
    server.run(3..100, good);
    assert_eq!(server.rollout.traffic().copies, Share::NONE);
    assert_eq!(server.weights()[..2], ["0%", "1%"]);
}

#[test]
fn an_older_leader_changes_nothing() {
    let mut server = Server::new(spec(Vec::new()));
    server.evidence.epoch = 5;
    server.run(1..70, good);
    let old = Evidence {
        epoch: 4,
        faults: vec![Fault::CrashLoop(String::new())],
        ..server.evidence.clone()
    };
    let (after, actions) = decide(&server.rollout, &old, 80_000);
    assert_eq!((after, actions), (server.rollout, Vec::new()));
}

#[test]
fn ends_at_any_moment_skip_and_repeat_nothing() {
    let mut random = fastrand::Rng::with_seed(5);
    for _ in 0..50 {
        let mut server = Server::new(spec(vec![errors(CheckAction::Abort)]));
        let mut seen: Vec<Window> = Vec::new();
        for second in 1..300 {
            seen.push(good(second - 1));
            // The next leader does not know which windows were seen last, and reads some again.
            let from = seen.len().saturating_sub(random.usize(1..20));
            server.evidence.windows = seen[from..].to_vec();
            server.evidence.epoch = second;
            // The process ends before the state is persisted, or after that and before the actions
            // are carried out, or before it is noted that they were.
            let (persisted, actions) = decide(&server.rollout, &server.evidence, second * 1000);
            match random.u32(0..10) {
                0 => {}
                1 => server.rollout = serde_json_copy(&persisted),
                2 => {
                    server.rollout = serde_json_copy(&persisted);
                    server.carry_out(actions);
                }
                _ => {
                    server.rollout = persisted;
                    server.carry_out(actions);
                    server.evidence.done_action =
                        server.done.last().map_or(0, |action| action.number);
                }
            }
        }
        assert_eq!(server.rollout.phase, Phase::Promoted);
        let mut weights = server.weights();
        weights.dedup();
        assert_eq!(weights.last().unwrap(), "100%");
        let expected = ["1%", "10%", "100%"];
        assert!(
            weights
                .iter()
                .all(|weight| expected.contains(&weight.as_str()))
        );
        assert!(
            weights.windows(2).all(|pair| pair[0].len() < pair[1].len()),
            "{weights:?}"
        );
        let steps = server
            .rollout
            .events
            .iter()
            .filter(|event| event.what.contains(" done after "));
        assert_eq!(steps.map(|event| event.step).collect::<Vec<_>>(), [0, 1]);
    }
}

impl Server {
    fn carry_out(&mut self, actions: Vec<Action>) {
        for action in actions {
            if self.done.iter().all(|done| done.number != action.number) {
                self.done.push(action);
            }
        }
    }
}

fn serde_json_copy(rollout: &Rollout) -> Rollout {
    serde_json::from_str(&serde_json::to_string(rollout).unwrap()).unwrap()
}

#[test]
fn whatever_happens_steps_come_one_by_one_and_equal_evidence_changes_nothing_twice() {
    let commands = [
        CommandKind::Pause,
        CommandKind::Resume,
        CommandKind::Promote,
        CommandKind::Abort,
        CommandKind::Retry,
    ];
    let mut ends = [0; 2];
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut checked = spec(vec![errors(CheckAction::Abort)]);
        checked.checks[0].action = [CheckAction::Abort, CheckAction::Hold][seed as usize % 2];
        let mut rollout = Rollout::new("r1", checked, 0);
        for second in 1..400 {
            let mut evidence = Evidence {
                epoch: second,
                is_ready: random.f64() < 0.95,
                done_action: rollout.last_action,
                ..Evidence::default()
            };
            evidence.windows.push(if random.f64() < 0.05 {
                bad(second)
            } else {
                good(second)
            });
            if random.f64() < 0.02 {
                let kind = commands[random.usize(0..commands.len())];
                evidence.commands.push(Command {
                    number: second,
                    kind,
                    by: "ada".into(),
                });
            }
            if random.f64() < 0.005 {
                evidence.faults.push(Fault::BreakerOpen(String::new()));
            }
            if random.f64() < 0.2 {
                evidence.gates.push("freeze".into());
            }
            let (next, actions) = decide(&rollout, &evidence, second * 1000);
            let is_same_attempt = next.attempt == rollout.attempt;
            assert!(!is_same_attempt || (rollout.step..=rollout.step + 1).contains(&next.step));
            assert!(is_same_attempt || (next.attempt == rollout.attempt + 1 && next.step == 0));
            assert!(is_same_attempt || matches!(rollout.phase, Phase::Aborted { .. }));
            let moved = rollout.traffic() != next.traffic();
            let is_set = actions
                .iter()
                .any(|action| action.kind == ActionKind::SetTraffic(next.traffic()));
            assert!(!moved || is_set, "{:?}", next.phase);
            let is_back = matches!(next.phase, Phase::Aborted { .. });
            assert!(!is_back || next.traffic() == Traffic::default());
            evidence.done_action = 0;
            assert_eq!(
                decide(&next, &evidence, second * 1000),
                (next.clone(), actions)
            );
            rollout = next;
        }
        ends[0] += u32::from(rollout.phase == Phase::Promoted);
        ends[1] += u32::from(matches!(rollout.phase, Phase::Aborted { .. }));
    }
    assert!(ends.iter().all(|count| *count > 20), "{ends:?}");
}

#[test]
fn one_rollout_per_endpoint_and_the_next_ones_wait() {
    let mut rollouts = Rollouts::default();
    let only = |endpoint: &str| RolloutSpec {
        targets: vec![target(endpoint)],
        ..spec(Vec::new())
    };
    let both = RolloutSpec {
        targets: vec![target("fraud"), target("churn")],
        ..spec(Vec::new())
    };
    rollouts.start("a", only("fraud"), false, 0).unwrap();
    rollouts.start("b", both, false, 0).unwrap();
    // It must not overtake the one that waits for both.
    rollouts.start("c", only("churn"), false, 0).unwrap();
    rollouts.start("d", only("other"), false, 0).unwrap();
    let ids = |rollouts: &[Rollout]| {
        rollouts
            .iter()
            .map(|rollout| rollout.id.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (ids(&rollouts.active), ids(&rollouts.queue)),
        (vec!["a".into(), "d".into()], vec!["b".into(), "c".into()])
    );
    assert_eq!(
        rollouts.start("a", only("x"), false, 0),
        Err(NotStarted::DuplicateId("a".into()))
    );

    rollouts.active[0].phase = Phase::Promoted;
    let done = rollouts.retire(|rollout| rollout.actions().is_empty());
    assert_eq!(
        (ids(&done), ids(&rollouts.active)),
        (vec!["a".into()], vec!["d".into(), "b".into()])
    );
}

#[test]
fn a_bad_version_is_not_tried_again_unless_somebody_insists() {
    let mut rollouts = Rollouts::default();
    rollouts.mark_bad(&[target("fraud")]);
    let error = rollouts.start("a", spec(Vec::new()), false, 0).unwrap_err();
    assert_eq!(
        error.to_string(),
        "version 8 of endpoint fraud was found bad; --force tries it again"
    );
    rollouts.start("a", spec(Vec::new()), true, 0).unwrap();
    assert!(rollouts.bad.is_empty());
}

#[test]
fn a_written_rollout_is_read_and_checked() {
    let text = r#"
        strategy = "canary"
        alpha = 0.05

        [[targets]]
        endpoint = "fraud"
        from = 7
        to = 8

        [[steps]]
        weight = "5%"
        [[steps]]
        weight = "100%"

        [[checks]]
        name = "errors"
        metric = "errors"
        kind = "share"
        min_effect = 0.001

        [[checks]]
        name = "p99"
        metric = "latency_ms"
        kind = "quantile"
        quantile = 0.99
        action = "hold"
    "#;
    let spec: RolloutSpec = toml::from_str(text).unwrap();
    spec.check().unwrap();
    assert_eq!(Rollout::new("a", spec.clone(), 0).checks[1].alpha, 0.025);
    assert_eq!(
        toml::from_str::<RolloutSpec>(&toml::to_string(&spec).unwrap()).unwrap(),
        spec
    );
    let wrong = text.replace("quantile = 0.99", "quantile = 0.99\nlimit = 3.0");
    let error = toml::from_str::<RolloutSpec>(&wrong).unwrap_err();
    assert!(
        error
            .message()
            .contains("check \"p99\": limit has no meaning for its kind"),
        "{error}"
    );
    let wrong = text.replace("weight = \"100%\"", "weight = \"50%\"");
    let wrong: RolloutSpec = toml::from_str(&wrong).unwrap();
    assert_eq!(wrong.check(), Err(InvalidSpec::Steps));
}

#[test]
fn the_trace_covers_the_whole_rollout_with_few_points() {
    let mut long = spec(vec![errors(CheckAction::Abort)]);
    long.steps[0].min_duration_s = 10_000;
    let mut server = Server::new(long);
    server.run(1..2000, good);
    let points = server.rollout.trace.points();
    assert!(
        (MAX_POINTS / 2..=MAX_POINTS).contains(&points.len()),
        "{}",
        points.len()
    );
    let times: Vec<u64> = points.iter().map(|point| point.at_ms).collect();
    assert!(times.is_sorted() && times[0] < 10_000 && *times.last().unwrap() > 1_900_000);
    assert!(points.last().unwrap().checks[0].interval.is_some());
}
