use super::*;
use crate::experiment::mismatch::chi_squared_p_value;

fn router(policy: &str) -> Router {
    let policy: TrafficPolicy = toml::from_str(policy).unwrap();
    Router::new(&policy, &Assignment::new("fraud", &policy), 1).unwrap()
}

fn nothing(_: &Attribute) -> Option<Cow<'static, str>> {
    None
}

/// How many of `requests` without a key each version gets.
fn counts(router: &Router, requests: u32) -> Vec<u32> {
    let mut counts = vec![0; router.versions().len()];
    for _ in 0..requests {
        counts[router.choose(nothing).version] += 1;
    }
    counts
}

#[test]
fn counts_follow_the_weights_within_a_few_requests() {
    let router = router(
        "versions = [{ version = 1, weight = '89.9%' }, { version = 2, weight = '10%' }, \
         { version = 3, weight = '0.1%' }, { version = 4, weight = '0%' }]",
    );
    for requests in [100, 1000, 100_000, 1_000_000] {
        let counts = counts(&router, requests);
        for (count, weight) in counts.iter().zip([0.899, 0.1, 0.001, 0.0]) {
            let expected = weight * f64::from(requests);
            assert!((f64::from(*count) - expected).abs() < 8.0, "{counts:?}");
        }
        assert_eq!(counts[3], 0);
    }
}

#[test]
fn periodic_clients_do_not_meet_one_version_only() {
    let router =
        router("versions = [{ version = 1, weight = '50%' }, { version = 2, weight = '50%' }]");
    for period in [2, 3, 5, 8, 10, 16] {
        let mut second = 0;
        for request in 0..period * 20_000 {
            let choice = router.choose(nothing);
            second += u32::from(request % period == 0 && choice.version == 1);
        }
        assert!(
            (9900..10_100).contains(&second),
            "period {period}: {second}"
        );
    }
}

#[test]
fn equal_keys_get_one_version_and_keys_are_spread_by_weight() {
    let router = router(
        "sticky = 'tenant'\nversions = [{ version = 1, weight = '80%' }, { version = 2, weight = '20%' }]",
    );
    let mut second = 0;
    for key in 0..20_000 {
        let tenant = |_: &Attribute| Some(Cow::Owned(format!("tenant-{key}")));
        let choice = router.choose(tenant);
        assert_eq!(router.choose(tenant), choice);
        second += choice.version;
    }
    // Five standard deviations of 20 000 draws.
    assert!((3717..4283).contains(&second), "{second}");
}

#[test]
fn requests_without_the_key_are_spread_by_weight() {
    let router = router(
        "sticky = 'tenant'\nversions = [{ version = 1, weight = '50%' }, { version = 2, weight = '50%' }]",
    );
    assert_eq!(router.choose(nothing).key_hash, None);
    let counts = counts(&router, 1000);
    assert!(counts[0].abs_diff(500) < 8, "{counts:?}");
}

#[test]
fn the_first_rule_that_applies_decides() {
    let router = router(
        r#"
        versions = [{ version = 1 }]
        [[rules]]
        name = "beta of acme"
        when = [{ attribute = "header:x-beta", equals = "1" }, { attribute = "tenant", equals = "acme" }]
        versions = [{ version = 2 }]
        [[rules]]
        name = "beta"
        when = [{ attribute = "header:x-beta", present = true }]
        versions = [{ version = 3 }]
        "#,
    );
    let ask = |beta: Option<&'static str>, tenant: &'static str| {
        let choice = router.choose(|attribute| match attribute {
            Attribute::Header(name) if name == "x-beta" => beta.map(Cow::Borrowed),
            Attribute::Tenant => Some(tenant.into()),
            _ => None,
        });
        (router.versions()[choice.version].as_str(), choice.rule)
    };
    assert_eq!(ask(Some("1"), "acme"), ("2", Some(0)));
    assert_eq!(ask(Some("1"), "other"), ("3", Some(1)));
    assert_eq!(ask(Some("0"), "acme"), ("3", Some(1)));
    assert_eq!(ask(None, "acme"), ("1", None));
}

#[test]
fn shadows_get_their_share_and_no_copy_of_their_own_answers() {
    let router = router(
        "versions = [{ version = 1 }]\nshadows = [{ version = 2, share = '10%' }, { version = 1, share = '100%' }]",
    );
    let copies = (0..10_000)
        .flat_map(|_| router.shadows(0))
        .collect::<Vec<_>>();
    assert!(copies.len().abs_diff(1000) < 8 && copies.iter().all(|version| *version == 1));
    assert_eq!(router.shadows(1).collect::<Vec<_>>(), [0]);
}

#[test]
fn segments_of_another_policy_are_refused() {
    let policy: TrafficPolicy = toml::from_str("versions = [{ version = 1 }]").unwrap();
    let other: TrafficPolicy = toml::from_str("versions = [{ version = 2 }]").unwrap();
    let assignment = Assignment::new("fraud", &policy);
    let error = Router::new(&other, &assignment, 0).unwrap_err();
    assert_eq!(error, AssignmentMismatch(VersionName::number(2)));
    assert!(Router::new(&other, &assignment.change(&other), 0).is_ok());
}

/// Made with the Python package `xxhash`: `xxh3_64(key, seed=xxh3_64(salt))`, times 100 000, by 2^64.
#[test]
fn points_are_those_of_the_specification_of_xxh3() {
    let points: Vec<u32> = ["ada", "", "a much longer key, of more than sixteen bytes"]
        .map(|key| Salt::of("fraud").point(key))
        .into();
    assert_eq!(points, [22_340, 86_280, 37_252]);
}

#[test]
fn ten_million_requests_have_the_weights_of_the_policy_on_each_replica_and_together() {
    const WEIGHTS: [f64; 3] = [0.899, 0.1, 0.001];
    let policy = "versions = [{ version = 1, weight = '89.9%' }, { version = 2, weight = '10%' }, \
                  { version = 3, weight = '0.1%' }]";
    let policy: TrafficPolicy = toml::from_str(policy).unwrap();
    let assignment = Assignment::new("fraud", &policy);
    let mut together = [0; 3];
    for replica in 0..3 {
        let router = Router::new(&policy, &assignment, replica).unwrap();
        let counts = counts(&router, 3_400_000);
        let counts: Vec<u64> = counts.into_iter().map(u64::from).collect();
        assert!(chi_squared_p_value(&counts, &WEIGHTS) > 0.05, "{counts:?}");
        together
            .iter_mut()
            .zip(&counts)
            .for_each(|(sum, count)| *sum += count);
    }
    assert!(
        chi_squared_p_value(&together, &WEIGHTS) > 0.05,
        "{together:?}"
    );
}
