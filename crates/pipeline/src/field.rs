//! The fields of a request, and the rules for their values.

mod check;
mod time;

use std::sync::Arc;

use hashbrown::HashMap;
use regex_lite::Regex;
use tidegate_core::{Category, FieldSpec, PipelineSpec, UnknownFields, ViolationPolicy};

use crate::error::CompileError;
use crate::ops::Categories;
use crate::program::{Kind, Source};

pub(crate) use time::micros;

/// The most fields of a request.
const MAX_FIELDS: usize = 4096;
/// The longest pattern, in bytes.
const MAX_PATTERN_BYTES: usize = 1000;
/// The longest text that is held against a pattern, in characters, unless the field says otherwise.
const MAX_PATTERN_TEXT: usize = 4096;

/// The fields of a request, by name and in order.
#[derive(Debug)]
pub(crate) struct Fields {
    fields: Vec<Field>,
    places: HashMap<Box<str>, usize>,
    pub(crate) unknown: UnknownFields,
}

/// One field.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: Arc<str>,
    pub(crate) kind: Kind,
    pub(crate) is_optional: bool,
    pub(crate) policy: ViolationPolicy,
    rules: Rules,
}

/// What values of a field must be.
#[derive(Debug)]
struct Rules {
    range: Option<(f64, f64)>,
    categories: Option<Categories>,
    pattern: Option<Regex>,
    /// In characters.
    length: Option<(usize, usize)>,
}

impl Fields {
    pub(crate) fn new(spec: &PipelineSpec) -> Result<Self, CompileError> {
        if spec.fields.is_empty() || spec.fields.len() > MAX_FIELDS {
            let count = spec.fields.len();
            let problem = format!("it has {count} fields, there must be 1 to {MAX_FIELDS}");
            return Err(CompileError::new(problem));
        }
        let mut fields = Vec::with_capacity(spec.fields.len());
        let mut places = HashMap::with_capacity(spec.fields.len());
        for (place, field) in spec.fields.iter().enumerate() {
            let at = format!("field \"{}\"", field.name);
            if field.name.is_empty() {
                return Err(CompileError::new("a field has no name"));
            }
            if places.insert(field.name.as_str().into(), place).is_some() {
                return Err(CompileError::new("it is there twice").at(&at));
            }
            let policy = field.on_violation.unwrap_or(spec.on_violation);
            fields.push(Field::new(field, policy).map_err(|error| error.at(&at))?);
        }
        Ok(Self {
            fields,
            places,
            unknown: spec.unknown_fields,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.fields.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Field> {
        self.fields.iter()
    }

    pub(crate) fn get(&self, place: usize) -> &Field {
        &self.fields[place]
    }

    /// The place of a field. Records nearly always have their fields in the same order, so the one
    /// that is expected is tried first.
    #[inline(always)]
    pub(crate) fn find(&self, name: &str, expected: usize) -> Option<usize> {
        match self.fields.get(expected) {
            Some(field) if *field.name == *name => Some(expected),
            _ => self.places.get(name).copied(),
        }
    }
}

impl Field {
    fn new(spec: &FieldSpec, policy: ViolationPolicy) -> Result<Self, CompileError> {
        let kind = Kind::from(spec.field_type);
        let name: Arc<str> = spec.name.as_str().into();
        check_applicable(spec, kind)?;
        let source = Source::new(0, kind, name.clone());
        let categories: Vec<Option<Category>> = spec.categories.iter().cloned().map(Some).collect();
        let categories = match categories.as_slice() {
            [] => None,
            categories => Some(Categories::new(categories, &source)?),
        };
        Ok(Self {
            name,
            kind,
            is_optional: spec.optional,
            policy,
            rules: Rules {
                range: range(spec)?,
                categories,
                pattern: spec.pattern.as_deref().map(whole_pattern).transpose()?,
                length: length(spec)?,
            },
        })
    }
}

/// Refuses rules that the values of a field cannot break.
fn check_applicable(spec: &FieldSpec, kind: Kind) -> Result<(), CompileError> {
    let is_text = kind == Kind::Text;
    let is_number = matches!(kind, Kind::Number | Kind::Integer);
    let has_length = spec.min_length.is_some() || spec.max_length.is_some();
    let wrong = if (spec.min.is_some() || spec.max.is_some()) && !is_number {
        "a range"
    } else if (spec.pattern.is_some() || has_length) && !is_text {
        "a pattern or a length"
    } else if !spec.categories.is_empty() && !is_text && !is_number {
        "categories"
    } else {
        return Ok(());
    };
    let problem = format!("it is of type {}, which has not {wrong}", kind.name());
    Err(CompileError::new(problem))
}

fn range(spec: &FieldSpec) -> Result<Option<(f64, f64)>, CompileError> {
    if spec.min.is_none() && spec.max.is_none() {
        return Ok(None);
    }
    let low = spec.min.unwrap_or(f64::NEG_INFINITY);
    let high = spec.max.unwrap_or(f64::INFINITY);
    if low <= high {
        return Ok(Some((low, high)));
    }
    let problem = format!("its range from {low} to {high} is empty");
    Err(CompileError::new(problem))
}

fn length(spec: &FieldSpec) -> Result<Option<(usize, usize)>, CompileError> {
    let has_pattern = spec.pattern.is_some();
    if spec.min_length.is_none() && spec.max_length.is_none() && !has_pattern {
        return Ok(None);
    }
    // The time that a pattern takes grows with the text, which is a client's.
    let most = if has_pattern {
        MAX_PATTERN_TEXT
    } else {
        usize::MAX
    };
    let low = spec.min_length.unwrap_or(0);
    let high = spec.max_length.unwrap_or(most);
    if low <= high {
        return Ok(Some((low, high)));
    }
    let problem = format!("its length from {low} to {high} is empty");
    Err(CompileError::new(problem))
}

fn whole_pattern(pattern: &str) -> Result<Regex, CompileError> {
    if pattern.len() > MAX_PATTERN_BYTES {
        let problem = format!("its pattern has more than {MAX_PATTERN_BYTES} bytes");
        return Err(CompileError::new(problem));
    }
    Regex::new(&format!("^(?:{pattern})$"))
        .map_err(|error| CompileError::new(format!("its pattern cannot be read: {error}")))
}
