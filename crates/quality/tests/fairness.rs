//! Fairness against fairlearn: every number of `reference/fairness.json` to 1e-9.
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod common;

use common::{assert_close, read};
use proptest::prelude::*;
use tidegate_quality::accuracy::Confidence;
use tidegate_quality::fairness::*;

fn answer(positive: bool, label: Option<bool>) -> Answer {
    Answer {
        positive,
        score: None,
        label,
    }
}

#[test]
fn rates_and_disparities_are_those_of_fairlearn() {
    for case in read("fairness")["cases"].as_array().unwrap() {
        let mut groups = Groups::default();
        let list = |name: &str| case[name].as_array().unwrap().clone();
        for ((group, label), answered) in list("groups")
            .iter()
            .zip(list("labels"))
            .zip(list("answers"))
        {
            groups.add(
                group.as_str().unwrap(),
                answer(answered == 1, Some(label == 1)),
            );
        }
        let rates = groups.rates(1, Confidence::default());
        for group in &rates {
            let theirs = &case["rates"][&group.group];
            assert_close(group.selection_rate.unwrap().value, &theirs[0]);
            assert_close(group.true_positive_rate.unwrap().value, &theirs[1]);
            assert_close(group.false_positive_rate.unwrap().value, &theirs[2]);
        }
        let disparities = groups.disparities(1, Confidence::default());
        let parity = disparities.demographic_parity.unwrap();
        assert_close(parity.difference.value, &case["parity_difference"]);
        assert_close(parity.ratio.unwrap().value, &case["parity_ratio"]);
        let opportunity = disparities.equal_opportunity.unwrap();
        assert_close(
            opportunity.difference.value,
            &case["opportunity_difference"],
        );
        assert_close(opportunity.ratio.unwrap().value, &case["opportunity_ratio"]);
        let odds = disparities.equalized_odds_difference.unwrap();
        assert_close(odds.value, &case["odds_difference"]);
        assert_close(
            disparities.equalized_odds_ratio.unwrap().value,
            &case["odds_ratio"],
        );
        if rates.len() == 2 {
            assert_close(parity.difference.low, &case["difference_interval"][0]);
            assert_close(parity.difference.high, &case["difference_interval"][1]);
            assert_close(parity.ratio.unwrap().low, &case["ratio_interval"][0]);
            assert_close(parity.ratio.unwrap().high, &case["ratio_interval"][1]);
        }
    }
}

#[test]
fn small_groups_are_shown_and_not_compared() {
    let mut groups = Groups::default();
    (0..100).for_each(|i| groups.add("large", answer(i % 2 == 0, None)));
    (0..100).for_each(|i| groups.add("other", answer(i % 4 == 0, None)));
    groups.add("small", answer(true, None));
    let disparities = groups.disparities(30, Confidence::default());
    let parity = disparities.demographic_parity.unwrap();
    assert_eq!((parity.groups, parity.highest.as_str()), (2, "large"));
    // Nothing is labelled.
    assert_eq!(disparities.equal_opportunity, None);
    assert_eq!(disparities.equalized_odds_difference, None);
    let enough: Vec<bool> = groups
        .rates(30, Confidence::default())
        .iter()
        .map(|rates| rates.enough)
        .collect();
    assert_eq!(enough, [true, true, false]);
}

#[test]
fn rates_that_do_not_exist_are_no_numbers() {
    let mut groups = Groups::default();
    assert_eq!(
        groups.disparities(0, Confidence::default()),
        Disparities::default()
    );
    groups.add("a", answer(false, Some(false)));
    groups.add("b", answer(false, Some(false)));
    let rates = groups.rates(0, Confidence::default());
    assert_eq!(
        (rates[0].true_positive_rate, rates[0].precision),
        (None, None)
    );
    let parity = groups
        .disparities(0, Confidence::default())
        .demographic_parity
        .unwrap();
    assert_eq!((parity.difference.value, parity.ratio), (0.0, None));
}

#[test]
fn groups_beyond_the_limit_are_counted_together() {
    let mut groups = Groups::default();
    (0..1000).for_each(|i| groups.add(&i.to_string(), answer(true, None)));
    let rates = groups.rates(0, Confidence::default());
    assert_eq!((rates.len(), rates[64].n), (65, 936));
    assert_eq!(rates[64].group, Groups::FURTHER);
}

#[test]
fn intervals_of_a_fair_model_have_no_difference_in_them_as_often_as_stated() {
    let mut rng = fastrand::Rng::with_seed(7);
    let mut wrong = 0;
    for _ in 0..400 {
        let mut groups = Groups::default();
        (0..600).for_each(|i| groups.add(["a", "b", "c"][i % 3], answer(rng.f64() < 0.3, None)));
        let disparities = groups.disparities(30, Confidence::default());
        let parity = disparities.demographic_parity.unwrap();
        wrong += usize::from(parity.difference.low > 0.0);
    }
    // 5 % of 400, and three standard errors.
    assert!(wrong <= 33, "{wrong}");
}

proptest! {
    #[test]
    fn merged_groups_equal_the_groups_of_all(
        rows in prop::collection::vec(
            ("[a-c]", any::<bool>(), prop::option::of(any::<bool>()), prop::num::f64::ANY), 0..40),
        cut in 0_usize..40,
    ) {
        let groups = |rows: &[(String, bool, Option<bool>, f64)]| {
            let mut groups = Groups::default();
            for (group, positive, label, score) in rows {
                let score = Some(*score);
                groups.add(group, Answer { positive: *positive, score, label: *label });
            }
            groups
        };
        let cut = cut.min(rows.len());
        let whole = groups(&rows);
        let mut merged = groups(&rows[..cut]);
        merged.merge(&groups(&rows[cut..]));
        let [one, other] = [&whole, &merged].map(|groups| groups.rates(5, Confidence::default()));
        for (one, other) in one.iter().zip(&other) {
            prop_assert_eq!(&one.group, &other.group);
            prop_assert_eq!(one.selection_rate, other.selection_rate);
            prop_assert_eq!(one.true_positive_rate, other.true_positive_rate);
            prop_assert_eq!(one.accuracy, other.accuracy);
        }
        let disparities = whole.disparities(0, Confidence::default());
        let all = [disparities.demographic_parity, disparities.predictive_parity];
        for disparity in all.into_iter().flatten() {
            let difference = disparity.difference;
            prop_assert!(difference.low <= difference.value && difference.value <= difference.high);
        }
    }
}
