//! What the schema cannot say about policies.

use std::collections::BTreeSet;

use cedar_policy::{EntityUid, Policy};
use serde_json::Value;
use tidegate_gateway::{Principal, ResourceKind};

use crate::PolicyProblem;
use crate::schema::{NAMESPACE, type_name};

/// A claim that a policy reads.
#[derive(Clone, Debug)]
pub(crate) struct ClaimUse {
    pub(crate) claim: String,
    /// The problem that it would be if no token had it, without its message.
    pub(crate) place: PolicyProblem,
}

/// What is wrong with the id of an entity: nobody could ever have it, and a policy that forbids would
/// never apply.
pub(crate) fn wrong_entity(entity: &EntityUid) -> Option<String> {
    let (kind, id) = (entity.type_name().to_string(), entity.id().unescaped());
    if kind == format!("{NAMESPACE}::Principal") {
        return id.parse::<Principal>().err().map(|error| error.to_string());
    }
    let is_resource = ResourceKind::ALL
        .into_iter()
        .any(|resource| kind == format!("{NAMESPACE}::{}", type_name(resource)));
    let is_pattern = id.is_empty() || id.ends_with('*');
    (is_resource && is_pattern).then(|| {
        format!(
            "{entity} is no name: leave the name out (`resource`), or write `resource.name like \"…*\"`"
        )
    })
}

/// The claims that a policy names.
pub(crate) fn claims_of(policy: &Policy) -> BTreeSet<String> {
    let mut claims = BTreeSet::new();
    if let Ok(json) = policy.to_json() {
        collect_claims(&json["conditions"], &mut claims);
    }
    claims
}

fn collect_claims(value: &Value, claims: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect_claims(item, claims)),
        Value::Object(members) => {
            for (name, value) in members {
                if matches!(name.as_str(), "getTag" | "hasTag")
                    && let Some(claim) = value["right"]["Value"].as_str()
                {
                    claims.insert(claim.to_owned());
                }
                collect_claims(value, claims);
            }
        }
        _ => {}
    }
}
