use std::sync::Arc;

use serde_json::{Map, Value, json};
use tidegate_gateway::{Grant, Principal, Role};

use super::*;

fn policies(text: &str) -> CedarPolicies {
    CedarPolicies::parse(&PolicyText::of("policies.cedar", text)).unwrap()
}

fn key(name: &str, tenant: &str) -> Identity {
    let grant = Grant::of_role(Role::Admin, vec!["*".parse().unwrap()]);
    Identity::new(
        Principal::ApiKey(name.into()),
        tenant,
        vec![Arc::new(grant)],
    )
}

fn user(claims: Value) -> Identity {
    let claims: Map<String, Value> = serde_json::from_value(claims).unwrap();
    Identity::new(Principal::User("ada@idp.example".into()), "", Vec::new()).with_claims(claims)
}

const RULES: &str = r#"
    @id("shop calls fraud")
    permit (
        principal == Tidegate::Principal::"key:shop",
        action == Tidegate::Action::"call",
        resource == Tidegate::Endpoint::"fraud"
    );
    @id("secret is closed")
    forbid (principal, action == Tidegate::Action::"call", resource)
    when { resource.name like "secret*" }
    unless { principal.tenant == "risk" };
"#;

#[test]
fn a_matching_forbid_wins_and_what_no_policy_is_about_is_left_to_roles() {
    use PolicyDecision::{Forbid, Permit, Silent};
    let policies = policies(RULES);
    for (name, tenant, endpoint, expected) in [
        ("shop", "", "fraud", Permit),
        ("shop", "", "churn", Silent),
        ("other", "", "fraud", Silent),
        ("shop", "", "secret-1", Forbid),
        ("root", "acme", "secret", Forbid),
        ("root", "risk", "secret", Silent),
    ] {
        let identity = key(name, tenant);
        let extent = Extent::One(endpoint);
        let decision = policies.decide(&identity, Permission::Call, extent);
        assert_eq!(decision, expected, "{name} {tenant} {endpoint}");
        // Another permission on a resource of the same name.
        let other = policies.decide(&identity, Permission::ManageTraffic, extent);
        assert_eq!(other, Silent);
    }
}

#[test]
fn the_policies_that_decide_are_named() {
    let policies = policies(RULES);
    let decided = |endpoint| {
        let decided = policies.evaluate(&key("shop", ""), Permission::Call, Extent::One(endpoint));
        decided.policies
    };
    assert_eq!(decided("fraud"), ["shop calls fraud"]);
    assert_eq!(decided("secret"), ["secret is closed"]);
    assert!(decided("churn").is_empty());
}

#[test]
fn all_together_are_closed_if_some_are() {
    use PolicyDecision::{Forbid, Silent};
    let policies = policies(RULES);
    let all = |tenant| policies.decide(&key("shop", tenant), Permission::Call, Extent::All);
    assert_eq!(all(""), Forbid, "the secret ones are among them");
    assert_eq!(all("risk"), Silent, "one endpoint is not all of them");
}

#[test]
fn some_are_open_if_one_is() {
    use PolicyDecision::{Forbid, Permit, Silent};
    let text = r#"forbid (principal == Tidegate::Principal::"key:banned", action, resource);"#;
    let policies = policies(&format!("{RULES}{text}"));
    let any = |name| policies.decide(&key(name, ""), Permission::Call, Extent::Any);
    assert_eq!(
        (any("shop"), any("other"), any("banned")),
        (Permit, Silent, Forbid)
    );
}

#[test]
fn a_policy_without_a_resource_is_about_all_of_them() {
    let policies = policies(
        r#"permit (principal, action == Tidegate::Action::"view-metrics", resource)
           when { principal.tenant == "acme" };"#,
    );
    let decide = |tenant, permission| policies.decide(&key("a", tenant), permission, Extent::All);
    assert_eq!(
        decide("acme", Permission::ViewMetrics),
        PolicyDecision::Permit
    );
    assert_eq!(decide("", Permission::ViewMetrics), PolicyDecision::Silent);
    assert_eq!(
        decide("acme", Permission::ViewAudit),
        PolicyDecision::Silent
    );
}

#[test]
fn a_request_is_denied_if_any_policy_fails() {
    for effect in ["permit", "forbid"] {
        let text = format!(
            r#"permit (principal, action, resource);
               {effect} (principal, action == Tidegate::Action::"call", resource)
               when {{ 9223372036854775807 + 1 > 0 }};"#
        );
        let policies = policies(&text);
        let admin = key("root", "");
        for extent in [Extent::One("fraud"), Extent::All, Extent::Any] {
            let decision = policies.decide(&admin, Permission::Call, extent);
            assert_eq!(decision, PolicyDecision::Failed, "{effect} {extent:?}");
            assert!(!decision.allows(true));
        }
        // From the cache it counts too.
        policies.decide(&admin, Permission::Call, Extent::One("fraud"));
        assert_eq!(
            (policies.stats.failed(), policies.stats.evaluated()),
            (4, 3)
        );
        let other = policies.decide(&admin, Permission::ViewModels, Extent::One("fraud"));
        assert_eq!(other, PolicyDecision::Permit);
    }
}

#[test]
fn claims_are_tags_and_groups_are_parents() {
    let policies = policies(
        r#"permit (principal, action == Tidegate::Action::"call", resource)
           when { principal.hasTag("team") && principal.getTag("team").contains("risk") };
           permit (principal in Tidegate::Group::"ops", action == Tidegate::Action::"manage-alerts", resource)
           when { principal.kind == "user" };"#,
    );
    for (claims, may) in [
        (json!({"team": "risk"}), true),
        (json!({"team": ["shop", "risk"]}), true),
        (json!({"team": "shop"}), false),
        (json!({"team": {"name": "risk"}}), false),
        (json!({"level": 3, "is_admin": true}), false),
    ] {
        let decision = policies.decide(&user(claims.clone()), Permission::Call, Extent::One("a"));
        assert_eq!(decision == PolicyDecision::Permit, may, "{claims}");
    }
    let ops = user(json!({})).in_groups(vec!["ops".to_owned()]);
    let decide = |user: &Identity| policies.decide(user, Permission::ManageAlerts, Extent::All);
    assert_eq!(decide(&ops), PolicyDecision::Permit);
    assert_eq!(decide(&user(json!({}))), PolicyDecision::Silent);
}

#[test]
fn decisions_are_kept_for_the_same_question_alone() {
    let policies = policies(RULES);
    let decide = |identity: &Identity, permission, extent| {
        policies.decide(identity, permission, extent);
        policies.stats.evaluated()
    };
    let (shop, acme) = (key("shop", ""), key("shop", "acme"));
    assert_eq!(decide(&shop, Permission::Call, Extent::One("fraud")), 1);
    assert_eq!(decide(&shop, Permission::Call, Extent::One("fraud")), 1);
    // The same principal, read again.
    assert_eq!(
        decide(&key("shop", ""), Permission::Call, Extent::One("fraud")),
        1
    );
    assert_eq!(decide(&acme, Permission::Call, Extent::One("fraud")), 2);
    assert_eq!(
        decide(&shop, Permission::ManageTraffic, Extent::One("fraud")),
        3
    );
    assert_eq!(decide(&shop, Permission::Call, Extent::One("churn")), 4);
    assert_eq!(decide(&shop, Permission::Call, Extent::All), 5);
    assert_eq!(decide(&shop, Permission::Call, Extent::Any), 6);
    let long = "x".repeat(1000);
    assert_eq!(decide(&shop, Permission::Call, Extent::One(&long)), 7);
    assert_eq!(decide(&shop, Permission::Call, Extent::One(&long)), 8);
    assert_eq!(policies.cache.len(), 6);
}

#[test]
fn new_policies_know_no_decision_of_the_ones_before() {
    let shop = key("shop", "");
    let before = policies(RULES);
    let decide =
        |policies: &CedarPolicies| policies.decide(&shop, Permission::Call, Extent::One("fraud"));
    assert_eq!(decide(&before), PolicyDecision::Permit);
    let after = policies("forbid (principal, action, resource);").counting(before.stats.clone());
    assert_eq!(decide(&after), PolicyDecision::Forbid);
    assert_eq!(before.stats.evaluated(), 2);
}

#[test]
fn a_claim_that_no_token_has_is_refused() {
    let policies =
        policies("\n\nforbid (principal, action, resource)\nwhen { principal.hasTag(\"team\") };");
    assert!(policies.check_claims(|claim| claim == "team").is_ok());
    let error = policies.check_claims(|_| false).unwrap_err().to_string();
    assert!(
        error.starts_with("policies.cedar:3: policy policies.cedar#1: it reads the claim \"team\""),
        "{error}"
    );
}
