//! Identities and resources, as Cedar sees them.

use std::collections::HashSet;
use std::sync::LazyLock;

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression,
};
use serde_json::Value;
use tidegate_gateway::{Extent, Identity, Permission, Principal, ResourceKind};

use crate::schema::{NAMESPACE, type_name};

/// The types, parsed once.
struct Types {
    principal: EntityTypeName,
    group: EntityTypeName,
    action: EntityTypeName,
    /// In the order of [`ResourceKind::ALL`].
    resources: Vec<EntityTypeName>,
}

static TYPES: LazyLock<Types> = LazyLock::new(|| Types {
    principal: named("Principal"),
    group: named("Group"),
    action: named("Action"),
    resources: ResourceKind::ALL
        .map(type_name)
        .iter()
        .map(|name| named(name))
        .collect(),
});

fn named(name: &str) -> EntityTypeName {
    let name = format!("{NAMESPACE}::{name}");
    name.parse().expect("the names of our types are valid")
}

/// The question, and what Cedar has to know of those that it names.
///
/// # Errors
/// What Cedar says.
pub(crate) fn request(
    identity: &Identity,
    permission: Permission,
    extent: Extent<'_>,
) -> Result<(Request, Entities), String> {
    let name = match extent {
        Extent::One(name) => name,
        // The policies for these questions look at no name.
        Extent::All | Extent::Any => "*",
    };
    let principal = principal(identity)?;
    let resource = resource(permission.resource_kind(), name)?;
    let action = uid(&TYPES.action, permission.name());
    let request = Request::new(
        principal.uid(),
        action,
        resource.uid(),
        Context::empty(),
        None,
    );
    let request = request.map_err(|error| error.to_string())?;
    let entities = Entities::from_entities([principal, resource], None);
    Ok((request, entities.map_err(|error| error.to_string())?))
}

fn principal(identity: &Identity) -> Result<Entity, String> {
    let id = identity.principal().to_string();
    let (kind, name) = match identity.principal() {
        Principal::Anonymous => ("anonymous", ""),
        _ => id.split_once(':').unwrap_or(("", &id)),
    };
    let attributes = [
        ("kind", kind),
        ("name", name),
        ("tenant", identity.tenant()),
    ];
    let attributes = attributes.map(|(key, value)| (key.to_owned(), text(value)));
    let groups: HashSet<EntityUid> = identity
        .groups()
        .iter()
        .map(|group| uid(&TYPES.group, group))
        .collect();
    let claims = identity
        .claims()
        .iter()
        .filter_map(|(name, value)| Some((name.clone(), claim(value)?)));
    Entity::new_with_tags(uid(&TYPES.principal, &id), attributes, groups, claims)
        .map_err(|error| error.to_string())
}

fn resource(kind: ResourceKind, name: &str) -> Result<Entity, String> {
    let kind = &TYPES.resources[kind as usize];
    let attributes = [("name".to_owned(), text(name))];
    Entity::new(uid(kind, name), attributes.into(), HashSet::new())
        .map_err(|error| error.to_string())
}

/// A claim as a set of texts; `None` for what is neither a text, number or truth value nor a list of them.
fn claim(value: &Value) -> Option<RestrictedExpression> {
    let texts = match value {
        Value::Array(items) => items.iter().map(plain).collect::<Option<Vec<_>>>()?,
        value => vec![plain(value)?],
    };
    Some(RestrictedExpression::new_set(texts))
}

fn plain(value: &Value) -> Option<RestrictedExpression> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(is_true) => is_true.to_string(),
        _ => return None,
    };
    Some(RestrictedExpression::new_string(text))
}

fn text(value: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(value.to_owned())
}

fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_own_type() {
        for kind in ResourceKind::ALL {
            let entity = resource(kind, "fraud").unwrap();
            let expected = format!("Tidegate::{}::\"fraud\"", type_name(kind));
            assert_eq!(entity.uid().to_string(), expected);
        }
    }
}
