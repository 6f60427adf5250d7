use super::*;

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
/// A whole number of ten minutes.
const START_MS: u64 = 1_800_000_000_000;

fn name(text: &str) -> Arc<str> {
    text.into()
}

fn took(ms: u64) -> FinishedRequest {
    FinishedRequest {
        rows: 2,
        batch_rows: 8,
        total_ns: ms * 1_000_000,
        ..FinishedRequest::default()
    }
}

/// One request a second, which takes as many milliseconds as its minute has.
fn steady(history: &mut History, version: &str, seconds: u64) {
    for second in 0..seconds {
        history.count(
            &name("a"),
            &name(version),
            START_MS + second * 1000,
            &[took(1 + second / 60 % 60)],
        );
    }
}

#[test]
fn sums_are_the_same_however_long_ago() {
    let mut history = History::new(usize::MAX);
    steady(&mut history, "1", 8 * 3600);
    let now_ms = START_MS + 8 * HOUR_MS;
    for (minutes, step_ms) in [
        (10, 10_000),
        (30, 10_000),
        (120, MINUTE_MS),
        (8 * 60, 10 * MINUTE_MS),
    ] {
        let total = history.total("a", None, now_ms - minutes * MINUTE_MS, now_ms);
        assert_eq!(total.answered, minutes * 60, "{minutes} minutes");
        let points = history.points("a", Some("1"), now_ms - minutes * MINUTE_MS, now_ms, 1);
        assert_eq!(points.len() as u64, minutes * MINUTE_MS / step_ms);
        assert!(
            points
                .iter()
                .all(|point| point.traffic.answered == step_ms / 1000)
        );
    }
    let hour = history.total("a", None, now_ms - HOUR_MS, now_ms);
    assert!((hour.request.quantile_ms(0.5).unwrap() - 30.0).abs() < 1.0);
    assert_eq!((hour.rows, hour.mean_batch_rows()), (7200, Some(8.0)));
}

#[test]
fn a_short_span_is_found_however_long_ago() {
    let mut history = History::new(usize::MAX);
    steady(&mut history, "1", 8 * 3600);
    let now_ms = START_MS + 8 * HOUR_MS;
    for (hours_ago, step_ms) in [(1, MINUTE_MS), (5, MINUTE_MS), (7, 10 * MINUTE_MS)] {
        let since_ms = now_ms - hours_ago * HOUR_MS;
        let points = history.points("a", None, since_ms, since_ms + 20 * MINUTE_MS, 1);
        assert_eq!(
            points.len() as u64,
            20 * MINUTE_MS / step_ms,
            "{hours_ago} hours ago"
        );
        assert_eq!(
            history
                .total("a", None, since_ms, since_ms + 20 * MINUTE_MS)
                .answered,
            20 * 60
        );
    }
}

#[test]
fn a_little_traffic_stays_fine() {
    let mut history = History::new(usize::MAX);
    for hour in 0..48 {
        history.count(
            &name("a"),
            &name("1"),
            START_MS + hour * HOUR_MS,
            &[took(1)],
        );
    }
    let ago = |hours| START_MS + 48 * HOUR_MS - hours * HOUR_MS;
    assert_eq!(history.points("a", None, ago(5), ago(0), 1).len(), 5);
    assert_eq!(history.points("a", None, ago(40), ago(38), 1).len(), 2);
}

#[test]
fn versions_are_apart_and_together() {
    let mut history = History::new(usize::MAX);
    steady(&mut history, "1", 60);
    steady(&mut history, "2", 30);
    let answered = |version| {
        history
            .total("a", version, START_MS, START_MS + MINUTE_MS)
            .answered
    };
    assert_eq!(
        (answered(Some("1")), answered(Some("2")), answered(None)),
        (60, 30, 90)
    );
    assert_eq!(
        history.names(),
        [(name("a"), name("1")), (name("a"), name("2"))]
    );
    assert_eq!(
        history.total("b", None, START_MS, START_MS + MINUTE_MS),
        Traffic::default()
    );
}

#[test]
fn memory_is_bounded_by_time_and_by_bytes() {
    let mut history = History::new(100_000);
    for minute in 0..20 * 24 * 60 {
        let requests: Vec<FinishedRequest> = (0..40).map(|at| took(1 + at * at)).collect();
        history.count(
            &name("a"),
            &name("1"),
            START_MS + minute * MINUTE_MS,
            &requests,
        );
        assert!(history.bytes() < 150_000, "{}", history.bytes());
    }
    let end_ms = START_MS + 20 * 24 * HOUR_MS;
    assert_eq!(
        history
            .total("a", None, end_ms - 2 * HOUR_MS, end_ms)
            .answered,
        120 * 40
    );
    history.count(
        &name("b"),
        &name("1"),
        end_ms + 4 * 24 * HOUR_MS,
        &[took(1)],
    );
    assert_eq!(
        history.names(),
        [(name("b"), name("1"))],
        "what was silent for longer than is kept is forgotten"
    );
}

#[test]
fn a_clock_that_runs_back_loses_nothing() {
    let mut history = History::new(usize::MAX);
    history.count(&name("a"), &name("1"), START_MS + HOUR_MS, &[took(1)]);
    history.count(&name("a"), &name("1"), START_MS, &[took(1)]);
    assert_eq!(
        history
            .total("a", None, START_MS + HOUR_MS, START_MS + 2 * HOUR_MS)
            .answered,
        2
    );
}
