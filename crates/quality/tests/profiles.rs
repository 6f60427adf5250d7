//! Profiles: that parts merge to the whole, in any order, whatever the values are.
#![allow(clippy::unwrap_used, reason = "these are tests")]

use proptest::prelude::*;
use tidegate_quality::profile::{
    Baseline, BaselineColumn, Bins, CategoryBins, Kind, NumberBins, Profile, Survey, Value,
};

/// A value that can be generated: the crate's own borrows its text.
#[derive(Clone, Debug)]
enum Cell {
    Missing,
    Number(f64),
    Boolean(bool),
    Text(String),
}

impl Cell {
    fn value(&self) -> Value<'_> {
        match self {
            Self::Missing => Value::Missing,
            Self::Number(number) => Value::Number(*number),
            Self::Boolean(value) => Value::Boolean(*value),
            Self::Text(text) => Value::Text(text),
        }
    }
}

fn cell() -> impl Strategy<Value = Cell> {
    prop_oneof![
        1 => Just(Cell::Missing),
        4 => (-20.0..20.0_f64).prop_map(Cell::Number),
        2 => any::<f64>().prop_map(Cell::Number),
        1 => prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(f64::NEG_INFINITY)]
            .prop_map(Cell::Number),
        1 => any::<bool>().prop_map(Cell::Boolean),
        3 => "[a-f]{0,2}".prop_map(Cell::Text),
        1 => ".{0,200}".prop_map(Cell::Text),
    ]
}

fn all_bins() -> [Bins; 4] {
    let categories = ["a", "b", "true", "3"].map(str::to_owned).to_vec();
    [
        Bins::Number(NumberBins::new(-10.0, vec![-5.0, 0.0, 5.0, 10.0]).unwrap()),
        Bins::Number(NumberBins::new(0.0, vec![]).unwrap()),
        Bins::Category(CategoryBins::new(categories, true).unwrap()),
        Bins::Category(CategoryBins::new(vec![], false).unwrap()),
    ]
}

fn profile(bins: &Bins, cells: &[Cell]) -> Profile {
    let mut profile = Profile::new(bins);
    cells
        .iter()
        .for_each(|cell| profile.add(bins, cell.value()));
    profile
}

fn near(one: Option<f64>, other: Option<f64>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => (one - other).abs() <= 1e-9 * one.abs().max(other.abs()),
        (None, None) => true,
        // An overflow may happen in one order alone.
        (one, other) => one.or(other).is_some_and(|value| value.abs() > 1e290),
    }
}

/// `all_new` if categories without a bin are all counted by name.
fn assert_equal(one: &Profile, other: &Profile, all_new: bool) {
    assert_eq!(one.bins(), other.bins());
    let counts = |p: &Profile| {
        [
            p.rows(),
            p.missing(),
            p.nan(),
            p.wrong_type(),
            p.below(),
            p.above(),
            p.other(),
        ]
    };
    assert_eq!(counts(one), counts(other));
    assert!(near(one.least(), other.least()) && near(one.greatest(), other.greatest()));
    assert_eq!(one.moments().count(), other.moments().count());
    let scale = one
        .least()
        .unwrap_or(0.0)
        .abs()
        .max(one.greatest().unwrap_or(0.0).abs());
    let means = (one.moments().mean(), other.moments().mean());
    if let (Some(one), Some(other)) = means {
        assert!((one - other).abs() <= 1e-9 * scale, "{one} {other}");
    }
    assert!(near(one.moments().variance(), other.moments().variance()));
    assert_eq!(one.distinct_categories(), other.distinct_categories());
    // Beyond 48 the sketch drops rare ones, which depends on the order.
    if all_new && one.distinct_categories() < 40.0 {
        assert_eq!(
            one.others().map(|o| o.frequent()),
            other.others().map(|o| o.frequent())
        );
    }
}

fn is_complete(bins: &Bins) -> bool {
    matches!(bins, Bins::Category(bins) if bins.complete())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn merged_profiles_equal_the_profile_of_all(
        (cells, cut) in prop::collection::vec(cell(), 0..60)
            .prop_flat_map(|cells| { let n = cells.len(); (Just(cells), 0..=n) })
    ) {
        for bins in all_bins() {
            let whole = profile(&bins, &cells);
            let (one, other) = (profile(&bins, &cells[..cut]), profile(&bins, &cells[cut..]));
            let (mut forward, mut backward) = (one.clone(), other.clone());
            forward.merge(&other).unwrap();
            backward.merge(&one).unwrap();
            assert_equal(&whole, &forward, is_complete(&bins));
            assert_equal(&whole, &backward, is_complete(&bins));
            assert_eq!(whole.rows(), cells.len() as u64);
        }
    }

    #[test]
    fn the_order_of_values_does_not_matter(
        (cells, shuffled) in prop::collection::vec(cell(), 0..60)
            .prop_flat_map(|cells| (Just(cells.clone()), Just(cells).prop_shuffle()))
    ) {
        for bins in all_bins() {
            assert_equal(&profile(&bins, &cells), &profile(&bins, &shuffled), is_complete(&bins));
        }
    }

    #[test]
    fn a_stored_profile_is_the_same(cells in prop::collection::vec(cell(), 0..60)) {
        for bins in all_bins() {
            let whole = profile(&bins, &cells);
            let text = serde_json::to_string(&(&bins, &whole)).unwrap();
            let (bins_read, read): (Bins, Profile) = serde_json::from_str(&text).unwrap();
            assert_eq!(bins, bins_read);
            assert!(read.is_of(&bins));
            assert_equal(&whole, &read, is_complete(&bins));
        }
    }

    #[test]
    fn surveys_of_any_values_have_bins_with_all_of_them(
        cells in prop::collection::vec(cell(), 0..350),
        cut in 0_usize..350,
    ) {
        for kind in [Kind::Number, Kind::Category] {
            let cut = cut.min(cells.len());
            let survey_of = |cells: &[Cell]| {
                let mut survey = Survey::new(kind);
                cells.iter().for_each(|cell| survey.add(cell.value()));
                survey
            };
            let mut survey = survey_of(&cells[..cut]);
            survey.merge(&survey_of(&cells[cut..]));
            assert_eq!(survey.rows(), cells.len() as u64);
            let text = serde_json::to_string(&survey).unwrap();
            let read: Survey = serde_json::from_str(&text).unwrap();
            let bins = read.bins();
            let reference = profile(&bins, &cells);
            let infinite = |cell: &&Cell| matches!(cell, Cell::Number(x) if x.is_infinite());
            let infinite = cells.iter().filter(infinite).count() as u64;
            match kind {
                Kind::Number => assert_eq!(reference.below() + reference.above(), infinite),
                Kind::Category => assert_eq!(reference.other() == 0, is_complete(&bins)),
            }
            assert_eq!(survey.missing(), reference.missing());
            assert_eq!(survey.nan(), reference.nan());
        }
    }
}

#[test]
fn quantiles_of_many_numbers_are_bins_of_about_equal_counts() {
    let mut survey = Survey::new(Kind::Number);
    // Each of 0..100,003 once, in an order that is not theirs.
    let numbers: Vec<f64> = (0..100_003_u64)
        .map(|i| (i * 7919 % 100_003) as f64)
        .collect();
    numbers
        .iter()
        .for_each(|&number| survey.add(Value::Number(number)));
    let bins = survey.bins();
    let mut reference = Profile::new(&bins);
    reference.add_numbers(&bins, &numbers);
    assert_eq!((reference.rows(), bins.len()), (100_003, 20));
    for &count in reference.bins() {
        let share = count as f64 / 100_003.0;
        // A bin has 5 %; the error of its share is at most 1.65 % in 99 % of sketches.
        assert!((share - 0.05).abs() < 0.025, "{share}");
    }
}

#[test]
fn few_distinct_numbers_have_a_bin_each() {
    let mut survey = Survey::new(Kind::Number);
    (0..1000).for_each(|i| survey.add(Value::Number(f64::from(i % 7 * (i % 2)))));
    let Bins::Number(bins) = survey.bins() else {
        panic!("they are numbers")
    };
    assert_eq!(bins.upper(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
}

#[test]
fn rare_categories_of_many_have_no_bin() {
    let mut survey = Survey::new(Kind::Category);
    for i in 0..20_000_u32 {
        survey.add(Value::Text(if i % 2 == 0 { "EUR" } else { "USD" }));
        survey.add(Value::Text(&i.to_string()));
    }
    let Bins::Category(bins) = survey.bins() else {
        panic!("they are categories")
    };
    let mut first = bins.categories()[..2].to_vec();
    first.sort();
    assert_eq!(
        (first, bins.complete()),
        (vec!["EUR".to_owned(), "USD".to_owned()], false)
    );
    assert!(bins.categories().len() <= 256);
}

fn baseline(name: &str, upper: Vec<f64>) -> Baseline {
    let bins = Bins::Number(NumberBins::new(0.0, upper).unwrap());
    let profile = Profile::new(&bins);
    Baseline::new(vec![BaselineColumn {
        name: name.to_owned(),
        bins,
        profile,
    }])
    .unwrap()
}

#[test]
fn profiles_of_other_bins_are_not_merged() {
    let (one, other) = (baseline("a", vec![1.0, 2.0]), baseline("a", vec![1.0, 3.0]));
    let mut window = one.new_window();
    assert!(window.merge(&other.new_window()).is_err());
    assert!(
        window
            .merge(&baseline("b", vec![1.0, 2.0]).new_window())
            .is_err()
    );
    assert!(one.with_reference(&other.new_window()).is_err());
    window.add(&one, 0, Value::Number(0.5));
    window.add(&one, 7, Value::Number(0.5));
    let text = serde_json::to_string(&one.with_reference(&window).unwrap()).unwrap();
    let read: Baseline = serde_json::from_str(&text).unwrap();
    assert_eq!(read.columns()[0].profile.bins(), [1, 0]);
}

#[test]
fn a_baseline_whose_counts_are_of_other_bins_is_refused() {
    let text = serde_json::to_string(&baseline("a", vec![1.0, 2.0])).unwrap();
    let changed = text.replace("[\"1\",\"2\"]", "[\"1\",\"2.5\"]");
    assert_ne!(text, changed);
    assert!(serde_json::from_str::<Baseline>(&changed).is_err());
}
