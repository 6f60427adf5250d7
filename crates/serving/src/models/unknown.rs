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

/// While the first load runs, nobody knows yet whether there is such a model.
pub(super) fn still_loading(name: &str) -> InferError {
    InferError::new(
        ErrorCode::NotReady,
        format!(
            "model \"{}\" cannot answer yet: the server is still loading its models",
            printable(name)
        ),
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

#[cfg(test)]
mod tests {
    use tidegate_engines::Engines;

    use crate::{ErrorCode, MetricRegistry, Models, Serving};

    #[test]
    fn a_name_is_not_ready_while_the_server_starts_and_unknown_afterwards() {
        let models = Models::new(Vec::new(), Engines::portable_only(), &MetricRegistry::new());
        let serving = Serving::new(models);
        serving.models().set_starting(true);
        for error in [
            serving.version("fraud", Some("1")).err().unwrap(),
            serving.model("fraud").err().unwrap(),
            serving.would_answer("fraud", None).unwrap_err(),
            // Else limits would count names that may not exist.
            serving.check_endpoint("fraud").unwrap_err(),
        ] {
            assert_eq!(error.code, ErrorCode::NotReady);
            assert!(error.message.contains("is still loading"), "{error:?}");
        }
        serving.models().load_all();
        serving.models().set_starting(false);
        let error = serving.model("fraud").err().unwrap();
        assert_eq!(error.code, ErrorCode::UnknownModel);
    }
}
