//! Stored profiles that were changed: a baseline comes with a bundle, from whoever made it.
#![allow(clippy::unwrap_used, reason = "these are tests")]

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use proptest::prelude::*;
use serde_json::Value as Json;
use tidegate_quality::cause::{explain, histogram};
use tidegate_quality::change::first_changed;
use tidegate_quality::drift::{ColumnDrift, Dispersion, DriftPolicy};
use tidegate_quality::profile::{Bins, CategoryBins, Kind, NumberBins, Profile, Survey, Value};

fn bins() -> Bins {
    Bins::Category(CategoryBins::new(vec!["a".to_owned()], true).unwrap())
}

fn profile(categories: u32) -> Profile {
    let mut profile = Profile::new(&bins());
    for i in 0..categories {
        profile.add(&bins(), Value::Text(&format!("category {}", i * i)));
    }
    profile
}

fn survey(kind: Kind, values: u32) -> Survey {
    let mut survey = Survey::new(kind);
    for i in 0..values {
        match kind {
            Kind::Number => survey.add(Value::Number(f64::from(i) / 3.0)),
            Kind::Category => survey.add(Value::Text(&format!("category {i}"))),
        }
    }
    survey
}

/// Bytes of sketches and where to change them.
fn changes() -> impl Strategy<Value = Vec<(usize, u8)>> {
    prop::collection::vec((prop_oneof![0_usize..40, 0_usize..4000], any::<u8>()), 1..4)
}

fn change_sketches(json: &mut Json, changes: &[(usize, u8)], cut: Option<usize>) {
    match json {
        Json::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Json::String(text) if name != "kind" => change_bytes(text, changes, cut),
                    other => change_sketches(other, changes, cut),
                }
            }
        }
        Json::Array(items) => {
            items
                .iter_mut()
                .for_each(|item| change_sketches(item, changes, cut));
        }
        _ => {}
    }
}

fn change_bytes(text: &mut String, changes: &[(usize, u8)], cut: Option<usize>) {
    let Ok(mut bytes) = STANDARD_NO_PAD.decode(&*text) else {
        return;
    };
    for &(at, byte) in changes {
        let length = bytes.len().max(1);
        if let Some(place) = bytes.get_mut(at % length) {
            *place = byte;
        }
    }
    bytes.truncate(cut.unwrap_or(usize::MAX));
    *text = STANDARD_NO_PAD.encode(bytes);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(
        std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(300)
    ))]

    #[test]
    fn a_changed_profile_is_refused_or_used_without_a_panic(
        changes in changes(),
        cut in prop::option::of(0_usize..300),
        categories in prop_oneof![0_u32..10, 0_u32..400],
    ) {
        let mut json = serde_json::to_value(profile(categories)).unwrap();
        change_sketches(&mut json, &changes, cut);
        if let Ok(changed) = serde_json::from_value::<Profile>(json) {
            let mut whole = profile(30);
            let _ = whole.merge(&changed);
            whole.add(&bins(), Value::Text("another"));
            let mut changed = changed;
            let _ = changed.merge(&profile(300));
            (0..100).for_each(|i| changed.add(&bins(), Value::Text(&i.to_string())));
            for profile in [&whole, &changed] {
                if let Some(others) = profile.others() {
                    prop_assert!(others.frequent().len() <= 768);
                    prop_assert!(others.distinct().is_finite());
                }
                explain(&bins(), &whole, profile);
                ColumnDrift::compare(&bins(), &whole, profile, None);
                serde_json::to_string(profile).unwrap();
            }
        }
    }

    #[test]
    fn counts_and_moments_that_no_stream_has_are_compared_without_a_panic(
        counts in prop::collection::vec(prop_oneof![0_u64..50, any::<u64>()], 14),
        numbers in prop::collection::vec(prop::num::f64::ANY, 8),
    ) {
        let bins = Bins::Number(NumberBins::new(0.0, vec![1.0, 2.0]).unwrap());
        let profile = |counts: &[u64], numbers: &[f64]| -> Profile {
            let mut json = serde_json::to_value(Profile::new(&bins)).unwrap();
            json["bins"] = counts[..2].into();
            let places = ["missing", "nan", "wrong_type", "below", "above"];
            for (place, &count) in places.iter().zip(&counts[2..]) {
                json[place] = count.into();
            }
            json["moments"]["count"] = counts[0].into();
            json["moments"]["mean"] = numbers[0].into();
            json["moments"]["squares"] = numbers[1].into();
            json["least"] = numbers[2].into();
            json["greatest"] = numbers[3].into();
            serde_json::from_value(json).unwrap()
        };
        let one = profile(&counts[..7], &numbers[..4]);
        let other = profile(&counts[7..], &numbers[4..]);
        let mut both = one.clone();
        both.merge(&other).unwrap();
        let windows = [one.clone(), other.clone(), both.clone(), one.clone()];
        let dispersion = Dispersion::estimate(&bins, &windows);
        first_changed(&windows);
        for (reference, window) in [(&one, &other), (&other, &both), (&one, &one)] {
            for dispersion in [None, dispersion.as_ref()] {
                let drift = ColumnDrift::compare(&bins, reference, window, dispersion);
                for test in drift.iter().flat_map(|drift| &drift.tests) {
                    prop_assert!((0.0..=1.0).contains(&test.p_value), "{:?}", test);
                    prop_assert!((0.0..=1.0 + 1e-9).contains(&test.effect), "{:?}", test);
                    prop_assert!(test.z.is_none_or(f64::is_finite), "{:?}", test);
                }
                DriftPolicy::default().decide([drift.as_ref()]);
            }
            histogram(&bins, reference, window);
            for cause in explain(&bins, reference, window) {
                let text = cause.to_string();
                prop_assert!(!text.contains("NaN") && !text.contains("inf"), "{}", text);
            }
        }
    }

    #[test]
    fn a_changed_survey_is_refused_or_used_without_a_panic(
        changes in changes(),
        cut in prop::option::of(0_usize..300),
        values in prop_oneof![0_u32..10, 0_u32..900],
        number in any::<bool>(),
    ) {
        let kind = if number { Kind::Number } else { Kind::Category };
        let mut json = serde_json::to_value(survey(kind, values)).unwrap();
        change_sketches(&mut json, &changes, cut);
        if let Ok(mut changed) = serde_json::from_value::<Survey>(json) {
            changed.bins();
            changed.merge(&survey(kind, 50));
            changed.add(Value::Number(4.0));
            changed.bins();
            let mut whole = survey(kind, 50);
            whole.merge(&changed);
            whole.bins();
            whole.quantile(0.5);
        }
    }
}
