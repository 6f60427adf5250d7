//! Causes of drift: seeded runs with one cause each.
#![allow(clippy::unwrap_used, reason = "these are tests")]

use fastrand::Rng;
use proptest::prelude::*;
use tidegate_quality::cause::{Change, explain, histogram, rank};
use tidegate_quality::change::first_changed;
use tidegate_quality::drift::{ColumnDrift, DriftPolicy};
use tidegate_quality::profile::{
    Baseline, BaselineColumn, Bins, CategoryBins, Kind, NumberBins, Profile, Survey, TableProfile,
    Value,
};

fn normal(rng: &mut Rng) -> f64 {
    (-2.0 * (1.0 - rng.f64()).ln()).sqrt() * (std::f64::consts::TAU * rng.f64()).cos()
}

const CATEGORIES: [&str; 5] = ["EUR", "USD", "GBP", "CHF", "JPY"];
/// Amounts, ages, temperatures, shares, counts, zeros and amounts, and three columns of categories.
const COLUMNS: usize = 9;

fn is_category(column: usize) -> bool {
    column >= 6
}

fn number(column: usize, rng: &mut Rng) -> f64 {
    match column {
        0 => (3.0 + normal(rng)).exp(),
        1 => (40.0 + 12.0 * normal(rng)).round(),
        2 => 15.0 + 8.0 * normal(rng),
        3 => rng.f64(),
        4 => f64::from(rng.u32(0..12)),
        _ if rng.f64() < 0.6 => 0.0,
        _ => (2.0 + 0.5 * normal(rng)).exp(),
    }
}

fn category(rng: &mut Rng) -> &'static str {
    let at = rng.f64();
    let shares = [0.4, 0.7, 0.85, 0.95, 1.0];
    CATEGORIES[shares.iter().position(|&share| at < share).unwrap()]
}

fn add_row(
    table: &mut TableProfile,
    baseline: &Baseline,
    rng: &mut Rng,
    broken: Option<(usize, &str)>,
) {
    for column in 0..COLUMNS {
        let cause = broken
            .filter(|(broken, _)| *broken == column)
            .map(|(_, cause)| cause);
        let lost = if cause == Some("missing") { 0.2 } else { 0.0 };
        if rng.f64() < lost {
            table.add(baseline, column, Value::Missing);
        } else if is_category(column) {
            let text = match (category(rng), cause) {
                ("GBP", Some("lost")) => "EUR",
                ("USD", Some("new")) if rng.bool() => "usd",
                (text, _) => text,
            };
            table.add(baseline, column, Value::Text(text));
        } else {
            let number = number(column, rng);
            let text = number.to_string();
            let value = match cause {
                Some("x100") => Value::Number(100.0 * number),
                Some("/1000") => Value::Number(number / 1000.0),
                Some("shift") => Value::Number(number + half_deviation(column)),
                Some("text") if rng.f64() < 0.3 => Value::Text(&text),
                _ => Value::Number(number),
            };
            table.add(baseline, column, value);
        }
    }
}

fn half_deviation(column: usize) -> f64 {
    [20.0, 6.0, 4.0, 0.15, 1.75, 2.3][column]
}

fn baseline(rng: &mut Rng) -> Baseline {
    let mut columns = Vec::new();
    for column in 0..COLUMNS {
        let kind = if is_category(column) {
            Kind::Category
        } else {
            Kind::Number
        };
        let numbers: Vec<f64> = (0..5000).map(|_| number(column, rng)).collect();
        let texts: Vec<&str> = (0..5000).map(|_| category(rng)).collect();
        let value = |row: usize| match kind {
            Kind::Number => Value::Number(numbers[row]),
            Kind::Category => Value::Text(texts[row]),
        };
        let mut survey = Survey::new(kind);
        (0..5000).for_each(|row| survey.add(value(row)));
        let bins = survey.bins();
        let mut profile = Profile::new(&bins);
        (0..5000).for_each(|row| profile.add(&bins, value(row)));
        columns.push(BaselineColumn {
            name: format!("column {column}"),
            bins,
            profile,
        });
    }
    Baseline::new(columns).unwrap()
}

fn fits(cause: &str, change: &Change) -> bool {
    match (cause, change) {
        ("x100", Change::Scale { factor }) => (factor / 100.0 - 1.0).abs() < 0.1,
        ("/1000", Change::Scale { factor }) => (factor * 1000.0 - 1.0).abs() < 0.1,
        ("shift", Change::Shift { by, .. }) => *by > 0.0,
        ("missing", Change::Missing { after, .. }) => (after - 0.2).abs() < 0.05,
        ("text", Change::WrongType { after }) => (after - 0.3).abs() < 0.05,
        ("lost", Change::LostCategory { category, .. }) => category == "GBP",
        ("new", Change::NewCategory { category, .. }) => category == "usd",
        _ => false,
    }
}

#[test]
fn the_cause_is_ranked_first_and_named_in_at_least_95_of_100_runs() {
    let mut rng = Rng::with_seed(12);
    let baseline = baseline(&mut rng);
    let mut failures = Vec::new();
    let mut runs = 0;
    for cause in ["x100", "/1000", "shift", "missing", "text", "lost", "new"] {
        for run in 0..20 {
            let columns = match cause {
                "lost" | "new" => 6..9,
                "missing" => 0..9,
                _ => 0..6,
            };
            let broken = columns.start + run % columns.len();
            let mut window = baseline.new_window();
            (0..1000)
                .for_each(|_| add_row(&mut window, &baseline, &mut rng, Some((broken, cause))));
            let drifts: Vec<Option<ColumnDrift>> = baseline
                .columns()
                .iter()
                .zip(window.columns())
                .map(|(b, (_, w))| ColumnDrift::compare(&b.bins, &b.profile, w, None))
                .collect();
            let verdicts = DriftPolicy::default().decide(drifts.iter().map(Option::as_ref));
            let columns: Vec<_> = drifts.iter().map(Option::as_ref).zip(verdicts).collect();
            let first = rank(&columns)[0];
            let column = &baseline.columns()[first];
            let causes = explain(
                &column.bins,
                &column.profile,
                window.column(&column.name).unwrap(),
            );
            runs += 1;
            let named = causes
                .first()
                .is_some_and(|first| fits(cause, &first.change));
            if first != broken || !columns[first].1.drifted || !named {
                failures.push((cause, broken, first, causes));
            }
        }
    }
    assert!(
        failures.len() * 20 <= runs,
        "{} of {runs}: {failures:#?}",
        failures.len()
    );
}

#[test]
fn the_first_window_of_a_drift_is_found() {
    let mut rng = Rng::with_seed(13);
    let baseline = baseline(&mut rng);
    for (broken, cause) in [(2, "shift"), (0, "missing"), (6, "new"), (4, "x100")] {
        let mut windows = Vec::new();
        for hour in 0..24 {
            let mut table = baseline.new_window();
            let now = (hour >= 17).then_some((broken, cause));
            (0..100).for_each(|_| add_row(&mut table, &baseline, &mut rng, now));
            windows.push(table.columns().nth(broken).unwrap().1.clone());
        }
        let found = first_changed(&windows).unwrap();
        assert!((16..=18).contains(&found.window), "{cause}: {found:?}");
        assert!(found.statistic > 5.0);
    }
}

fn number_bins() -> Bins {
    Bins::Number(NumberBins::new(0.0, vec![1.0, 2.0, 4.0]).unwrap())
}

fn profile(numbers: &[f64]) -> Profile {
    let mut profile = Profile::new(&number_bins());
    profile.add_numbers(&number_bins(), numbers);
    profile
}

#[test]
fn a_column_that_became_constant_is_named() {
    let before = profile(&[0.5, 1.5, 3.0, 0.1, 2.5]);
    let causes = explain(&number_bins(), &before, &profile(&[1.5; 20]));
    assert_eq!(causes[0].change, Change::Constant { value: 1.5 });
}

#[test]
fn few_values_of_another_unit_are_out_of_range() {
    let numbers: Vec<f64> = (0..400).map(|i| f64::from(i) / 100.0).collect();
    let mut mixed = numbers.clone();
    mixed[..40]
        .iter_mut()
        .for_each(|number| *number = *number * 100.0 + 100.0);
    let causes = explain(&number_bins(), &profile(&numbers), &profile(&mixed));
    let out = causes
        .iter()
        .find(|cause| matches!(cause.change, Change::OutOfRange { .. }));
    assert!((out.unwrap().share - 0.1).abs() < 0.01, "{causes:?}");
    assert!(
        !causes
            .iter()
            .any(|cause| matches!(cause.change, Change::Scale { .. })),
        "{causes:?}"
    );
}

#[test]
fn causes_are_sentences() {
    let bins =
        Bins::Category(CategoryBins::new(vec!["a".to_owned(), "b".to_owned()], true).unwrap());
    let mut before = Profile::new(&bins);
    let mut after = Profile::new(&bins);
    (0..90).for_each(|i| before.add(&bins, Value::Text(if i % 3 == 0 { "a" } else { "b" })));
    (0..60).for_each(|_| after.add(&bins, Value::Text("b")));
    (0..30).for_each(|_| after.add(&bins, Value::Text("c")));
    (0..10).for_each(|_| after.add(&bins, Value::Missing));
    let sentences: Vec<String> = explain(&bins, &before, &after)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        sentences,
        [
            r#"the category "a" is lost, before 33.3 %"#,
            r#"the category "c" is new, with 30.0 %"#,
            "10.0 % are missing, before 0.0 %",
        ]
    );
    let bars = histogram(&bins, &before, &after);
    let labels: Vec<&str> = bars.iter().map(|bar| bar.label.as_str()).collect();
    assert_eq!(labels, ["a", "b", "other", "missing"]);
    assert!((bars.iter().map(|bar| bar.after).sum::<f64>() - 1.0).abs() < 1e-12);
}

proptest! {
    #[test]
    fn whatever_the_values_causes_are_said_without_a_panic(
        before in prop::collection::vec(prop::num::f64::ANY, 0..20),
        after in prop::collection::vec(prop::num::f64::ANY, 0..20),
    ) {
        let (bins, before, after) = (number_bins(), profile(&before), profile(&after));
        for cause in explain(&bins, &before, &after) {
            prop_assert!((0.0..=1.0).contains(&cause.share));
            prop_assert!(!cause.to_string().contains("NaN"));
            prop_assert!(!cause.to_string().contains("inf"), "{}", cause);
        }
        for bar in histogram(&bins, &before, &after) {
            prop_assert!((0.0..=1.0).contains(&bar.after));
        }
    }
}
