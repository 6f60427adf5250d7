//! Policies for questions about no single resource.
//!
//! A request for all models together has no name that a policy could look at. For it, a policy is
//! replaced by one that does not mention the resource: one that applies wherever the policy applies to
//! *some* resource (the wide one), or only where it applies to *every* resource (the narrow one). All
//! resources together are permitted by the narrow permits, unless a wide forbid applies; some resource is
//! permitted by the wide permits, unless a narrow forbid applies.
//!
//! Works on the JSON form of policies (<https://docs.cedarpolicy.com/policies/json-format.html>).

use cedar_policy::{Effect, Policy};
use serde_json::{Value, json};

/// Which side a policy without its resource may err on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bound {
    /// It applies at least where the policy does for some resource.
    Wide,
    /// It applies at most where the policy does for every resource.
    Narrow,
}

impl Bound {
    /// What stands for a condition about the resource.
    fn value(self) -> Value {
        json!({"Value": self == Self::Wide})
    }

    fn opposite(self) -> Self {
        match self {
            Self::Wide => Self::Narrow,
            Self::Narrow => Self::Wide,
        }
    }
}

/// The policy for requests about all resources of a kind together; `None` if it never applies to them.
///
/// # Errors
/// What Cedar says.
pub(crate) fn for_all(policy: &Policy) -> Result<Option<Policy>, String> {
    match policy.effect() {
        Effect::Permit => without_resource(policy, Bound::Narrow),
        Effect::Forbid => without_resource(policy, Bound::Wide),
    }
}

/// The policy for questions whether there is any resource; `None` if it never applies to them.
///
/// # Errors
/// What Cedar says.
pub(crate) fn for_any(policy: &Policy) -> Result<Option<Policy>, String> {
    match policy.effect() {
        Effect::Permit => without_resource(policy, Bound::Wide),
        Effect::Forbid => without_resource(policy, Bound::Narrow),
    }
}

fn without_resource(policy: &Policy, bound: Bound) -> Result<Option<Policy>, String> {
    let mut json = policy.to_json().map_err(|error| error.to_string())?;
    let Some(scope) = scope(&json["resource"], bound) else {
        return Ok(None);
    };
    json["resource"] = scope;
    if let Some(conditions) = json["conditions"].as_array_mut() {
        for condition in conditions {
            let bound = match condition["kind"].as_str() {
                Some("unless") => bound.opposite(),
                _ => bound,
            };
            condition["body"] = expression(&condition["body"], bound);
        }
    }
    let policy = Policy::from_json(Some(policy.id().clone()), json);
    policy.map(Some).map_err(|error| error.to_string())
}

/// The scope of the resource without names; `None` if it is about named ones alone.
fn scope(scope: &Value, bound: Bound) -> Option<Value> {
    let entity = scope.get("entity").or_else(|| scope.get("in"));
    if entity.is_none() {
        return Some(scope.clone());
    }
    let kind = scope.get("entity_type").or_else(|| entity_type(entity?));
    match (bound, kind) {
        (Bound::Narrow, _) => None,
        (Bound::Wide, Some(kind)) => Some(json!({"op": "is", "entity_type": kind})),
        (Bound::Wide, None) => Some(json!({"op": "All"})),
    }
}

/// The type of a resource that is written out.
fn entity_type(value: &Value) -> Option<&Value> {
    let inner = value.get("entity").unwrap_or(value);
    inner.get("__entity").unwrap_or(inner).get("type")
}

/// A truth value, without whatever depends on the resource.
fn expression(value: &Value, bound: Bound) -> Value {
    if !mentions_resource(value) {
        return value.clone();
    }
    let Some((operator, operands)) = only_member(value) else {
        return bound.value();
    };
    match operator {
        "&&" | "||" => json!({operator: {
            "left": expression(&operands["left"], bound),
            "right": expression(&operands["right"], bound),
        }}),
        "!" => json!({"!": {"arg": expression(&operands["arg"], bound.opposite())}}),
        "if-then-else" if !mentions_resource(&operands["if"]) => json!({"if-then-else": {
            "if": operands["if"],
            "then": expression(&operands["then"], bound),
            "else": expression(&operands["else"], bound),
        }}),
        "==" | "in" => match (bound, compared_type(operands)) {
            // A resource of another kind is not the one that is meant.
            (Bound::Wide, Some(kind)) => {
                json!({"is": {"left": {"Var": "resource"}, "entity_type": kind}})
            }
            _ => bound.value(),
        },
        _ => bound.value(),
    }
}

/// The type of the resource that `resource` itself is compared with.
fn compared_type(operands: &Value) -> Option<&Value> {
    let (left, right) = (&operands["left"], &operands["right"]);
    match (is_resource(left), is_resource(right)) {
        (true, false) => entity_type(right.get("Value")?),
        (false, true) => entity_type(left.get("Value")?),
        _ => None,
    }
}

fn only_member(value: &Value) -> Option<(&str, &Value)> {
    let members = value.as_object()?;
    match members.len() {
        1 => members
            .iter()
            .next()
            .map(|(name, value)| (name.as_str(), value)),
        _ => None,
    }
}

fn is_resource(value: &Value) -> bool {
    value.get("Var").is_some_and(|name| name == "resource")
}

/// Whether the value depends on which resource it is. Its type is known from the permission.
fn mentions_resource(value: &Value) -> bool {
    if let Some(("is", operands)) = only_member(value)
        && is_resource(&operands["left"])
        && operands.get("in").is_none()
    {
        return false;
    }
    match value {
        _ if is_resource(value) => true,
        Value::Object(members) => members.values().any(mentions_resource),
        Value::Array(items) => items.iter().any(mentions_resource),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(policy: Policy) -> Value {
        policy.to_json().unwrap()
    }

    /// `None` stands for a policy that never applies.
    fn check(text: &str, all: Option<&str>, any: Option<&str>) {
        let parse = |text: &str| Policy::parse(None, text).unwrap();
        let policy = parse(text);
        let expected = all.map(|text| json(parse(text)));
        assert_eq!(for_all(&policy).unwrap().map(json), expected, "all: {text}");
        let expected = any.map(|text| json(parse(text)));
        assert_eq!(for_any(&policy).unwrap().map(json), expected, "any: {text}");
    }

    #[test]
    fn a_policy_about_the_principal_alone_stays_as_it_is() {
        for text in [
            r#"permit (principal, action, resource) when { principal.tenant == "a" };"#,
            r#"forbid (principal, action, resource is T::Model) unless { principal.kind == "key" };"#,
            r#"forbid (principal, action, resource) when { resource is T::Model };"#,
        ] {
            check(text, Some(text), Some(text));
        }
    }

    #[test]
    fn a_named_resource_is_some_of_its_kind_and_not_all() {
        check(
            r#"permit (principal, action, resource == T::Model::"a");"#,
            None,
            Some("permit (principal, action, resource is T::Model);"),
        );
        check(
            r#"forbid (principal, action, resource == T::Model::"a");"#,
            Some("forbid (principal, action, resource is T::Model);"),
            None,
        );
        check(
            r#"forbid (principal, action, resource in T::Model::"a");"#,
            Some("forbid (principal, action, resource is T::Model);"),
            None,
        );
        check(
            r#"forbid (principal, action, resource) when { resource == T::Model::"a" };"#,
            Some("forbid (principal, action, resource) when { resource is T::Model };"),
            Some("forbid (principal, action, resource) when { false };"),
        );
    }

    #[test]
    fn conditions_on_the_principal_are_kept() {
        check(
            r#"forbid (principal, action, resource)
               when { principal.tenant != "a" && resource.name like "x*" };"#,
            Some(
                r#"forbid (principal, action, resource) when { principal.tenant != "a" && true };"#,
            ),
            Some(
                r#"forbid (principal, action, resource) when { principal.tenant != "a" && false };"#,
            ),
        );
        check(
            r#"permit (principal, action, resource)
               when { principal.tenant == "a" || !(resource.name == "x") };"#,
            Some(
                r#"permit (principal, action, resource) when { principal.tenant == "a" || !true };"#,
            ),
            Some(
                r#"permit (principal, action, resource) when { principal.tenant == "a" || !false };"#,
            ),
        );
        check(
            r#"forbid (principal, action, resource)
               when { if principal.kind == "key" then resource.name == "x" else true };"#,
            Some(
                r#"forbid (principal, action, resource)
                   when { if principal.kind == "key" then true else true };"#,
            ),
            Some(
                r#"forbid (principal, action, resource)
                   when { if principal.kind == "key" then false else true };"#,
            ),
        );
    }

    #[test]
    fn an_exception_for_some_resources_is_none_for_all() {
        check(
            r#"forbid (principal, action, resource) unless { resource.name == "demo" };"#,
            Some("forbid (principal, action, resource) unless { false };"),
            Some("forbid (principal, action, resource) unless { true };"),
        );
        check(
            r#"permit (principal, action, resource) unless { resource.name == "secret" };"#,
            Some("permit (principal, action, resource) unless { true };"),
            Some("permit (principal, action, resource) unless { false };"),
        );
    }

    #[test]
    fn what_compares_the_resource_otherwise_is_about_it() {
        check(
            r#"forbid (principal, action, resource) when { principal.name == resource.name };"#,
            Some("forbid (principal, action, resource) when { true };"),
            Some("forbid (principal, action, resource) when { false };"),
        );
        check(
            r#"forbid (principal, action, resource)
               when { if resource.name == "x" then principal.kind == "key" else false };"#,
            Some("forbid (principal, action, resource) when { true };"),
            Some("forbid (principal, action, resource) when { false };"),
        );
    }
}
