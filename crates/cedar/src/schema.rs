//! The schema that policies are checked against, made from the permissions and kinds of resources.

use std::fmt::Write;
use std::sync::LazyLock;

use cedar_policy::{Schema, SchemaFragment};
use tidegate_gateway::{Permission, ResourceKind};

/// The namespace of all types and actions.
pub(crate) const NAMESPACE: &str = "Tidegate";

const ENTITIES: &str = "\
namespace Tidegate {
  // A group that a token names.
  entity Group;

  // A caller. `kind` is key, user, certificate or anonymous; `name` is the rest of the id. The tags are
  // the claims of the token: each a set of texts, also where the claim is one text, number or truth value.
  entity Principal in [Group] = { kind: String, name: String, tenant: String } tags Set<String>;

";

/// The schema, in Cedar's own language.
pub fn schema() -> String {
    let mut text = ENTITIES.to_owned();
    for kind in ResourceKind::ALL {
        // Writing to a text cannot fail.
        let _ = writeln!(text, "  entity {} = {{ name: String }};", type_name(kind));
    }
    text.push('\n');
    for permission in asked() {
        let (action, resource) = (permission.name(), type_name(permission.resource_kind()));
        let _ = writeln!(
            text,
            "  action \"{action}\" appliesTo {{ principal: Principal, resource: {resource} }};"
        );
    }
    text.push_str("}\n");
    text
}

/// The permissions that policies are asked about. What is public stays public.
pub(crate) fn asked() -> impl Iterator<Item = Permission> {
    let all = Permission::ALL.into_iter();
    all.filter(|permission| *permission != Permission::Public)
}

/// The name of a kind as a type, without the namespace.
pub(crate) fn type_name(kind: ResourceKind) -> String {
    let name = kind.name();
    name[..1].to_uppercase() + &name[1..]
}

/// The schema, parsed.
pub(crate) static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    let (fragment, _) =
        SchemaFragment::from_cedarschema_str(&schema()).expect("the schema is valid Cedar");
    Schema::from_schema_fragments([fragment]).expect("every type of the schema is in it")
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_permission_but_the_public_one_is_an_action() {
        let actions: Vec<String> = SCHEMA.actions().map(ToString::to_string).collect();
        assert_eq!(actions.len(), Permission::ALL.len() - 1);
        for permission in asked() {
            let action = format!("Tidegate::Action::\"{}\"", permission.name());
            assert!(actions.contains(&action), "{action}");
        }
    }

    #[test]
    fn every_kind_is_a_type() {
        let types: Vec<String> = SCHEMA.entity_types().map(ToString::to_string).collect();
        for kind in ResourceKind::ALL {
            assert!(types.contains(&format!("Tidegate::{}", type_name(kind))));
        }
    }
}
