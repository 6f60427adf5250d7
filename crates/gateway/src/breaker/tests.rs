use proptest::prelude::*;

use super::*;

/// A breaker and a clock that only moves when told to.
struct Bench {
    breaker: Breaker,
    now: Instant,
}

impl Bench {
    fn new(policy: BreakerPolicy) -> Self {
        Self {
            breaker: Breaker::new(policy),
            now: Instant::now(),
        }
    }

    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    fn begin(&mut self) -> Option<BreakerTicket> {
        self.breaker.begin(self.now).ok().map(|(ticket, _)| ticket)
    }

    fn end(&mut self, ticket: BreakerTicket, end: CallEnd) -> Option<BreakerState> {
        let change = self.breaker.end(ticket, end, Duration::ZERO, self.now);
        change.map(|change| change.to)
    }

    fn call(&mut self, end: CallEnd) {
        let ticket = self.begin().expect("the call is let through");
        self.end(ticket, end);
    }

    fn opened() -> Self {
        let mut bench = Self::new(policy());
        for _ in 0..4 {
            bench.call(CallEnd::Failed);
        }
        assert_eq!(bench.breaker.state(), BreakerState::Open);
        bench
    }
}

fn policy() -> BreakerPolicy {
    BreakerPolicy {
        min_calls: 4,
        ..BreakerPolicy::default()
    }
}

#[test]
fn calls_that_were_wrong_neither_open_it_nor_keep_it_open() {
    let mut bench = Bench::new(policy());
    for _ in 0..100 {
        bench.call(CallEnd::Excused);
    }
    assert_eq!(bench.breaker.state(), BreakerState::Closed);
    let mut bench = Bench::opened();
    bench.pass(60);
    bench.call(CallEnd::Excused);
    assert_eq!(bench.breaker.state(), BreakerState::Closed);
}

#[test]
fn it_opens_at_the_share_of_failures_and_not_before_enough_calls() {
    let mut bench = Bench::new(policy());
    bench.call(CallEnd::Failed);
    bench.call(CallEnd::Failed);
    bench.call(CallEnd::Succeeded);
    assert_eq!(bench.breaker.state(), BreakerState::Closed);
    let ticket = bench.begin().unwrap();
    let change = bench
        .breaker
        .end(ticket, CallEnd::Succeeded, Duration::ZERO, bench.now)
        .unwrap();
    assert_eq!((change.calls, change.failed, change.slow), (4, 2, 0));
    assert_eq!(change.to, BreakerState::Open);
}

#[test]
fn old_failures_leave_the_window() {
    let mut bench = Bench::new(policy());
    for _ in 0..3 {
        bench.call(CallEnd::Failed);
    }
    bench.pass(11);
    for _ in 0..4 {
        bench.call(CallEnd::Succeeded);
    }
    assert_eq!(bench.breaker.state(), BreakerState::Closed);
}

#[test]
fn slow_calls_open_it_although_they_succeed() {
    let mut bench = Bench::new(BreakerPolicy {
        slow_call: Some(Duration::from_secs(1)),
        ..policy()
    });
    for _ in 0..4 {
        let ticket = bench.begin().unwrap();
        let took = Duration::from_secs(2);
        bench
            .breaker
            .end(ticket, CallEnd::Succeeded, took, bench.now);
    }
    assert_eq!(bench.breaker.state(), BreakerState::Open);
}

#[test]
fn calls_that_were_given_up_do_not_count() {
    let mut bench = Bench::new(policy());
    for _ in 0..100 {
        bench.call(CallEnd::Unknown);
    }
    for _ in 0..3 {
        bench.call(CallEnd::Failed);
    }
    assert_eq!(bench.breaker.state(), BreakerState::Closed);
}

#[test]
fn one_call_tries_when_the_time_is_over_and_closes_it() {
    let mut bench = Bench::opened();
    assert!(bench.begin().is_none());
    bench.pass(5);
    let probe = bench.begin().expect("one call tries");
    assert!(bench.begin().is_none(), "another one may not");
    assert_eq!(
        bench.end(probe, CallEnd::Succeeded),
        Some(BreakerState::Closed)
    );
    // What led to its opening is forgotten.
    bench.call(CallEnd::Failed);
    assert_eq!(bench.breaker.state(), BreakerState::Closed);
}

#[test]
fn a_call_that_fails_while_it_is_half_open_opens_it_for_the_whole_time() {
    let mut bench = Bench::opened();
    bench.pass(6);
    let probe = bench.begin().unwrap();
    assert_eq!(bench.end(probe, CallEnd::Failed), Some(BreakerState::Open));
    bench.pass(4);
    assert!(bench.begin().is_none());
    bench.pass(1);
    assert!(bench.begin().is_some());
}

#[test]
fn late_failures_do_not_move_the_clock() {
    let mut bench = Bench::new(policy());
    let late: Vec<_> = (0..50).filter_map(|_| bench.begin()).collect();
    for _ in 0..4 {
        bench.call(CallEnd::Failed);
    }
    // One after the other while it is open: each of them would put the end off.
    for ticket in late {
        bench.now += Duration::from_millis(100);
        assert_eq!(bench.end(ticket, CallEnd::Failed), None);
    }
    assert!(bench.begin().is_some(), "5 s have passed since it opened");
}

#[test]
fn late_successes_do_not_close_it() {
    let mut bench = Bench::new(policy());
    let late = bench.begin().unwrap();
    for _ in 0..4 {
        bench.call(CallEnd::Failed);
    }
    bench.pass(5);
    let probe = bench.begin().unwrap();
    assert_eq!(bench.end(late, CallEnd::Succeeded), None);
    assert_eq!(bench.breaker.state(), BreakerState::HalfOpen);
    assert_eq!(bench.end(probe, CallEnd::Failed), Some(BreakerState::Open));
}

#[test]
fn a_call_that_tries_and_is_given_up_lets_the_next_one_try() {
    let mut bench = Bench::opened();
    bench.pass(5);
    bench.call(CallEnd::Unknown);
    assert_eq!(bench.breaker.state(), BreakerState::HalfOpen);
    bench.call(CallEnd::Succeeded);
    assert_eq!(bench.breaker.state(), BreakerState::Closed);
}

#[derive(Clone, Debug)]
enum Step {
    Pass(u64),
    Begin,
    End(usize, CallEnd),
}

fn step() -> impl Strategy<Value = Step> {
    let end = prop_oneof![
        1 => Just(CallEnd::Succeeded),
        3 => Just(CallEnd::Failed),
        1 => Just(CallEnd::Unknown),
    ];
    prop_oneof![
        1 => (0u64..4000).prop_map(Step::Pass),
        4 => Just(Step::Begin),
        4 => (0usize..8, end).prop_map(|(at, end)| Step::End(at, end)),
    ]
}

proptest! {
    /// Whatever happens, it lets calls through again: never later than its time after it opened,
    /// and once the call that tries has ended.
    #[test]
    fn it_never_stays_shut(steps in proptest::collection::vec(step(), 1..200)) {
        let mut bench = Bench::new(policy());
        let mut tickets = Vec::new();
        let mut opened: Option<Instant> = None;
        let mut trying = 0;
        for step in steps {
            match step {
                Step::Pass(ms) => bench.now += Duration::from_millis(ms),
                Step::Begin => {
                    let before = bench.breaker.state();
                    let begun = bench.breaker.begin(bench.now);
                    match before {
                        BreakerState::Closed => prop_assert!(begun.is_ok()),
                        BreakerState::Open => {
                            let is_over = bench.now >= opened.unwrap() + policy().open;
                            prop_assert_eq!(begun.is_ok(), is_over);
                        }
                        BreakerState::HalfOpen => prop_assert_eq!(begun.is_ok(), trying == 0),
                    }
                    if let Ok((ticket, _)) = begun {
                        tickets.push(ticket);
                        trying = usize::from(before != BreakerState::Closed);
                    }
                }
                Step::End(at, end) if !tickets.is_empty() => {
                    let ticket = tickets.swap_remove(at % tickets.len());
                    let is_probe = ticket.generation == bench.breaker.generation;
                    let change = bench.breaker.end(ticket, end, Duration::ZERO, bench.now);
                    if is_probe {
                        trying = 0;
                    }
                    if change.is_some_and(|change| change.to == BreakerState::Open) {
                        opened = Some(bench.now);
                    }
                }
                Step::End(..) => {}
            }
        }
    }
}
