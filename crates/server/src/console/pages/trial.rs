//! What can be tried.

use std::collections::BTreeSet;

use tidegate_console::Trial;
use tidegate_serving::Serving;

use crate::console::pretty::pretty;

/// Models that are offered; others can be written.
const OFFERED: usize = 500;

/// The form for a model, with a sample of the version that would answer. Reads a file of the
/// bundle.
pub(crate) fn trial(serving: &Serving, model: &str, version: &str) -> Trial {
    let index = serving.known();
    let models: BTreeSet<&str> = index.iter().map(|entry| entry.name.as_str()).collect();
    let offered: Vec<String> = models
        .into_iter()
        .take(OFFERED)
        .map(str::to_owned)
        .collect();
    let model = match (model, offered.as_slice()) {
        ("", [only]) => only.clone(),
        _ => model.to_owned(),
    };
    let own = || index.iter().filter(|entry| entry.name == model);
    let aliases: BTreeSet<String> = own().flat_map(|entry| entry.aliases.clone()).collect();
    let numbers = own()
        .rev()
        .map(|entry| entry.version.clone())
        .filter(|version| !version.is_empty());
    let named = Some(version).filter(|version| !version.is_empty());
    let sample = serving
        .models()
        .version(&model, named)
        .ok()
        .map(|version| version.request_sample());
    let source = match sample.as_ref().map(|sample| &sample.file) {
        None => String::new(),
        Some(Some(file)) => format!("from {file} of the bundle"),
        Some(None) => "made from the signature".to_owned(),
    };
    Trial {
        models: offered,
        version: version.to_owned(),
        versions: aliases.into_iter().chain(numbers).collect(),
        body: sample
            .map(|sample| pretty(&sample.body))
            .unwrap_or_default(),
        source,
        model,
        answer: None,
    }
}
