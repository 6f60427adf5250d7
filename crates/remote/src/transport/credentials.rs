//! The bearer token for the servers. It is this server's own; those of callers are never sent.

use std::path::PathBuf;

use http::HeaderValue;
use parking_lot::RwLock;

/// The largest file of a token, in bytes.
const MAX_BYTES: u64 = 16 << 10;

/// A token that is read from a file, again whenever the servers are checked.
pub(crate) struct Credentials {
    file: Option<PathBuf>,
    value: RwLock<Option<HeaderValue>>,
}

impl Credentials {
    /// Reads the file, if there is one.
    pub(crate) fn new(file: Option<PathBuf>) -> Result<Self, String> {
        let credentials = Self {
            file,
            value: RwLock::default(),
        };
        credentials.reload()?;
        Ok(credentials)
    }

    /// Reads the file again. If that fails, the token stays.
    pub(crate) fn reload(&self) -> Result<(), String> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        let shown = file.display();
        let length = std::fs::metadata(file)
            .map_err(|error| format!("{shown}: {error}"))?
            .len();
        if length > MAX_BYTES {
            return Err(format!(
                "{shown} has {length} bytes, a token has at most {MAX_BYTES}"
            ));
        }
        let text = std::fs::read_to_string(file).map_err(|error| format!("{shown}: {error}"))?;
        let value = HeaderValue::from_str(&format!("Bearer {}", text.trim()));
        let mut value = value.map_err(|_| format!("{shown} is not a token"))?;
        // Not in logs, and not in the table of HTTP/2's header compression.
        value.set_sensitive(true);
        *self.value.write() = Some(value);
        Ok(())
    }

    /// The value of the header `authorization`.
    pub(super) fn header(&self) -> Option<HeaderValue> {
        self.value.read().clone()
    }
}
