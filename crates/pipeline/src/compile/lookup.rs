//! Lookups of features: their fields exist, and their defaults are of their types.

use std::sync::Arc;
use std::time::Duration;

use tidegate_core::{
    EntityFieldSpec, EntityKeyType, FieldSpec, LookedUpFeatureSpec, LookupPolicy, LookupSpec,
    PipelineSpec,
};

use super::names::Names;
use crate::error::{CompileError, listed};
use crate::field::Fields;
use crate::lookup::{FeatureColumn, KeySource, Lookup, default_cell};
use crate::program::Kind;

const MAX_LOOKUPS: usize = 32;
const MAX_KEYS: usize = 8;
const MAX_FEATURES: usize = 1024;
const MAX_TIMEOUT_MS: u64 = 60_000;

/// The fields of a request, and behind them the features of all lookups, in their order; `None` if
/// there are no lookups.
pub(super) fn complete_fields(spec: &PipelineSpec) -> Result<Option<Fields>, CompileError> {
    if spec.lookups.is_empty() {
        return Ok(None);
    }
    let mut complete = spec.clone();
    for feature in spec.lookups.iter().flat_map(|lookup| &lookup.features) {
        complete.fields.push(FieldSpec {
            name: feature.name.clone(),
            field_type: feature.feature_type,
            optional: true,
            ..FieldSpec::default()
        });
    }
    Fields::new(&complete).map(Some)
}

/// The lookups, whose keys are fields of the request.
pub(super) fn lookups(
    spec: &PipelineSpec,
    fields: &Fields,
    names: &mut Names,
) -> Result<Vec<Lookup>, CompileError> {
    if spec.lookups.len() > MAX_LOOKUPS {
        let problem = format!("it has more than {MAX_LOOKUPS} lookups");
        return Err(CompileError::new(problem));
    }
    let mut lookups: Vec<Lookup> = Vec::with_capacity(spec.lookups.len());
    for lookup in &spec.lookups {
        let place = format!("lookup \"{}\"", lookup.name);
        let compiled = compile(lookup, fields, names).map_err(|error| error.at(&place))?;
        if lookups.iter().any(|other| other.name == compiled.name) {
            return Err(CompileError::new("it is there twice").at(&place));
        }
        lookups.push(compiled);
    }
    Ok(lookups)
}

fn compile(spec: &LookupSpec, fields: &Fields, names: &mut Names) -> Result<Lookup, CompileError> {
    check(spec)?;
    let mut keys = Vec::with_capacity(spec.entity.len());
    for key in &spec.entity {
        let source = key_source(key, fields).map_err(|error| error.at(&key.key))?;
        // It needs no other use.
        names.find(&source.field)?;
        keys.push((Arc::<str>::from(key.key.as_str()), source));
    }
    // Keys of stores are in this order.
    keys.sort_by(|(one, _), (other, _)| one.cmp(other));
    let (join_keys, keys): (Vec<_>, Vec<_>) = keys.into_iter().unzip();
    let mut features = Vec::with_capacity(spec.features.len());
    for feature in &spec.features {
        let place = format!("feature \"{}\"", feature.name);
        features.push(column(spec, feature).map_err(|error| error.at(&place))?);
    }
    let wanted = spec.features.iter().map(|feature| feature.feature().into());
    Ok(Lookup {
        name: spec.name.as_str().into(),
        store: spec.store.as_str().into(),
        view: spec.view.as_str().into(),
        join_keys: join_keys.into(),
        keys,
        wanted: wanted.collect(),
        features,
        max_age: spec.max_age_s.map(Duration::from_secs),
        timeout: Duration::from_millis(spec.timeout_ms),
        on_unavailable: spec.on_unavailable,
        on_stale: spec.on_stale,
    })
}

fn check(spec: &LookupSpec) -> Result<(), CompileError> {
    let problem = if spec.name.is_empty() || spec.view.is_empty() || spec.store.is_empty() {
        "it needs a name, a store and a view".to_owned()
    } else if !(1..=MAX_KEYS).contains(&spec.entity.len()) {
        format!("its entity must have 1 to {MAX_KEYS} keys")
    } else if !(1..=MAX_FEATURES).contains(&spec.features.len()) {
        format!("it must have 1 to {MAX_FEATURES} features")
    } else if !(1..=MAX_TIMEOUT_MS).contains(&spec.timeout_ms) {
        format!("timeout_ms must be 1 to {MAX_TIMEOUT_MS}")
    } else if spec.max_age_s == Some(0) {
        "max_age_s must be at least 1".to_owned()
    } else if spec.on_stale == LookupPolicy::Default && spec.max_age_s.is_none() {
        "on_stale says what happens after max_age_s, which it does not have".to_owned()
    } else if let Some(key) = first_twice(&spec.entity) {
        format!("its entity has the key \"{key}\" twice")
    } else {
        return Ok(());
    };
    Err(CompileError::new(problem))
}

fn first_twice(entity: &[EntityFieldSpec]) -> Option<&str> {
    let mut keys = entity.iter().enumerate();
    let twice = keys.find(|(at, key)| entity[..*at].iter().any(|other| other.key == key.key));
    twice.map(|(_, key)| key.key.as_str())
}

fn key_source(spec: &EntityFieldSpec, fields: &Fields) -> Result<KeySource, CompileError> {
    let Some(place) = fields.find(spec.field(), 0) else {
        let known = listed(fields.iter().map(|field| &*field.name));
        let problem = format!("there is no field \"{}\", but {known}", spec.field());
        return Err(CompileError::new(problem));
    };
    let field = fields.get(place);
    let key_type = match (field.kind, spec.key_type) {
        (Kind::Text, None | Some(EntityKeyType::String)) => EntityKeyType::String,
        (Kind::Integer, None) => EntityKeyType::Int64,
        (Kind::Integer, Some(key_type @ (EntityKeyType::Int32 | EntityKeyType::Int64))) => key_type,
        (kind, _) => {
            let name = kind.name();
            let problem = format!(
                "the field \"{}\" is of type {name}: keys are fields of type integer or string, and \
                 int32 and int64 are for integers",
                field.name
            );
            return Err(CompileError::new(problem));
        }
    };
    Ok(KeySource {
        place,
        field: field.name.clone(),
        key_type,
    })
}

fn column(lookup: &LookupSpec, spec: &LookedUpFeatureSpec) -> Result<FeatureColumn, CompileError> {
    let kind = Kind::from(spec.feature_type);
    let default = spec.default.as_ref();
    let default = default
        .map(|default| default_cell(kind, default))
        .transpose()?;
    if default.is_some() && spec.optional {
        let problem = "it has a default, so it is never missing: leave out optional";
        return Err(CompileError::new(problem));
    }
    let policies = [
        ("on_unavailable", lookup.on_unavailable),
        ("on_stale", lookup.on_stale),
    ];
    let takes_default = policies
        .iter()
        .find(|(_, policy)| *policy == LookupPolicy::Default);
    if let Some((key, _)) = takes_default
        && default.is_none()
        && !spec.optional
    {
        let problem = format!("{key} is \"default\", so it needs a default, or must be optional");
        return Err(CompileError::new(problem));
    }
    Ok(FeatureColumn {
        name: spec.name.as_str().into(),
        kind,
        default,
        is_optional: spec.optional,
    })
}
