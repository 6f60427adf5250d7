use serde::Deserialize;

use super::*;
use crate::notice::Notice;

#[derive(Deserialize)]
struct File {
    slo: Vec<Objective>,
}

fn read(toml: &str) -> Vec<Objective> {
    toml::from_str::<File>(toml).unwrap().slo
}

fn problem(objective: Objective) -> String {
    objective.parse().unwrap_err().to_string()
}

fn named() -> Objective {
    Objective {
        name: "fraud".to_owned(),
        ..Objective::default()
    }
}

fn latency(threshold_ms: Option<f64>) -> Objective {
    Objective {
        sli: SliKind::Latency,
        threshold_ms,
        ..named()
    }
}

#[test]
fn omitted_fields_have_their_defaults() {
    let read = read("[[slo]]\nname = \"all\"\n");
    let slo = read[0].parse().unwrap();
    assert_eq!(slo.endpoint(), None);
    assert_eq!(slo.sli(), Sli::Availability);
    assert_eq!(
        (slo.target(), slo.window(), slo.min_events()),
        (0.999, Window::Rolling { days: 30 }, 10)
    );
    assert_eq!(slo.tier(), "standard");
}

#[test]
fn every_field_is_read() {
    let read = read(
        "[[slo]]\nname = \"fraud-fast\"\nendpoint = \"fraud\"\nsli = \"latency\"\nthreshold_ms = 50\ntarget = 0.99\n\
         window = \"month\"\ntier = \"gold\"\nmin_events = 100\n",
    );
    let slo = read[0].parse().unwrap();
    assert_eq!(slo.endpoint(), Some("fraud"));
    assert_eq!(
        slo.sli(),
        Sli::Latency(LatencyBound::nearest(51.2).unwrap())
    );
    assert_eq!(
        (slo.target(), slo.window(), slo.min_events()),
        (0.99, Window::Month, 100)
    );
    assert_eq!(slo.tier(), "gold");
    assert_eq!(
        toml::from_str::<Objective>(&toml::to_string(&read[0]).unwrap()).unwrap(),
        read[0]
    );
}

#[test]
fn an_unknown_field_is_refused() {
    let error = toml::from_str::<File>("[[slo]]\nname = \"a\"\ntreshold_ms = 5\n")
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("treshold_ms"), "{error}");
}

#[test]
fn an_invalid_window_is_refused() {
    let error = toml::from_str::<File>("[[slo]]\nname = \"a\"\nwindow = \"1y\"\n")
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("\"1d\" to \"90d\", or \"month\""), "{error}");
    assert!(
        problem(Objective {
            window: Window::Rolling { days: 91 },
            ..named()
        })
        .contains("91 days")
    );
}

#[test]
fn a_target_must_be_between_0_and_1() {
    for target in [0.0, 1.0, -0.1, 1.5, f64::NAN, 0.999_999_999_9] {
        assert!(
            problem(Objective { target, ..named() }).starts_with("slo \"fraud\": target is "),
            "{target}"
        );
    }
}

#[test]
fn names_must_be_valid_labels_and_unique() {
    for name in ["", "Fraud", "-a", "a-", "a b", &"a".repeat(64)] {
        assert!(
            problem(Objective {
                name: name.to_owned(),
                ..named()
            })
            .contains("name must be"),
            "{name}"
        );
    }
    let error = Objective::parse_all(&[named(), named()]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "slo \"fraud\": another slo has this name"
    );
}

#[test]
fn only_latency_takes_a_threshold() {
    assert!(problem(latency(None)).contains("needs threshold_ms"));
    assert!(problem(latency(Some(20_000.0))).contains("threshold_ms is 20000"));
    assert!(
        problem(Objective {
            threshold_ms: Some(5.0),
            ..named()
        })
        .contains("no meaning for availability")
    );
}

#[test]
fn an_endpoint_must_be_a_model_name_or_all() {
    let endpoint = |endpoint: &str| Objective {
        endpoint: endpoint.to_owned(),
        ..named()
    };
    for wrong in ["", "**", "a b", "{{x}}", "a\"}"] {
        assert!(
            problem(endpoint(wrong)).contains("endpoint must be a model, or \"*\" for all"),
            "{wrong}"
        );
    }
    for right in ["*", "fraud", "a.b-c_1"] {
        assert!(endpoint(right).parse().is_ok(), "{right}");
    }
}

#[test]
fn a_tier_must_be_a_valid_label_value() {
    let tier = |tier: &str| Objective {
        tier: tier.to_owned(),
        ..named()
    };
    for wrong in ["", "a\nb", "{{ $value }}", &"a".repeat(64)] {
        assert!(
            problem(tier(wrong)).contains("tier must be 1 to 63 characters, without control"),
            "{wrong}"
        );
    }
    assert!(tier("Tier 1, \"gold\"").parse().is_ok());
}

#[test]
fn min_events_must_be_at_least_one() {
    assert!(
        problem(Objective {
            min_events: 0,
            ..named()
        })
        .contains("min_events is 0")
    );
}

#[test]
fn a_moved_threshold_gives_a_notice() {
    let notices = latency(Some(50.0)).parse().unwrap().notices();
    assert_eq!(
        notices,
        [Notice::ThresholdMoved {
            written_ms: 50.0,
            used_ms: 51.2
        }]
    );
    assert_eq!(
        notices[0].to_string(),
        "50 ms is not a histogram boundary; 51.2 ms is measured"
    );
    assert_eq!(latency(Some(51.2)).parse().unwrap().notices(), []);
}

#[test]
fn an_alert_that_cannot_fire_gives_a_notice() {
    // A tenth may fail: if all fails, the burn rate is 10, below 14.4.
    let notices = Objective {
        target: 0.9,
        ..named()
    }
    .parse()
    .unwrap()
    .notices();
    assert_eq!(
        notices,
        [Notice::NeverFires {
            alert: "1h5m",
            factor: 14.4,
            max_rate: 10.0
        }]
    );
}
