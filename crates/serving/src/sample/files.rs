//! Records whose values are files beside their sample: images, sounds.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::read_limited;
use crate::source;

/// Values stay text, but for files: numbers must reach the pipeline as a client's do.
type Texts<'a, T> = BTreeMap<Cow<'a, str>, T>;

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Request<'a> {
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    instances: Option<Vec<Texts<'a, Cow<'a, RawValue>>>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    columns: Option<Texts<'a, Vec<Cow<'a, RawValue>>>>,
}

/// `{"file": "cat.jpg"}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileValue<'a> {
    #[serde(borrow)]
    file: Cow<'a, str>,
}

/// A request of records, with the content of each file in its place. `sample` is the file of the
/// bundle that the request stands in.
pub(super) fn with_contents(
    request: &RawValue,
    folder: &Path,
    sample: &str,
) -> Result<Vec<u8>, String> {
    let text = request.get();
    if !text.contains("\"file\"") {
        return Ok(text.as_bytes().to_vec());
    }
    let request: Request<'_> = match serde_json::from_str(text) {
        Ok(request) => request,
        // The pipeline says what is wrong with it.
        Err(_) => return Ok(text.as_bytes().to_vec()),
    };
    let Request { instances, columns } = request;
    let mut instances = instances;
    let mut columns = columns;
    let rows = instances
        .iter_mut()
        .flatten()
        .flat_map(BTreeMap::values_mut);
    let cells = columns.iter_mut().flat_map(BTreeMap::values_mut).flatten();
    for value in rows.chain(cells) {
        if let Ok(FileValue { file }) = serde_json::from_str::<FileValue<'_>>(value.get()) {
            let content = content(folder, sample, &file)?;
            *value = Cow::Owned(content);
        }
    }
    let request = Request { instances, columns };
    serde_json::to_vec(&request).map_err(|error| error.to_string())
}

/// The content of a file as bytes of a record, which no field of another type takes.
fn content(folder: &Path, sample: &str, file: &str) -> Result<Box<RawValue>, String> {
    let beside = Path::new(sample).with_file_name(file);
    let beside = beside.to_str().ok_or("a file's name is no UTF-8")?;
    let path = source::inside(folder, beside).map_err(|error| error.to_string())?;
    let content = read_limited(&path).map_err(|problem| format!("{file}: {problem}"))?;
    let base64 = BASE64_STANDARD.encode(content);
    RawValue::from_string(format!("{{\"b64\":\"{base64}\"}}")).map_err(|error| error.to_string())
}
