use super::*;

/// Draws windows of 100 requests with these shares of events; the candidate gets `exposure` of them.
fn windows(
    seed: u64,
    exposure: f64,
    shares: impl Fn(usize) -> Arms<f64>,
) -> impl Iterator<Item = Arms<Counts>> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..).map(move |index| {
        let mut window = Arms::<Counts>::default();
        for _ in 0..100 {
            let is_candidate = random.f64() < exposure;
            let share = shares(index);
            let (arm, share) = if is_candidate {
                (&mut window.candidate, share.candidate)
            } else {
                (&mut window.control, share.control)
            };
            arm.requests += 1;
            arm.events += u64::from(random.f64() < share);
        }
        window
    })
}

/// How many of 1000 tests ever reject at 0.05 within 300 windows.
fn rejections(min_effect: f64, shares: impl Fn(usize) -> Arms<f64> + Copy) -> usize {
    let rejects = |seed: &u64| {
        let mut test = EventTest::new(min_effect);
        windows(*seed, 0.1, shares).take(300).any(|window| {
            test.add(window);
            test.log_e() >= 20_f64.ln()
        })
    };
    (0..1000).filter(rejects).count()
}

#[test]
fn equal_shares_are_rejected_seldom_however_often_one_looks() {
    let false_alarms = rejections(0.0, |_| Arms::new(0.02, 0.02));
    assert!(false_alarms <= 50, "{false_alarms}");
}

#[test]
fn shares_that_change_for_both_are_no_difference() {
    // From 0.2 % to 20 % and back: a pooled test would take the change for a difference.
    let burst = |index: usize| if index % 50 < 10 { 0.2 } else { 0.002 };
    let false_alarms = rejections(0.0, |index| Arms::new(burst(index), burst(index)));
    assert!(false_alarms <= 50, "{false_alarms}");
}

#[test]
fn a_difference_below_min_effect_is_accepted() {
    let false_alarms = rejections(0.01, |_| Arms::new(0.03, 0.02));
    assert!(false_alarms <= 50, "{false_alarms}");
}

#[test]
fn a_larger_difference_is_found() {
    assert!(rejections(0.0, |_| Arms::new(0.05, 0.02)) > 950);
    assert!(rejections(0.01, |_| Arms::new(0.08, 0.02)) > 950);
}

#[test]
fn fewer_events_never_reject() {
    assert!(rejections(0.0, |_| Arms::new(0.0, 0.02)) <= 5);
}

#[test]
fn windows_with_one_version_wait_for_the_other() {
    let mut test = EventTest::new(0.0);
    test.add(Arms::new(Counts::new(0, 0), Counts::new(0, 50)));
    assert_eq!(
        (test.log_e().abs() < 1e-12, test.total()),
        (true, Arms::default())
    );
    test.add(Arms::new(Counts::new(5, 5), Counts::new(0, 50)));
    assert_eq!(test.total().control, Counts::new(0, 100));
    assert!(test.log_e() > 2.0);
}

#[test]
fn the_state_survives_persistence() {
    let mut test = EventTest::new(0.001);
    test.add(Arms::new(Counts::new(1, 10), Counts::new(2, 90)));
    let text = serde_json::to_string(&test).unwrap();
    let mut read: EventTest = serde_json::from_str(&text).unwrap();
    let window = Arms::new(Counts::new(2, 10), Counts::new(2, 90));
    test.add(window);
    read.add(window);
    assert!((read.log_e() - test.log_e()).abs() < 1e-9);
}
