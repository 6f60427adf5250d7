//! The errors of requests for what is not there.

use crate::{ErrorCode, InferError};

pub(super) fn default_not_loaded(name: &str) -> InferError {
    InferError::new(
        ErrorCode::NotReady,
        format!("the default version of \"{name}\" is not loaded"),
    )
}

pub(crate) fn unknown_model(name: &str) -> InferError {
    InferError::new(
        ErrorCode::UnknownModel,
        format!("there is no model \"{}\"", printable(name)),
    )
}

pub(crate) fn unknown_version<'a>(
    model: &str,
    requested: &str,
    available: impl Iterator<Item = &'a u64>,
) -> InferError {
    let available: Vec<String> = available.map(u64::to_string).collect();
    let available = available.join(", ");
    let (model, requested) = (printable(model), printable(requested));
    let message =
        format!("model \"{model}\" has no version \"{requested}\" loaded, it has {available}");
    InferError::new(ErrorCode::UnknownVersion, message)
}

/// A name from outside, shortened and escaped: messages end up in logs and terminals.
pub(crate) fn printable(name: &str) -> String {
    name.chars()
        .take(128)
        .flat_map(char::escape_default)
        .collect()
}
