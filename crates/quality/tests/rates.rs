//! The rates that drift is promised with: seeded simulations.
#![allow(clippy::unwrap_used, reason = "these are tests")]

use fastrand::Rng;
use tidegate_quality::drift::{ColumnDrift, Dispersion, DriftPolicy};
use tidegate_quality::profile::{Bins, CategoryBins, NumberBins, Profile, Value};

/// A standard normal number (Box and Muller, 1958).
fn normal(rng: &mut Rng) -> f64 {
    (-2.0 * (1.0 - rng.f64()).ln()).sqrt() * (std::f64::consts::TAU * rng.f64()).cos()
}

fn number_bins(rng: &mut Rng) -> (Bins, Profile) {
    let mut numbers: Vec<f64> = (0..20_000).map(|_| normal(rng)).collect();
    numbers.sort_by(f64::total_cmp);
    let upper = (1..=20).map(|i| numbers[i * 1000 - 1]).collect();
    let bins = Bins::Number(NumberBins::new(numbers[0], upper).unwrap());
    let mut reference = Profile::new(&bins);
    reference.add_numbers(&bins, &numbers);
    (bins, reference)
}

fn window(bins: &Bins, rows: usize, mut value: impl FnMut() -> f64) -> Profile {
    let mut window = Profile::new(bins);
    (0..rows).for_each(|_| window.add(bins, Value::Number(value())));
    window
}

/// The share of windows with an alarm.
fn alarms(windows: usize, mut columns: impl FnMut() -> Vec<ColumnDrift>) -> f64 {
    let policy = DriftPolicy {
        false_alarm_rate: 0.05,
        ..DriftPolicy::default()
    };
    let alarm = |columns: Vec<ColumnDrift>| {
        policy
            .decide(columns.iter().map(Some))
            .iter()
            .any(|verdict| verdict.drifted)
    };
    (0..windows).filter(|_| alarm(columns())).count() as f64 / windows as f64
}

/// Three standard errors above a rate of 5 %.
fn allowed(windows: usize) -> f64 {
    0.05 + 3.0 * (0.05 * 0.95 / windows as f64).sqrt()
}

#[test]
fn windows_without_drift_have_no_more_alarms_than_stated() {
    let mut rng = Rng::with_seed(1);
    let (bins, reference) = number_bins(&mut rng);
    let rate = alarms(300, || {
        let column = |_| {
            let window = window(&bins, 400, || normal(&mut rng));
            ColumnDrift::compare(&bins, &reference, &window, None).unwrap()
        };
        (0..10).map(column).collect()
    });
    assert!(rate <= allowed(300), "{rate}");
    // Not by never alarming: the rate is used up to a good part.
    assert!(rate >= 0.005, "{rate}");
}

#[test]
fn windows_that_differ_without_drift_have_no_more_alarms_than_stated() {
    let mut rng = Rng::with_seed(2);
    let (bins, _) = number_bins(&mut rng);
    // Each window has a mean of its own, as hours of traffic do.
    let bursty = |rng: &mut Rng| {
        let mean = 0.15 * normal(rng);
        window(&bins, 400, || mean + normal(rng))
    };
    let past: Vec<Profile> = (0..40).map(|_| bursty(&mut rng)).collect();
    let mut reference = Profile::new(&bins);
    past.iter()
        .for_each(|window| reference.merge(window).unwrap());
    let dispersion = Dispersion::estimate(&bins, &past).unwrap();
    let mut compare = |dispersion: Option<&Dispersion>| {
        alarms(300, || {
            let window = bursty(&mut rng);
            vec![ColumnDrift::compare(&bins, &reference, &window, dispersion).unwrap()]
        })
    };
    let (with, without) = (compare(Some(&dispersion)), compare(None));
    assert!(with <= allowed(300), "{with}");
    assert!(
        without > 0.3,
        "{without}: else the correction would not be needed"
    );
}

#[test]
fn shifts_are_found() {
    let mut rng = Rng::with_seed(3);
    let (bins, reference) = number_bins(&mut rng);
    for (sigmas, rows, least) in [(0.1, 4000, 0.9), (0.25, 1000, 0.99), (0.5, 300, 0.99)] {
        let found = alarms(100, || {
            let window = window(&bins, rows, || sigmas + normal(&mut rng));
            vec![ColumnDrift::compare(&bins, &reference, &window, None).unwrap()]
        });
        assert!(found >= least, "{sigmas} sigmas in {rows} rows: {found}");
    }
}

#[test]
fn missing_values_scale_and_lost_categories_are_found() {
    let mut rng = Rng::with_seed(4);
    let (bins, reference) = number_bins(&mut rng);
    let judge = |drift: ColumnDrift| DriftPolicy::default().decide([Some(&drift)])[0].drifted;

    let mut missing = window(&bins, 160, || normal(&mut rng));
    (0..40).for_each(|_| missing.add(&bins, Value::Missing));
    assert!(judge(
        ColumnDrift::compare(&bins, &reference, &missing, None).unwrap()
    ));

    let scaled = window(&bins, 200, || 100.0 * normal(&mut rng));
    assert!(judge(
        ColumnDrift::compare(&bins, &reference, &scaled, None).unwrap()
    ));

    let names = ["EUR", "USD", "GBP"];
    let bins = Bins::Category(CategoryBins::new(names.map(str::to_owned).to_vec(), true).unwrap());
    let profile = |names: &[&str]| {
        let mut profile = Profile::new(&bins);
        (0..300).for_each(|i| profile.add(&bins, Value::Text(names[i % names.len()])));
        profile
    };
    let reference = profile(&names);
    assert!(!judge(
        ColumnDrift::compare(&bins, &reference, &profile(&names), None).unwrap()
    ));
    for now in [&names[..2], &["EUR", "USD", "GBP", "CHF"]] {
        assert!(judge(
            ColumnDrift::compare(&bins, &reference, &profile(now), None).unwrap()
        ));
    }
}

#[test]
fn a_single_new_value_is_no_alarm() {
    let mut rng = Rng::with_seed(5);
    let (bins, reference) = number_bins(&mut rng);
    let mut window = window(&bins, 1000, || normal(&mut rng));
    window.add(&bins, Value::Number(1e9));
    window.add(&bins, Value::Missing);
    let drift = ColumnDrift::compare(&bins, &reference, &window, None).unwrap();
    assert!(
        !DriftPolicy::default().decide([Some(&drift)])[0].drifted,
        "{drift:?}"
    );
}
