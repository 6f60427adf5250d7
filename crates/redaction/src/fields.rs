//! Values that have a name: keys of JSON, headers, and `name=value` within text.

use std::collections::HashSet;

use crate::detect::Found;

/// Names of credentials, which are always among the fields.
const CREDENTIALS: [&str; 18] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "password",
    "passwd",
    "passphrase",
    "secret",
    "client-secret",
    "token",
    "access-token",
    "refresh-token",
    "id-token",
    "api-key",
    "x-api-key",
    "private-key",
    "credentials",
    "session-token",
];
/// Those whose values have blanks and commas in them, up to the end of the line.
const WHOLE_LINE: [&str; 4] = ["authorization", "proxyauthorization", "cookie", "setcookie"];

/// The names whose values are replaced.
#[derive(Clone, Debug)]
pub(crate) struct Fields(HashSet<String>);

impl Fields {
    pub(crate) fn new(configured: &[String]) -> Self {
        let configured = configured.iter().map(String::as_str);
        Self(configured.chain(CREDENTIALS).map(normalized).collect())
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.0.contains(&normalized(name))
    }

    /// Adds the values of `name=value`, `name: value` and `"name": "value"`.
    pub(crate) fn find(&self, text: &str, found: &mut Found) {
        let mut end = 0;
        for (at, _) in text.match_indices(['=', ':']) {
            // Within a value that was found: looking for its end again would take quadratic time.
            if at < end {
                continue;
            }
            let Some(name) = name_before(&text[..at]) else {
                continue;
            };
            if self.contains(name) && !is_file_of_error(text, at, name) {
                let is_line = WHOLE_LINE.contains(&normalized(name).as_str());
                let values = found.len();
                found.extend(value(text, at + 1, is_line));
                end = found[values..]
                    .iter()
                    .map(|value| value.end)
                    .max()
                    .unwrap_or(end);
            }
        }
    }
}

/// Lower-case, without what only separates words.
fn normalized(name: &str) -> String {
    let kept = name
        .chars()
        .filter(|character| !matches!(character, '-' | '_' | ' '));
    kept.flat_map(char::to_lowercase).collect()
}

/// The name at the end of a text, without the quotes around it.
fn name_before(text: &str) -> Option<&str> {
    let text = text.trim_end_matches([' ', '"', '\'', '\\']);
    let is_part = |character: char| character.is_alphanumeric() || matches!(character, '-' | '_');
    let start = text.trim_end_matches(is_part).len();
    Some(&text[start..]).filter(|name| !name.is_empty())
}

/// Whether the name is that of a file in an error of the operating system: `/run/token: No such file or
/// directory (os error 2)`. What follows is no value, and whoever looks for the file needs it.
fn is_file_of_error(text: &str, at: usize, name: &str) -> bool {
    let is_in_folder = text[..at].ends_with(name) && text[..at - name.len()].ends_with('/');
    let Some(rest) = text[at..].strip_prefix(": ").filter(|_| is_in_folder) else {
        return false;
    };
    // The words of such an error are letters and blanks, so no value can stand before the number.
    let Some((words, _)) = rest.split_once(" (os error ") else {
        return false;
    };
    words
        .bytes()
        .all(|byte| byte.is_ascii_alphabetic() || byte == b' ')
}

/// The value that begins at `from`.
fn value(text: &str, from: usize, is_line: bool) -> Option<std::ops::Range<usize>> {
    let rest = &text[from..];
    let blank = rest.len() - rest.trim_start_matches(' ').len();
    let start = from + blank;
    let rest = &text[start..];
    // JSON within JSON, as in a log, has its quotes escaped.
    let quotes = ["\\\"", "\"", "'"];
    let quote = quotes.into_iter().find(|quote| rest.starts_with(quote));
    let (start, length) = match quote {
        Some(quote) => {
            let inner = &rest[quote.len()..];
            (start + quote.len(), quoted_bytes(inner, quote))
        }
        None if is_line => (start, bytes_before(rest, &['\n', '\r'])),
        None => (start, bytes_before(rest, &PLAIN_ENDS)),
    };
    (length > 0).then(|| start..start + length)
}

const PLAIN_ENDS: [char; 10] = [' ', '\t', '\n', '\r', ',', ';', '&', '}', ')', '"'];

fn bytes_before(text: &str, ends: &[char]) -> usize {
    text.find(ends).unwrap_or(text.len())
}

/// The length up to the closing quote, which no backslash escapes.
fn quoted_bytes(text: &str, quote: &str) -> usize {
    let mut from = 0;
    while let Some(at) = text[from..].find(quote) {
        let end = from + at;
        // Within JSON within JSON, an escaped quote has three backslashes.
        let escape = if quote.len() == 1 { "\\" } else { "\\\\" };
        let is_escaped = text[..end].ends_with(escape);
        if !is_escaped {
            return end;
        }
        from = end + quote.len();
    }
    text.len()
}
